# Start a service now and at every boot. Without systemd the init scripts do it.
# arguments: NAME
set -eu
name=$1
if [ -d /run/systemd/system ]; then
  systemctl enable --now "$name" 2>&1
else
  update-rc.d "$name" defaults >/dev/null 2>&1 || true
  service "$name" status >/dev/null 2>&1 || service "$name" start 2>&1
fi
[ "$name" = docker ] || exit 0
waited=0
until docker info >/dev/null 2>&1; do
  if [ $waited -ge 60 ]; then
    echo 'Docker was started and does not answer after 60 s' >&2
    { journalctl --unit docker --lines 10 --no-pager || tail -n 10 /var/log/docker.log; } >&2 2>/dev/null || true
    exit 1
  fi
  sleep 0.5
  waited=$((waited + 1))
done
