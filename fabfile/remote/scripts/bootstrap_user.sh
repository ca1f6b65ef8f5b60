# Make a user who logs in by key only, or make an existing one so.
# arguments: USER SHELL LOCK (yes: no password opens the account)
set -eu
user=$1 shell=$2 lock=$3
getent passwd "$user" >/dev/null || useradd --create-home --user-group --shell "$shell" --password '*' "$user"
[ "$(getent passwd "$user" | cut -d: -f7)" = "$shell" ] || usermod --shell "$shell" "$user"
# "*", not "!": without PAM sshd takes "!" for a closed account and refuses keys too.
[ "$lock" != yes ] || [ "$(passwd --status "$user" | cut -d' ' -f2)" = L ] || usermod --password '*' "$user"
