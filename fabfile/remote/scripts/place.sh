# Put an uploaded release in its place and write its compose file for one colour.
# arguments: PROJECT VERSION COLOUR RECORD_JSON; standard input: the compose file
set -eu
project=$1 version=$2 colour=$3 record=$4
cd "/opt/projects/$project/releases"
mkdir -p "$version"
# The project's own files are in a directory of their own: what is written here must not get into the image.
if [ -d "$version.partial" ]; then
  rm -rf "$version/source.old"
  if [ -d "$version/source" ]; then mv "$version/source" "$version/source.old"; fi
  mv "$version.partial" "$version/source"
  rm -rf "$version/source.old"
fi
cat >"$version/.compose.tmp"
mv "$version/.compose.tmp" "$version/compose.$colour.yml"
if [ -n "$record" ]; then
  printf '%s\n' "$record" >"$version/.release.tmp"
  mv "$version/.release.tmp" "$version/release.json"
fi
