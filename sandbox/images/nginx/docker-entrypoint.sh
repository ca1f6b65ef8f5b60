#!/bin/sh
# The start of the official image: run what was put into /docker-entrypoint.d, then become nginx.
set -eu

if [ "$1" = nginx ] || [ "$1" = nginx-debug ]; then
	for file in /docker-entrypoint.d/*; do
		case $file in
		*.envsh)
			# shellcheck source=/dev/null
			if [ -x "$file" ]; then . "$file"; fi
			;;
		*.sh) if [ -x "$file" ]; then "$file"; fi ;;
		esac
	done
fi
exec "$@"
