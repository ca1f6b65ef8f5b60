"""Setting up a server: look, compare, cure, look again. What is right already is left alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fabfile.model.failure import Failure
from fabfile.remote.command import CommandFailure
from fabfile.steps.server import account, engine, front_door, system
from fabfile.steps.server.check import Check, as_root
from fabfile.steps.server.facts import ServerFacts, observe
from fabfile.steps.step import Reporter, interruptible

if TYPE_CHECKING:
    from fabfile.model.inventory import Host
    from fabfile.remote.server import Remote

# Each look decides what the one before could not: packages, Docker, image, nginx, and whether all is well.
LOOKS = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a check, and whether it was made right in this run."""

    check: Check
    changed: bool = False

    def row(self) -> dict[str, Any]:
        """Return the outcome for `--json`."""
        return self.check.row(changed=self.changed)


def facts(server: Remote, host: Host, *, root: bool = False) -> ServerFacts:
    """Return what is true of a server, in one round trip.

    Arguments:
        root: look with root's eyes (bootstrap); otherwise as who is logged in (doctor), who may not see everything.
    """
    return observe(server, host, root=root)


def checks(host: Host, found: ServerFacts, authorized: Sequence[str] = ()) -> list[Check]:
    """Return everything that has to be right on a server, in the order in which it is cured.

    Arguments:
        authorized: public keys that must open the account of the user who deploys, as lines of authorized_keys;
            without any, those that open the account that is logged in.
    """
    return [
        *system.checks(found),
        *account.checks(host, found, authorized),
        *engine.checks(found),
        account.group(host, found),
        *front_door.checks(host, found),
        system.logrotate(found),
    ]


def problems(listed: Sequence[Check]) -> list[Check]:
    """Return what is wrong and worth failing for; what only waits for another check is not counted again."""
    return [check for check in listed if check.ok is False and not check.warning and not check.after]


def warnings(listed: Sequence[Check]) -> list[Check]:
    """Return what is wrong and no reason to fail."""
    return [check for check in listed if check.ok is False and check.warning]


def bring_up(server: Remote, host: Host, reporter: Reporter, *, authorized: Sequence[str] = ()) -> tuple[Outcome, ...]:
    """Make a server what it has to be and return what became of each check; what is right is not touched.

    The login has to be root or a user with sudo without a password. Raises `Failure` when the operating system is not
    supported, when a cure fails, and when at the end something is still wrong; what was done by then stays.
    """
    cured: set[str] = set()
    told: set[str] = set()
    with interruptible():
        for _ in range(LOOKS):
            listed = checks(host, facts(server, host, root=True), authorized)
            _refuse_unknown_system(host, listed[0])
            _tell(listed, told, cured, reporter)
            due = [check for check in listed if check.curable and check.name not in cured]
            if not due:
                break
            for check in due:
                _cure(server, host, reporter, check)
                cured.add(check.name)
    for check in warnings(listed):
        reporter.note(f"warning: {check.name}: {check.found} (wanted: {check.wanted}); {check.advice}")
    _refuse_unfinished(host, listed)
    return tuple(Outcome(check, check.name in cured) for check in listed)


def _tell(listed: Sequence[Check], told: set[str], cured: set[str], reporter: Reporter) -> None:
    for check in listed:
        if check.ok and check.name not in told | cured:
            reporter.note(f"{check.name}: already right ({check.found})")
            told.add(check.name)


def _cure(server: Remote, host: Host, reporter: Reporter, check: Check) -> None:
    began = time.monotonic()
    reporter.begin(check.name, f"{check.found}: {check.does}")
    outcome = "failed"
    try:
        for command in check.cure or ():
            server.run(as_root(command), reporter.line if command.stream else None)
        outcome = "done"
    except CommandFailure as failure:
        raise Failure(
            f"{check.name}: {failure.what}",
            host=host.name,
            details=failure.details,
            then=f"mend the cause and run it again: fab -H {host.name} server.bootstrap (what is right stays as it is)",
        ) from failure
    finally:
        reporter.end(check.name, check.does, time.monotonic() - began, outcome)


def _refuse_unknown_system(host: Host, check: Check) -> None:
    if not check.ok:
        raise Failure(
            f"the operating system is not supported: {check.found}; nothing was changed",
            host=host.name,
            details=(f"supported: {check.wanted}",),
            then=check.by_hand,
        )


def _refuse_unfinished(host: Host, listed: Sequence[Check]) -> None:
    wrong = problems(listed)
    if not wrong and all(check.ok is not False or check.warning for check in listed):
        return
    lines = [f"{check.name}: {check.found}; wanted: {check.wanted}; {check.advice}" for check in wrong]
    lines += [f"{check.name}: waits for {check.after}" for check in listed if check.after]
    raise Failure(
        f"{len(wrong)} of {len(listed)} checks failed",
        host=host.name,
        details=tuple(lines),
        then=f"mend them, then: fab -H {host.name} server.bootstrap",
    )
