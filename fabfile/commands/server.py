"""server.bootstrap and server.doctor."""

from __future__ import annotations

import time
from typing import Any

from invoke.tasks import task

from fabfile.commands.entry import HELP, hosts_only, prefix, print_json
from fabfile.model.failure import Failure


@task(help={"json_": HELP["json_"], "verbose": "Print every line of long steps."})
def bootstrap(c: Any, json_: bool = False, verbose: bool = False) -> None:
    """Make a bare Debian or Ubuntu server ready; what is right already is left alone."""
    from fabfile.commands.console import Screen
    from fabfile.remote.server import Server
    from fabfile.steps import bootstrap as sequence

    inventory, hosts = hosts_only(c)
    results: list[dict[str, Any]] = []
    for host in hosts:
        began = time.monotonic()
        screen = Screen(prefix=prefix(host, hosts), quiet=json_, verbose=verbose)
        screen.title(f"bootstrap {host.name} as {host.admin}")
        with Server(host, inventory, user=host.admin) as server:
            key = server.login_key()
            outcomes = sequence.bring_up(server, host, screen, authorized=(key,) if key else ())
        results += [{"host": host.name, **outcome.row()} for outcome in outcomes]
        changed = [outcome.check.name for outcome in outcomes if outcome.changed]
        seconds = time.monotonic() - began
        said = f"changed {', '.join(changed)}" if changed else "nothing had to be changed"
        screen.result(f"{host.name} is ready: {said}  ({seconds:.1f} s)")
        screen.result(f"next: fab -H {host.name} project.create --project NAME")
    if json_:
        print_json(results)


@task(help={"json_": HELP["json_"]})
def doctor(c: Any, json_: bool = False) -> None:
    """Compare a server with what bootstrap makes, change nothing, and name the cure of every difference."""
    from fabfile.commands.console import table
    from fabfile.remote.server import Server
    from fabfile.steps import bootstrap as sequence

    inventory, hosts = hosts_only(c)
    results: list[dict[str, Any]] = []
    wrong: list[str] = []
    for host in hosts:
        with Server(host, inventory) as server:
            checks = sequence.checks(host, sequence.facts(server, host))
        results += [{"host": host.name, **check.row()} for check in checks]
        wrong += [f"{host.name}: {check.name}" for check in sequence.problems(checks)]
        if not json_:
            words = {True: "ok", False: "WRONG", None: "unseen"}
            rows = [(words[check.ok], check.name, check.found, check.advice) for check in checks]
            table(host.name, ("", "check", "found", "cure"), rows)
    if json_:
        print_json(results)
    if wrong:
        raise Failure(
            f"{len(wrong)} checks failed: {', '.join(wrong)}",
            visitors="nothing was changed",
            then="fab -H HOST server.bootstrap",
        )
