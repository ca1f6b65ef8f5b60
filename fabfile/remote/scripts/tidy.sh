# Remove releases and images by explicit list; never what `current` names.
# arguments: PROJECT NAME... where NAME is container:ID, release:VERSION, image:TAG or partial:DIRECTORY
set -eu
project=$1
shift
cd "/opt/projects/$project/releases"
current=$(readlink current 2>/dev/null || true)
for name in "$@"; do
  what=${name%%:*} which=${name#*:}
  case $which in
    '' | */* | .* | "$current") continue ;;
  esac
  case $what in
    container) docker rm "$which" >/dev/null ;; # without force: a running one stays
    release | partial) rm -rf -- "./$which" ;;
    image) docker image rm "$project:$which" >/dev/null 2>&1 || echo "image $project:$which is in use, kept" ;;
  esac
done
journal=../.deploy/journal.jsonl
if [ -f "$journal" ] && [ "$(wc -l <"$journal")" -gt 2000 ]; then
  tail -n 1000 "$journal" >"$journal.tmp"
  mv "$journal.tmp" "$journal"
fi
