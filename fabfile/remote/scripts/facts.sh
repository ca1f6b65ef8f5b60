# Everything a deploy wants to know, in one round trip. Changes nothing.
# arguments: PROJECT
# output: sections, each begun by a line "@@ NAME"; what cannot be read is an empty section
set -u
project=$1
directory=/opt/projects/$project
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

section() { printf '\n@@ %s\n' "$1"; }
{
  docker exec nginx-nginx-1 nginx -t -c /opt/nginx/nginx.conf >"$scratch/nginx" 2>&1
  echo "exit $?" >>"$scratch/nginx"
} &
section time
date +%s
# All of Docker's answers by one curl, which takes longer to start than to ask.
section engine
curl --silent --show-error --max-time 20 --unix-socket /var/run/docker.sock --write-out '\n@@ containers\n' \
  http://docker/version --next \
  --silent --show-error --max-time 20 --unix-socket /var/run/docker.sock --write-out '\n@@ nginx\n' --get \
  --data all=true --data-urlencode "filters={\"label\":[\"slipway.project=$project\"]}" \
  http://docker/containers/json --next \
  --silent --show-error --max-time 20 --unix-socket /var/run/docker.sock --write-out '\n@@ images\n' --get \
  --data-urlencode 'filters={"label":["slipway.role=nginx"]}' \
  http://docker/containers/json --next \
  --silent --show-error --max-time 20 --unix-socket /var/run/docker.sock --write-out '\n@@ networks\n' --get \
  --data-urlencode "filters={\"reference\":[\"$project:*\"]}" \
  http://docker/images/json --next \
  --silent --show-error --max-time 20 --unix-socket /var/run/docker.sock --get \
  --data-urlencode "filters={\"name\":[\"${project}_internal\"]}" \
  http://docker/networks 2>&1
section upstream
cat "/opt/nginx/upstreams/$project.conf" 2>/dev/null
section site
cat "/opt/nginx/conf.d/$project.conf" 2>/dev/null
section in-force
domain=$(sed -n 's/^ *server_name \([^ ;]*\).*/\1/p' "/opt/nginx/conf.d/$project.conf" 2>/dev/null | head -n 1)
curl --silent --max-time 5 --header "Host: $domain" http://127.0.0.1/.well-known/slipway 2>/dev/null
section registry
cat /opt/projects/.port-registry.json 2>/dev/null
section env
cat "$directory/.env" 2>/dev/null
section data
cat "$directory/compose.data.yml" 2>/dev/null
section compose
colour=$(sed -n '1s/.* colour=\([a-z]*\) .*/\1/p' "/opt/nginx/upstreams/$project.conf" 2>/dev/null)
cat "$directory/releases/current/compose.$colour.yml" 2>/dev/null
section current
readlink "$directory/releases/current" 2>/dev/null
section partial
for release in "$directory"/releases/*.partial; do
  [ -d "$release" ] && basename "$release"
done
section releases
for release in "$directory"/releases/*/; do
  case $release in
    */current/ | *.partial/ | *'/*/') continue ;;
  esac
  printf '%s %s\n' "$(basename "$release")" "$(cat "$release/release.json" 2>/dev/null)"
done
section disk
df -Pk /opt/projects 2>/dev/null | tail -n 1
df -Pi /opt/projects 2>/dev/null | tail -n 1
section listening
ss -Hltn 2>/dev/null | while read -r _ _ _ address _; do echo "${address##*:}"; done
section directory
[ -d "$directory/.deploy" ] && echo present
section holder
# A record without a lock is that of somebody who died.
[ -f "$directory/.deploy/lock" ] && { flock -n "$directory/.deploy/lock" true || cat "$directory/.deploy/holder.json" 2>/dev/null; }
section history
tail -n 50 "$directory/.deploy/history.jsonl" 2>/dev/null
section nginx-test
wait
cat "$scratch/nginx"
section end
