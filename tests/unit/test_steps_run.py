"""How a list of steps runs: in order, undone in reverse, never blindly."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from fabfile.model.failure import Failure
from fabfile.remote.lock import Lock, project_lock
from fabfile.remote.server import ConnectionLost
from fabfile.steps.step import Interrupted, Run, Step, Timing, interruptible, run_all
from tests.fake_host import FakeHost


@dataclass
class Notebook:
    """A reporter that keeps what it is told."""

    lines: list[str] = field(default_factory=list)

    def begin(self, name: str, what: str) -> None:
        self.lines.append(f"> {name}")

    def line(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def end(self, name: str, detail: str, seconds: float, outcome: str) -> None:
        self.lines.append(f"< {name} {outcome} {detail}".rstrip())

    def note(self, text: str) -> None:
        self.lines.append(f"! {text}")


class Stage:
    """Steps that write down what they do."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.notebook = Notebook()
        self.timings: list[Timing] = []
        self.run = Run(FakeHost(), self.notebook)

    def step(
        self,
        name: str,
        error: BaseException | Callable[[], object] | None = None,
        *,
        undo_error: BaseException | None = None,
        undoable: bool = True,
        late: bool = False,
    ) -> Step:
        def do(_: Run) -> str:
            self.did.append(name)
            if isinstance(error, BaseException):
                raise error
            if error is not None:
                error()
            return f"{name} done"

        def undo(_: Run) -> str:
            self.did.append(f"undo {name}")
            if undo_error is not None:
                raise undo_error
            return ""

        return Step(name, f"do {name}", do, undo if undoable else None, late=late)

    def perform(self, *steps: Step) -> None:
        run_all(steps, self.run, self.timings)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_steps_run_in_order_and_are_timed(stage: Stage) -> None:
    stage.perform(stage.step("one"), stage.step("two"))
    assert stage.did == ["one", "two"]
    assert [(t.name, t.outcome) for t in stage.timings] == [("one", "done"), ("two", "done")]
    assert stage.notebook.lines == ["> one", "< one done one done", "> two", "< two done two done"]


def test_what_was_done_is_undone_in_reverse_and_the_failed_step_too(stage: Stage) -> None:
    failure = Failure("no space left")
    with pytest.raises(Failure, match="no space left") as caught:
        stage.perform(
            stage.step("one"),
            stage.step("two", undoable=False),
            stage.step("three", failure),
            stage.step("four"),
        )
    assert caught.value is failure
    assert stage.did == ["one", "two", "three", "undo three", "undo one"]
    assert stage.timings[2].outcome == "failed"


def test_the_undo_of_a_step_is_registered_before_it_acts(stage: Stage) -> None:
    def die() -> None:
        raise Failure("broke in the middle")

    with pytest.raises(Failure):
        stage.perform(stage.step("one", die))
    assert stage.did == ["one", "undo one"]


def test_an_undo_that_fails_does_not_stop_the_others(stage: Stage) -> None:
    with pytest.raises(Failure, match="the first reason"):
        stage.perform(
            stage.step("one"),
            stage.step("two", undo_error=Failure("stuck")),
            stage.step("three", Failure("the first reason")),
        )
    assert stage.did == ["one", "two", "three", "undo three", "undo two", "undo one"]
    assert "! warning: undo two: stuck" in stage.notebook.lines


def test_a_bug_in_an_undo_does_not_stop_the_others(stage: Stage) -> None:
    with pytest.raises(Failure, match="the first reason"):
        stage.perform(
            stage.step("one"),
            stage.step("two", undo_error=ZeroDivisionError("division by zero")),
            stage.step("three", Failure("the first reason")),
        )
    assert stage.did == ["one", "two", "three", "undo three", "undo two", "undo one"]
    assert "! warning: undo two: division by zero" in stage.notebook.lines


def locked() -> tuple[FakeHost, Lock]:
    fake = FakeHost()
    return fake, Lock(fake, project_lock("/opt/projects/mini"), purpose="deploy v2")


def test_nothing_is_undone_before_the_command_that_was_given_up_has_ended(stage: Stage) -> None:
    fake, lock = locked()
    fake.before["flock -w 120"] = lambda: stage.did.append("wait until it is quiet")
    with lock as held:
        stage.run = Run(fake, stage.notebook, held)
        with pytest.raises(Failure):
            stage.perform(stage.step("one"), stage.step("two", Failure("x")))
    assert stage.did == ["one", "two", "wait until it is quiet", "undo two", "undo one"]


def test_where_there_is_nothing_to_undo_nothing_is_waited_for(stage: Stage) -> None:
    fake, lock = locked()
    with lock as held:
        stage.run = Run(fake, stage.notebook, held)
        with pytest.raises(Failure):
            stage.perform(stage.step("one", Failure("x"), undoable=False))
    assert not any(line.startswith("flock") for line in fake.transcript)


