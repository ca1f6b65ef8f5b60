"""What is measured on: a sandbox, three ways to reach it at different distances, and projects to deploy."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fabfile.model.failure import Failure
from sandbox import inventory, server
from sandbox.bench.figures import ROUND_TRIP_MS
from sandbox.inventory import Sandbox
from sandbox.relay import Relay

ROOT = Path(__file__).resolve().parents[2]
STEP_LINE = re.compile(r"^\s+[✓✗] (?P<name>\S.*?)\s+(?P<seconds>\d+\.\d+) s", re.MULTILINE)
IGNORED = shutil.ignore_patterns("tests", "__pycache__", ".*_cache", "*.md")
COMMAND_SECONDS = 300


@dataclass(frozen=True)
class Done:
    """How a command went: when it began and ended (monotonic clock), what it printed, seconds by step."""

    began: float
    ended: float
    text: str

    @property
    def wall(self) -> float:
        """Seconds from start to end."""
        return self.ended - self.began

    @property
    def steps(self) -> dict[str, float]:
        """Seconds of every step."""
        return {found["name"]: float(found["seconds"]) for found in STEP_LINE.finditer(self.text)}


@dataclass
class Bed:
    """A bootstrapped sandbox and an inventory of its own.

    Arguments:
        folder: where the inventory and the projects' sources are.
        ports: port of sshd on this machine, by milliseconds of a round trip.
    """

    sandbox: Sandbox
    folder: Path
    ports: Mapping[int, int]
    projects: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def http_port(self) -> int:
        """The server's port 80 on this machine."""
        return self.sandbox.hosts[0].http_port

    def host(self, milliseconds: int) -> str:
        """Return the name of the server at this distance."""
        return f"rtt-{milliseconds}"

    def write(self) -> None:
        """Write the inventory."""
        known = tomllib.loads((inventory.FOLDER / "hosts.toml").read_text())["hosts"][self.sandbox.hosts[0].name]
        tables = {f"hosts.{self.host(ms)}": {**known, "port": port} for ms, port in self.ports.items()}
        tables |= {f"projects.{name}": entry for name, entry in self.projects.items()}
        (self.folder / "hosts.toml").write_text(
            "\n".join(line for name in tables for line in _table(name, tables[name]))
        )

    def project(self, name: str, example: str, **settings: Any) -> Project:
        """Add a project made of a copy of an example; create it on the server."""
        shutil.copytree(ROOT / "examples" / example, self.folder / name, ignore=IGNORED)
        self.projects[name] = {"domain": f"{name}.localhost", "source": name, **settings}
        self.write()
        self.fab("project.create", "--project", name)
        return Project(self, name)

    def fab(self, *words: str, milliseconds: int = 0, code: int = 0) -> Done:
        """Run `./fab -H HOST words...` as a person would; raise `Failure` at another exit code than `code`."""
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        began = time.monotonic()
        done = subprocess.run(
            [str(ROOT / "fab"), "-H", self.host(milliseconds), *words],
            cwd=ROOT,
            env={**environment, "SLIPWAY_HOSTS": str(self.folder / "hosts.toml"), "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        result = Done(began, time.monotonic(), done.stdout + done.stderr)
        if done.returncode != code:
            raise Failure(
                f"`fab {' '.join(words)}` ended with exit code {done.returncode} instead of {code}",
                details=tuple(result.text.splitlines()[-30:]),
            )
        return result


@dataclass(frozen=True)
class Project:
    """A project that is deployed over and over."""

    bed: Bed
    name: str

    @property
    def domain(self) -> str:
        """Its site."""
        return f"{self.name}.localhost"

    @property
    def source(self) -> Path:
        """Its source on this machine."""
        return self.bed.folder / self.name

    def set(self, **deploy: Any) -> None:
        """Change its settings under `deploy` in the inventory."""
        self.bed.projects[self.name]["deploy"] = deploy
        self.bed.write()

    def deploy(self, version: str, *, milliseconds: int = 0, code: int = 0) -> Done:
        """Deploy the source under this name."""
        words = ("deploy", "--project", self.name, "--version", version)
        return self.bed.fab(*words, milliseconds=milliseconds, code=code)

    def roll_back(self, version: str, *, milliseconds: int = 0) -> Done:
        """Go back to a version."""
        return self.bed.fab("rollback", "--project", self.name, "--to", version, milliseconds=milliseconds)


@contextmanager
def ready(name: str, folder: Path) -> Iterator[Bed]:
    """Provide a bootstrapped sandbox that is reached over relays of every distance.

    Arguments:
        name: of the sandbox; it is started when it is down, and stays up.
        folder: an empty directory.
    """
    sandbox = server.up(name)
    with ExitStack() as stack:
        sshd = ("127.0.0.1", sandbox.hosts[0].ssh_port)
        relays = {ms: stack.enter_context(Relay(to=sshd, delay_ms=ms / 2)) for ms in ROUND_TRIP_MS}
        bed = Bed(sandbox, folder, {ms: relay.port for ms, relay in relays.items()})
        bed.write()
        bed.fab("server.bootstrap")
        yield bed


def _table(name: str, entry: Mapping[str, Any]) -> list[str]:
    """Return the lines of a table of TOML."""
    plain = [f"{key} = {_value(value)}" for key, value in entry.items() if not isinstance(value, dict)]
    inner = [line for key, value in entry.items() if isinstance(value, dict) for line in _table(f"{name}.{key}", value)]
    return [f"[{name}]", *plain, "", *inner]


def _value(value: Any) -> str:
    return f"[{', '.join(map(_value, value))}]" if isinstance(value, list | tuple) else json.dumps(value)
