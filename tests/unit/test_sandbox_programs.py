"""Running programs of this machine, and getting those that are missing."""

from __future__ import annotations

import io
import os
import shutil
import sys
import time
from collections.abc import Sequence

import pytest

from fabfile.model.failure import Failure
from sandbox import programs

NEEDED = {"rsync": ["rsync"], "ssh": ["openssh-client"]}


class Machine:
    """A Debian machine with nothing but apt-get, which brings what the packages are said to bring."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.brings = {"rsync", "ssh"}
        self.programs = {"apt-get"}

    def run(self, argv: Sequence[str], **_: object) -> None:
        self.commands.append(list(argv))
        if argv[1] == "install":
            self.programs |= self.brings

    def which(self, program: str, path: str | None = None) -> str | None:
        return f"/usr/bin/{program}" if program in self.programs else None


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(shutil, "which", machine.which)
    monkeypatch.setattr(programs, "run", machine.run)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return machine


def test_a_program_gets_its_input_and_gives_its_output() -> None:
    assert programs.run(["cat"], stdin=b"hello") == "hello"
    assert programs.run(["cat"]) == ""


def test_a_failed_program_shows_its_status_and_its_last_lines() -> None:
    with pytest.raises(Failure, match="ended with status 3") as failure:
        programs.run(["sh", "-c", "seq 100; exit 3"])

    assert failure.value.details == tuple(str(number) for number in range(86, 101))


def test_a_program_that_hangs_is_ended() -> None:
    started = time.monotonic()
    with pytest.raises(Failure, match="did not end within"):
        programs.run(["sleep", "30"], timeout=0.1)

    assert time.monotonic() - started < 5


def test_a_long_command_is_named_in_one_short_line() -> None:
    assert programs.shorten(["sh", "-c", "a\nb"]) == "sh -c 'a b'"
    assert len(programs.shorten(["x" * 500])) == 120


def test_quick_work_is_silent_and_slow_work_says_how_long_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with programs.progress(said.append, "building"):
        pass
    assert said == []

    monkeypatch.setattr(programs, "WORTH_SAYING_SECONDS", 0.01)
    with programs.progress(said.append, "building"):
        time.sleep(0.1)
    assert said == ["building ...", "building: done in 0.1 s"]


def test_work_that_failed_is_not_called_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "WORTH_SAYING_SECONDS", 0.01)
    said: list[str] = []

    def fail() -> None:
        with programs.progress(said.append, "building"):
            time.sleep(0.05)
            raise Failure("no space left")

    with pytest.raises(Failure):
        fail()

    assert said == ["building ..."]


def test_what_is_there_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "run", lambda argv, **_: pytest.fail(f"ran {argv}"))

    programs.install({"sh": ["dash"]}, print)


def test_root_without_a_terminal_gets_what_is_missing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    programs.install(NEEDED, print)

    assert [command[:2] for command in machine.commands] == [["apt-get", "update"], ["apt-get", "install"]]
    assert machine.commands[1][2:5] == ["-y", "openssh-client", "rsync"]


def test_an_installation_that_brings_nothing_is_a_failure(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    machine.brings = {"ssh"}

    with pytest.raises(Failure, match="brought no rsync"):
        programs.install(NEEDED, print)


def test_a_plain_user_is_told_the_command(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(Failure, match="rsync, ssh are not installed") as failure:
        programs.install(NEEDED, print)

    assert failure.value.then == "sudo apt-get install -y openssh-client rsync"
    assert machine.commands == []


def test_nothing_is_installed_against_a_persons_will(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: "n")

    with pytest.raises(Failure):
        programs.install(NEEDED, print)

    assert machine.commands == []
