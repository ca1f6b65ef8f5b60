# Replace nginx's compose file, whole.
# arguments: none; standard input: the file
set -eu
file=/opt/nginx/compose.yml
cat >"$file.tmp"
chmod 0644 "$file.tmp"
sync -d "$file.tmp"
mv "$file.tmp" "$file"
