"""Health of a running project: every replica, the front door, the data services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fabfile.remote.command import script
from fabfile.steps.facts import Facts

if TYPE_CHECKING:
    from fabfile.model.inventory import Project
    from fabfile.remote.server import Remote


def look(server: Remote, project: Project, facts: Facts) -> list[dict[str, object]]:
    """Return each check as {check, ok, found}, observed in one round trip."""
    live = facts.live.colour
    if live is None:
        return [{"check": "live release", "ok": False, "found": "nothing is deployed yet"}]
    ports = [facts.ports.app(live, i) for i in range(len(facts.app(live)))]
    answer = server.run(script("health", project.domain, project.health.path, *map(str, ports), deadline=60))
    results: list[dict[str, object]] = []
    for line in answer.out.splitlines():
        where, _, code = line.rpartition(" ")
        results.append({"check": where, "ok": code.startswith("2"), "found": f"answers {code}"})
    for container in (*facts.app(live), *(c for c in facts.containers if c.role in project.services)):
        results.append({"check": container.name, "ok": container.healthy, "found": container.status})
    missing = [name for name in project.services if facts.service(name) is None]
    results += [{"check": name, "ok": False, "found": "there is no container"} for name in missing]
    if len(ports) != project.replicas:
        results.append({"check": "replicas", "ok": False, "found": f"{len(ports)} instead of {project.replicas}"})
    return results
