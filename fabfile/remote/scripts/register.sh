# Replace the port registry as a whole.
# standard input: its text
set -eu
file=/opt/projects/.port-registry.json
cat >"$file.tmp"
# Whatever the login's umask is: bootstrap wants just this.
chmod 0644 "$file.tmp"
sync -d "$file.tmp"
mv "$file.tmp" "$file"
