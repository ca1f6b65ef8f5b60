"""Failures that are for people: what happened, where, what visitors see now, what to type next.

Everything that is not a `Failure` is a bug and shows its traceback.
"""

from __future__ import annotations

from enum import IntEnum

from invoke.exceptions import Exit


class ExitCode(IntEnum):
    """Exit codes are part of the interface: CI jobs and monitoring read them."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    LOCKED = 11


class Failure(Exit):
    """Something went wrong on the way; the message says what, where, what visitors see and what to do.

    Arguments:
        what: one sentence, starting in lower case, without the host's name.
        host: name of the host in `hosts.toml`, if one is involved.
        visitors: what visitors of the site see now, one sentence.
        then: what to type next, one line.
        details: further lines (a container's last output, one line per mistake).
    """

    exit_code = ExitCode.FAILED

    def __init__(
        self,
        what: str,
        *,
        host: str | None = None,
        visitors: str | None = None,
        then: str | None = None,
        details: tuple[str, ...] = (),
    ) -> None:
        self.what, self.host, self.visitors, self.then, self.details = what, host, visitors, then, details
        super().__init__(message=self.render(), code=int(self.exit_code))

    def tell(self, line: str) -> None:
        """Add a line of details, learnt by somebody further up."""
        self.details = (*self.details, line)
        self.message = self.render()

    def render(self) -> str:
        """Return the message as printed on stderr."""
        place = f"{self.host}: " if self.host else ""
        lines = [f"error: {place}{self.what}", *(f"  {line}" for line in self.details)]
        if self.visitors:
            lines.append(f"visitors: {self.visitors}")
        if self.then:
            lines.append(f"next: {self.then}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.render()


class UsageFailure(Failure):
    """The command line or `hosts.toml` is wrong; nothing was sent anywhere."""

    exit_code = ExitCode.USAGE


class UnreachableFailure(Failure):
    """The host cannot be reached, or is not the one whose key is pinned."""

    exit_code = ExitCode.UNREACHABLE


class LockedFailure(Failure):
    """Somebody else is changing the same thing right now."""

    exit_code = ExitCode.LOCKED
