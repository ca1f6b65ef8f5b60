# Put Docker's settings in force: replace /etc/docker/daemon.json and restart Docker, if it runs. Containers live on:
# before the restart live-restore is switched on by a reload, where the settings allow it.
# arguments: none; standard input: the whole new file
# exit: 21 when Docker does not start with it; the old file is back in force then
set -eu
file=/etc/docker/daemon.json
restart() {
  if [ -d /run/systemd/system ]; then
    systemctl reset-failed docker 2>/dev/null || true
    systemctl restart docker
  else
    service docker restart
  fi
}
answers() {
  waited=0
  until docker info >/dev/null 2>&1; do
    [ $waited -lt 60 ] || return 1
    sleep 0.5
    waited=$((waited + 1))
  done
}

install -d -m 0755 /etc/docker
cat >"$file.tmp"
chmod 0644 "$file.tmp"
if command -v dockerd >/dev/null && ! said=$(dockerd --validate --config-file "$file.tmp" 2>&1); then
  rm -f "$file.tmp"
  echo "Docker refuses the settings, nothing was changed: $said" >&2
  exit 21
fi
sync -d "$file.tmp"
rm -f "$file.before"
[ ! -e "$file" ] || cp -p "$file" "$file.before"
mv "$file.tmp" "$file"
if ! docker info >/dev/null 2>&1; then
  rm -f "$file.before"
  echo 'in force when Docker starts'
  exit 0
fi
kill -HUP "$(cat /run/docker.pid)"
turn=0
while grep -q '"live-restore": true' "$file" && [ $turn -lt 20 ] &&
  [ "$(docker info --format '{{.LiveRestoreEnabled}}' 2>/dev/null)" != true ]; do
  sleep 0.25
  turn=$((turn + 1))
done
if ! restart 2>&1 || ! answers; then
  if [ -e "$file.before" ]; then mv "$file.before" "$file"; else rm -f "$file"; fi
  restart >&2 || true
  answers || echo 'Docker does not start with the old settings either' >&2
  echo 'Docker does not start with the new settings; the old ones are back' >&2
  exit 21
fi
rm -f "$file.before"
