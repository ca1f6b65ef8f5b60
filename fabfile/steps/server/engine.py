"""Docker: Engine, Compose and buildx in versions we can use, its settings, its networks."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fabfile.remote.command import Command, script
from fabfile.steps.server.check import Check, dotted, hidden, version, waiting

if TYPE_CHECKING:
    from fabfile.steps.server.facts import ServerFacts

MINIMUM_ENGINE = (25,)  # `start_interval` of health checks
MINIMUM_COMPOSE = (2, 26)
KEY_FINGERPRINT = "9DC858229FC7DD38854AE2D88D81803C0EBFCD88"  # docs.docker.com/engine/install/debian

# Releases whose own packages have the Compose plugin; the first three are engine, Compose and buildx.
DISTRIBUTION = {
    ("debian", "13"): ("docker.io", "docker-compose", "docker-buildx", "docker-cli", "iptables"),
    ("ubuntu", "22.04"): ("docker.io", "docker-compose-v2", "docker-buildx", "iptables"),
    ("ubuntu", "24.04"): ("docker.io", "docker-compose-v2", "docker-buildx", "iptables"),
    ("ubuntu", "26.04"): ("docker.io", "docker-compose-v2", "docker-buildx", "iptables"),
}
DOCKER_CE_PLUGINS = ("docker-compose-plugin", "docker-buildx-plugin")
DOCKER_CE = ("docker-ce", "docker-ce-cli", "containerd.io", *DOCKER_CE_PLUGINS)

PROJECT_NETWORKS = ipaddress.IPv4Network("172.20.0.0/16")  # one /24 for each project
POOLS = ("172.30.0.0/16", "172.29.0.0/16", "172.28.0.0/16", "10.213.0.0/16", "10.214.0.0/16")
POOL_SIZE = 24
LOG_OPTIONS = {"max-size": "10m", "max-file": "5"}

ENGINE, SERVICE, SETTINGS = "Docker Engine", "Docker service", "Docker settings"
INSTALL_SECONDS = 1200


def complete(facts: ServerFacts) -> bool:
    """Return whether Engine, Compose and buildx are installed in versions we can use."""
    return _engine_usable(facts) and version(facts.compose) >= MINIMUM_COMPOSE and bool(facts.buildx)


def _engine_usable(facts: ServerFacts) -> bool:
    return version(facts.engine) >= MINIMUM_ENGINE


def engine(facts: ServerFacts) -> Check:
    """Return whether Docker is installed, with the commands that install it from where this release has it."""
    wanted = f"Docker {dotted(MINIMUM_ENGINE)} or newer, Compose {dotted(MINIMUM_COMPOSE)} or newer, buildx"
    if complete(facts):
        return Check(ENGINE, True, _versions(facts), wanted)
    if facts.client.startswith("/snap/") or "/snap/" in facts.client:
        return Check(
            ENGINE, False, "Docker from a snap, which cannot mount /opt", wanted,
            by_hand="remove it (snap remove docker), then run server.bootstrap again",
        )  # fmt: skip
    if facts.engine and not _engine_usable(facts) and (facts.running_containers or facts.docker_forbidden):
        return Check(
            ENGINE, False, f"{_versions(facts)}; {facts.running_containers} containers run on it", wanted,
            by_hand="an upgrade stops them: choose a quiet hour, stop them, then run server.bootstrap again",
        )  # fmt: skip
    if facts.lists == 0:
        return waiting(ENGINE, wanted=wanted, after="packages")
    commands, source = installation(facts)
    return Check(ENGINE, False, _versions(facts), wanted, cure=commands, does=f"installs {source}")


def installation(facts: ServerFacts) -> tuple[tuple[Command, ...], str]:
    """Return the commands that install what is missing of Docker, and where it comes from, in words."""
    own = DISTRIBUTION.get((facts.os_id, facts.os_version), ())
    if _engine_usable(facts):
        plugins = DOCKER_CE_PLUGINS if "docker-ce" in facts.packages or not own else own[1:3]
        return (_install(plugins),), " and ".join(plugins)
    if own and _suffices(facts, own):
        return (_install(own),), f"{', '.join(own)} from {facts.os_name}"
    repository = script(
        "bootstrap_docker_repository", facts.os_id, facts.os_codename, KEY_FINGERPRINT, deadline=300
    )  # fmt: skip
    return (repository, _install(DOCKER_CE)), f"{', '.join(DOCKER_CE)} from Docker's apt repository"


def _suffices(facts: ServerFacts, own: tuple[str, ...]) -> bool:
    offered = facts.candidates
    return (
        version(offered.get(own[0], "")) >= MINIMUM_ENGINE
        and version(offered.get(own[1], "")) >= MINIMUM_COMPOSE
        and own[2] in offered
    )


def _install(packages: tuple[str, ...]) -> Command:
    return script("bootstrap_packages", *packages, deadline=INSTALL_SECONDS, stream=True)


def _versions(facts: ServerFacts) -> str:
    compose = f"Compose {dotted(version(facts.compose))}" if facts.compose else "no Compose"
    found = f"Docker {dotted(version(facts.engine))}" if facts.engine else "no Docker"
    return f"{found}, {compose}, {'buildx' if facts.buildx else 'no buildx'}" if facts.engine else found


def service(facts: ServerFacts) -> Check:
    """Return whether Docker runs, answers and starts at boot."""
    wanted = "answers, starts at boot"
    if not facts.engine:
        return waiting(SERVICE, wanted=wanted, after=ENGINE)
    state = facts.service("docker")
    answers = bool(facts.info) or facts.docker_forbidden
    return Check(
        SERVICE,
        answers and state.enabled,
        f"{'answers' if facts.info else 'runs' if answers else f'does not answer ({facts.info_error})'}, "
        f"{'starts' if state.enabled else 'does not start'} at boot",
        wanted,
        cure=(script("bootstrap_service", "docker", deadline=120),),
        does="starts Docker, now and at boot",
    )


def settings(facts: ServerFacts) -> Check:
    """Return whether Docker's settings are ours, with the file that makes them so; foreign keys stay in it."""
    wanted = "userland-proxy off, live-restore on, bounded logs, address pools away from the projects' networks"
    try:
        present = json.loads((facts.daemon_text or "").strip() or "{}")
        if not isinstance(present, dict):
            raise TypeError("it is no JSON object")
    except (ValueError, TypeError) as error:
        return Check(
            SETTINGS, False, f"/etc/docker/daemon.json cannot be read: {error}", wanted,
            by_hand="repair /etc/docker/daemon.json (JSON, without comments), then run server.bootstrap again",
        )  # fmt: skip
    merged = merge(present, facts)
    differences = [f"{key} {_shown(present.get(key))}" for key in merged if merged[key] != present.get(key)]
    if not differences and not facts.daemon_restart_due and not _not_in_force(merged, facts):
        skipped = "; live-restore is left out: a swarm does not allow it" if facts.swarm else ""
        return Check(SETTINGS, True, f"in force{skipped}", wanted)
    if not differences:
        differences = ["/etc/docker/daemon.json is right, but Docker was not restarted since"]
    return Check(
        SETTINGS,
        False,
        ", ".join(differences),
        wanted,
        cure=(script("bootstrap_daemon", stdin=(json.dumps(merged, indent=2) + "\n").encode(), deadline=300),),
        does=f"writes /etc/docker/daemon.json, other keys stay{_restart(facts)}",
    )


