# Fetch an image.
# arguments: IMAGE
set -eu
docker pull "$1" 2>&1
