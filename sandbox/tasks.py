"""What `./inv sandbox.*` does."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

from invoke.context import Context
from invoke.tasks import task

from fabfile.model.failure import Failure, UsageFailure
from sandbox import inventory, server


@task(
    help={
        "hosts": "how many servers (default: as before, or 1)",
        "name": "several sandboxes can run side by side under their own names",
        "bare": "servers without Docker, to try `server.bootstrap` on",
        "fresh": "make the servers new; only the images inside them stay",
    }
)
def up(_: Context, hosts: str = "", name: str = "sandbox", bare: bool = False, fresh: bool = False) -> None:
    """Start a throwaway server with sshd and Docker on this machine, as host `sandbox` of the inventory."""
    if hosts and not (hosts.isdecimal() and 1 <= int(hosts) <= 9):
        raise UsageFailure(f"--hosts must be 1 to 9, is {hosts}")
    sandbox = server.up(name, int(hosts) if hosts else None, say, bare=bare or None, fresh=fresh)
    for host in sandbox.hosts:
        say(f"next: ./fab -H {host.name} server.bootstrap")


@task(
    help={
        "name": "which sandbox",
        "purge": "remove the servers and all that is on them, not only stop them",
    }
)
def down(_: Context, name: str = "sandbox", purge: bool = False) -> None:
    """Stop the servers of a sandbox; `sandbox.up` starts them again with all that is on them."""
    server.down(name, say, purge=purge)


@task(help={"json": "for programs"})
def status(_: Context, json: bool = False) -> None:
    """Show every sandbox's servers, their state and their ports."""
    found = server.status()
    if json:
        say(dump(found))
    for one in () if json else found:
        ports = f"ssh {one.host.ssh_port}  http {one.host.http_port}  https {one.host.https_port}"
        say(f"{one.host.name:<12} {one.state:<8} {ports}  docker {one.docker or '-'}  {one.host.container}")
    if not found and not json:
        say("no sandbox; `./inv sandbox.up` makes one")


@task(
    help={
        "host": "which server (default: the first one of --name)",
        "name": "which sandbox",
        "user": "who to be there",
        "command": "what to run there instead of a login shell",
    }
)
def ssh(_: Context, host: str = "", name: str = "sandbox", user: str = "root", command: str = "") -> None:
    """Log in to a server of a sandbox."""
    known = inventory.load_all()
    wanted = [one for one in known if (any(host == its.name for its in one.hosts) if host else one.name == name)]
    if not wanted:
        raise Failure(f"there is no sandbox host {host or name}", then="./inv sandbox.up")
    sandbox = wanted[0]
    chosen = sandbox.host(host) if host else sandbox.hosts[0]
    argv = [*server.ssh_command(sandbox, chosen, user=user), *([command] if command else [])]
    os.execvp(argv[0], argv)  # noqa: S606


def dump(found: list[server.Status]) -> str:
    """Return the servers as JSON."""
    return json.dumps([{**asdict(one.host), **asdict(one), "host": one.host.name} for one in found], indent=2)


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)
