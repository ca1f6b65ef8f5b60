# Put an uploaded release in its place and write its compose file for one colour.
# arguments: PROJECT VERSION COLOUR RECORD_JSON; standard input: the compose file
set -eu
project=$1 version=$2 colour=$3 record=$4
cd "/opt/projects/$project/releases"
if [ -d "$version.partial" ]; then
  if [ -d "$version" ]; then
    rm -rf "$version.old"
    mv "$version" "$version.old"
  fi
  mv "$version.partial" "$version"
  rm -rf "$version.old"
fi
mkdir -p "$version"
cat >"$version/.compose.tmp"
mv "$version/.compose.tmp" "$version/compose.$colour.yml"
if [ -n "$record" ]; then
  printf '%s\n' "$record" >"$version/.release.tmp"
  mv "$version/.release.tmp" "$version/release.json"
fi
