"""project.create, project.list, project.show."""

from __future__ import annotations

import contextlib
from typing import Any

from invoke.tasks import task

from fabfile.commands.entry import HELP, hosts_and_project, hosts_only, prefix, print_json, whole_number


@task(help={"project": HELP["project"], "lock-wait": HELP["lock_wait"], "json_": HELP["json_"]})
def create(c: Any, project: str | None = None, lock_wait: str | None = None, json_: bool = False) -> None:
    """Make a project on its hosts: ports, directories, network, .env with secrets, database, nginx site."""
    from fabfile.commands.console import Screen
    from fabfile.remote.server import Server
    from fabfile.steps import create as sequence
    from fabfile.steps.step import Run, Timing, run_all, timed

    seconds = whole_number("lock-wait", lock_wait)
    inventory, chosen, hosts = hosts_and_project(c, project)
    results = []
    for host in hosts:
        screen = Screen(prefix=prefix(host, hosts), quiet=json_)
        screen.title(f"create {chosen.name} on {host.name}")
        timings: list[Timing] = []
        with contextlib.ExitStack() as stack:
            server = Server(host, inventory)
            run = Run(server, screen)
            with timed(run, "connect", host.hostname, timings):
                stack.enter_context(server)
            run_all(sequence.steps(chosen, host, lock_wait=seconds), run, timings)
        results.append({"host": host.name, "project": chosen.name, "number": int(run.found["number"])})
        for line in _next_steps(host.name, chosen):
            screen.result(line)
    if json_:
        print_json(results)


def _next_steps(host: str, project: Any) -> list[str]:
    lines = [f"{project.name} is ready on {host}. Next:"]
    if project.required:
        lines.append(f"  - put {', '.join(project.required)} into {project.directory}/.env on the server")
    lines.append(f"  - let {' and '.join(project.domains)} point to the server")
    lines.append(f"  - fab -H {host} deploy --project {project.name}")
    return lines


@task(name="list", help={"json_": HELP["json_"]})
def list_(c: Any, json_: bool = False) -> None:
    """List the projects of a host with their numbers and ports."""
    from fabfile.commands.console import table
    from fabfile.model.colour import Colour
    from fabfile.model.ports import Ports, parse_registry
    from fabfile.remote.command import script
    from fabfile.remote.server import Server

    inventory, hosts = hosts_only(c)
    found = []
    for host in hosts:
        with Server(host, inventory) as server:
            text = server.run(script("ports")).out.partition("@@ listening")[0]
        for name, number in (parse_registry(text) if text.strip() else {}).items():
            found.append({"host": host.name, "project": name, "number": number, "ports": Ports(number).table()})
    if json_:
        print_json(found)
        return
    rows = []
    for entry in found:
        ports = Ports(int(str(entry["number"])))
        rows.append([str(entry["host"]), str(entry["project"]), str(entry["number"]),
                     f"{ports.app(Colour.BLUE, 0)}/{ports.app(Colour.GREEN, 0)}", str(ports.postgres),
                     str(ports.redis), ports.subnet])  # fmt: skip
    if not rows:
        print("no project yet: fab -H HOST project.create --project NAME")
        return
    table("", ("host", "project", "number", "app blue/green", "postgres", "redis", "network"), rows)


@task(help={"project": HELP["project"], "json_": HELP["json_"]})
def show(c: Any, project: str | None = None, json_: bool = False) -> None:
    """Show one project: ports, directories, containers, names of settings (never their values)."""
    from fabfile.commands.console import table
    from fabfile.remote.server import Server
    from fabfile.steps.facts import observe

    inventory, chosen, hosts = hosts_and_project(c, project)
    shown = []
    for host in hosts:
        with Server(host, inventory) as server:
            facts = observe(server, chosen.name)
        shown.append(
            {
                "host": host.name,
                "project": chosen.name,
                "domains": list(chosen.domains),
                "directory": chosen.directory,
                "number": facts.number,
                "ports": facts.ports.table() if facts.number else {},
                "live": facts.live.release,
                "colour": facts.live.colour,
                "env": sorted(facts.env) if facts.env_text else [],
                "containers": [
                    {"name": c.name, "state": c.state, "status": c.status, "release": c.release}
                    for c in facts.containers
                ],
            }
        )
    if json_:
        print_json(shown)
        return
    for entry in shown:
        table(
            f"{entry['project']} on {entry['host']}",
            ("", ""),
            [(key, _words(value)) for key, value in entry.items() if key not in ("host", "project")],
        )


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    if isinstance(value, list):
        return "\n".join(_words(item) for item in value) if value and isinstance(value[0], dict) else ", ".join(value)
    return "-" if value is None else str(value)
