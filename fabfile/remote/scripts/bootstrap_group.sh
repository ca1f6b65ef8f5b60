# Make a user a member of a group.
# arguments: USER GROUP
set -eu
usermod --append --groups "$2" "$1"
