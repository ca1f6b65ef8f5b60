# Build the image of a release on the server.
# arguments: PROJECT VERSION CONTEXT DOCKERFILE
set -eu
project=$1 version=$2 context=$3 dockerfile=$4
cd "/opt/projects/$project/releases/$version/source/$context"
DOCKER_BUILDKIT=1 docker build --progress plain --tag "$project:$version" --build-arg "VERSION=$version" \
  --label "slipway.project=$project" --label "slipway.release=$version" --file "$dockerfile" . 2>&1
docker image inspect --format 'image {{.Id}}' "$project:$version"
