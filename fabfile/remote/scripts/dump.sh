# Dump a database, read the dump back whole, and only then give it its name; the manifest comes last.
# arguments: PROJECT CONTAINER USER DATABASE NAME RELEASE
set -eu
umask 077
project=$1 container=$2 user=$3 database=$4 name=$5 release=$6
directory=/opt/backups/databases/$project/deploys
mkdir -p "$directory"
cd "$directory"
rm -f ./*.partial
trap 'rm -f "$name.partial"' EXIT
docker exec "$container" pg_dump --format custom --no-owner --no-privileges --lock-wait-timeout 60s \
  --username "$user" "$database" >"$name.partial"
docker exec --interactive "$container" pg_restore --file /dev/null <"$name.partial"
size=$(wc -c <"$name.partial")
sum=$(sha256sum "$name.partial")
sync -d "$name.partial"
mv "$name.partial" "$name"
printf '{"dump": "%s", "sha256": "%s", "size": %s, "before_release": "%s"}\n' \
  "$name" "${sum%% *}" "$size" "$release" >"$name.json.tmp"
mv "$name.json.tmp" "$name.json"
# Keep the newest five; a dump that has just been verified is among them.
# shellcheck disable=SC2012 # the names are ours: no blanks
ls -1t ./*.dump | tail -n +6 | while read -r old; do
  rm -f "$old" "$old.json"
done
echo "$size"
