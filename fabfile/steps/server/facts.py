"""What is true of a server as a whole, observed in one round trip by `server_facts.sh`."""

from __future__ import annotations

import ipaddress
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fabfile.model.failure import Failure
from fabfile.remote.command import script
from fabfile.steps.facts import sections
from fabfile.steps.server.check import NOT_ROOT, as_root, version

if TYPE_CHECKING:
    from fabfile.model.inventory import Host
    from fabfile.remote.server import Remote

DEFAULT_NGINX_IMAGE = "nginx:1.30-alpine"
# Everything belongs to the user who deploys; what holds secrets or data is closed to others.
DIRECTORIES = {
    "/opt/deploy": "755",
    "/opt/deploy/lock": "700",
    "/opt/projects": "755",
    "/opt/nginx": "755",
    "/opt/nginx/conf.d": "755",
    "/opt/nginx/upstreams": "755",
    "/opt/nginx/ssl": "700",
    "/opt/nginx/logs": "755",
    "/opt/nginx/acme": "755",
    "/opt/backups": "700",
    "/opt/backups/databases": "700",
    "/opt/backups/configs": "700",
}


@dataclass(frozen=True, slots=True)
class Service:
    """A service of the system."""

    running: bool
    enabled: bool


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the system."""

    name: str
    home: str
    shell: str


@dataclass(frozen=True, slots=True)
class Place:
    """Mode, owner and group of a file or directory."""

    mode: str
    owner: str
    group: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """A network that the server reaches, and the interface it is reached through."""

    network: ipaddress.IPv4Network
    interface: str


@dataclass(frozen=True, slots=True)
class NginxContainer:
    """The container of nginx as it was made."""

    running: bool
    image: str
    network_mode: str
    command: tuple[str, ...]
    mounts: frozenset[tuple[str, str]]
    restart_policy: str


@dataclass(frozen=True, slots=True)
class Listener:
    """Something that listens on port 80 or 443; `processes` by id is empty when it may not be seen."""

    port: int
    processes: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """The state of a server.

    Arguments:
        root: whether it was root who looked; others do not see everything.
        viewer: who looked.
        clock_offset: seconds that the server's clock is ahead of ours.
        lists: how many package lists the server has.
        info: what `docker info` says; empty when Docker does not answer, `info_error` says why.
        daemon_text: `/etc/docker/daemon.json`, None when there is none.
        daemon_restart_due: whether that file is newer than the running Docker.
        login_keys: authorized_keys of the user who logged in.
        digests: SHA-256 of files by path.
        nginx_test: what `nginx -t` says in the running container; empty when it is content.
        default_server: exit code of curl asking for an unknown host; 52 is an empty reply.
    """

    root: bool
    viewer: str
    clock_offset: float = 0.0
    zone: str = ""
    os_id: str = ""
    os_version: str = ""
    os_codename: str = ""
    os_name: str = ""
    architecture: str = ""
    systemd: bool = True
    packages: Mapping[str, str] = field(default_factory=dict)
    lists: int = 0
    candidates: Mapping[str, str] = field(default_factory=dict)
    engine: str = ""
    client: str = ""
    compose: str = ""
    buildx: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)
    info_error: str = ""
    daemon_text: str | None = None
    daemon_restart_due: bool = False
    routes: tuple[Route, ...] = ()
    services: Mapping[str, Service] = field(default_factory=dict)
    account: Account | None = None
    password_locked: bool | None = None
    groups: frozenset[str] = frozenset()
    ssh_places: Mapping[str, Place] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    login_keys: tuple[str, ...] = ()
    directories: Mapping[str, Place] = field(default_factory=dict)
    files: Mapping[str, Place] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    registry: str | None = None
    sshd_include: bool = True
    sshd: Mapping[str, str] = field(default_factory=dict)
    image_id: str = ""
    container: NginxContainer | None = None
    nginx_version: tuple[int, ...] = ()
    nginx_test: str = ""
    default_server: int | None = None
    nginx_processes: frozenset[int] = frozenset()
    listeners: tuple[Listener, ...] = ()
    published: tuple[tuple[int, str], ...] = ()

    @property
    def running_containers(self) -> int:
        """How many containers run."""
        return int(self.info.get("ContainersRunning", 0))

    @property
    def swarm(self) -> bool:
        """Whether the server belongs to a Docker swarm."""
        return self.info.get("Swarm", {}).get("LocalNodeState", "inactive") not in ("inactive", "")

    @property
    def docker_forbidden(self) -> bool:
        """Whether Docker runs but does not talk to whoever looked."""
        return not self.root and not self.info and bool(self.engine) and self.service("docker").running

    def service(self, name: str) -> Service:
        """Return how a service is."""
        return self.services.get(name, Service(running=False, enabled=False))


def nginx_image(host: Host) -> str:
    """Return the image that nginx runs from on this host."""
    return host.images.nginx or DEFAULT_NGINX_IMAGE


def observe(server: Remote, host: Host, *, root: bool) -> ServerFacts:
    """Return what is true of a server.

    Arguments:
        root: look as root, through sudo where the login is not root; `Failure` when that is not possible.
    """
    command = script(
        "server_facts", host.user, nginx_image(host), *DIRECTORIES,
        deadline=120, accept=frozenset({0, NOT_ROOT}) if root else frozenset({0}),
    )  # fmt: skip
    began = time.time()
    answer = server.run(as_root(command) if root else command)
    if answer.exit == NOT_ROOT:
        raise Failure(
            f"cannot become root: {answer.err.strip()}",
            host=host.name,
            then=f"let {host.admin} use sudo without a password, or set `admin` of hosts.{host.name} to root",
        )
    # `date` runs early: half the connection's delay is the best guess, and far below what matters here.
    return parse(answer.out, our_time=began)


def parse(text: str, *, our_time: float) -> ServerFacts:
    """Return the facts in the output of `server_facts.sh`.

    Arguments:
        our_time: our clock, in seconds since the epoch, when the script began.
    """
    part = sections(text)
    if "end" not in part:
        raise Failure("the server's facts are incomplete")
    release = _assignments(part["os"])
    uid, viewer, _ = part["who"].split()
    # The client adds lines of its own to the document when the daemon is not there.
    info = _json(next((line for line in part["info"].splitlines() if line.startswith("{")), ""))
    # The client answers with its own half when the daemon refuses or is not there.
    daemon = info if info.get("ServerVersion") else {}
    written, started = part["daemon-file"].split(), part["daemon-started"].strip()
    files = _places(part["owners"])
    return ServerFacts(
        root=uid == "0",
        viewer=viewer,
        clock_offset=int(part["time"]) - our_time,
        zone=part["zone"].strip().removeprefix("/usr/share/zoneinfo/"),
        os_id=release.get("ID", ""),
        os_version=release.get("VERSION_ID", ""),
        os_codename=release.get("VERSION_CODENAME", ""),
        os_name=release.get("PRETTY_NAME", ""),
        architecture=part["architecture"].strip(),
        systemd=part["init"].strip() == "systemd",
        packages={words[1]: words[2] for line in part["packages"].splitlines() if len(words := line.split()) > 2},
        lists=int(part["lists"] or 0),
        candidates={
            words[0]: words[1]
            for line in part["candidates"].splitlines()
            if len(words := line.split()) > 1 and words[1] != "(none)"
        },
        engine=part["engine"].strip(),
        client=part["client"].strip(),
        compose=part["compose"].strip(),
        buildx=part["buildx"].strip(),
        info=daemon,
        info_error="" if daemon else _refusal(info, part["info"]),
        daemon_text=part["daemon-json"] if written else None,
        daemon_restart_due=bool(written and started and int(written[0]) > int(started)),
        routes=parse_routes(part["routes"]),
        services={
            name: Service(running == "yes", enabled == "yes")
            for name, running, enabled in (line.split() for line in part["services"].splitlines())
        },
        account=_account(part["account"]),
        password_locked=_locked(part["password"]),
        groups=frozenset(part["groups"].split()),
        ssh_places=_places(part["ssh-modes"]),
        keys=tuple(part["keys"].splitlines()),
        login_keys=tuple(part["login-keys"].splitlines()),
        directories=_directories(part["directories"]),
        files=files,
        digests={words[1]: words[0] for line in part["files"].splitlines() if len(words := line.split()) == 2},
        registry=part["registry"] if "/opt/projects/.port-registry.json" in files else None,
        sshd_include=bool(part["sshd-include"].strip()),
        sshd=dict(words for line in part["sshd"].splitlines() if len(words := line.split()) == 2),
        image_id=part["image"].strip(),
        container=_container(part["container"]),
        nginx_version=_nginx_version(part["nginx-version"]),
        nginx_test=_complaint(part["nginx-test"]),
        default_server=int(part["default-server"].split()[-1]) if part["default-server"].strip() else None,
        nginx_processes=frozenset(int(word) for word in part["nginx-processes"].split()),
        listeners=tuple(_listener(line) for line in part["listeners"].splitlines() if line.strip()),
        published=tuple(
            (int(words[0]), words[1]) for line in part["published"].splitlines() if len(words := line.split()) == 2
        ),
    )


def parse_routes(text: str) -> tuple[Route, ...]:
    """Return the routes in `/proc/net/route`, without the default route.

    Addresses stand there as hexadecimal numbers in the byte order of the machine, which is little-endian on all
    architectures that are supported.
    """
    routes = []
    for line in text.splitlines()[1:]:
        words = line.split()
        address, mask = (int.from_bytes(bytes.fromhex(words[index]), "little") for index in (1, 7))
        if mask:
            network = ipaddress.IPv4Network((address, bin(mask).count("1")), strict=False)
            routes.append(Route(network, words[0]))
    return tuple(routes)


def _assignments(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key: value.strip("\"'") for key, _, value in pairs}


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _refusal(info: Mapping[str, Any], text: str) -> str:
    said = info.get("ServerErrors") or text.splitlines()[-1:] or ["no answer"]
    return str(said[0])[:200]


def _account(line: str) -> Account | None:
    fields = line.strip().split(":")
    return Account(fields[0], fields[5], fields[6]) if len(fields) == 7 else None


def _locked(line: str) -> bool | None:
    words = line.split()
    return words[1].startswith("L") if len(words) > 1 else None


def _places(text: str) -> dict[str, Place]:
    rows = (line.split(maxsplit=2) for line in text.splitlines())
    return {row[2]: Place(row[0], row[1]) for row in rows if len(row) == 3}


def _directories(text: str) -> dict[str, Place]:
    found = {}
    for line in text.splitlines():
        head, _, path = line.partition("|")
        words = head.split(maxsplit=3)
        if len(words) == 4:
            found[path] = Place(*words)
    return found


def _container(text: str) -> NginxContainer | None:
    if not text.strip():
        return None
    decoder, values, rest = json.JSONDecoder(), [], text.strip()
    while rest:
        value, end = decoder.raw_decode(rest)
        values.append(value)
        rest = rest[end:].lstrip()
    state, image, network_mode, command, mounts, policy = values
    return NginxContainer(
        running=bool(state["Running"]) and not state.get("Restarting"),
        image=image,
        network_mode=network_mode,
        command=tuple(command or ()),
        mounts=frozenset((mount["Source"], mount["Destination"]) for mount in mounts if "Source" in mount),
        restart_policy=policy["Name"],
    )


def _nginx_version(text: str) -> tuple[int, ...]:
    found = re.search(r"nginx version: \S+", text)
    return version(found.group()) if found else ()


def _complaint(text: str) -> str:
    test = text.strip()
    return "" if not test or (test.endswith("exit 0") and "[warn]" not in test) else test


def _listener(line: str) -> Listener:
    port = int(line.split()[3].rpartition(":")[2])
    return Listener(port, {int(pid): name for name, pid in re.findall(r'\("([^"]*)",pid=(\d+)', line)})
