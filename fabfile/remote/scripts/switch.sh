# Point nginx at a colour: write the upstream file, test, reload, and confirm that the new generation answers.
# arguments: PROJECT DOMAIN GENERATION; standard input: the upstream file
# exit: 21 nginx refuses the file, 22 the reload did not take effect; in both cases the old file is back
set -eu
project=$1 domain=$2 generation=$3
file=/opt/nginx/upstreams/$project.conf
exec 7>>/opt/nginx/.lock
if ! flock -w 60 7; then
  echo 'another change of nginx has held /opt/nginx/.lock for 60 s' >&2
  exit 1
fi
cp -p "$file" "$file.prev"
cat >"$file.tmp"
sync -d "$file.tmp"

docker_api() {
  # Half as long as the docker command takes.
  curl --silent --show-error --fail --max-time 20 --unix-socket /var/run/docker.sock "$@"
}
reload() {
  docker_api --request POST 'http://docker/containers/nginx-nginx-1/kill?signal=HUP'
}
nginx=$(docker_api http://docker/containers/nginx-nginx-1/json)
master=$(printf '%s' "$nginx" | sed -n 's/.*"Pid":\([1-9][0-9]*\).*/\1/p')
if [ -z "$master" ]; then
  rm -f "$file.prev" "$file.tmp"
  echo 'nginx does not run; nothing was changed' >&2
  exit 21
fi
before=$(pgrep -P "$master" || true)

put_back() {
  trap - EXIT TERM INT HUP
  mv "$file.prev" "$file"
  echo "$1" >&2
  exit "$2"
}
# Whatever ends this script before nginx is told: the file must not say what nginx does not do.
unfinished() {
  put_back 'broken off before nginx was told; the old file is back' 1
}
marker() {
  curl --silent --max-time 1 --header "Host: $domain" http://127.0.0.1/.well-known/slipway || true
}
old_workers_accept() {
  for pid in $before; do
    if [ -r "/proc/$pid/cmdline" ] && ! grep -q 'shutting down' "/proc/$pid/cmdline" 2>/dev/null; then
      return 0
    fi
  done
  return 1
}

trap unfinished EXIT TERM INT HUP
mv "$file.tmp" "$file"
if ! said=$(docker exec nginx-nginx-1 nginx -t -c /opt/nginx/nginx.conf 2>&1); then
  put_back "nginx refuses the new file: $said" 21
fi
case $said in
  *'[warn]'*) put_back "nginx warns about the new file: $said" 21 ;;
esac
reload
trap - EXIT TERM INT HUP
began=$(date +%s)
good=0
while [ $good -lt 3 ]; do
  if [ "$(marker)" = "$generation" ] && ! old_workers_accept; then
    good=$((good + 1))
  else
    good=0
    sleep 0.02
  fi
  if [ "$(date +%s)" -gt $((began + 20)) ]; then
    mv "$file.prev" "$file"
    reload
    echo 'nginx was told to reload, but the new configuration does not answer; the old one is back' >&2
    docker logs --tail 5 nginx-nginx-1 >&2 2>&1 || true
    exit 22
  fi
done
rm -f "$file.prev"
echo "confirmed by $good fresh connections"