def _restart(facts: ServerFacts) -> str:
    if not facts.info:
        return "; it is in force when Docker starts"
    if facts.swarm:
        return f", and restarts Docker: its {facts.running_containers} containers stop and start again"
    return f", and restarts Docker: its {facts.running_containers} containers run on (live-restore)"


def merge(present: Mapping[str, Any], facts: ServerFacts) -> dict[str, Any]:
    """Return Docker's settings with ours in them.

    Keys that we do not know stay. So does another log driver than json-file, and address pools that leave the projects'
    networks alone: somebody chose them.
    """
    merged = dict(present)
    merged["userland-proxy"] = False
    if not facts.swarm:
        merged["live-restore"] = True
    if merged.setdefault("log-driver", "json-file") == "json-file":
        merged["log-opts"] = {**LOG_OPTIONS, **present.get("log-opts", {})}
    pools = present.get("default-address-pools")
    if not pools or any(_overlaps_projects(pool) for pool in pools):
        merged["default-address-pools"] = [{"base": free_pool(facts), "size": POOL_SIZE}]
    return merged


def free_pool(facts: ServerFacts) -> str:
    """Return the first address pool that no other network of this server lies in."""
    taken = [route.network for route in facts.routes if not _is_docker(route.interface)]
    for pool in POOLS:
        network = ipaddress.IPv4Network(pool)
        if not any(network.overlaps(other) for other in taken):
            return pool
    return POOLS[0]


def _overlaps_projects(pool: object) -> bool:
    try:
        base = pool.get("base", "") if isinstance(pool, dict) else ""
        return PROJECT_NETWORKS.overlaps(ipaddress.IPv4Network(base, strict=False))
    except ValueError:
        return False  # an IPv6 pool


def _not_in_force(merged: Mapping[str, Any], facts: ServerFacts) -> bool:
    if not facts.info:
        return False
    return facts.info.get("LiveRestoreEnabled", True) is not merged.get("live-restore", False)


def _shown(value: object) -> str:
    return "is not set" if value is None else f"is {json.dumps(value)}"


def _is_docker(interface: str) -> bool:
    return interface.startswith(("br-", "docker"))


def networks(facts: ServerFacts) -> Check:
    """Return whether the addresses of the projects' networks are free."""
    name, wanted = "project networks", f"{PROJECT_NETWORKS} is free for the projects' own networks"
    for route in facts.routes:
        if not PROJECT_NETWORKS.overlaps(route.network):
            continue
        bridge = _is_docker(route.interface)
        if bridge and route.network.prefixlen >= POOL_SIZE:
            continue
        return Check(
            name,
            False,
            f"{route.network} is reached through {route.interface}",
            wanted,
            by_hand="a Docker network made before has these addresses: find it with `docker network inspect`, and make "
            "it anew (down and up of its compose project) now that Docker has other pools"
            if bridge
            else f"projects hide what lies behind {route.interface} from this server: renumber one of them",
            warning=not bridge,
        )
    return Check(name, True, f"{PROJECT_NETWORKS} is free or ours", wanted)


def checks(facts: ServerFacts) -> Iterator[Check]:
    """Yield what Docker needs. Settings come first: a Docker that starts with them needs no restart."""
    yield settings(facts)
    yield engine(facts)
    yield service(facts)
    yield networks(facts)


def need(facts: ServerFacts, name: str, *, wanted: str) -> Check | None:
    """Return the check that says why a thing in Docker cannot be judged, or None when it can be."""
    if facts.docker_forbidden:
        return hidden(name, wanted=wanted, user=facts.viewer)
    return None if facts.info else waiting(name, wanted=wanted, after=SERVICE if facts.engine else ENGINE)
