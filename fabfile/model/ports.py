"""Which ports and which subnet a project has on a server, and the registry that remembers its number.

Every port of project N lies 100 (N-1) above that of project 1, and no two uses share a residue modulo 100: so no two
projects can collide, whatever their numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from fabfile.model.colour import Colour
from fabfile.model.failure import Failure, UsageFailure
from fabfile.model.names import project_name, shown

HIGHEST_NUMBER = 240
STEP = 100
APP_REPLICAS = 15
POSTGRES_REPLICAS = 9

APP = {Colour.BLUE: 8001, Colour.GREEN: 8002}
POSTGRES = 5433
REDIS = 6380
PGBOUNCER = 6432

REGISTRY_VERSION = 1


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports and the subnet of the project with this number, 1 to 240; all ports are on 127.0.0.1 only."""

    number: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= HIGHEST_NUMBER:
            raise ValueError(f"a project's number is 1 to {HIGHEST_NUMBER}, not {self.number}")

    @property
    def offset(self) -> int:
        """Return how far the project's ports lie above those of project 1."""
        return STEP * (self.number - 1)

    def app(self, colour: Colour, replica: int) -> int:
        """Return the port of one replica (0 to 14) of the application on one colour."""
        if not 0 <= replica < APP_REPLICAS:
            raise ValueError(f"a replica's index is 0 to {APP_REPLICAS - 1}, not {replica}")
        return APP[colour] + 2 * replica + self.offset

    @property
    def postgres(self) -> int:
        """Return the port of the primary PostgreSQL."""
        return POSTGRES + self.offset

    def postgres_replica(self, replica: int) -> int:
        """Return the port of one PostgreSQL replica (1 to 9)."""
        if not 1 <= replica <= POSTGRES_REPLICAS:
            raise ValueError(f"a PostgreSQL replica is 1 to {POSTGRES_REPLICAS}, not {replica}")
        return self.postgres + replica

    @property
    def redis(self) -> int:
        """Return the port of Redis."""
        return REDIS + self.offset

    @property
    def pgbouncer(self) -> int:
        """Return the port of PgBouncer."""
        return PGBOUNCER + self.offset

    @property
    def subnet(self) -> str:
        """Return the subnet of the project's network; Docker's default pools run out after about 30 networks."""
        return f"172.20.{self.number}.0/24"

    @property
    def all(self) -> frozenset[int]:
        """Return every port that the project may ever use."""
        app = {self.app(colour, replica) for colour in Colour for replica in range(APP_REPLICAS)}
        replicas = {self.postgres_replica(replica) for replica in range(1, POSTGRES_REPLICAS + 1)}
        return frozenset({self.postgres, self.redis, self.pgbouncer} | app | replicas)

    def table(self) -> dict[str, int | str]:
        """Return the ports by use, for people to read."""
        return {
            "blue": self.app(Colour.BLUE, 0),
            "green": self.app(Colour.GREEN, 0),
            "postgres": self.postgres,
            "redis": self.redis,
            "pgbouncer": self.pgbouncer,
            "subnet": self.subnet,
        }


def next_number(registry: Mapping[str, int], busy: Set[int]) -> tuple[int, tuple[str, ...]]:
    """Return the smallest number that is not registered and whose ports are all free, and why others were skipped.

    Arguments:
        registry: numbers by project.
        busy: ports that something listens on, on this host.
    """
    taken = set(registry.values())
    skipped: list[str] = []
    for number in range(1, HIGHEST_NUMBER + 1):
        if number in taken:
            continue
        conflicts = sorted(Ports(number).all & busy)
        if not conflicts:
            return number, tuple(skipped)
        skipped.append(f"number {number} skipped: {_listed(conflicts)} already in use on this host")
    raise Failure(
        f"no project number is free: {len(taken)} of {HIGHEST_NUMBER} are registered, "
        f"{len(skipped)} have ports that are in use on this host",
        then="remove a project that is no longer needed, or use another host",
    )


def parse_registry(text: str) -> dict[str, int]:
    """Return the numbers by project; damaged text is a `Failure`, never an empty registry.

    The ports in the file are for people: they follow from the number and are not read.
    """
    try:
        document: object = json.loads(text, object_pairs_hook=_without_duplicates)
    except ValueError as error:
        raise _damaged(str(error)) from error
    if not isinstance(document, dict) or document.get("version") != REGISTRY_VERSION:
        raise _damaged(f'expected {{"version": {REGISTRY_VERSION}, "projects": ...}}')
    projects = document.get("projects")
    if not isinstance(projects, dict):
        raise _damaged('"projects" is not an object')
    numbers = dict(_numbers(projects))
    if len(set(numbers.values())) < len(numbers):
        raise _damaged("two projects have the same number")
    return numbers


def render_registry(numbers: Mapping[str, int]) -> str:
    """Return the registry's text for these numbers by project, ordered by number."""
    ordered = sorted(numbers.items(), key=lambda item: item[1])
    projects = {name: {"number": number, "ports": Ports(number).table()} for name, number in ordered}
    return json.dumps({"version": REGISTRY_VERSION, "projects": projects}, indent=2) + "\n"


def _numbers(projects: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for name, entry in projects.items():
        try:
            project_name(name)
        except UsageFailure as failure:
            raise _damaged(failure.what) from failure
        number = entry.get("number") if isinstance(entry, dict) else None
        if type(number) is not int or not 1 <= number <= HIGHEST_NUMBER:
            raise _damaged(f"{name} has no number from 1 to {HIGHEST_NUMBER}")
        yield name, number


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{shown(twice)} occurs twice")
    return document


def _damaged(why: str) -> Failure:
    return Failure(
        f"the port registry is damaged: {why}",
        then="repair /opt/projects/.port-registry.json on the host by hand or from a backup; it was not changed",
    )


def _listed(ports: list[int]) -> str:
    numbers = ", ".join(str(port) for port in ports[:3])
    return f"port{'s' if len(ports) > 1 else ''} {numbers}{' ...' if len(ports) > 3 else ''}"
