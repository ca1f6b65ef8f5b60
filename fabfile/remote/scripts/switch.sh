# Point nginx at a colour: write the upstream file, test, reload, and confirm that the new generation answers.
# arguments: PROJECT DOMAIN GENERATION; standard input: the upstream file
# exit: 21 nginx refuses the file, 22 the reload did not take effect; in both cases the old file is back
set -eu
project=$1 domain=$2 generation=$3
file=/opt/nginx/upstreams/$project.conf
exec 7>>/opt/nginx/.lock
flock -w 60 7
cp -p "$file" "$file.prev"
cat >"$file.tmp"
sync -d "$file.tmp"

master=$(docker inspect --format '{{.State.Pid}}' nginx-nginx-1)
before=$(pgrep -P "$master" || true)

put_back() {
  mv "$file.prev" "$file"
  echo "$1" >&2
  exit "$2"
}
marker() {
  curl --silent --max-time 2 --header "Host: $domain" http://127.0.0.1/.well-known/slipway || true
}
old_workers_accept() {
  for pid in $before; do
    if [ -r "/proc/$pid/cmdline" ] && ! grep -q 'shutting down' "/proc/$pid/cmdline" 2>/dev/null; then
      return 0
    fi
  done
  return 1
}

mv "$file.tmp" "$file"
if ! said=$(docker exec nginx-nginx-1 nginx -t -c /opt/nginx/nginx.conf 2>&1); then
  put_back "nginx refuses the new file: $said" 21
fi
case $said in
  *'[warn]'*) put_back "nginx warns about the new file: $said" 21 ;;
esac
docker kill --signal HUP nginx-nginx-1 >/dev/null
good=0 turn=0
while [ $good -lt 3 ]; do
  if [ "$(marker)" = "$generation" ] && ! old_workers_accept; then
    good=$((good + 1))
  else
    good=0
    sleep 0.02
  fi
  turn=$((turn + 1))
  if [ $turn -gt 400 ]; then
    mv "$file.prev" "$file"
    docker kill --signal HUP nginx-nginx-1 >/dev/null
    echo 'nginx was told to reload, but the new configuration does not answer; the old one is back' >&2
    docker logs --tail 5 nginx-nginx-1 >&2 2>&1 || true
    exit 22
  fi
done
echo "confirmed by $good fresh connections"
