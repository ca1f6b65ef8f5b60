"""Scripts that need no server run here, in a directory of their own, with programs that only say what was asked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fabfile.remote.command import script_text

pytestmark = pytest.mark.skipif(shutil.which("flock") is None, reason="the scripts are for Linux")
RECORD = json.dumps({"who": "ann@laptop", "what": "deploy v2"})
OTHER = json.dumps({"who": "ben@laptop", "what": "deploy v3"})


# --- lock


def lock(directory: Path, record: str, *, wait: int = 0, busy: int = 900) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ("sh", "-c", script_text("lock"), "lock", directory, str(wait), str(busy), record),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def held(directory: Path, record: str = RECORD) -> Iterator[subprocess.Popen[str]]:
    with lock(directory, record) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


@contextmanager
def working(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command of ours that has not ended yet."""
    argv = ("flock", "--shared", directory / "busy", "sh", "-c", "echo started; cat")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        yield process


def test_a_held_lock_names_its_holder_from_the_first_moment_to_whoever_comes(tmp_path: Path) -> None:
    with held(tmp_path):
        assert (tmp_path / "holder.json").read_text() == f"{RECORD}\n"
        out, _ = (second := lock(tmp_path, OTHER)).communicate(timeout=10)
        assert (second.returncode, out) == (11, f"{RECORD}\n")
        assert (tmp_path / "holder.json").read_text() == f"{RECORD}\n"
    assert not (tmp_path / "holder.json").exists()
    with held(tmp_path, OTHER):
        pass


def test_record_and_journal_are_kept_while_a_lock_is_held(tmp_path: Path) -> None:
    with held(tmp_path) as process:
        process.communicate('R {"step": "gate"}\nJ {"event": "begin"}\nJ {"event": "end"}\nX what\n', timeout=10)
    assert (tmp_path / "journal.jsonl").read_text() == '{"event": "begin"}\n{"event": "end"}\n'
    assert process.returncode == 0


def test_a_lock_is_held_only_when_the_last_command_of_a_dead_client_has_ended(tmp_path: Path) -> None:
    with working(tmp_path) as old, lock(tmp_path, RECORD) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "busy\n"
        assert (tmp_path / "holder.json").read_text() == f"{RECORD}\n"
        old.communicate(timeout=10)
        assert process.stdout.read(5) in ("held\n", "busy\n")


def test_a_command_that_does_not_end_is_not_waited_for_forever(tmp_path: Path) -> None:
    with working(tmp_path):
        out, _ = (process := lock(tmp_path, RECORD, busy=2)).communicate(timeout=10)
    assert (process.returncode, out) == (12, "busy\n")


def test_without_its_directory_there_is_no_lock(tmp_path: Path) -> None:
    out, _ = (process := lock(tmp_path / "absent", RECORD)).communicate(timeout=10)
    assert (process.returncode, out) == (13, "")


# --- pull


DOCKER = """#!/bin/sh
echo "$@" >>"$CALLS"
case "$1 $2" in
  'image inspect')
    [ "$3" != --format ] || { echo 'image sha256:0123'; exit 0; }
    [ "$HERE" = yes ]
    ;;
  pull*) echo 'pulling'; [ "$REGISTRY" = answers ] ;;
esac
"""
TAG, DIGEST = "registry.example/mini:1.4", f"registry.example/mini@sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("image", "here", "registry", "pulls", "code"),
    [
        (TAG, "no", "answers", True, 0),
        (TAG, "yes", "answers", True, 0),  # it may have moved
        (TAG, "yes", "is silent", True, 0),
        (TAG, "no", "is silent", True, 1),
        (DIGEST, "no", "answers", True, 0),
        (DIGEST, "yes", "is silent", False, 0),  # what it names never changes
        (DIGEST, "no", "is silent", True, 1),
    ],
)
def test_tags_are_pulled_always_and_digests_only_when_they_are_absent(
    tmp_path: Path, image: str, here: str, registry: str, pulls: bool, code: int
) -> None:
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    calls = tmp_path / "calls"
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(calls), "HERE": here, "REGISTRY": registry}
    argv = ("sh", "-c", script_text("pull"), "pull", "mini", "v1", image)
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == code
    assert (f"pull {image}" in calls.read_text().splitlines()) == pulls
    assert (f"tag {image} mini:v1" in calls.read_text().splitlines()) == (code == 0)
    if code == 0:
        assert done.stdout.splitlines()[-1] == "image sha256:0123"
    else:
        assert "pulling" in done.stdout
