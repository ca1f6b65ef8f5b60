"""The servers of a sandbox: containers with sshd and a Docker Engine of their own, made, started and stopped."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from fabfile.model.failure import Failure
from sandbox import engine, images, inventory
from sandbox.engine import docker, succeeds
from sandbox.inventory import Host, Sandbox
from sandbox.programs import Say, progress, run

LABEL = "slipway.sandbox"
BOOT_SECONDS = 60
STOP_SECONDS = 30
LOAD_SECONDS = 300
# In the volume, so that it lives and dies with the images it speaks of.
LOADED = "/var/lib/docker/slipway-loaded.json"
# What dockerd, apt and sshd need. Not --privileged: where the calling engine lacks a capability (nested containers),
# runc refuses to grant it; and nobody needs to set this machine's clock or load its modules.
CAPABILITIES = (
    "DAC_READ_SEARCH",
    "IPC_LOCK",
    "IPC_OWNER",
    "LEASE",
    "LINUX_IMMUTABLE",
    "NET_ADMIN",
    "NET_BROADCAST",
    "SYS_ADMIN",
    "SYS_NICE",
    "SYS_PTRACE",
    "SYSLOG",
)
EMPTY_ENGINE = """
docker ps -aq | xargs -r docker rm -f
docker volume ls -q | xargs -r docker volume rm -f
docker network prune -f
# Containers of before, which the engine started first of all, have had their mounted directories made anew, by root.
rm -rf /opt/*
"""


@dataclass(frozen=True)
class Status:
    """What `sandbox.status` shows of one host."""

    sandbox: str
    host: Host
    state: str
    docker: str | None


def up(
    name: str = "sandbox",
    hosts: int | None = None,
    say: Say = print,
    *,
    bare: bool | None = None,
    fresh: bool = False,
) -> Sandbox:
    """Return a sandbox whose servers are up and answer over SSH; whatever is missing is made.

    Arguments:
        hosts: how many servers at least; as before, or one, when not given.
        bare: servers without Docker, to try a bootstrap on; as before, or no, when not given.
        fresh: make the servers new: nothing but their images stays.
    """
    inventory.checked(name)
    with inventory.locked(say):
        engine.ensure(say)
        known = inventory.load(name) or Sandbox(name, bare=bool(bare))
        if bare is not None and bare != known.bare and known.hosts and not fresh:
            kind = "bare" if known.bare else "with Docker"
            raise Failure(f"sandbox {name} was made {kind}", then=f"./inv sandbox.down --purge --name {name}")
        wanted = replace(known, bare=known.bare if bare is None else bare)
        machine = images.BARE if wanted.bare else images.SERVER
        stock = images.prepare(machine, say, with_services=not wanted.bare)
        sandbox = with_hosts(wanted, max(hosts or 1, len(known.hosts)))
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda host: start(sandbox, host, machine.tag, say, fresh=fresh), sandbox.hosts))
        equipped = [host for host in sandbox.hosts if has_docker(host)]
        if equipped and not stock.services:
            stock = images.prepare(machine, say, with_services=True)
        tags = list(stock.services.values())
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda host: load(host, tags, say), equipped))
        differing = {} if stock.official else {key: tag for key, tag in stock.services.items() if "sandbox/" in tag}
        sandbox = replace(sandbox, images=differing or known.images)
        inventory.save(sandbox)
        write_inventory()
    return sandbox


def down(name: str, say: Say, *, purge: bool) -> None:
    """Shut a sandbox's servers down; with `purge` remove all that is left of them."""
    inventory.checked(name)
    with inventory.locked(say):
        sandbox = inventory.load(name)
        if sandbox is None:
            say(f"there is no sandbox {name}")
            return
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda host: stop(host, say, purge=purge), sandbox.hosts))
        if purge:
            shutil.rmtree(sandbox.folder)
            say(f"{name}: removed; the images stay (`docker image ls --filter label={images.LABEL}`)")
        write_inventory()


def status() -> list[Status]:
    """Return how every known server is."""
    found = []
    for sandbox in inventory.load_all():
        for host in sandbox.hosts:
            state = container_state(host) or "absent"
            found.append(Status(sandbox.name, host, state, docker_version(host) if state == "running" else None))
    return found


def ssh_command(sandbox: Sandbox, host: Host, *, user: str = "root") -> list[str]:
    """Return the ssh command that opens a host, trusting the key we gave it and no other."""
    options = {
        "UserKnownHostsFile": str(sandbox.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "LogLevel": "ERROR",
    }
    flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    return [
        "ssh",
        "-F",
        "/dev/null",
        *flags,
        "-i",
        str(sandbox.identity_file),
        "-p",
        str(host.ssh_port),
        f"{user}@127.0.0.1",
    ]


def with_hosts(sandbox: Sandbox, count: int) -> Sandbox:
    """Return the sandbox with its keys made and its hosts named, keyed and given ports; what was chosen once stays."""
    sandbox.folder.mkdir(mode=0o700, exist_ok=True)
    make_key(sandbox.identity_file, comment=f"slipway sandbox {sandbox.name}")
    taken = {port for other in inventory.load_all() for host in other.hosts for port in host.ports.values()}
    hosts = list(sandbox.hosts)
    for number in range(len(hosts) + 1, count + 1):
        host_name = inventory.host_name(sandbox.name, number)
        ports = inventory.free_ports(taken)
        taken |= set(ports.values())
        key = make_key(host_key_file(sandbox, host_name), comment=host_name)
        # Two clones of the repository on one machine must not take each other's containers.
        container = f"slipway-{hashlib.sha256(str(inventory.ROOT).encode()).hexdigest()[:6]}-{host_name}"
        hosts.append(
            Host(host_name, container, f"{container}-docker", ports["ssh"], ports["http"], ports["https"], key)
        )
    complete = replace(sandbox, hosts=tuple(hosts))
    inventory.replace(complete.known_hosts, inventory.known_hosts(hosts))
    inventory.save(complete)
    return complete


def host_key_file(sandbox: Sandbox, host_name: str) -> Path:
    """Return where the private host key of a server lies on our side."""
    return sandbox.folder / f"{host_name}.host_key"


def make_key(file: Path, *, comment: str) -> str:
    """Return a public key without its comment, after making the pair if there is none."""
    public = file.with_name(f"{file.name}.pub")
    if not file.exists() or not public.exists():
        file.unlink(missing_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(file)])
    return " ".join(public.read_text().split()[:2])


def start(sandbox: Sandbox, host: Host, image: str, say: Say, *, fresh: bool) -> None:
    """Leave one server running and answering over SSH."""
    if fresh:
        docker("rm", "-f", "-v", host.container, timeout=STOP_SECONDS * 2)
    state = container_state(host)
    if state == "running" and accepts_ssh(sandbox, host):
        say(f"{host.name}: already up")
        return
    with progress(say, f"{host.name}: starting"):
        if state is None:
            create(sandbox, host, image)
        if state != "running":
            docker("start", host.container)
        wait_until(lambda: accepts_ssh(sandbox, host), f"{host.name} does not answer over SSH", host)
        if has_docker(host):
            wait_until(
                lambda: docker_version(host) is not None, f"{host.name}: its Docker Engine does not answer", host
            )
            if state is None:
                docker("exec", host.container, "sh", "-c", EMPTY_ENGINE, timeout=STOP_SECONDS * 2)
    say(f"{host.name}: up, ssh on 127.0.0.1:{host.ssh_port}, http on {host.http_port}, https on {host.https_port}")


def create(sandbox: Sandbox, host: Host, image: str) -> None:
    """Make the container of a server, with its host key and our public key in place before it first starts."""
    flags = [
        *("--name", host.container, "--hostname", host.name),
        *("--label", f"{LABEL}={sandbox.name}", "--stop-timeout", str(STOP_SECONDS)),
        *(word for capability in CAPABILITIES for word in ("--cap-add", capability)),
        *(word for kind in ("seccomp", "apparmor", "systempaths") for word in ("--security-opt", f"{kind}=unconfined")),
        *("--cgroupns", "host", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw"),
        *("--volume", f"{host.volume}:/var/lib/docker"),
        # emptied by a restart, as on a real server: a left over docker.pid would keep dockerd from starting
        *("--tmpfs", "/run:exec"),
        *(word for inner, outer in host.ports.items() for word in ("--publish", f"127.0.0.1:{outer}:{inner}")),
    ]
    docker("create", *flags, image)
    try:
        docker("cp", "-", f"{host.container}:/", stdin=keys_archive(sandbox, host))
    except Failure:
        # Nobody could ever log in to it.
        docker("rm", "-f", host.container)
        raise


def keys_archive(sandbox: Sandbox, host: Host) -> bytes:
    """Return the files that make a server ours, as a tar archive of its root."""
    private = host_key_file(sandbox, host.name)
    public = sandbox.identity_file.with_name(f"{sandbox.identity_file.name}.pub")
    files = {
        "etc/ssh/ssh_host_ed25519_key": (private.read_bytes(), 0o600),
        "etc/ssh/ssh_host_ed25519_key.pub": (f"{host.host_key} {host.name}\n".encode(), 0o644),
        "root/.ssh/authorized_keys": (public.read_bytes(), 0o600),
    }
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def stop(host: Host, say: Say, *, purge: bool) -> None:
    """Stop one server; with `purge` remove its container and its images' volume."""
    state = container_state(host)
    if state == "running":
        with progress(say, f"{host.name}: stopping"):
            docker("stop", "--time", str(STOP_SECONDS), host.container, timeout=STOP_SECONDS * 2)
        say(f"{host.name}: stopped" + ("" if purge else "; `./inv sandbox.up` starts it again with all that is on it"))
    elif not purge:
        say(f"{host.name}: already {'absent' if state is None else 'stopped'}")
    if purge:
        if state is not None:
            docker("rm", "-f", "-v", host.container, timeout=STOP_SECONDS * 2)
        if succeeds("volume", "inspect", host.volume):
            docker("volume", "rm", host.volume, timeout=STOP_SECONDS * 2)


def load(host: Host, tags: Collection[str], say: Say) -> None:
    """Move the images that a server's engine lacks into it, in one stream since they share layers."""
    ids = {tag: image.id for tag, image in images.present(tags).items()}
    loaded = loaded_images(host)
    missing = [tag for tag in tags if loaded.get(tag) != ids[tag]]
    if not missing:
        return
    with progress(say, f"{host.name}: loading {', '.join(missing)}"):
        with subprocess.Popen(["docker", "save", *missing], stdout=subprocess.PIPE) as source:
            docker("exec", "-i", host.container, "docker", "load", stdin=source.stdout, timeout=LOAD_SECONDS)
        if source.returncode != 0:
            raise Failure(f"`docker save {' '.join(missing)}` ended with status {source.returncode}")
        record = json.dumps({**loaded, **{tag: ids[tag] for tag in missing}}).encode()
        docker("exec", "-i", host.container, "sh", "-c", f"cat >{LOADED}", stdin=record)


def loaded_images(host: Host) -> Mapping[str, str]:
    """Return what `load` has moved into a server and is still there: ids on our side, by tag.

    Ids of both sides cannot be compared: engines that store images in containerd count another digest.
    """
    listed = ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]
    there = set(docker("exec", host.container, *listed).split())
    if not succeeds("exec", host.container, "test", "-s", LOADED):
        return {}
    record: dict[str, str] = json.loads(docker("exec", host.container, "cat", LOADED))
    return {tag: image_id for tag, image_id in record.items() if tag in there}


def container_state(host: Host) -> str | None:
    """Return the state of a server's container (running, exited, ...), None when there is none."""
    filters = ["--filter", f"name=^{host.container}$", "--format", "{{.State}}"]
    return docker("ps", "--all", *filters).strip() or None


def accepts_ssh(sandbox: Sandbox, host: Host) -> bool:
    """Return whether one can log in as root, and the key is the one we made."""
    command = [*ssh_command(sandbox, host), "-o", "ConnectTimeout=5", "true"]
    return (
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=15, check=False).returncode == 0
    )


def has_docker(host: Host) -> bool:
    """Return whether Docker is installed in a server."""
    return succeeds("exec", host.container, "test", "-x", "/usr/sbin/dockerd")


def docker_version(host: Host) -> str | None:
    """Return the version of the Docker Engine that runs in a server."""
    try:
        return docker("exec", host.container, "docker", "version", "--format", "{{.Server.Version}}").strip()
    except Failure:
        return None


def wait_until(ready: Callable[[], bool], what: str, host: Host) -> None:
    """Return when `ready` says so; otherwise fail with the server's last lines."""
    deadline = time.monotonic() + BOOT_SECONDS
    while not ready():
        if time.monotonic() > deadline or container_state(host) != "running":
            logs = docker("logs", "--tail", "10", host.container).splitlines()
            raise Failure(what, details=tuple(logs), then=f"docker logs {host.container}")
        time.sleep(0.2)


def write_inventory() -> None:
    """Write `.sandbox/hosts.toml` with every server that runs."""
    running = docker("ps", "--filter", f"label={LABEL}", "--format", "{{.Names}}").split()
    inventory.replace(inventory.FOLDER / "hosts.toml", inventory.hosts_toml(inventory.load_all(), running))
