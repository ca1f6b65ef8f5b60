"""Uploads with rsync through the connection that is already open.

rsync gets a remote shell that passes its bytes through our authenticated connection: no second login and its round
trips, the same pinned host key, gateways included, and a private key from the environment never touches a disk.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fabfile.model.failure import Failure
from fabfile.remote.command import Command, OnLine

if TYPE_CHECKING:
    import paramiko

    from fabfile.remote.server import Remote

SHELL = Path(__file__).with_name("rsync_shell.py")
RETRY = frozenset({12, 23, 30, 255})  # protocol stream, partial transfer, time-out, remote shell: worth a second try
ITEM = re.compile(r"^(?:[<>ch.][fdLDS]\S{7,9}|\*deleting) ", re.MULTILINE)
ALWAYS_EXCLUDED = (".git", "__pycache__", "*.pyc", ".env", ".venv", "node_modules", ".DS_Store")


@dataclass(frozen=True, slots=True)
class Upload:
    """A directory tree that is to be on the server.

    Arguments:
        source: local directory; its contents are sent.
        target: directory on the server, made equal to the source.
        link_dest: directories on the server whose equal files are hard-linked instead of sent.
        exclude: rsync patterns, besides `ALWAYS_EXCLUDED`.
        ignored: paths below the source that stay here (what git ignores), directories ending in a slash.
        deadline: seconds.
        compare: send nothing, only find out what would be sent.
    """

    source: Path
    target: str
    link_dest: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    deadline: float = 1800
    compare: bool = False

    def argv(self, shell: Sequence[str]) -> tuple[str, ...]:
        """Return the rsync command line.

        Files are compared by content and times are not kept: a fresh clone (CI) has new times on every file, and
        still shares all unchanged ones with the release before.
        """
        return (
            "rsync",
            "--recursive",
            "--links",
            "--perms",
            "--chmod=Du=rwx,Dgo=rx,Fu+rw,Fgo+r,Fgo-w",
            "--checksum",
            "--compress",
            "--delete",
            "--delete-excluded",
            "--stats",
            "--timeout=60",
            *(f"--exclude={pattern}" for pattern in (*ALWAYS_EXCLUDED, *self.exclude)),
            *(f"--exclude=/{_literal(path)}" for path in self.ignored),
            # The statistics do not count links and permissions that differ.
            *(("--dry-run", "--itemize-changes") if self.compare else ()),
            *(f"--link-dest={directory}" for directory in self.link_dest),
            f"--rsh={shlex.join(shell)}",
            f"{self.source}/",
            f"server:{self.target}/",
        )


def _literal(path: str) -> str:
    """Return a path as an rsync pattern that matches just it; without a wildcard rsync takes a backslash as it is."""
    return re.sub(r"([\\\[*?])", r"\\\1", path) if re.search(r"[\[*?]", path) else path


@dataclass(frozen=True, slots=True)
class UploadStatistics:
    """What rsync says it did: files in the tree, files sent, bytes sent over the line.

    Arguments:
        differing: for a comparison, how much is not the same: files, directories, links, permissions.
    """

    files: int
    sent: int
    bytes_sent: int
    differing: int = 0

    def __str__(self) -> str:
        return f"{self.sent} of {self.files} files sent, {self.bytes_sent / 1024:,.0f} KiB"


def parse_statistics(text: str) -> UploadStatistics:
    """Return the figures of `rsync --stats`."""

    def figure(pattern: str) -> int:
        found = re.search(pattern + r":\s*([\d,.]+)", text)
        return int(re.sub(r"\D", "", found.group(1))) if found else 0

    regular = re.search(r"Number of files:.*?reg:\s*([\d,.]+)", text)
    return UploadStatistics(
        files=int(re.sub(r"\D", "", regular.group(1))) if regular else figure("Number of files"),
        sent=figure(r"Number of (?:regular )?files transferred"),
        bytes_sent=figure("Total bytes sent"),
        differing=len(ITEM.findall(text)),
    )


def upload(server: Remote, what: Upload, on_line: OnLine | None = None) -> UploadStatistics:
    """Make a directory on the server equal to a local one and return rsync's figures.

    Raises `Failure` when rsync is missing here, or fails twice.
    """
    if shutil.which("rsync") is None:
        raise Failure(
            "rsync is not installed on this machine", then="apt-get install rsync (macOS: brew install rsync)"
        )
    for attempt in (1, 2):
        code, out, err = _run(server, what, on_line)
        if code == 0:
            return parse_statistics(out)
        if code not in RETRY or attempt == 2:
            break
        time.sleep(0.5)
    lines = [server.hidden(line) for line in err.strip().splitlines()[-8:]]
    raise Failure(f"rsync ended with exit code {code}", host=server.name, details=tuple(lines))


def _run(server: Remote, what: Upload, on_line: OnLine | None) -> tuple[int, str, str]:
    with tempfile.TemporaryDirectory(prefix="rsync-") as directory:
        path = f"{directory}/line"
        bridge = _Bridge(server, path, what.deadline)
        bridge.start()
        argv = what.argv((sys.executable, "-I", "-S", str(SHELL), path))
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        try:
            out, err = process.communicate(timeout=what.deadline)
        except subprocess.TimeoutExpired:
            raise Failure(f"the upload did not finish within {what.deadline:.0f} s", host=server.name) from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            bridge.close()
        if on_line is not None:
            for line in out.splitlines():
                on_line(line)
        return process.returncode, out, err + bridge.errors


class _Bridge(threading.Thread):
    """Answers rsync's remote shell on a private socket with a channel of the open connection."""

    def __init__(self, server: Remote, path: str, deadline: float) -> None:
        super().__init__(daemon=True, name="rsync bridge")
        self._server, self._deadline = server, deadline
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(1)
        self._listener.settimeout(deadline)
        self._channel: paramiko.Channel | None = None
        self.errors = ""

    def run(self) -> None:
        with contextlib.suppress(OSError, EOFError, Failure):
            line, _ = self._listener.accept()
            with line:
                self._talk(line)

    def _talk(self, line: socket.socket) -> None:
        wanted, rest = b"", b""
        while b"\0" not in wanted:
            wanted += line.recv(65536)
        text, _, rest = wanted.partition(b"\0")
        # rsync has quoted its arguments for a remote shell already; here they become words again.
        command = Command(tuple(shlex.split(text.decode())), deadline=self._deadline, label="rsync --server")
        channel = self._channel = self._server.open_channel(command)
        downward = threading.Thread(target=self._down, args=(channel, line), daemon=True)
        downward.start()
        if rest:
            channel.sendall(rest)
        while data := line.recv(65536):
            channel.sendall(data)
        channel.shutdown_write()
        downward.join(self._deadline)

    def _down(self, channel: paramiko.Channel, line: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := channel.recv(65536):
                line.sendall(data)
        while data := channel.recv_stderr(65536):
            self.errors += data.decode(errors="replace")
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the bridge; safe to call at any time."""
        self._listener.close()
        if self._channel is not None:
            self._channel.close()
        self.join(2)
