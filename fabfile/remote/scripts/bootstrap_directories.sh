# Make directories, or give existing ones their owner and mode; what lies in them is not touched.
# arguments: OWNER MODE:PATH...
set -eu
owner=$1
group=$(id -gn "$owner")
shift
for entry in "$@"; do
  install -d -m "${entry%%:*}" -o "$owner" -g "$group" "${entry#*:}"
done
