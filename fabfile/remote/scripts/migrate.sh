# Run the project's migration once, in the new image, before anything of it is started.
# arguments: PROJECT VERSION COLOUR SERVICE COMMAND...
set -eu
project=$1 version=$2 colour=$3 service=$4
shift 4
directory=/opt/projects/$project
# A migration that outlived its client would still hold its locks in the database.
old=$(docker ps --quiet --filter "label=slipway.project=$project" --filter label=com.docker.compose.oneoff=True)
# shellcheck disable=SC2086 # ids are words
[ -z "$old" ] || docker wait $old >/dev/null
# When the time is over or the client gives up, the migration must end with its container, not go on unseen.
trap 'docker ps --quiet --filter "label=slipway.project=$project" --filter label=com.docker.compose.oneoff=True |
  xargs -r docker rm --force >/dev/null; exit 124' TERM INT HUP
env -i PATH="$PATH" HOME="$HOME" docker compose --progress quiet \
  -p "$project-$colour" -f "$directory/releases/$version/compose.$colour.yml" --env-file "$directory/.env" \
  run --rm --no-deps --no-TTY --interactive=false "$service" "$@"
