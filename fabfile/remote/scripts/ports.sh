# The port registry and the ports that something listens on.
cat /opt/projects/.port-registry.json 2>/dev/null
echo
echo '@@ listening'
ss -Hltn | while read -r _ _ _ address _; do echo "${address##*:}"; done
# Ports that stopped containers will want again
docker ps --all --quiet | xargs -r docker inspect \
  --format '{{range .HostConfig.PortBindings}}{{range .}}{{println .HostPort}}{{end}}{{end}}'
echo '@@ end'
