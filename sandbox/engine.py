"""The Docker Engine of this machine: found, or installed and started."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from fabfile.model.failure import Failure
from sandbox.programs import Say, install, progress, run, search_path

START_SECONDS = 60
LOG = Path("/var/log/dockerd.log")
NEEDED = {
    "docker": ["docker.io"],
    "rsync": ["rsync"],
    "ssh": ["openssh-client"],
    "git": ["git"],
}


def docker(*arguments: str, stdin: bytes | IO[bytes] | None = None, timeout: float = 60) -> str:
    """Return what `docker ARGUMENTS` printed."""
    return run(["docker", *arguments], stdin=stdin, timeout=timeout)


def succeeds(*arguments: str, timeout: float = 60) -> bool:
    """Return whether `docker ARGUMENTS` ended well within its time."""
    try:
        docker(*arguments, timeout=timeout)
    except Failure:
        return False
    return True


def ensure(say: Say) -> None:
    """Leave a Docker Engine that answers, and the programs that deploys need on this machine."""
    install(NEEDED, say)
    if answers():
        return
    if os.geteuid() != 0 or not shutil.which("dockerd", path=search_path()):
        raise Failure(
            "no Docker Engine answers to `docker info`",
            details=tuple(reason()),
            then="start Docker Desktop, or `sudo systemctl start docker`, or `sudo usermod -aG docker $USER`",
        )
    with progress(say, "starting the Docker Engine"):
        start()
        wait_for_answer()


def answers() -> bool:
    """Return whether an engine answers; the client alone would end with 0."""
    return succeeds("version", "--format", "{{.Server.Version}}", timeout=15)


def reason() -> list[str]:
    """Return why the engine does not answer, in its client's words."""
    try:
        docker("version", "--format", "{{.Server.Version}}", timeout=15)
    except Failure as failure:
        return list(failure.details)[-2:]
    return []


def start() -> None:
    """Start the engine by the service manager, or by hand where none runs."""
    if Path("/run/systemd/system").exists():
        run(["systemctl", "start", "docker"], timeout=START_SECONDS)
        return
    with LOG.open("ab") as log:
        subprocess.Popen(
            [str(shutil.which("dockerd", path=search_path()))],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )


def wait_for_answer() -> None:
    """Return when the engine answers; show the end of its log when it does not."""
    deadline = time.monotonic() + START_SECONDS
    while not answers():
        if time.monotonic() > deadline:
            raise Failure(
                f"the Docker Engine did not answer within {START_SECONDS} s",
                details=tuple(last_lines(LOG)),
                then=f"look into {LOG} or `journalctl -u docker`",
            )
        time.sleep(0.3)


def last_lines(file: Path, count: int = 10) -> Sequence[str]:
    """Return the end of a text file, nothing when it is not there."""
    return file.read_text(errors="replace").splitlines()[-count:] if file.exists() else []
