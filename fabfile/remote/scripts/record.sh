# Note a finished deploy: current symlink, release.json, history.
# arguments: PROJECT VERSION RECORD_JSON HISTORY_JSON
set -eu
project=$1 version=$2 record=$3 history=$4
cd "/opt/projects/$project/releases"
printf '%s\n' "$record" >"$version/.release.tmp"
mv "$version/.release.tmp" "$version/release.json"
ln -sfn "$version" .current.tmp
mv -T .current.tmp current
[ -z "$history" ] || printf '%s\n' "$history" >>../.deploy/history.jsonl
