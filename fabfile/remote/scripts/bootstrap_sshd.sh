# Put our settings of sshd in force; open connections stay.
# arguments: none; standard input: the drop-in file
# exit: 21 when sshd refuses them; the old file is back then
set -eu
file=/etc/ssh/sshd_config.d/10-slipway.conf
before=$file.before
rm -f "$before"
[ ! -e "$file" ] || cp -p "$file" "$before"
cat >"$file.tmp"
chmod 0644 "$file.tmp"
mv "$file.tmp" "$file"
if ! said=$(PATH="$PATH:/usr/sbin" sshd -t 2>&1); then
  if [ -e "$before" ]; then mv "$before" "$file"; else rm -f "$file"; fi
  echo "sshd refuses the settings, the old ones are back: $said" >&2
  exit 21
fi
rm -f "$before"
if [ -d /run/systemd/system ]; then systemctl reload ssh; else service ssh reload; fi
