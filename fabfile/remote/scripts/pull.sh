# Pull an image and keep it under the project's own tag, so that a rollback needs no registry.
# arguments: PROJECT VERSION IMAGE
set -eu
project=$1 version=$2 image=$3
case $image in
  # What a digest names never changes; a tag may have moved since.
  *@sha256:*) docker image inspect "$image" >/dev/null 2>&1 || docker pull "$image" 2>&1 ;;
  *)
    if ! said=$(docker pull "$image" 2>&1); then
      echo "$said"
      docker image inspect "$image" >/dev/null 2>&1 || exit 1
      echo "the registry does not answer: the image that is here already is used"
    fi
    ;;
esac
docker tag "$image" "$project:$version"
docker image inspect --format 'image {{.Id}}' "$project:$version"
