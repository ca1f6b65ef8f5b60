# Keep looking at the live colour for a while: its containers run, and the front door answers from them.
# arguments: PROJECT COLOUR SECONDS DOMAIN PATH ADDRESS...
# exit: 21 as soon as something is wrong; reason and last log lines are printed
set -u
project=$1 colour=$2 seconds=$3 domain=$4 path=$5
shift 5

ask() {
  # prints status code and, for the server itself, which upstream answered
  curl --silent --output /dev/null --max-time 10 --dump-header - --header "Host: $domain" \
    --header 'X-Slipway-Probe: 1' "http://127.0.0.1$path" | tr -d '\r' |
    awk 'NR == 1 { code = $2 } tolower($1) == "x-slipway-upstream:" { $1 = ""; upstream = $0 } END { print code upstream }'
}

end=$(($(date +%s) + seconds))
ids=$(docker ps --all --quiet --filter "label=slipway.project=$project" --filter "label=slipway.colour=$colour" \
  --filter label=com.docker.compose.oneoff=False)
seen=0 wrong=0

give_up() {
  echo "@@ reason"
  echo "$1"
  for id in $ids; do
    echo "@@ log $(docker inspect --format '{{slice .Name 1}}' "$id")"
    docker logs --tail 30 "$id" 2>&1
  done
  exit 21
}

look() {
  # shellcheck disable=SC2086 # ids are words
  docker inspect --format '{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}} {{slice .Name 1}}' $ids
}

# A container that was started again keeps its count of restarts: it must not grow.
first=$(look)
while [ "$(date +%s)" -lt "$end" ]; do
  now=$(look)
  if [ -z "$now" ]; then
    # One look that failed is no death.
    wrong=$((wrong + 1))
    [ $wrong -lt 3 ] || give_up 'Docker does not answer'
  elif [ "$now" != "$first" ]; then
    while read -r status _ exit_code name; do
      [ "$status" = running ] || give_up "$name ended by itself (exit code $exit_code)"
    done <<EOF
$now
EOF
    give_up 'a container ended by itself and was restarted'
  fi
  answer=$(ask)
  found=no
  for address in "$@"; do
    case $answer in
      2??" $address") found=yes ;;
    esac
  done
  if [ $found = yes ]; then
    seen=$((seen + 1)) wrong=0
  else
    wrong=$((wrong + 1))
    [ $wrong -lt 3 ] || give_up "the front door answered three times in a row: ${answer:-nothing}"
  fi
  sleep 0.2
done
echo "$seen answers, all from $colour"
