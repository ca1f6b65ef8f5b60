#!/bin/sh
# The start of the official image: own /data, drop privileges, become redis-server.
set -eu

if [ "${1#-}" != "$1" ] || [ "${1%.conf}" != "$1" ]; then
	set -- redis-server "$@"
fi
if [ "$1" = redis-server ]; then
	if [ "$(id -u)" = 0 ]; then
		find . \! -user redis -exec chown redis '{}' +
		exec setpriv --reuid=redis --regid=redis --init-groups "$0" "$@"
	fi
	# The official image is built with protected mode off (a container's own network protects it); Debian's is not.
	configured=
	for argument; do
		case $argument in
		--protected-mode) configured=yes ;;
		*.conf) if grep -q '^[[:space:]]*protected-mode' "$argument"; then configured=yes; fi ;;
		esac
	done
	[ -n "$configured" ] || set -- "$@" --protected-mode no
	if [ "$(umask)" = 0022 ]; then
		umask 0077
	fi
fi
exec "$@"
