"""A sandbox server and projects on it, as the end-to-end tests use them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.inventory import Sandbox
from sandbox.load import Load

ROOT = Path(__file__).resolve().parents[2]
MINIMAL = ROOT / "examples" / "minimal"
IGNORED = shutil.ignore_patterns("tests", "__pycache__", ".pytest_cache", "*.md")
# Short waits: what is tested is what happens, not how patiently.
QUICK = {"watch_seconds": 1, "drain_seconds": 20, "grace_seconds": 15, "keep_releases": 3, "min_free_disk_mb": 200}


@dataclass(frozen=True)
class Done:
    """How a command ended: its exit code and what it printed."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def text(self) -> str:
        """Everything it printed."""
        return self.out + self.err


@dataclass
class World:
    """A sandbox that has been bootstrapped, and the inventory with the projects of the tests."""

    sandbox: Sandbox
    folder: Path
    projects: dict[str, dict[str, Any]] = field(default_factory=dict)
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """The name of the first host."""
        return self.sandbox.hosts[0].name

    @property
    def environment(self) -> dict[str, str]:
        """The environment commands run in."""
        keep = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        return {**keep, "SLIPWAY_HOSTS": str(self.folder / "hosts.toml"), "NO_COLOR": "1"}

    def write(self) -> None:
        """Write hosts.toml."""
        lines = []
        for kind, entries in (("hosts", self.hosts), ("projects", self.projects)):
            for name, entry in entries.items():
                lines += _table(f"{kind}.{name}", entry)
        (self.folder / "hosts.toml").write_text("\n".join(lines) + "\n")

    def project(self, name: str, *, create: bool = True, **settings: Any) -> Project:
        """Add a project made of a copy of examples/minimal; create it on the host."""
        source = self.folder / name
        shutil.copytree(MINIMAL, source, ignore=IGNORED)
        entry = {
            "hosts": [self.host],
            "domain": f"{name}.localhost",
            "source": name,
            "deploy": QUICK,
            "health": {"deadline": 20},
            **settings,
        }
        self.projects[name] = entry
        self.write()
        found = Project(self, name)
        found.release(version="none", start_seconds=0.1)
        if create:
            found.fab("project.create")
        return found

    def fab(self, *words: str, code: int | None = 0, host: str | None = None, env: Mapping[str, str] = {}) -> Done:
        """Run `fab -H HOST words...` and return how it ended; any other exit code than `code` fails the test."""
        began = time.monotonic()
        done = subprocess.run(
            self.argv(*words, host=host),
            cwd=ROOT,
            env={**self.environment, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        result = Done(done.returncode, done.stdout, done.stderr, time.monotonic() - began)
        assert code is None or result.code == code, f"exit code {result.code} instead of {code}\n{result.text}"
        return result

    def start(self, *words: str, host: str | None = None, env: Mapping[str, str] = {}) -> subprocess.Popen[str]:
        """Start `fab -H HOST words...` in the background."""
        return subprocess.Popen(
            self.argv(*words, host=host),
            cwd=ROOT,
            env={**self.environment, "PYTHONUNBUFFERED": "1", **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def argv(self, *words: str, host: str | None = None) -> list[str]:
        """Return the command line of fab."""
        return [str(ROOT / "fab"), "-H", host or self.host, *words]

    def on_server(self, *words: str, stdin: bytes = b"") -> str:
        """Run a command on the server, past the product, and return its output."""
        argv = ["docker", "exec", "--interactive", self.sandbox.hosts[0].container, *words]
        return subprocess.run(argv, input=stdin, capture_output=True, check=True, timeout=120).stdout.decode()

    @property
    def base(self) -> str:
        """The address of the server's port 80 as seen from here."""
        return f"http://127.0.0.1:{self.sandbox.hosts[0].http_port}"


@dataclass
class Project:
    """One project of a test."""

    world: World
    name: str

    @property
    def source(self) -> Path:
        """Its source directory on this machine."""
        return self.world.folder / self.name

    def set(self, **settings: Any) -> None:
        """Change its entry in hosts.toml."""
        self.world.projects[self.name] = {**self.world.projects[self.name], **settings}
        self.world.write()

    def release(self, **changes: Any) -> None:
        """Change release.json, which says how the next release behaves."""
        file = self.source / "release.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    def good(self, version: str, **changes: Any) -> None:
        """Make the source a good release of this version, but for the changes."""
        self.release(**{"version": version, "crash_at_start": False, "healthy": True, "die_after": None, **changes})

    def fab(self, word: str, *options: str, code: int | None = 0, **more: Any) -> Done:
        """Run a command for this project."""
        return self.world.fab(word, "--project", self.name, *options, code=code, **more)

    def deploy(self, version: str, *options: str, code: int | None = 0, **release: Any) -> Done:
        """Deploy a release of this name, good unless `release` says otherwise."""
        self.good(version, **release)
        return self.fab("deploy", "--version", version, *options, code=code)

    def start_deploy(self, version: str, *options: str, **more: Any) -> subprocess.Popen[str]:
        """Begin to deploy a good release in the background."""
        self.good(version)
        return self.world.start("deploy", "--project", self.name, "--version", version, *options, **more)

    def load(self, **changes: Any) -> Load:
        """Return the usual traffic to this project."""
        return Load(
            **{
                "base": self.world.base,
                "host": f"{self.name}.localhost",
                "get": ("/version",),
                "post": "/numbers",
                "post_body": "{number}",
                "post_type": "text/plain",
                "release_pattern": r"^(\S+)",
                "rate": 150.0,
                "keep_alive": 10,
                "new_connection": 5,
                "idle": 5,
                "post_keep_alive": 2,
                "post_new_connection": 2,
                **changes,
            }
        )

    def answer(self, path: str = "/version") -> str:
        """Return what a visitor gets now."""
        argv = ["curl", "--silent", "--max-time", "10", "--header", f"Host: {self.name}.localhost"]
        return subprocess.run(
            [*argv, f"{self.world.base}{path}"], capture_output=True, text=True, check=True, timeout=20
        ).stdout.strip()

    @property
    def visible(self) -> str:
        """The version that a visitor sees."""
        return self.answer().split()[0]

    def containers(self, *, all_: bool = True) -> dict[str, str]:
        """Return id by name of the project's containers."""
        words = ["docker", "ps", *(["--all"] if all_ else []), "--no-trunc", "--format", "{{.Names}} {{.ID}}"]
        text = self.world.on_server(*words, "--filter", f"label=slipway.project={self.name}")
        return dict(line.split() for line in text.splitlines())

    def state(self) -> dict[str, Any]:
        """Return what the server looks like for this project: containers, files, registry; without ids and times."""
        script = f"""
cd /opt/projects/{self.name}
docker ps --all --filter label=slipway.project={self.name} --format '{{{{.Names}}}} {{{{.State}}}} {{{{.Image}}}}' |
  sort
readlink releases/current
ls -A . releases .deploy | grep -v jsonl
head -n 1 /opt/nginx/upstreams/{self.name}.conf | sed 's/generation=.*//'
ls /opt/nginx/upstreams /opt/nginx/conf.d | grep {self.name}
docker image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' {self.name} | sort
grep -o '"{self.name}"' /opt/projects/.port-registry.json
"""
        return {"world": self.world.on_server("sh", "-c", script).splitlines()}


def _table(name: str, entry: Mapping[str, Any]) -> list[str]:
    plain = [f"{key} = {_value(value)}" for key, value in entry.items() if not isinstance(value, dict)]
    inner = [line for key, value in entry.items() if isinstance(value, dict) for line in _table(f"{name}.{key}", value)]
    return [f"[{name}]", *plain, "", *inner]


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value)
