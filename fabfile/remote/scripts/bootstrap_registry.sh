# Make the port registry if there is none; one that is there keeps its content.
# arguments: USER; standard input: the empty registry
set -eu
user=$1 file=/opt/projects/.port-registry.json
scratch=$(mktemp "$file.XXXXXX")
trap 'rm -f "$scratch"' EXIT
cat >"$scratch"
sync -d "$scratch"
# A link fails where the file exists: nobody's first project is lost between look and write.
[ -e "$file" ] || ln "$scratch" "$file" || [ -e "$file" ]
chmod 0644 "$file"
chown "$user:$(id -gn "$user")" "$file"
