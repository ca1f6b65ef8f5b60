"""Whole commands, run as `fab` runs them, on a host that exists only in memory."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fabric.config import Config
from fabric.executor import Executor
from fabric.main import Fab

import fabfile
from fabfile.model.inventory import load
from tests.fake_host import PASSWORD, SECRET_KEY, FakeHost

HOSTS = """
[hosts.prod]
hostname = "203.0.113.10"

[projects.mini]
hosts = ["prod"]
domain = "mini.localhost"
source = "source"
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code and both outputs."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The result printed with `--json`."""
        return json.loads(self.out)

    @property
    def next(self) -> str:
        """What to type next, according to the error."""
        return self._line("next: ")

    @property
    def visitors(self) -> str:
        """What visitors see, according to the error."""
        return self._line("visitors: ")

    def _line(self, start: str) -> str:
        return next((line.removeprefix(start) for line in self.err.splitlines() if line.startswith(start)), "")


def leaks(fake: FakeHost, ended: Ended) -> list[str]:
    """Return where a secret of the host's `.env` shows: outputs, command lines, records, journal, history."""
    places = {
        "stdout": ended.out,
        "stderr": ended.err,
        "command lines": "\n".join(fake.sent),
        "transcript": "\n".join(fake.transcript),
        "journal": json.dumps(fake.world.journal),
        "history": "\n".join(fake.world.history),
        "release.json": "\n".join(fake.world.releases.values()),
    }
    return [place for place, text in places.items() if PASSWORD in text or SECRET_KEY in text]


Fabulous = Callable[..., Ended]
Prepare = Callable[..., FakeHost]


class BundledFab(Fab):  # type: ignore[misc]
    """`fab` with our words, without looking for them on the disk again."""

    def load_collection(self) -> None:
        """Take the words that are already imported."""
        self.collection = fabfile.namespace


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """Return a function that makes a host with a created project, and a hosts.toml that names both."""

    def prepare(more: str = "") -> FakeHost:
        path = tmp_path / "hosts.toml"
        (tmp_path / "source").mkdir()
        path.write_text(HOSTS + more)
        monkeypatch.setenv("SLIPWAY_HOSTS", str(path))
        for name in ("GITHUB_ACTOR", "GITLAB_USER_LOGIN", "SLIPWAY_VERBOSE"):
            monkeypatch.delenv(name, raising=False)
        fake = FakeHost(load(path, {}).project("mini"))
        monkeypatch.setattr("fabfile.remote.server.Server", fake.connect)
        monkeypatch.setattr("fabfile.remote.rsync.upload", lambda server, what, on_line=None: server.upload(what))
        return fake

    return prepare


@pytest.fixture
def fab(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fabulous:
    """Return a function that runs `fab` with these words in this process."""

    def fab(*words: str) -> Ended:
        code: object = 0
        monkeypatch.setattr(sys, "path", list(sys.path))
        try:
            BundledFab(name="fab", version="0", executor_class=Executor, config_class=Config).run(["fab", *words])
        except SystemExit as end:
            code = end.code
        out, err = capfd.readouterr()
        assert isinstance(code, int)
        return Ended(code, out, err)

    return fab
