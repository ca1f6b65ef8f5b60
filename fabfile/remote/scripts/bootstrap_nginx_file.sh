# Replace one of nginx's own files: test with the new one in place, reload, or put the old one back.
# arguments: IMAGE FILE; standard input: the file
# exit: 21 when nginx refuses it; the old file is back then, and in force as before
set -eu
image=$1 file=$2
exec 7>>/opt/nginx/.lock
flock -w 60 7
rm -f "$file.before"
[ ! -e "$file" ] || cp -p "$file" "$file.before"
cat >"$file.tmp"
chmod 0644 "$file.tmp"
sync -d "$file.tmp"
mv "$file.tmp" "$file"
running=$(docker inspect --format '{{.State.Running}}' nginx-nginx-1 2>/dev/null || true)
check() {
  [ -e /opt/nginx/nginx.conf ] || return 0
  if [ "$running" = true ]; then
    docker exec nginx-nginx-1 nginx -t -c /opt/nginx/nginx.conf
  else
    docker run --rm --network host --volume /opt/nginx:/opt/nginx --entrypoint nginx "$image" -t -c /opt/nginx/nginx.conf
  fi
}
if ! said=$(check 2>&1); then
  if [ -e "$file.before" ]; then mv "$file.before" "$file"; else rm -f "$file"; fi
  echo "nginx refuses $file, the old one is back: $said" >&2
  exit 21
fi
rm -f "$file.before"
[ "$running" != true ] || docker kill --signal HUP nginx-nginx-1 >/dev/null
