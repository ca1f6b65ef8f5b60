"""A check: what was found on a server, what is wanted, and the commands that lead from one to the other."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from fabfile.remote.command import Command, script_text

NOT_ROOT = 77  # how `bootstrap_as_root` ends when it cannot become root


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to be right on a server, as it was found.

    Arguments:
        ok: whether it is right; None when whoever looked may not see it.
        found: what is there, in words.
        wanted: what has to be there, in words.
        cure: commands that make it right, to be run as root; None when only people can.
        does: what the cure does, in words.
        by_hand: what to do where there is no cure.
        after: another check that has to be right before this one can be judged.
        warning: whether it is worth telling but no reason to fail.
    """

    name: str
    ok: bool | None
    found: str
    wanted: str
    cure: tuple[Command, ...] | None = None
    does: str = ""
    by_hand: str = ""
    after: str = ""
    warning: bool = False

    @property
    def curable(self) -> bool:
        """Whether it is wrong and its cure can be run now."""
        return self.ok is False and bool(self.cure)

    @property
    def advice(self) -> str:
        """What leads to the wanted state, in words; empty when there is nothing to do."""
        if self.ok is not False:
            return ""
        if self.after:
            return f"comes after: {self.after}"
        return f"server.bootstrap {self.does}" if self.cure else self.by_hand

    def row(self, *, changed: bool = False) -> dict[str, Any]:
        """Return the check for `--json`."""
        row: dict[str, Any] = {
            "name": self.name,
            "ok": self.ok,
            "found": self.found,
            "wanted": self.wanted,
            "changed": changed,
        }
        if self.ok is False:
            row |= {"cure": self.advice, "warning": self.warning}
        return row


def waiting(name: str, *, wanted: str, after: str) -> Check:
    """Return a check that cannot be judged before another one is right."""
    return Check(name, False, f"not known before this is right: {after}", wanted, after=after)


def hidden(name: str, *, wanted: str, user: str) -> Check:
    """Return a check whose facts this user may not see."""
    return Check(name, None, f"{user} may not see this", wanted)


def as_root(command: Command) -> Command:
    """Return the command run as root, through sudo where the login is not root: the only place that does so."""
    text = script_text("bootstrap_as_root")
    return replace(command, argv=("sh", "-c", text, "bootstrap_as_root", *command.argv))


def as_user(command: Command, user: str) -> Command:
    """Return the command run, by root, as another user with all of that user's groups."""
    return replace(command, argv=("runuser", "-u", user, "--", *command.argv))


def version(text: str) -> tuple[int, ...]:
    """Return the first version number in a text, without a package's epoch; () when there is none."""
    found = re.search(r"\d+(?:\.\d+)+", re.sub(r"^\d+:", "", text.strip()))
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def dotted(number: tuple[int, ...]) -> str:
    """Return a version number as text."""
    return ".".join(map(str, number))
