# Wait until nothing can reach the old colour any more: no connection to its ports is left, and the nginx workers
# from before are gone or past the time for which they still serve idle keep-alive clients.
# arguments: PROJECT SECONDS KEEPALIVE_SECONDS PORT...; standard input: the upstream file from now on, or nothing
set -u
project=$1 seconds=$2 keepalive=$3
shift 3
text=$(cat)
if [ -n "$text" ]; then
  # Without a reload: for nginx the new file means the same, and a reload would send the WebSockets of all projects
  # to workers that have to end.
  file=/opt/nginx/upstreams/$project.conf
  exec 7>>/opt/nginx/.lock
  flock -w 60 7
  printf '%s\n' "$text" >"$file.tmp"
  mv "$file.tmp" "$file"
  rm -f "$file.prev"
  flock -u 7
fi
began=$(date +%s)
filter=''
for port in "$@"; do
  filter="$filter${filter:+ or }dport = :$port"
done
workers=''
for pid in $(pgrep -P "$(docker inspect --format '{{.State.Pid}}' nginx-nginx-1)"); do
  grep -q 'shutting down' "/proc/$pid/cmdline" 2>/dev/null && workers="$workers $pid"
done
while :; do
  elapsed=$(($(date +%s) - began))
  open=$(ss --no-header --tcp --numeric state established "( $filter )" | wc -l)
  alive=0
  for pid in $workers; do
    [ -d "/proc/$pid" ] && alive=$((alive + 1))
  done
  if [ "$open" -eq 0 ] && { [ $alive -eq 0 ] || [ $elapsed -gt "$keepalive" ]; }; then
    echo 'no connection left'
    exit 0
  fi
  if [ $elapsed -ge "$seconds" ]; then
    echo "cut after $seconds s: connections still open: $open"
    exit 0
  fi
  if [ $elapsed -ge 2 ] && [ "$open" != "${said:-}" ]; then
    echo "connections left: $open"
    said=$open
  fi
  sleep 0.1
done
