"""Programs of this machine: run with a deadline, installed where we may."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO

from fabfile.model.failure import Failure

Say = Callable[[str], None]

WORTH_SAYING_SECONDS = 2.0
STILL_AT_IT_SECONDS = 20.0
SHOWN_LINES = 15
# How long an unattended upgrade may keep us waiting.
OTHER_APT_SECONDS = 120
# apt-get refuses to run twice at once, and images are made side by side.
INSTALLING = threading.Lock()


def run(
    argv: Sequence[str],
    *,
    stdin: bytes | IO[bytes] | None = None,
    timeout: float = 60,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Return what a program printed; its failure shows its last lines.

    Arguments:
        timeout: seconds until it is killed.
        environment: variables to set on top of ours.
    """
    whole = stdin if isinstance(stdin, bytes) else None
    stream = subprocess.PIPE if isinstance(stdin, bytes) else stdin or subprocess.DEVNULL
    with subprocess.Popen(
        argv, stdin=stream, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **(environment or {})}
    ) as process:
        try:
            printed, complaints = process.communicate(whole, timeout=timeout)
        except subprocess.TimeoutExpired as expired:
            process.kill()
            raise Failure(f"`{shorten(argv)}` did not end within {timeout:.0f} s") from expired
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        output = (printed + complaints).decode(errors="replace").strip().splitlines()
        raise Failure(f"`{shorten(argv)}` ended with status {process.returncode}", details=tuple(output[-SHOWN_LINES:]))
    return printed.decode(errors="replace")


def shorten(argv: Sequence[str], *, limit: int = 120) -> str:
    """Return a command as a person would type it, cut to one line."""
    line = shlex.join(argv).replace("\n", " ")
    return line if len(line) <= limit else f"{line[: limit - 4]} ..."


@contextmanager
def progress(say: Say, doing: str) -> Iterator[None]:
    """Say what takes longer than two seconds, that it is still going on, and how long it took."""
    started = time.monotonic()
    ended = threading.Event()

    def speak() -> None:
        if ended.wait(WORTH_SAYING_SECONDS):
            return
        say(f"{doing} ...")
        while not ended.wait(STILL_AT_IT_SECONDS):
            say(f"{doing}: still at it after {time.monotonic() - started:.0f} s")

    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    try:
        yield
    finally:
        ended.set()
        speaker.join()
    seconds = time.monotonic() - started
    if seconds >= WORTH_SAYING_SECONDS:
        say(f"{doing}: done in {seconds:.1f} s")


def install(packages: Mapping[str, Sequence[str]], say: Say) -> None:
    """Install the Debian packages of the programs that are missing, or say which command would.

    Arguments:
        packages: the packages that bring each program, by the program's name.
    """
    with INSTALLING:
        if missing := [program for program in packages if not found(program)]:
            install_missing(missing, packages, say)


def install_missing(missing: Sequence[str], packages: Mapping[str, Sequence[str]], say: Say) -> None:
    """Install what is known to be missing, if this is Debian, we are root, and whoever sits here agrees."""
    names = sorted({name for program in missing for name in packages[program]})
    # With what they recommend: since Debian 13 docker.io only recommends the client.
    command = ["apt-get", "install", "-y", *names]
    patient = ["-o", f"DPkg::Lock::Timeout={OTHER_APT_SECONDS}"]
    wanted = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
    if not shutil.which("apt-get"):
        raise Failure(wanted, then=f"install {', '.join(missing)} with this system's package manager, then try again")
    if os.geteuid() != 0:
        raise Failure(wanted, then=f"sudo {shlex.join(command)}")
    if sys.stdin.isatty() and not agreed(f"{wanted}. Run `{shlex.join(command)}` now? [Y/n] "):
        raise Failure(wanted, then=shlex.join(command))
    with progress(say, f"installing {', '.join(names)}"):
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-qq"], timeout=300, environment=quiet)
        run([*command, *patient], timeout=900, environment=quiet)
    if still := [program for program in missing if not found(program)]:
        raise Failure(f"`{shlex.join(command)}` brought no {', '.join(still)}")


def found(program: str) -> bool:
    """Return whether a program is installed, be it in an administrator's directory."""
    return shutil.which(program, path=search_path()) is not None


def agreed(question: str) -> bool:
    """Return whether the person at the terminal says yes; just Enter is yes."""
    return input(question).strip().lower() in {"", "y", "yes"}


def search_path() -> str:
    """Return PATH with the administrator's directories, which a plain user's lacks on Debian."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
