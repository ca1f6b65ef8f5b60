"""What is known about sandboxes on this machine: `.sandbox/NAME/state.json`, and `.sandbox/hosts.toml` made from it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fabfile.model.failure import Failure, UsageFailure
from sandbox.programs import Say

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".sandbox"
# A number at the end would be taken for the second host of another sandbox.
NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,20}[a-z])?")
# Below what kernels hand out for outgoing connections, so that a port stays free while the sandbox is down.
FIRST_PORTS = {"ssh": 22022, "http": 28080, "https": 28443}


@dataclass(frozen=True)
class Host:
    """One server of a sandbox: its name in the inventory, its container and volume, its ports on 127.0.0.1."""

    name: str
    container: str
    volume: str
    ssh_port: int
    http_port: int
    https_port: int
    host_key: str

    @property
    def ports(self) -> dict[int, int]:
        """Return the ports on this machine by the server's own."""
        return {22: self.ssh_port, 80: self.http_port, 443: self.https_port}


@dataclass(frozen=True)
class Sandbox:
    """The servers that one `sandbox.up` made.

    Attributes:
        bare: whether they came without Docker.
        images: image names that differ from the official ones, by service.
    """

    name: str
    bare: bool
    hosts: tuple[Host, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Return where its keys and its state lie."""
        return FOLDER / self.name

    @property
    def identity_file(self) -> Path:
        """Return the private key that opens every host of it."""
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """Return the file with the keys of its hosts, in OpenSSH's format."""
        return self.folder / "known_hosts"

    def host(self, name: str) -> Host:
        """Return one of its hosts."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise UsageFailure(f"no host {name} here, only {', '.join(host.name for host in self.hosts)}")


def checked(name: str) -> str:
    """Return the name when it can be a sandbox's."""
    if not NAME.fullmatch(name):
        raise UsageFailure(f"a sandbox cannot be called {name!r}: use a to z, 0 to 9 and -, a letter first and last")
    return name


def host_name(sandbox: str, number: int) -> str:
    """Return what the inventory calls a sandbox's host number 1, 2, ..."""
    return sandbox if number == 1 else f"{sandbox}-{number}"


@contextmanager
def locked(say: Say) -> Iterator[None]:
    """Let one process at a time change sandboxes; the kernel frees the lock when we die."""
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    with (FOLDER / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another sandbox command to end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def load(name: str) -> Sandbox | None:
    """Return what is recorded about a sandbox."""
    file = FOLDER / name / "state.json"
    if not file.exists():
        return None
    try:
        state = json.loads(file.read_text())
        return Sandbox(state["name"], state["bare"], tuple(Host(**host) for host in state["hosts"]), state["images"])
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"{file} cannot be read ({error})", then=f"./inv sandbox.down --purge --name {name}") from error


def load_all() -> list[Sandbox]:
    """Return what is recorded about every sandbox, by name."""
    names = sorted(file.parent.name for file in FOLDER.glob("*/state.json"))
    return [sandbox for name in names if (sandbox := load(name))]


def save(sandbox: Sandbox) -> None:
    """Record a sandbox."""
    replace(sandbox.folder / "state.json", json.dumps(asdict(sandbox), indent=2) + "\n")


def known_hosts(hosts: Iterable[Host]) -> str:
    """Return the hosts' keys as OpenSSH's known_hosts."""
    return "".join(f"[127.0.0.1]:{host.ssh_port} {host.host_key}\n" for host in hosts)


def hosts_toml(sandboxes: Iterable[Sandbox], running: Iterable[str]) -> str:
    """Return the inventory of all hosts whose container runs.

    Arguments:
        running: names of the containers that run.
    """
    up = set(running)
    lines = ["# Written by `./inv sandbox.up` and `./inv sandbox.down`; read after hosts.toml."]
    for sandbox in sandboxes:
        images = ", ".join(f"{service} = {quote(tag)}" for service, tag in sandbox.images.items())
        for host in sandbox.hosts:
            if host.container in up:
                lines += [
                    "",
                    f"[hosts.{host.name}]",
                    'hostname = "127.0.0.1"',
                    f"port = {host.ssh_port}",
                    'user = "deploy"',
                    'admin = "root"',
                    f"identity_file = {quote(str(sandbox.identity_file))}",
                    f"host_key = {quote(host.host_key)}",
                    *([f"images = {{ {images} }}"] if images else []),
                    "sandbox = true",
                ]
    return "\n".join(lines) + "\n"


def quote(text: str) -> str:
    """Return text as a TOML basic string, whose escapes are JSON's."""
    return json.dumps(text, ensure_ascii=False)


def free_ports(taken: Iterable[int]) -> dict[str, int]:
    """Return a free port on 127.0.0.1 for each of ssh, http and https.

    Arguments:
        taken: ports of sandboxes that may be down now.
    """
    reserved = set(taken)
    return {
        use: next(port for port in range(first, first + 300) if port not in reserved and is_free(port))
        for use, first in FIRST_PORTS.items()
    }


def is_free(port: int) -> bool:
    """Return whether nobody listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        # A connection that just ended does not stop a listener: Docker asks for the same.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def replace(file: Path, content: str) -> None:
    """Put a file in place whole, readable by its owner only."""
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    with os.fdopen(handle, "w") as stream:
        stream.write(content)
    os.replace(temporary, file)
