"""A sequence of named steps, each with its undo: run in order, timed, journalled, undone in reverse when one fails."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Protocol

from fabfile.model.failure import Failure
from fabfile.remote.command import Answer, Command
from fabfile.remote.server import ConnectionLost, Remote

if TYPE_CHECKING:
    from fabfile.remote.lock import Lock


class Reporter(Protocol):
    """Who shows people what happens."""

    def begin(self, name: str, what: str) -> None:
        """Say that a step begins."""

    def line(self, text: str) -> None:
        """Take a line of output of the running step."""

    def end(self, name: str, detail: str, seconds: float, outcome: str) -> None:
        """Say how a step ended."""

    def note(self, text: str) -> None:
        """Show a remark that people should read."""


class Interrupted(Failure):
    """Somebody pressed Ctrl-C, a CI job was cancelled, or the terminal went away."""


@dataclass(slots=True)
class Run:
    """What a step has at hand while it runs.

    Arguments:
        found: what earlier steps found out for later ones (image id, name of the dump).
    """

    server: Remote
    reporter: Reporter
    lock: Lock | None = None
    found: dict[str, str] = field(default_factory=dict)

    def send(self, command: Command) -> Answer:
        """Run a command on the server; the output of long ones is shown while it comes."""
        return self.server.run(command, self.reporter.line if command.stream else None)


Action = Callable[[Run], str]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a sequence.

    Arguments:
        name: one or two words, as printed.
        what: what it does, in one line, for the plan.
        do: does it and returns a detail worth printing.
        undo: takes it back; registered before `do` acts, and safe when `do` did nothing.
        late: past the point of no return, where a failure is a warning.
    """

    name: str
    what: str
    do: Action = field(compare=False)
    undo: Action | None = field(default=None, compare=False)
    late: bool = False


def sending(command: Command, detail: Callable[[Answer], str] = lambda _: "") -> Action:
    """Return the action that runs one command."""
    return lambda run: detail(run.send(command))


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a step took, and how it ended."""

    name: str
    seconds: float
    outcome: str


Observer = Callable[[str, str], None]
observers: list[Observer] = []  # called with (step, "begin" | "end"); tests kill the process here


@contextmanager
def timed(run: Run, name: str, what: str, timings: list[Timing]) -> Iterator[list[str]]:
    """Report, time and journal whatever happens inside; what is put into the yielded list is printed as detail."""
    for observer in observers:
        observer(name, "begin")
    run.reporter.begin(name, what)
    if run.lock is not None:
        run.lock.step(name)
        run.lock.journal({"step": name, "event": "begin"})
    began = time.monotonic()
    detail: list[str] = []
    outcome = "failed"
    try:
        yield detail
        outcome = "done"
    finally:
        seconds = time.monotonic() - began
        timings.append(Timing(name, round(seconds, 3), outcome))
        run.reporter.end(name, " ".join(part for part in detail if part), seconds, outcome)
    if run.lock is not None:
        run.lock.journal({"step": name, "event": "end"})
    for observer in observers:
        observer(name, "end")


def run_all(steps: Sequence[Step], run: Run, timings: list[Timing]) -> None:
    """Run the steps; when one fails before the point of no return, undo what was done and raise its failure.

    Nothing is undone after `ConnectionLost`: what is true must be observed first.
    """
    undo: list[Step] = []
    late = False
    with interruptible():
        try:
            for step in steps:
                late = step.late
                if step.undo is not None:
                    undo.append(step)
                _run_one(step, run, timings)
        except ConnectionLost:
            raise
        except BaseException:  # a signal may come between two steps, and a bug must not leave half a deploy either
            if not late:
                _undo(undo, run, timings)
            raise


def _run_one(step: Step, run: Run, timings: list[Timing]) -> None:
    try:
        with timed(run, step.name, step.what, timings) as detail:
            detail.append(step.do(run))
    except (ConnectionLost, Interrupted):
        raise
    except Failure as failure:
        if not step.late:
            raise
        run.reporter.note(f"warning: {step.name}: {failure.what}")


def _undo(undo: Sequence[Step], run: Run, timings: list[Timing]) -> None:
    with ignoring_signals():
        if undo and run.lock is not None:
            try:
                run.lock.wait_until_quiet()
            except ConnectionLost:
                raise
            except Failure as failure:
                run.reporter.note(f"warning: {failure.what}")
        for step in reversed(undo):
            assert step.undo is not None  # noqa: S101 - only such are registered
            try:
                with timed(run, f"undo {step.name}", "", timings) as detail:
                    detail.append(step.undo(run))
            except ConnectionLost:
                raise
            except Exception as failure:
                run.reporter.note(f"warning: undo {step.name}: {getattr(failure, 'what', failure)}")


SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into a failure like any other, so that undo happens."""

    def interrupt(number: int, _: FrameType | None) -> None:
        raise Interrupted(f"interrupted by {signal.Signals(number).name}")

    with _handling(interrupt):
        yield


@contextmanager
def ignoring_signals() -> Iterator[None]:
    """Let nothing interrupt an undo; it has deadlines of its own."""
    with _handling(signal.SIG_IGN):
        yield


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    # What is ignored already stays so: `nohup` means that a closed terminal is no reason to stop.
    heard = [number for number in SIGNALS if handler is signal.SIG_IGN or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
