"""The plan of a deploy, printed: facts, steps, and a diff of every file that would change."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fabfile.services import compose, nginx
from fabfile.steps.deploy import Target

if TYPE_CHECKING:
    from fabfile.commands.console import Screen
    from fabfile.model.inventory import Host, Project
    from fabfile.steps.facts import Facts, Record
    from fabfile.steps.step import Step


def print_plan(
    screen: Screen, project: Project, host: Host, facts: Facts, steps: Sequence[Step], record: Record
) -> None:
    """Print what would happen, in the order in which it would."""
    live = f"{facts.live.release} ({facts.live.colour})" if facts.live.release else "nothing"
    screen.result(f"facts: live is {live}, next colour {facts.idle}, number {facts.number}, "
                  f"Docker {facts.engine}, {facts.free_disk_mb} MB free")  # fmt: skip
    if not steps:
        screen.result(f"{record.version} is live already: nothing to do")
        return
    screen.result("steps:")
    for number, step in enumerate(steps, 1):
        screen.result(f"  {number:>2}. {step.name:<14} {step.what}")
    for line in diffs(Target(project, host, facts, record), facts):
        screen.result(line)


def diffs(target: Target, facts: Facts) -> Iterator[str]:
    """Return the diff of each rendered file against the one on the server."""
    name = target.project.name
    files = [(f"/opt/nginx/upstreams/{name}.conf", facts.upstream_text, target.upstream(with_backup=False))]
    if target.project.services and facts.data_text:
        data = compose.data_file(target.project, target.host, facts.ports)
        # A running database is not changed by a deploy; that it differs is still worth knowing.
        files.append((f"{target.project.directory}/compose.data.yml (not by a deploy)", facts.data_text, data))
    if facts.site_text:
        site = nginx.site_file(target.project)
        files.append((f"/opt/nginx/conf.d/{name}.conf (by project.create)", facts.site_text, site))
    release = target.project.release_directory(target.version)
    files.append((f"{release}/compose.{target.colour}.yml", facts.compose_text, target.compose_text))
    for path, before, after in files:
        old, new = before.strip().splitlines(), after.strip().splitlines()
        yield from difflib.unified_diff(old, new, f"{path} (live)", f"{path} (then)", lineterm="", n=1)
