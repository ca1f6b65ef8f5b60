# Take a lock and hold it until standard input ends; meanwhile keep the holder's record and the journal.
# arguments: DIRECTORY WAIT_SECONDS BUSY_SECONDS
# exit: 11 held by somebody (the record is printed), 12 an old command is still running, 13 no such directory
set -eu
umask 077
directory=$1 wait=$2 busy=$3
[ -d "$directory" ] || exit 13
cd "$directory"
exec 8>>lock
if ! flock -w "$wait" 8; then
  cat holder.json 2>/dev/null || echo '{}'
  exit 11
fi
# Commands hold a shared lock on `busy` while they run: wait for those of a client that died.
flock -w "$busy" busy true || exit 12
echo held
while IFS= read -r line; do
  case $line in
    'R '*)
      printf '%s\n' "${line#R }" >holder.json.tmp
      mv holder.json.tmp holder.json
      ;;
    'J '*)
      printf '%s\n' "${line#J }" >>journal.jsonl
      sync -d journal.jsonl 2>/dev/null || true
      ;;
  esac
done
rm -f holder.json holder.json.tmp
