# Make a project's directories, network and nginx site where they are missing.
# arguments: PROJECT SUBNET UPSTREAM_BASE64 SITE_BASE64; standard input: .env, used only when there is none
# exit: 21 nginx refuses the site; it is taken away again
set -eu
project=$1 subnet=$2 upstream=$3 site=$4
directory=/opt/projects/$project
umask 022
mkdir -p "$directory"
chmod 0700 "$directory"
cd "$directory"
mkdir -p releases volumes/postgres volumes/redis volumes/models logs/backend logs/archive .deploy
chmod 0700 .deploy
# The app's user in its container is not known here; nobody else gets into a directory that is 0700.
chmod 1777 logs/backend
mkdir -p "/opt/nginx/logs/$project"
[ -e logs/nginx ] || ln -s "/opt/nginx/logs/$project" logs/nginx
umask 077
if [ -s .env ]; then
  cat >/dev/null
  echo 'already: .env'
else
  cat >.env.tmp
  sync -d .env.tmp
  mv .env.tmp .env
  echo 'made: .env'
fi
if docker network inspect "${project}_internal" >/dev/null 2>&1; then
  echo "already: network ${project}_internal"
else
  docker network create --subnet "$subnet" --label "slipway.project=$project" "${project}_internal" >/dev/null
  echo "made: network ${project}_internal $subnet"
fi
umask 022
exec 7>>/opt/nginx/.lock
flock -w 60 7
file=/opt/nginx/upstreams/$project.conf
if [ ! -s "$file" ]; then
  printf '%s' "$upstream" | base64 -d >"$file.tmp"
  mv "$file.tmp" "$file"
fi
file=/opt/nginx/conf.d/$project.conf
if printf '%s' "$site" | base64 -d | cmp -s - "$file"; then
  echo 'already: nginx site'
  exit 0
fi
had=no
[ -f "$file" ] && had=yes && cp -p "$file" "$file.prev"
printf '%s' "$site" | base64 -d >"$file.tmp"
mv "$file.tmp" "$file"
said=$(docker exec nginx-nginx-1 nginx -t -c /opt/nginx/nginx.conf 2>&1) && code=0 || code=$?
case $said in *'[warn]'*) code=1 ;; esac
if [ "$code" -ne 0 ]; then
  if [ $had = yes ]; then mv "$file.prev" "$file"; else rm -f "$file"; fi
  echo "nginx refuses the site: $said" >&2
  exit 21
fi
rm -f "$file.prev"
docker kill --signal HUP nginx-nginx-1 >/dev/null
echo 'made: nginx site'
