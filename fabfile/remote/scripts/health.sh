# Ask the front door and every replica for the health path.
# arguments: DOMAIN PATH PORT...
# output: "WHERE CODE" for each
set -u
domain=$1 path=$2
shift 2
ask() {
  curl --silent --output /dev/null --max-time 10 --write-out '%{http_code}' --header "Host: $domain" "$1" || true
}
echo "front door $(ask "http://127.0.0.1$path")"
for port in "$@"; do
  echo "port $port $(ask "http://127.0.0.1:$port$path")"
done
