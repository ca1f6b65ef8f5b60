# Wait until nothing can reach the old colour any more: no connection to its ports is left, and the nginx workers
# from before are gone or past the time for which they still serve idle keep-alive clients.
# arguments: SECONDS KEEPALIVE_SECONDS PORT...
set -u
seconds=$1 keepalive=$2
shift 2
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
  if ! listed=$(ss --no-header --tcp --numeric state established "( $filter )"); then
    echo 'ss cannot list connections' >&2
    exit 1
  fi
  open=$(printf '%s' "$listed" | grep -c .)
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
