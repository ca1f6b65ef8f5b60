# Start stopped containers of the live colour.
# arguments: PROJECT CONTAINER_ID...
set -eu
shift
docker start "$@" >/dev/null
