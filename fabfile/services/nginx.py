"""nginx: the upstream file that says which colour is live, the project's site, and the verified switch."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fabfile.model.colour import Colour
from fabfile.remote.command import Command, script
from fabfile.services.templates import render

if TYPE_CHECKING:
    from fabfile.model.inventory import Project

KEEPALIVE_MIN_SECONDS = 10  # `keepalive_min_timeout` in nginx.conf
HEADER = re.compile(r"^# slipway: project=(\S+) colour=(\S+) release=(\S+) generation=(\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Live:
    """What the upstream file says: the live colour and its release, or neither before the first deploy."""

    colour: Colour | None
    release: str | None
    generation: str


NOTHING_LIVE = Live(None, None, "")


def parse_upstream(text: str) -> Live:
    """Return what is live according to an upstream file; an empty or foreign file means nothing."""
    found = HEADER.search(text)
    if not found or found.group(2) not in (Colour.BLUE, Colour.GREEN):
        return Live(None, None, found.group(4) if found else "")
    return Live(Colour(found.group(2)), found.group(3), found.group(4))


def variable(project: str) -> str:
    """Return the project's name as part of an nginx variable."""
    return project.replace("-", "_")


def new_generation() -> str:
    """Return a marker that no earlier upstream file had."""
    return secrets.token_hex(8)


def upstream_file(
    project: str,
    *,
    colour: Colour | None,
    release: str | None,
    generation: str,
    ports: Sequence[int],
    backup_ports: Sequence[int] = (),
) -> str:
    """Return the upstream file that makes a colour live.

    Arguments:
        colour: None before the first deploy; the ports are then marked as down.
        ports: the app's ports on 127.0.0.1, one a replica.
        backup_ports: ports of the old colour, asked only when the new one does not answer (during the watch).
    """
    return render(
        "nginx/upstreams/project.conf",
        project=project,
        variable=variable(project),
        colour=str(colour or "none"),
        release=release or "none",
        generation=generation,
        ports=ports,
        backup_ports=backup_ports,
    )


def site_file(project: Project) -> str:
    """Return the project's server block."""
    return render("nginx/conf.d/project.conf", project=project, variable=variable(project.name))


def switch(project: str, *, domain: str, text: str, generation: str) -> Command:
    """Return the command that puts an upstream file in force and confirms that it is."""
    return script("switch", project, domain, generation, stdin=text.encode(), public=True, deadline=150)


def prove(domain: str, path: str, *, count: int, seconds: int, addresses: Sequence[str]) -> Command:
    """Return the command that asks the front door until the wanted addresses answer."""
    return script("prove", domain, path, str(count), str(seconds), *addresses, deadline=seconds + 30)


def watch(project: str, colour: Colour, *, seconds: int, domain: str, path: str, addresses: Sequence[str]) -> Command:
    """Return the command that keeps looking at the new colour for some seconds."""
    return script(
        "watch", project, str(colour), str(seconds), domain, path, *addresses,
        deadline=seconds + 60, accept=frozenset({0, 21}), stream=True,
    )  # fmt: skip


def drain(ports: Sequence[int], *, seconds: int) -> Command:
    """Return the command that waits until nothing reaches a colour any more."""
    return script(
        "drain", str(seconds), str(KEEPALIVE_MIN_SECONDS), *map(str, ports), deadline=seconds + 30, stream=True
    )
