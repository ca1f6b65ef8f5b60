"""Uploads: the command line, the figures, and a real rsync at both ends of a pipe."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from fabfile.model.failure import Failure
from fabfile.remote.command import Command
from fabfile.remote.rsync import ALWAYS_EXCLUDED, Upload, UploadStatistics, parse_statistics, upload
from tests.fake_host import FakeHost

if TYPE_CHECKING:
    import paramiko

CAPTURED = Path(__file__).parents[1] / "captured"


@pytest.mark.parametrize("version", ["3.2.7", "3.5.0"])
def test_the_figures_of_real_rsync(version: str) -> None:
    figures = parse_statistics((CAPTURED / f"rsync-{version}.txt").read_text())
    assert figures == UploadStatistics(files=1200, sent=1, bytes_sent=37205)
    assert str(figures) == "1 of 1200 files sent, 36 KiB"


def test_the_figures_of_the_rsync_of_macos() -> None:
    text = "Number of files: 12\nNumber of files transferred: 3\nTotal bytes sent: 4096\n"
    assert parse_statistics(text) == UploadStatistics(files=12, sent=3, bytes_sent=4096)


def test_no_figures_are_no_crash() -> None:
    assert parse_statistics("") == UploadStatistics(0, 0, 0)


def test_the_command_line_of_an_upload() -> None:
    what = Upload(
        Path("/src/my app"),
        "/opt/r/v2.partial",
        link_dest=("/opt/r/v2", "/opt/r/v1"),
        exclude=("*.bak",),
        ignored=("debug.log", "built/"),
    )
    argv = what.argv(("python", "/a b/shell.py", "sock"))
    assert argv[0] == "rsync"
    assert argv[-2:] == ("/src/my app/", "server:/opt/r/v2.partial/")
    assert [word for word in argv if "--link-dest" in word] == ["--link-dest=/opt/r/v2", "--link-dest=/opt/r/v1"]
    assert argv[-3] == "--rsh=python '/a b/shell.py' sock"
    assert {f"--exclude={pattern}" for pattern in (*ALWAYS_EXCLUDED, "*.bak")} <= set(argv)
    assert {"--exclude=/debug.log", "--exclude=/built/"} <= set(argv)
    # What git ignores is asked of git: rsync would leave out tracked files too.
    assert not any(word.startswith("--filter") for word in argv)
    assert "--checksum" in argv
    assert "--dry-run" not in argv
    # Files of releases share inodes: nothing may be written into in place.
    assert not {"--inplace", "--append", "--times", "-t", "--archive", "-a"} & set(argv)


class Pipe:
    """A channel to a process on this machine, as the connection gives it to one on the server."""

    def __init__(self, argv: tuple[str, ...]) -> None:
        self._near, far = socket.socketpair()
        self._process = subprocess.Popen(argv, stdin=far.fileno(), stdout=far.fileno(), stderr=subprocess.PIPE)
        far.close()
        self.recv, self.sendall = self._near.recv, self._near.sendall

    def recv_stderr(self, size: int) -> bytes:
        assert self._process.stderr is not None
        return bytes(self._process.stderr.read(size))

    def shutdown_write(self) -> None:
        self._near.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._near.close()
        self._process.kill()
        self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()


class Local(FakeHost):
    """A server whose commands run on this machine."""

    def __init__(self) -> None:
        super().__init__()
        self.pipes: list[Pipe] = []

    def open_channel(self, command: Command) -> paramiko.Channel:
        self.transcript.append(shlex.join(command.argv))
        self.pipes.append(Pipe(command.argv))
        return cast("paramiko.Channel", self.pipes[-1])


@pytest.fixture
def local() -> Iterator[Local]:
    server = Local()
    yield server
    for pipe in server.pipes:
        pipe.close()


def test_of_a_thousand_files_only_the_changed_one_is_sent_and_the_rest_takes_no_new_disk(
    local: Local, tmp_path: Path
) -> None:
    source, releases = tmp_path / "my source", tmp_path / "releases"
    (source / "sub").mkdir(parents=True)
    releases.mkdir()
    for number in range(1000):
        (source / "sub" / f"file {number}").write_text(f"content {number}\n")
    (source / ".env").write_text("SECRET=x\n")
    (source / "debug.log").write_text("x")
    first = upload(local, Upload(source, f"{releases}/v1", ignored=("debug.log",)))
    assert (first.files, first.sent) == (1000, 1000)
    (source / "sub" / "file 7").write_text("changed 7\n")
    (source / "sub" / "file 8").touch()
    second = upload(local, Upload(source, f"{releases}/v2", link_dest=(f"{releases}/v1",), ignored=("debug.log",)))
    assert (second.files, second.sent) == (1000, 1)

    def inode(release: str, name: str) -> int:
        return (releases / release / "sub" / name).stat().st_ino

    assert inode("v1", "file 8") == inode("v2", "file 8")
    assert inode("v1", "file 7") != inode("v2", "file 7")
    assert (releases / "v1" / "sub" / "file 7").read_text() == "content 7\n"
    assert (releases / "v2" / "sub" / "file 7").read_text() == "changed 7\n"
    assert not (releases / "v2" / ".env").exists()
    assert not (releases / "v2" / "debug.log").exists()
    assert all(line.startswith("rsync --server") for line in local.transcript)


def test_a_target_becomes_equal_to_its_source_and_readable_for_the_container(local: Local, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o700)
    (source / "data").write_text("x")
    (source / "data").chmod(0o600)
    (source / "link").symlink_to("data")
    (target / "stale").write_text("x")
    upload(local, Upload(source, str(target)))
    assert sorted(path.name for path in target.iterdir()) == ["data", "link", "run.sh"]
    assert (target / "link").is_symlink()
    assert (target / "data").stat().st_mode & 0o777 == 0o644
    assert (target / "run.sh").stat().st_mode & 0o111


# Names that mean something in a pattern of rsync, or look as if they did.
NAMES = [
    "*",
    "a*",
    "a?",
    "[ab]",
    "a]b",
    "back\\slash",
    "back\\slash*",
    "**",
    "a b",
    "-rf",
    "новое",
    "x[!y]",
    "it's",
    "#x",
    "!",
]


def test_what_git_ignores_stays_here_and_nothing_else_does(local: Local, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for directory in (source / "kept", source / "ignored"):
        directory.mkdir(parents=True)
        for name in (*NAMES, "ab", "aZ", "xz", "backslash"):
            (directory / name).write_text(name)
    (source / "deep" / "ignored").mkdir(parents=True)
    (source / "deep" / "ignored" / "stays").write_text("x")
    upload(local, Upload(source, str(target), ignored=tuple(f"ignored/{name}" for name in NAMES)))
    assert sorted(p.name for p in (target / "kept").iterdir()) == sorted((*NAMES, "ab", "aZ", "xz", "backslash"))
    assert sorted(p.name for p in (target / "ignored").iterdir()) == ["aZ", "ab", "backslash", "xz"]
    assert (target / "deep" / "ignored" / "stays").exists()


def test_an_ignored_directory_is_left_out_with_all_that_is_in_it(local: Local, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for path in ("built [x]/deep/file", "built x/file", "sub/built [x]/file"):
        (source / path).parent.mkdir(parents=True)
        (source / path).write_text("x")
    upload(local, Upload(source, str(target), ignored=("built [x]/",)))
    assert sorted(str(p.relative_to(target)) for p in target.rglob("file")) == ["built x/file", "sub/built [x]/file"]


# --- Comparing


def unchanged(_: Path) -> None: ...


def other_content(source: Path) -> None:
    (source / "data").write_text("y")


def new_file(source: Path) -> None:
    (source / "sub" / "new").write_text("x")


def file_gone(source: Path) -> None:
    (source / "data").unlink()


def directory_gone(source: Path) -> None:
    (source / "sub").rmdir()


def other_link(source: Path) -> None:
    (source / "link").unlink()
    (source / "link").symlink_to("elsewhere")


def executable(source: Path) -> None:
    (source / "data").chmod(0o755)


def only_younger(source: Path) -> None:
    os.utime(source / "data", (1, 1))


def only_less_readable(source: Path) -> None:
    (source / "data").chmod(0o600)


def something_ignored(source: Path) -> None:
    (source / "debug.log").write_text("y")


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (unchanged, False),
        (only_younger, False),
        (only_less_readable, False),
        (something_ignored, False),
        (other_content, True),
        (new_file, True),
        (file_gone, True),
        (directory_gone, True),
        (other_link, True),
        (executable, True),
    ],
)
def test_a_comparison_finds_every_difference_that_matters_and_changes_nothing(
    local: Local, tmp_path: Path, change: Callable[[Path], None], differs: bool
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "sub").mkdir(parents=True)
    (source / "data").write_text("x")
    (source / "link").symlink_to("data")
    what = Upload(source, str(target), ignored=("debug.log",))
    upload(local, what)
    change(source)
    before = subprocess.run(("ls", "-lR", target), capture_output=True, check=True).stdout
    found = upload(local, replace(what, compare=True))
    assert bool(found.differing) == differs
    assert subprocess.run(("ls", "-lR", target), capture_output=True, check=True).stdout == before


def test_a_release_whose_source_is_not_there_differs(local: Local, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    assert upload(local, Upload(tmp_path, f"{tmp_path}/absent", compare=True, exclude=("absent",))).differing
    assert not (tmp_path / "absent").exists()


def test_an_upload_that_fails_says_why_without_a_secret(local: Local, tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"rsync ended with exit code \d+") as caught:
        upload(local, Upload(tmp_path / "absent", str(tmp_path / "target")))
    assert caught.value.details
    assert caught.value.host == "prod"


def test_without_rsync_the_cure_is_named(local: Local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Failure, match="rsync is not installed on this machine") as caught:
        upload(local, Upload(tmp_path, "/x"))
    assert caught.value.then is not None
    assert local.transcript == []
