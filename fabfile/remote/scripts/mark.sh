# Note how a release ended that did not become live.
# arguments: PROJECT VERSION RECORD_JSON HISTORY_JSON
set -eu
project=$1 version=$2 record=$3 history=$4
cd "/opt/projects/$project"
if [ -d "releases/$version" ] && [ -n "$record" ]; then
  printf '%s\n' "$record" >"releases/$version/.release.tmp"
  mv "releases/$version/.release.tmp" "releases/$version/release.json"
fi
[ -z "$history" ] || printf '%s\n' "$history" >>.deploy/history.jsonl
