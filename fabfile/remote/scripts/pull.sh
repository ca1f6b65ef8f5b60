# Pull an image and keep it under the project's own tag, so that a rollback needs no registry.
# arguments: PROJECT VERSION IMAGE
set -eu
project=$1 version=$2 image=$3
docker image inspect "$image" >/dev/null 2>&1 || docker pull "$image" 2>&1
docker tag "$image" "$project:$version"
docker image inspect --format 'image {{.Id}}' "$project:$version"
