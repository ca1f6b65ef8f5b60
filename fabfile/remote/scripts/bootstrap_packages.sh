# Install packages of the configured repositories; the lists are fetched first, once for several calls in a row.
# arguments: PACKAGE... (none: only the lists are fetched)
set -eu
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 LC_ALL=C
stamp=/run/slipway-apt-update
if [ -z "$(find $stamp -mmin -10 2>/dev/null)" ]; then
  # Right after the first boot the system updates itself; apt waits for dpkg's lock, but not for the one of its lists.
  lock=/var/lib/apt/lists/lock waited=0
  while [ -e $lock ] && grep -q ":$(stat -c %i $lock) " /proc/locks && [ $waited -lt 120 ]; do
    [ $waited -gt 0 ] || echo 'waiting for another apt to end'
    sleep 2
    waited=$((waited + 2))
  done
  apt-get update -o Acquire::Retries=3 2>&1
  touch $stamp
fi
[ $# -eq 0 ] || apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 \
  -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 "$@" 2>&1
