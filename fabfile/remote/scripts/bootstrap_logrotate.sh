# Put a logrotate file in place once logrotate accepts it.
# arguments: NAME; standard input: the file
# exit: 21 when logrotate refuses it; nothing was changed then
set -eu
name=$1 new=/etc/logrotate.d/.$1.tmp
cat >"$new"
chown root:root "$new"
chmod 0644 "$new"
if ! said=$(logrotate --debug "$new" 2>&1); then
  rm -f "$new"
  echo "logrotate refuses the file: $said" >&2
  exit 21
fi
sync -d "$new"
mv "$new" "/etc/logrotate.d/$name"
