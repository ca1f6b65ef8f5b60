# Everything that server.bootstrap and server.doctor want to know of a server, in one round trip. Changes nothing.
# arguments: USER IMAGE DIRECTORY... (who deploys, nginx's image, the directories that should be there)
# output: sections, each begun by a line "@@ NAME"; what is not there or cannot be read is an empty section
set -u
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
user=$1 image=$2
shift 2
login=${SUDO_USER:-$(id -un)}
home_of() { getent passwd "$1" | cut -d: -f6; }
section() { printf '\n@@ %s\n' "$1"; }
have() { command -v "$1" >/dev/null 2>&1; }

section who
echo "$(id -u) $(id -un) $login"
section time
date +%s
section zone
cat /etc/timezone 2>/dev/null || readlink /etc/localtime
section os
cat /etc/os-release 2>/dev/null
section architecture
dpkg --print-architecture 2>/dev/null
section init
if [ -d /run/systemd/system ]; then echo systemd; else echo sysv; fi

section packages
dpkg-query --show --showformat '${db:Status-Abbrev} ${Package} ${Version}\n' \
  rsync curl ca-certificates cron logrotate iproute2 iptables procps gnupg util-linux coreutils \
  docker.io docker-cli docker-compose docker-compose-v2 docker-buildx docker-ce 2>/dev/null
section lists
find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' 2>/dev/null | wc -l
section candidates
if ! have dockerd || ! docker compose version >/dev/null 2>&1 || ! docker buildx version >/dev/null 2>&1; then
  apt-cache policy docker.io docker-cli docker-compose docker-compose-v2 docker-buildx docker-ce 2>/dev/null |
    awk '/^[^ ]/ { name = substr($1, 1, length($1) - 1) } $1 == "Candidate:" { print name, $2 }'
fi

section engine
dockerd --version 2>/dev/null
section client
have docker && readlink -f "$(command -v docker)"
section compose
docker compose version --short 2>/dev/null
section buildx
docker buildx version 2>/dev/null
section info
have docker && timeout 20 docker info --format '{{json .}}' 2>&1
section daemon-file
stat -c '%Y %a' /etc/docker/daemon.json 2>/dev/null
section daemon-json
cat /etc/docker/daemon.json 2>/dev/null
section daemon-started
pid=$(cat /run/docker.pid 2>/dev/null) && age=$(ps -o etimes= -p "$pid" 2>/dev/null) && echo $(($(date +%s) - age))
section routes
cat /proc/net/route

section services
for service in docker cron ssh; do
  running=no enabled=no
  if [ -d /run/systemd/system ]; then
    systemctl --quiet is-active $service && running=yes
    systemctl --quiet is-enabled $service 2>/dev/null && enabled=yes
    [ $service != ssh ] || ! systemctl --quiet is-enabled ssh.socket 2>/dev/null || enabled=yes
  else
    service $service status >/dev/null 2>&1 && running=yes
    for link in /etc/rc2.d/S??"$service"; do
      [ -e "$link" ] && enabled=yes
    done
  fi
  echo "$service $running $enabled"
done

section account
getent passwd "$user"
section password
passwd --status "$user" 2>/dev/null
section groups
id -nG "$user" 2>/dev/null
section ssh-modes
home=$(home_of "$user")
[ -z "$home" ] || stat -c '%a %U %n' "$home" "$home/.ssh" "$home/.ssh/authorized_keys" 2>/dev/null
section keys
[ -z "$home" ] || cat "$home/.ssh/authorized_keys" 2>/dev/null
section login-keys
cat "$(home_of "$login")/.ssh/authorized_keys" 2>/dev/null

section directories
stat -L -c '%a %U %G %F|%n' "$@" 2>/dev/null
section files
sha256sum /opt/nginx/nginx.conf /opt/nginx/conf.d/proxy.inc /opt/nginx/compose.yml \
  /etc/ssh/sshd_config.d/10-slipway.conf /etc/logrotate.d/slipway 2>/dev/null
section owners
stat -c '%a %U %n' /opt/nginx/nginx.conf /opt/nginx/conf.d/proxy.inc /opt/nginx/compose.yml \
  /etc/ssh/sshd_config.d/10-slipway.conf /etc/logrotate.d/slipway /opt/projects/.port-registry.json 2>/dev/null
section registry
cat /opt/projects/.port-registry.json 2>/dev/null

section sshd-include
grep -Ei '^[[:space:]]*Include[[:space:]].*sshd_config\.d/\*\.conf' /etc/ssh/sshd_config 2>/dev/null
section sshd
[ "$(id -u)" != 0 ] || sshd -T 2>/dev/null | grep -E '^(clientaliveinterval|clientalivecountmax|maxsessions) '

section image
docker image inspect --format '{{.Id}}' "$image" 2>/dev/null
section container
docker inspect --format \
  '{{json .State}} {{json .Config.Image}} {{json .HostConfig.NetworkMode}} {{json .Config.Cmd}} {{json .Mounts}} {{json .HostConfig.RestartPolicy}}' \
  nginx-nginx-1 2>/dev/null
section nginx-version
if docker image inspect "$image" >/dev/null 2>&1; then
  if [ "$(docker inspect --format '{{.State.Running}} {{.Config.Image}}' nginx-nginx-1 2>/dev/null)" = "true $image" ]; then
    docker exec nginx-nginx-1 nginx -v 2>&1
  else
    docker run --rm --network none --entrypoint nginx "$image" -v 2>&1
  fi
fi
section nginx-test
if [ "$(docker inspect --format '{{.State.Running}}' nginx-nginx-1 2>/dev/null)" = true ]; then
  docker exec nginx-nginx-1 nginx -t -c /opt/nginx/nginx.conf 2>&1
  echo "exit $?"
fi
section default-server
if have curl; then
  curl --silent --output /dev/null --max-time 5 --write-out '%{http_code} ' --header 'Host: unknown.invalid' http://127.0.0.1/
  echo $?
fi
section nginx-processes
master=$(docker inspect --format '{{.State.Pid}}' nginx-nginx-1 2>/dev/null) && [ "$master" != 0 ] &&
  echo "$master" && pgrep -P "$master"
section listeners
have ss && ss -Hltnp '( sport = :80 or sport = :443 )' 2>/dev/null
section published
for port in 80 443; do
  have docker && docker ps --filter "publish=$port" --format "$port {{.Names}}" 2>/dev/null
done
section end
