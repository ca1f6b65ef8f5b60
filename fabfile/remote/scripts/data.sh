# Bring up the data services that are absent or stopped; running ones are never touched.
# arguments: PROJECT; standard input: the compose file
set -eu
project=$1
directory=/opt/projects/$project
cat >"$directory/.compose.data.tmp"
mv "$directory/.compose.data.tmp" "$directory/compose.data.yml"
env -i PATH="$PATH" HOME="$HOME" docker compose --progress plain \
  -p "$project-data" -f "$directory/compose.data.yml" --env-file "$directory/.env" \
  up --detach --no-recreate --wait --wait-timeout 120
