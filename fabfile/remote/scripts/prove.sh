# Ask through the front door, over fresh connections, until the wanted release has answered COUNT times in a row.
# arguments: DOMAIN PATH COUNT SECONDS ADDRESS...
# exit: 21 when it did not within the time
set -u
domain=$1 path=$2 count=$3 seconds=$4
shift 4

ask() {
  # prints status code and, for the server itself, which upstream answered
  curl --silent --output /dev/null --max-time 10 --dump-header - --header "Host: $domain" \
    --header 'X-Slipway-Probe: 1' "http://127.0.0.1$path" | tr -d '\r' |
    awk 'NR == 1 { code = $2 } tolower($1) == "x-slipway-upstream:" { $1 = ""; upstream = $0 } END { print code upstream }'
}

end=$(($(date +%s) + seconds))
good=0 last='nothing yet'
while [ $good -lt "$count" ]; do
  answer=$(ask)
  found=no
  for address in "$@"; do
    case $answer in
      2??" $address") found=yes ;;
    esac
  done
  if [ $found = yes ]; then
    good=$((good + 1))
  else
    good=0 last=$answer
    if [ "$(date +%s)" -ge "$end" ]; then
      echo "the front door answered: ${last:-nothing}" >&2
      exit 21
    fi
    sleep 0.05
  fi
done
echo "$good answers in a row"
