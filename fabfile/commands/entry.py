"""From the words of a command line to hosts and projects: the same for every command."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fabfile.model.failure import UsageFailure

if TYPE_CHECKING:
    from fabfile.model.inventory import Host, Inventory, Project

ROOT = Path(__file__).resolve().parents[2]

HELP = {
    "project": "Project of hosts.toml; may be left out when there is only one.",
    "json_": "Print the result as JSON.",
    "lock_wait": "Seconds to wait when somebody else holds the lock (default: give up at once).",
    "yes": "Do not ask.",
}


def hosts_file() -> Path:
    """Return the inventory file: `SLIPWAY_HOSTS`, else `hosts.toml` beside this package."""
    return Path(os.environ.get("SLIPWAY_HOSTS") or ROOT / "hosts.toml")


def inventory() -> Inventory:
    """Return the inventory, read anew."""
    from fabfile.model.inventory import load

    return load(hosts_file(), os.environ)


def named_hosts(context: Any) -> tuple[str, ...]:
    """Return the host or group that `-H` names for this run, or nothing.

    Fabric runs a task once for each host of `-H`; names mean what `hosts.toml` says, so nothing is connected here.
    """
    from fabfile.model.names import shown

    host = getattr(context, "original_host", None)
    if host is None:
        return ()
    # Fabric has cut off a user or port that was given: both belong into hosts.toml, and dropping them would be a lie.
    bare = type(context)(host, config=context.config)
    if (context.user, context.port) != (bare.user, bare.port):
        raise UsageFailure(f"-H takes names of hosts.toml, without user or port: {shown(host)}")
    return (str(host),)


def hosts_and_project(context: Any, project: str | None) -> tuple[Inventory, Project, tuple[Host, ...]]:
    """Return the inventory, the project that is meant, and its hosts or those of `-H`."""
    from fabfile.model.names import project_name

    if project is not None:
        project_name(project)
    known = inventory()
    chosen = known.project(project)
    return known, chosen, known.hosts_for(chosen, named_hosts(context))


def hosts_only(context: Any) -> tuple[Inventory, tuple[Host, ...]]:
    """Return the inventory and the hosts of `-H`; without `-H` the only host there is."""
    known = inventory()
    names = named_hosts(context)
    if not names:
        if len(known.hosts) != 1:
            raise UsageFailure(
                f"which host? hosts.toml has: {', '.join(known.hosts) or 'none'}", then="fab -H HOST ..."
            )
        names = known.hosts
    return known, known.expand(names)


def whole_number(option: str, value: object, *, least: int = 0, most: int = 86_400) -> int:
    """Return the value of a numeric option.

    Raises `UsageFailure` naming the option; Invoke's own conversion dies with a traceback.
    """
    if value is None or value is False:
        return 0
    try:
        number = int(str(value))
    except ValueError:
        raise UsageFailure(f"--{option} takes a whole number, not {str(value)!r}") from None
    if not least <= number <= most:
        raise UsageFailure(f"--{option} must be {least} to {most}, is {number}")
    return number


def confirm(question: str, *, yes: bool, name: str) -> None:
    """Ask before something destructive; without a terminal `--yes` is required."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageFailure(f"this asks for a confirmation: {question}", then="add --yes")
    print(f"{question} Type {name} to go on: ", end="", flush=True)
    if sys.stdin.readline().strip() != name:
        raise UsageFailure("not confirmed, nothing was changed")


def print_json(value: object) -> None:
    """Print a result for machines."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def prefix(host: Host, hosts: Sequence[Host]) -> str:
    """Return what stands before each line when there are several hosts."""
    return f"[{host.name}]" if len(hosts) > 1 else ""
