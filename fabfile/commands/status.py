"""status, health, releases: what is true now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invoke.tasks import task

from fabfile.commands.entry import HELP, hosts_and_project, print_json
from fabfile.model.failure import Failure

if TYPE_CHECKING:
    from fabfile.model.inventory import Host, Project
    from fabfile.steps.facts import Facts


def _observe(c: Any, project: str | None) -> tuple[Project, list[tuple[str, Facts]]]:
    from fabfile.remote.server import Server
    from fabfile.steps.facts import observe

    inventory, chosen, hosts = hosts_and_project(c, project)
    found = []
    for host in hosts:
        with Server(host, inventory) as server:
            found.append((host.name, observe(server, chosen.name)))
    return chosen, found


@task(help={"project": HELP["project"], "json_": HELP["json_"]})
def status(c: Any, project: str | None = None, json_: bool = False) -> None:
    """Show what is live, since when, its containers, and whether something was left half done."""
    from fabfile.commands.console import table

    chosen, found = _observe(c, project)
    if json_:
        print_json([_status(chosen, host, facts) for host, facts in found])
        return
    for host, facts in found:
        value = _status(chosen, host, facts)
        live = f"{value['live']} ({value['colour']}), since {value['since']}" if value["live"] else "nothing yet"
        print(f"{chosen.name} on {host}: live is {live}")
        if facts.containers:
            table(
                "", ("container", "state", "release"), [(c.name, c.status, c.release or "-") for c in facts.containers]
            )
        if facts.holder:
            from fabfile.remote.lock import describe

            print(f"in work: {describe(facts.holder)}")
        elif facts.number:
            print(_left_behind(chosen, _host(c, project, host), facts), end="")


def _left_behind(project: Project, host: Host, facts: Facts) -> str:
    """Return a line about what is not in order, and the command that mends it; empty when all is well."""
    from fabfile.steps import deploy as sequence

    try:
        if all(step.name == "tidy" for step in sequence.recovery(project, host, facts)):
            return ""
    except Failure as failure:
        return f"{failure.what}: {failure.then}\n"
    return f"something was left half done: fab -H {host.name} recover --project {project.name}\n"


def _host(c: Any, project: str | None, name: str) -> Any:
    _, _, hosts = hosts_and_project(c, project)
    return next(host for host in hosts if host.name == name)


def _status(project: Project, host: str, facts: Facts) -> dict[str, object]:
    record = facts.record(facts.live.release)
    last = next((h for h in reversed(facts.history) if h.get("outcome") == "good"), None)
    return {
        "host": host,
        "project": project.name,
        "live": facts.live.release,
        "colour": facts.live.colour,
        "since": (last or {}).get("at") or (record.created if record else None),
        "commit": record.commit if record else None,
        "containers": [
            {"name": c.name, "state": c.state, "status": c.status, "release": c.release, "colour": c.colour}
            for c in facts.containers
        ],
        "free_disk_mb": facts.free_disk_mb,
        "in_work": bool(facts.holder),
    }


@task(help={"project": HELP["project"], "json_": HELP["json_"]})
def health(c: Any, project: str | None = None, json_: bool = False) -> None:
    """Check every replica, the front door and the data services; exit code 1 when one of them is not well."""
    from fabfile.commands.console import table
    from fabfile.remote.server import Server
    from fabfile.steps import health as checks
    from fabfile.steps.facts import observe

    inventory, chosen, hosts = hosts_and_project(c, project)
    results: list[dict[str, object]] = []
    for host in hosts:
        with Server(host, inventory) as server:
            facts = observe(server, chosen.name)
            results += [{"host": host.name, **check} for check in checks.look(server, chosen, facts)]
    if json_:
        print_json(results)
    else:
        rows = [(str(r["host"]), "ok" if r["ok"] else "FAILED", str(r["check"]), str(r["found"])) for r in results]
        table("", ("host", "", "check", "found"), rows)
    wrong = [r for r in results if not r["ok"]]
    if wrong:
        raise Failure(
            f"{len(wrong)} of {len(results)} health checks failed: {', '.join(str(r['check']) for r in wrong)}",
            host=str(wrong[0]["host"]),
            then=f"fab -H {wrong[0]['host']} status --project {chosen.name}",
        )


@task(help={"project": HELP["project"], "json_": HELP["json_"]})
def releases(c: Any, project: str | None = None, json_: bool = False) -> None:
    """List the releases on the server: which is live, which one a rollback goes to, which failed and why."""
    from fabfile.commands.console import table
    from fabfile.model import retention

    chosen, found = _observe(c, project)
    entries: list[dict[str, object]] = []
    for host, facts in found:
        target, _ = retention.rollback_target([r.as_release for r in facts.releases], facts.live.release)
        for record in sorted(facts.releases, key=lambda r: r.created, reverse=True):
            mark = "live" if record.version == facts.live.release else ""
            if target and record.version == target.name:
                mark = "rollback goes here"
            entries.append(
                {
                    "host": host,
                    "release": record.version,
                    "state": record.state,
                    "mark": mark,
                    "created": record.created,
                    "commit": (record.commit or "")[:8],
                    "subject": record.subject or "",
                    "who": record.who,
                    "why": record.why,
                    "image": record.version in facts.tags,
                }
            )
    if json_:
        print_json(entries)
        return
    if not entries:
        print(f"no release of {chosen.name} yet: fab deploy --project {chosen.name}")
        return
    keys = ("host", "release", "state", "mark", "created", "commit", "subject", "who", "why")
    table("", keys, [[str(entry[key]) for key in keys] for entry in entries])
