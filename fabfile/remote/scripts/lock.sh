# Take a lock and hold it until standard input ends; meanwhile keep the holder's record and the journal.
# arguments: DIRECTORY WAIT_SECONDS BUSY_SECONDS RECORD_JSON
# output: "busy" each second while an old command still runs, then "held"
# exit: 11 held by somebody (the record is printed), 12 an old command is still running, 13 no such directory
set -eu
umask 077
directory=$1 wait=$2 busy=$3 record=$4
[ -d "$directory" ] || exit 13
cd "$directory"
exec 8>>lock
if ! flock -w "$wait" 8; then
  cat holder.json 2>/dev/null || echo '{}'
  exit 11
fi
replace() {
  printf '%s\n' "$1" >holder.json.tmp
  mv holder.json.tmp holder.json
}
replace "$record"
# Commands hold a shared lock on `busy` while they run: wait for those of a client that died. Each second something is
# printed, so that this ends too when our own client is gone.
until flock -w 1 busy true; do
  busy=$((busy - 1))
  [ "$busy" -gt 0 ] || exit 12
  echo busy
done
echo held
while IFS= read -r line; do
  case $line in
    'R '*) replace "${line#R }" ;;
    'J '*)
      printf '%s\n' "${line#J }" >>journal.jsonl
      sync -d journal.jsonl 2>/dev/null || true
      ;;
  esac
done
rm -f holder.json holder.json.tmp
