"""Locks: who holds them, and how that is told."""

from __future__ import annotations

import getpass
import json
import os

import pytest

from fabfile.model.failure import ExitCode, Failure, LockedFailure
from fabfile.model.secret import Secret
from fabfile.remote.lock import HOST_LOCK, Lock, describe, identity, project_lock
from fabfile.remote.server import ConnectionLost
from tests.fake_host import FakeHost

DIRECTORY = "/opt/projects/mini/.deploy"
RECORD = {"who": "ann@laptop", "what": "deploy v2", "since": "2026-11-23T11:00:00Z", "step": "gate"}


def lock(fake: FakeHost, **options: object) -> Lock:
    return Lock(fake, project_lock("/opt/projects/mini"), purpose="deploy v2", **options)  # type: ignore[arg-type]


def test_a_holder_is_described_in_words() -> None:
    assert describe(json.dumps(RECORD)) == "ann@laptop: deploy v2, at step 'gate', since 2026-11-23T11:00:00Z"


@pytest.mark.parametrize("record", ["", "{}", "[]", "null", "no json", '{"who": "ann"}', "\n\n"])
def test_a_holder_without_a_record_is_somebody(record: str) -> None:
    assert describe(record) == "somebody who left no record"


def test_we_are_a_ci_actor_or_a_user_on_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert identity({"GITHUB_ACTOR": "ann", "GITHUB_RUN_ID": "7"}) == "ann (GitHub Actions run 7)"
    assert identity({"GITHUB_ACTOR": "ann"}) == "ann (GitHub Actions)"
    monkeypatch.setattr("platform.node", lambda: "laptop")
    monkeypatch.setattr("getpass.getuser", lambda: "ann")
    assert identity({}) == "ann@laptop"


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert identity({}).split("@")[0].isdigit()


def test_a_held_lock_guards_commands_and_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeHost()
    with lock(fake) as held:
        assert fake.busy_file == f"{DIRECTORY}/busy"
        assert json.loads(fake.world.holders[DIRECTORY])["step"] == "begin"
        held.step("gate")
        assert json.loads(fake.world.holders[DIRECTORY])["step"] == "gate"
    assert not fake.busy_file
    assert not fake.world.holders
    held.step("after")  # says nothing to nobody
    assert fake.world.holders == {}


def test_a_lock_of_somebody_else_is_refused_with_code_11() -> None:
    fake = FakeHost()
    fake.world.holders[DIRECTORY] = json.dumps(RECORD)
    with pytest.raises(LockedFailure, match="locked by ann@laptop: deploy v2") as caught:
        lock(fake).__enter__()
    assert (caught.value.code, ExitCode.LOCKED) == (11, 11)
    assert fake.busy_file is None


def test_waiting_is_announced_once_and_then_bounded() -> None:
    fake, said = FakeHost(), list[str]()
    fake.world.holders[DIRECTORY] = json.dumps(RECORD)
    with pytest.raises(LockedFailure):
        lock(fake, wait_seconds=300, on_wait=said.append).__enter__()
    assert said == ["ann@laptop: deploy v2, at step 'gate', since 2026-11-23T11:00:00Z"]
    assert fake.transcript == [f"lock {DIRECTORY} 0 900 <holder>", f"lock {DIRECTORY} 300 900 <holder>"]


def test_whoever_comes_while_a_lock_is_being_taken_is_told_who_takes_it() -> None:
    fake = FakeHost()
    with lock(fake):
        assert not fake.world.journal
        told = [text for text in fake.sent if text.startswith("R ")]
        assert told == []  # the record went with the command itself
        record = json.loads(fake.world.holders[DIRECTORY])
    assert (record["what"], record["step"], record["pid"]) == ("deploy v2", "begin", os.getpid())
    assert record["since"].endswith("Z")


def test_waiting_for_the_last_command_of_a_dead_client_is_announced_once() -> None:
    fake, said = FakeHost(), list[str]()
    fake.world.still_busy = 5
    with lock(fake, on_wait=said.append):
        assert fake.busy_file
    assert said == ["the last command of an interrupted run, which is still at work on the server"]


def test_a_last_command_that_does_not_end_is_told_and_the_lock_not_taken() -> None:
    fake, said = FakeHost(), list[str]()
    fake.world.still_busy = 900
    with pytest.raises(LockedFailure, match="still working on the server"):
        lock(fake, busy_seconds=3, on_wait=said.append).__enter__()
    assert len(said) == 1
    assert fake.busy_file is None


def test_waiting_for_quiet_does_not_wait_for_itself() -> None:
    fake, guards = FakeHost(), list[str | None]()
    fake.before["flock -w 120"] = lambda: guards.append(fake.busy_file)
    with lock(fake) as held:
        held.wait_until_quiet()
        assert guards == [None]
        assert fake.busy_file == f"{DIRECTORY}/busy"
    assert fake.transcript[-1] == f"flock -w 120 {DIRECTORY}/busy true"


@pytest.mark.parametrize("how", ["is still there", "breaks"])
def test_commands_are_guarded_again_even_when_it_does_not_get_quiet(how: str) -> None:
    fake = FakeHost()
    if how == "breaks":
        fake.lose("flock", done=False)
    else:
        fake.fail("flock", exit_code=1)
    with lock(fake) as held:
        with pytest.raises(Failure) as caught:
            held.wait_until_quiet()
        assert isinstance(caught.value, ConnectionLost) == (how == "breaks")
        assert fake.busy_file == f"{DIRECTORY}/busy"


@pytest.mark.parametrize(
    ("code", "kind", "what"),
    [
        (12, LockedFailure, "still working on the server"),
        (13, Failure, "the host is not set up yet"),
        (127, Failure, "the lock could not be taken"),
        (-1, ConnectionLost, "the connection broke while the lock was taken"),
    ],
)
def test_a_lock_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Failure], what: str) -> None:
    monkeypatch.setattr("tests.fake_host.FakeChannel._take", lambda _: (code, ""))
    with pytest.raises(kind, match=what):
        Lock(FakeHost(), HOST_LOCK, purpose="x").__enter__()


def test_a_broken_connection_is_noticed_by_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("Socket is closed")

    with lock(FakeHost()) as held:
        monkeypatch.setattr("tests.fake_host.FakeChannel.sendall", broken)
        with pytest.raises(ConnectionLost):
            held.step("gate")
        with pytest.raises(ConnectionLost):
            held.journal({"step": "gate"})


def test_neither_record_nor_journal_show_a_secret() -> None:
    fake = FakeHost()
    fake.hide([Secret("hunter2-hunter2")])
    with lock(fake) as held:
        held.step("login hunter2-hunter2")
        held.journal({"step": "x", "why": 'said "hunter2-hunter2"'})
        assert "hunter2" not in fake.world.holders[DIRECTORY]
    assert "hunter2" not in json.dumps(fake.world.journal) + "".join(fake.sent)
    assert fake.world.journal[0]["why"] == 'said "***"'
