"""Locks on the server that its kernel frees when we die, whatever the cause, and the journal beside them.

A lock is `flock` held by a process on the server whose standard input is our channel. Through the same channel go,
without waiting for answers, the holder's record (who, from where, since when, which step) and the journal's lines.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fabfile.model.failure import Failure, LockedFailure
from fabfile.remote.command import Command, script
from fabfile.remote.server import ConnectionLost, Remote

if TYPE_CHECKING:
    import paramiko

LOCKED, STILL_BUSY, NO_DIRECTORY = 11, 12, 13
QUIET_SECONDS = 120  # for how long an undo waits for the command that was broken off
LIFETIME_SECONDS = 6 * 3600  # nothing holds a lock longer than this, not even a frozen client


@dataclass(frozen=True, slots=True)
class LockFiles:
    """Where a lock lives on the server: a directory with `lock`, `busy`, `holder.json` and `journal.jsonl`.

    Arguments:
        absent: what it means that the directory is not there.
        cure: the word of `fab` that makes it.
    """

    directory: str
    absent: str
    cure: str

    @property
    def busy(self) -> str:
        """The file that every command holds a shared lock on while it runs."""
        return f"{self.directory}/busy"

    def acquire(self, wait_seconds: int, busy_seconds: int, record: Mapping[str, object]) -> Command:
        """Return the command that takes the lock and keeps it until its standard input ends."""
        text = json.dumps(record, ensure_ascii=True)
        return script("lock", self.directory, str(wait_seconds), str(busy_seconds), text, deadline=LIFETIME_SECONDS)

    def quiet(self, seconds: int) -> Command:
        """Return the command that waits until no command of ours runs any more; exit code 1 when one still does."""
        return Command(
            ("flock", "-w", str(seconds), self.busy, "true"), deadline=seconds + 10, accept=frozenset({0, 1})
        )


def project_lock(directory: str) -> LockFiles:
    """Return the lock of a project: one deploy at a time."""
    name = directory.rpartition("/")[2]
    return LockFiles(
        f"{directory}/.deploy", "the project does not exist on this host", f"project.create --project {name}"
    )


HOST_LOCK = LockFiles("/opt/deploy/lock", "the host is not set up yet", "server.bootstrap")


def identity(environ: Mapping[str, str] = os.environ) -> str:
    """Return who we are, for the people who find us holding a lock: a CI actor, else user@machine."""
    if environ.get("GITHUB_ACTOR"):
        run = environ.get("GITHUB_RUN_ID")
        return f"{environ['GITHUB_ACTOR']} (GitHub Actions{f' run {run}' if run else ''})"
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{platform.node()}"


class Lock:
    """A held lock; a context manager that gives it back.

    Arguments:
        server: where.
        files: which lock.
        purpose: what for, in words ("deploy v1.2.3"), for the record.
        wait_seconds: how long to wait for somebody else; 0 gives up at once.
        busy_seconds: how long to wait for a dead holder's last command to end.
        on_wait: called with the holder's record when waiting begins.

    Raises `LockedFailure` (exit code 11) naming the holder.
    """

    def __init__(
        self,
        server: Remote,
        files: LockFiles,
        *,
        purpose: str,
        wait_seconds: int = 0,
        busy_seconds: int = 900,
        on_wait: object = None,
    ) -> None:
        self._server, self._files, self._purpose = server, files, purpose
        self._wait, self._busy, self._on_wait = wait_seconds, busy_seconds, on_wait
        self._channel: paramiko.Channel | None = None
        self._record: dict[str, object] = {}

    def __enter__(self) -> Lock:
        self._record = {"who": identity(), "what": self._purpose, "since": now(), "pid": os.getpid()}
        answer = self._try(0)
        if answer[0] == LOCKED and self._wait > 0:
            if callable(self._on_wait):
                self._on_wait(describe(answer[1]))
            answer = self._try(self._wait)
        code, text = answer
        if code == LOCKED:
            raise LockedFailure(
                f"locked by {describe(text)}",
                host=self._server.name,
                visitors="nothing was changed by this command",
                then="wait for it to end, or add --lock-wait 300",
            )
        if code == STILL_BUSY:
            raise LockedFailure(
                "the last command of an interrupted run is still working on the server",
                host=self._server.name,
                then="wait a little and run the same command again",
            )
        if code == NO_DIRECTORY:
            raise Failure(
                self._files.absent, host=self._server.name, then=f"fab -H {self._server.name} {self._files.cure}"
            )
        if code is not None:
            raise Failure(f"the lock could not be taken: {text}", host=self._server.name)
        self._server.guard(self._files.busy)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.guard(None)
        if self._channel is None:
            return
        with contextlib.suppress(OSError, EOFError):
            self._channel.shutdown_write()
            # Wait for the holder to go, so that the next command of the same person finds the lock free.
            deadline = time.monotonic() + 5
            while not self._channel.exit_status_ready() and time.monotonic() < deadline:
                if self._channel.closed:
                    break
                time.sleep(0.002)
            self._channel.close()
        self._channel = None

    def wait_until_quiet(self) -> None:
        """Wait for a command of ours that was given up on: on the server it may still be at work."""
        self._server.guard(None)
        try:
            if self._server.run(self._files.quiet(QUIET_SECONDS)).exit:
                raise Failure("a command that was broken off is still running on the server", host=self._server.name)
        finally:
            self._server.guard(self._files.busy)

    def step(self, name: str) -> None:
        """Say in the holder's record which step we are at."""
        self._tell("R", {**self._record, "step": name})

    def journal(self, entry: Mapping[str, object]) -> None:
        """Append a line to the journal, which tells people what happened; it is never trusted."""
        self._tell("J", {"at": now(), "who": self._record.get("who"), "what": self._purpose, **entry})

    def _tell(self, kind: str, value: Mapping[str, object]) -> None:
        if self._channel is None:
            return
        line = f"{kind} {json.dumps(value, ensure_ascii=True)}\n"
        try:
            self._channel.sendall(self._server.hidden(line).encode())
        except (OSError, EOFError):
            raise ConnectionLost("the connection that holds the lock broke", host=self._server.name) from None

    def _try(self, wait_seconds: int) -> tuple[int | None, str]:
        """Return (None, "") once the lock is held, otherwise the exit code and what was said."""
        record = {**self._record, "step": "begin"}
        channel = self._server.open_channel(self._files.acquire(wait_seconds, self._busy, record))
        channel.settimeout(wait_seconds + self._busy + 30)
        said, told = b"", False
        while True:
            try:
                piece = channel.recv(4096)
            except TimeoutError:
                channel.close()
                return STILL_BUSY, ""
            if not piece:
                break
            said += piece
            lines = said.split(b"\n")
            if b"held" in lines:
                self._channel = channel
                return None, ""
            if b"busy" in lines and not told:
                told = True
                if callable(self._on_wait):
                    self._on_wait("the last command of an interrupted run, which is still at work on the server")
        code = channel.recv_exit_status()
        if code < 0:
            raise ConnectionLost("the connection broke while the lock was taken", host=self._server.name)
        words = [line for line in said.decode(errors="replace").splitlines() if line != "busy"]
        text = "\n".join(words).strip() or channel.recv_stderr(4096).decode(errors="replace").strip()
        channel.close()
        return code, text


def describe(record: str) -> str:
    """Return the holder's record in words."""
    try:
        value = json.loads(record.splitlines()[-1])
        return f"{value['who']}: {value['what']}, at step {value.get('step', '?')!r}, since {value['since']}"
    except (ValueError, KeyError, IndexError, TypeError):
        return "somebody who left no record"


def now() -> str:
    """Return the time in UTC as ISO 8601 with seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
