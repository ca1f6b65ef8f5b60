#!/bin/sh
# What an init does on a server: make the mounts usable, start the services, stop everything cleanly on SIGTERM.
set -u

shut_down() {
	trap '' TERM INT
	if [ -x /etc/init.d/docker ]; then
		service docker stop
	fi
	# Containers that outlive their daemon (live-restore), sshd, cron: all get their chance to end by themselves.
	kill -TERM -1 2>/dev/null
	waited=0
	while [ "$waited" -lt 40 ] && kill -0 -1 2>/dev/null; do
		sleep 0.2
		waited=$((waited + 1))
	done
	exit 0
}
trap shut_down TERM INT

mount -o remount,rw /sys
mkdir -p /run/sshd /run/lock
ssh-keygen -A
for service in ssh cron docker; do
	if [ -x "/etc/init.d/$service" ]; then
		service "$service" start
	fi
done

# `wait` returns at once on a signal and reaps whatever was left to process 1; a foreground sleep would do neither.
while :; do
	sleep 3600 &
	wait "$!"
done