def test_a_command_that_does_not_end_is_a_warning_and_the_undo_goes_on(stage: Stage) -> None:
    fake, lock = locked()
    fake.fail("flock", exit_code=1)
    with lock as held:
        stage.run = Run(fake, stage.notebook, held)
        with pytest.raises(Failure):
            stage.perform(stage.step("one", Failure("x")))
    assert stage.did == ["one", "undo one"]
    assert "! warning: a command that was broken off is still running on the server" in stage.notebook.lines


def test_when_the_connection_breaks_before_the_undo_nothing_is_undone(stage: Stage) -> None:
    fake, lock = locked()
    fake.lose("flock", done=False)
    with lock as held:
        stage.run = Run(fake, stage.notebook, held)
        with pytest.raises(ConnectionLost):
            stage.perform(stage.step("one", Failure("x")))
    assert stage.did == ["one"]


def test_after_a_broken_connection_nothing_is_undone(stage: Stage) -> None:
    with pytest.raises(ConnectionLost):
        stage.perform(stage.step("one"), stage.step("two", ConnectionLost("gone")))
    assert stage.did == ["one", "two"]


def test_when_the_connection_breaks_in_an_undo_the_others_are_left(stage: Stage) -> None:
    with pytest.raises(ConnectionLost):
        stage.perform(stage.step("one"), stage.step("two", Failure("x"), undo_error=ConnectionLost("gone")))
    assert stage.did == ["one", "two", "undo two"]


def test_late_failures_are_warnings_and_the_rest_goes_on(stage: Stage) -> None:
    stage.perform(
        stage.step("switch"),
        stage.step("drain", Failure("timed out"), late=True),
        stage.step("record", late=True),
    )
    assert stage.did == ["switch", "drain", "record"]
    assert "! warning: drain: timed out" in stage.notebook.lines


def test_a_connection_that_breaks_late_is_not_a_warning(stage: Stage) -> None:
    with pytest.raises(ConnectionLost):
        stage.perform(stage.step("switch"), stage.step("drain", ConnectionLost("gone"), late=True))
    assert stage.did == ["switch", "drain"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_a_failure_like_any_other(stage: Stage, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=f"interrupted by {number.name}"):
        stage.perform(stage.step("one"), stage.step("two", lambda: os.kill(os.getpid(), number)))
    assert stage.did == ["one", "two", "undo two", "undo one"]
    assert signal.getsignal(number) is before


def test_a_late_signal_stops_at_once_and_undoes_nothing(stage: Stage) -> None:
    with pytest.raises(Interrupted):
        stage.perform(
            stage.step("switch"),
            stage.step("drain", lambda: os.kill(os.getpid(), signal.SIGTERM), late=True),
            stage.step("record", late=True),
        )
    assert stage.did == ["switch", "drain"]


def test_a_signal_between_two_steps_is_undone_too(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def between(name: str, event: str) -> None:
        if (name, event) == ("one", "end"):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("fabfile.steps.step.observers", [between])
    with pytest.raises(Interrupted):
        stage.perform(stage.step("one"), stage.step("two"))
    assert stage.did == ["one", "undo one"]


def test_a_second_signal_does_not_stop_the_undo(stage: Stage) -> None:
    def undo(_: Run) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        stage.did.append("undo one")
        return ""

    with pytest.raises(Failure, match="broken"):
        stage.perform(Step("one", "", lambda _: "", undo), stage.step("two", Failure("broken")))
    assert stage.did == ["two", "undo two", "undo one"]


def test_a_bug_in_a_step_is_undone_and_stays_a_bug(stage: Stage) -> None:
    with pytest.raises(ZeroDivisionError):
        stage.perform(stage.step("one"), stage.step("two", ZeroDivisionError()))
    assert stage.did == ["one", "two", "undo two", "undo one"]


def test_a_signal_that_is_ignored_stays_ignored(stage: Stage) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        stage.perform(stage.step("one", lambda: os.kill(os.getpid(), signal.SIGHUP)), stage.step("two"))
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert stage.did == ["one", "two"]


def test_the_handlers_of_signals_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with interruptible():
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_the_journal_tells_what_began_and_what_ended(stage: Stage) -> None:
    fake = FakeHost()
    with Lock(fake, project_lock("/opt/projects/mini"), purpose="deploy v2") as lock:
        assert fake.busy_file == "/opt/projects/mini/.deploy/busy"
        stage.run = Run(fake, stage.notebook, lock)
        with pytest.raises(Failure):
            stage.perform(stage.step("one"), stage.step("two", Failure("x")))
        holder = json.loads(fake.world.holders["/opt/projects/mini/.deploy"])
        assert (holder["what"], holder["step"]) == ("deploy v2", "undo one")
    assert fake.busy_file is None
    told = [(entry["step"], entry["event"]) for entry in fake.world.journal]
    assert told[:3] == [("one", "begin"), ("one", "end"), ("two", "begin")]
    assert ("two", "end") not in told
    assert not fake.world.holders
