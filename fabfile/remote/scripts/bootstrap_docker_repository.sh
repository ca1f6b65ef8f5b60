# Add Docker's own apt repository; its key is accepted only with the pinned fingerprint.
# arguments: DISTRIBUTION CODENAME FINGERPRINT
# exit: 21 when the key is another one; nothing was changed then
set -eu
distribution=$1 codename=$2 fingerprint=$3
base=https://download.docker.com/linux/$distribution
install -d -m 0755 /etc/apt/keyrings
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 0700 "$scratch"
curl --fail --silent --show-error --location --retry 3 --max-time 60 --output "$scratch/key" "$base/gpg"
found=$(GNUPGHOME=$scratch gpg --batch --show-keys --with-colons "$scratch/key" |
  awk -F: '$1 == "pub" { primary = 1 } $1 == "fpr" && primary { print $10; primary = 0 }')
if [ "$found" != "$fingerprint" ]; then
  echo "the key at $base/gpg is not Docker's: expected $fingerprint, found ${found:-none}" >&2
  exit 21
fi
cp "$scratch/key" /etc/apt/keyrings/.docker.tmp
chmod 0644 /etc/apt/keyrings/.docker.tmp
mv /etc/apt/keyrings/.docker.tmp /etc/apt/keyrings/docker.asc
line="deb [arch=$(dpkg --print-architecture) signed-by=/etc/apt/keyrings/docker.asc] $base $codename stable"
printf '%s\n' "$line" >/etc/apt/sources.list.d/.docker.tmp
chmod 0644 /etc/apt/sources.list.d/.docker.tmp
mv /etc/apt/sources.list.d/.docker.tmp /etc/apt/sources.list.d/docker.list
rm -f /run/slipway-apt-update
