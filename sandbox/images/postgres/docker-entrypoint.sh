#!/bin/bash
# The start of the official image: own the data directory, drop privileges, initialise an empty one once, become postgres.
set -Eeuo pipefail

fail() {
	printf 'Error: %s\n' "$1" >&2
	exit 1
}

# POSTGRES_PASSWORD_FILE and its like name a file that holds the value.
read_setting() {
	local name=$1 default=${2-} file_name="$1_FILE"
	if [ -n "${!name-}" ] && [ -n "${!file_name-}" ]; then
		fail "both $name and $file_name are set (but are exclusive)"
	fi
	local value=${!name-}
	if [ -n "${!file_name-}" ]; then
		value=$(<"${!file_name}")
	fi
	export "$name=${value:-$default}"
	unset "$file_name"
}

own_directories() {
	mkdir -p "$PGDATA" /var/run/postgresql
	chmod 0700 "$PGDATA"
	chmod 3775 /var/run/postgresql
	find "$PGDATA" /var/run/postgresql \! -user postgres -exec chown postgres '{}' +
}

initialise() {
	if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
		fail 'Database is uninitialized and superuser password is not specified: set POSTGRES_PASSWORD.'
	fi
	local options=()
	eval "options=(${POSTGRES_INITDB_ARGS-})"
	[ -z "${POSTGRES_INITDB_WALDIR-}" ] || options+=(--waldir "$POSTGRES_INITDB_WALDIR")
	initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${options[@]}"
	printf '\nhost all all all %s\n' "$POSTGRES_HOST_AUTH_METHOD" >>"$PGDATA/pg_hba.conf"

	# Nobody may see the database before it is complete: this server listens on its socket only.
	PGPASSWORD=$POSTGRES_PASSWORD pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -p 5432" -w start
	if [ "$POSTGRES_DB" != postgres ]; then
		psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --no-password --no-psqlrc --dbname postgres \
			--set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
	fi
	run_initialisation_files
	pg_ctl -D "$PGDATA" -m fast -w stop
	printf '\nPostgreSQL init process complete; ready for start up.\n\n'
}

run_sql() {
	psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --no-password --no-psqlrc --dbname "$POSTGRES_DB" "$@"
}

run_initialisation_files() {
	local file
	for file in /docker-entrypoint-initdb.d/*; do
		case $file in
		*.sh)
			printf '%s: running %s\n' "$0" "$file"
			# shellcheck source=/dev/null
			if [ -x "$file" ]; then "$file"; else . "$file"; fi
			;;
		*.sql) printf '%s: running %s\n' "$0" "$file" && run_sql -f "$file" ;;
		*.sql.gz) printf '%s: running %s\n' "$0" "$file" && gunzip -c "$file" | run_sql ;;
		*.sql.xz) printf '%s: running %s\n' "$0" "$file" && xzcat "$file" | run_sql ;;
		*.sql.zst) printf '%s: running %s\n' "$0" "$file" && zstd -dc "$file" | run_sql ;;
		/docker-entrypoint-initdb.d/\*) ;;
		*) printf '%s: ignoring %s\n' "$0" "$file" ;;
		esac
	done
}

wants_help() {
	local argument
	for argument; do
		case $argument in
		-'?' | --help | --describe-config | -V | --version) return 0 ;;
		esac
	done
	return 1
}

if [ "${1:0:1}" = - ]; then
	set -- postgres "$@"
fi
if [ "$1" = postgres ] && ! wants_help "$@"; then
	if [ "$(id -u)" = 0 ]; then
		own_directories
		exec setpriv --reuid=postgres --regid=postgres --init-groups "${BASH_SOURCE[0]}" "$@"
	fi
	if [ ! -s "$PGDATA/PG_VERSION" ]; then
		read_setting POSTGRES_PASSWORD
		read_setting POSTGRES_USER postgres
		read_setting POSTGRES_DB "$POSTGRES_USER"
		read_setting POSTGRES_INITDB_ARGS
		export POSTGRES_HOST_AUTH_METHOD=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
		initialise
	fi
fi
exec "$@"
