# Run a command as root: as it is when we are, through sudo without a password when we are not.
# arguments: COMMAND...
# exit: 77 when neither is possible
[ "$(id -u)" != 0 ] || exec "$@"
if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
  exec sudo -n -- "$@"
fi
echo "$(id -un) is not root and sudo without a password is not allowed" >&2
exit 77
