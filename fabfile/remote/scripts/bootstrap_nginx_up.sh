# Start nginx, or start it anew with another image, and wait until it accepts connections.
# arguments: none
# exit: 21 when it does not; its last lines are printed
set -eu
home=$(getent passwd "$(id -un)" | cut -d: -f6)
env -i PATH="$PATH" HOME="$home" docker compose --progress plain -p nginx -f /opt/nginx/compose.yml up --detach --timeout 5 2>&1
turn=0
until curl --silent --output /dev/null --max-time 2 http://127.0.0.1/ || [ $? -eq 52 ]; do
  turn=$((turn + 1))
  if [ $turn -gt 100 ]; then
    echo 'nginx was started and accepts no connection on port 80 after 20 s' >&2
    docker logs --tail 10 nginx-nginx-1 >&2 2>&1 || true
    exit 21
  fi
  sleep 0.2
done
