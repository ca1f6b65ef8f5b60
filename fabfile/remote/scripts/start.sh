# Start one colour of the app; refuses when that colour is live.
# arguments: PROJECT VERSION COLOUR MODE CONTAINER_ID...
#   MODE again: start the stopped containers named; MODE fresh: remove those named and make new ones
set -eu
project=$1 version=$2 colour=$3 mode=$4
shift 4
directory=/opt/projects/$project
if head -n 1 "/opt/nginx/upstreams/$project.conf" | grep -q "colour=$colour "; then
  echo "$colour is live: it is never started over" >&2
  exit 20
fi
if [ "$mode" = again ]; then
  docker start "$@" >/dev/null
else
  [ $# -eq 0 ] || docker rm --force "$@" >/dev/null
  env -i PATH="$PATH" HOME="$HOME" docker compose --progress plain \
    -p "$project-$colour" -f "$directory/releases/$version/compose.$colour.yml" --env-file "$directory/.env" \
    up --detach --no-build --pull never
fi
