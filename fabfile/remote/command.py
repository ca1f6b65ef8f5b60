"""A command for a server: argv, standard input and a deadline. It quotes itself; nothing else makes shell text."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from fabfile.model.failure import Failure

SCRIPTS = Path(__file__).parent / "scripts"
INLINE_BYTES = 32_768  # Linux takes 131,072 bytes an argument
LABEL_CHARACTERS = 64  # records and whole files are arguments too: in a message they would hide the rest


@dataclass(frozen=True, slots=True)
class Command:
    """What is to run on a server, as a value that can be compared and printed.

    Arguments:
        argv: program and arguments. Secrets never stand here: they travel on `stdin`.
        stdin: bytes for standard input, hidden from `repr`.
        deadline: seconds after which the command is killed on both sides.
        accept: exit codes that are an answer; any other raises `CommandFailure`.
        public: whether standard input holds no secret and is short: it may then stand in the command line, which saves
            a round trip, for sshd takes nothing from us before it has told that the command runs.
        label: short form for people and transcripts.
        stream: whether each line of output is worth showing while it runs (builds, uploads).
    """

    argv: tuple[str, ...]
    stdin: bytes = field(default=b"", repr=False)
    deadline: float = 60.0
    accept: frozenset[int] = frozenset({0})
    public: bool = False
    label: str = ""
    stream: bool = False

    @property
    def line(self) -> str:
        """The command as one line of shell text."""
        return shlex.join(self.argv)

    @property
    def is_inline(self) -> bool:
        """Whether standard input goes with the command line."""
        return self.public and 0 < len(self.stdin) <= INLINE_BYTES

    def __str__(self) -> str:
        return self.label or self.line


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command answered: exit code, both outputs, seconds it took."""

    exit: int
    out: str = ""
    err: str = ""
    seconds: float = 0.0


class CommandFailure(Failure):
    """A command on the server ended with an exit code that is not an answer."""

    def __init__(self, command: Command, answer: Answer, *, host: str) -> None:
        self.command, self.answer = command, answer
        tail = [line for line in (answer.err or answer.out).strip().splitlines() if line.strip()][-20:]
        super().__init__(f"`{command}` ended with exit code {answer.exit}", host=host, details=tuple(tail))


class DeadlineFailure(Failure):
    """A command did not finish in time; it was killed, and what it did is not known."""


OnLine = Callable[[str], None]


@cache
def script_text(name: str) -> str:
    """Return the text of one of the scripts that run on servers."""
    return (SCRIPTS / f"{name}.sh").read_text(encoding="utf-8")


def script(
    name: str,
    *arguments: str,
    stdin: bytes = b"",
    public: bool = False,
    deadline: float = 60.0,
    accept: frozenset[int] = frozenset({0}),
    stream: bool = False,
) -> Command:
    """Return the command that runs `scripts/<name>.sh` with these arguments.

    The text of a script is fixed; whatever varies is an argument or standard input.
    """
    return Command(
        argv=("sh", "-c", script_text(name), name, *arguments),
        stdin=stdin,
        public=public,
        deadline=deadline,
        accept=accept,
        label=shlex.join((name, *(word if len(word) <= LABEL_CHARACTERS else "..." for word in arguments))),
        stream=stream,
    )
