# Wait until every replica of a colour answers its health path and is healthy for Docker too.
# arguments: PROJECT COLOUR MODE SECONDS PATH HOST PORT... (MODE as for start)
# exit: 21 when a replica died or the time is over; the reason, last log lines and health log are printed
set -u
project=$1 colour=$2 mode=$3 seconds=$4 path=$5 host=$6
shift 6
end=$(($(date +%s) + seconds))
ids=$(docker ps --all --quiet --filter "label=slipway.project=$project" --filter "label=slipway.colour=$colour" \
  --filter label=com.docker.compose.oneoff=False)

give_up() {
  echo "@@ reason"
  echo "$1"
  for id in $ids; do
    echo "@@ log $(docker inspect --format '{{slice .Name 1}}' "$id")"
    docker logs --tail 30 "$id" 2>&1
    docker inspect --format '{{if .State.Health}}{{range .State.Health.Log}}health check: exit {{.ExitCode}} {{.Output}}{{end}}{{end}}' "$id" | tail -n 5
  done
  exit 21
}

[ -n "$ids" ] || give_up 'no container was started'
turn=0 said=''
while :; do
  answering=0 last=''
  for port in "$@"; do
    # A container that has ended leaves its port without an answer of any kind: do not wait for one, look at once.
    code=$(curl --silent --output /dev/null --connect-timeout 0.2 --max-time 5 --write-out '%{http_code}' \
      --header "Host: $host" "http://127.0.0.1:$port$path") || [ $? -ne 28 ] || turn=0
    case $code in
      2??) answering=$((answering + 1)) ;;
      000) last='no answer yet' ;;
      *) last="$path answers $code" ;;
    esac
  done
  if [ $answering -eq $# ] || [ $((turn % 4)) -eq 0 ]; then
    # shellcheck disable=SC2086 # ids are words
    states=$(docker inspect --format \
      '{{.State.Status}} {{.RestartCount}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}} {{.State.ExitCode}} {{.State.OOMKilled}} {{slice .Name 1}}' $ids)
    healthy=0
    while read -r status restarts health exit_code killed name; do
      [ "$killed" = true ] && give_up "$name ran out of memory"
      # Containers that are started again keep their count of restarts; new ones begin with none.
      [ "$restarts" = 0 ] || [ "$mode" = again ] || give_up "$name ended by itself and was restarted (exit code $exit_code)"
      [ "$status" = running ] || give_up "$name is $status (exit code $exit_code)"
      case $health in
        healthy | none) healthy=$((healthy + 1)) ;;
        unhealthy) give_up "$name is unhealthy by its own health check" ;;
        *) [ $answering -eq $# ] && last="$name: health check is $health" ;;
      esac
    done <<EOF
$states
EOF
    [ $answering -eq $# ] && [ $healthy -eq $# ] && break
  fi
  [ "$(date +%s)" -lt "$end" ] || give_up "not healthy after $seconds s: $answering of $# replicas answer, last: $last"
  now="$answering of $# replicas answer; $last"
  [ "$now" = "$said" ] || echo "$now"
  said=$now turn=$((turn + 1))
  # Soon there: only Docker's own check is still to come.
  if [ $answering -eq $# ]; then sleep 0.02; else sleep 0.05; fi
done
echo "$answering of $# replicas healthy"
