# Stop one colour of the app, keeping its containers; refuses when that colour is live.
# arguments: PROJECT COLOUR GRACE_SECONDS
set -eu
project=$1 colour=$2 grace=$3
if head -n 1 "/opt/nginx/upstreams/$project.conf" 2>/dev/null | grep -q "colour=$colour "; then
  echo "$colour is live: it is not stopped" >&2
  exit 20
fi
ids=$(docker ps --quiet --filter "label=slipway.project=$project" --filter "label=slipway.colour=$colour")
if [ -z "$ids" ]; then
  echo 'already stopped'
  exit 0
fi
# shellcheck disable=SC2086 # ids are words
docker stop --time "$grace" $ids >/dev/null
echo stopped
