# Add public keys to a user's authorized_keys and set owner and modes; keys that are there stay.
# arguments: USER; standard input: the lines to add
set -eu
user=$1
home=$(getent passwd "$user" | cut -d: -f6)
group=$(id -gn "$user")
file=$home/.ssh/authorized_keys
chmod go-w "$home"
install -d -m 0700 -o "$user" -g "$group" "$home/.ssh"
new=$(mktemp "$file.XXXXXX")
{
  # awk ends the last line, whoever wrote it
  [ ! -e "$file" ] || awk 1 "$file"
  cat
} >"$new"
chown "$user:$group" "$new"
chmod 0600 "$new"
sync -d "$new"
mv "$new" "$file"
