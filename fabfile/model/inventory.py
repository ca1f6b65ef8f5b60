"""`hosts.toml`, loaded: hosts, groups and projects, checked as a whole and reported all at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from fabfile.model.failure import UsageFailure
from fabfile.model.hosts_file import Location, Resolved, read, resolve
from fabfile.model.mistakes import key_path, sentences, unknown_key
from fabfile.model.names import shown
from fabfile.model.schema import HOST_NAME, Host, Project, Table, conflicts

__all__ = ["Host", "Inventory", "Project", "load"]

SANDBOX_FILE = Path(".sandbox/hosts.toml")
# Hosts of the sandbox come and go: projects may name them while it is down.
SANDBOX_HOST = re.compile(r"sandbox(-[a-z0-9-]+)?")

Kind = Literal["hosts", "projects"]
Entry = TypeVar("Entry", bound=Table)


@dataclass(frozen=True, slots=True)
class Unset:
    """A host or project that cannot be used before environment variables are set; one line for each."""

    variables: tuple[str, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inventory:
    """Every host, group and project that `hosts.toml` names."""

    label: str
    _hosts: Mapping[str, Host | Unset]
    _groups: Mapping[str, tuple[str, ...]]
    _projects: Mapping[str, Project | Unset]

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return the names of the hosts, those of the sandbox included while it is up."""
        return tuple(self._hosts)

    @property
    def groups(self) -> tuple[str, ...]:
        """Return the names of the groups of hosts."""
        return tuple(self._groups)

    @property
    def projects(self) -> tuple[str, ...]:
        """Return the names of the projects."""
        return tuple(self._projects)

    def host(self, name: str) -> Host:
        """Return the host of this name; `UsageFailure` names those that there are, or variables that are not set."""
        if name in self._hosts:
            return _usable("host", name, self._hosts[name])
        if SANDBOX_HOST.fullmatch(name):
            raise UsageFailure(f"the sandbox is not up, there is no host {name}", then="./inv sandbox.up")
        raise self._unknown("host", name, (*self._hosts, *self._groups))

    def expand(self, names: Sequence[str]) -> tuple[Host, ...]:
        """Return the hosts of these names of hosts and groups, each once, in the order given."""
        flat = [host for name in names for host in self._groups.get(name, (name,))]
        return tuple(self.host(name) for name in dict.fromkeys(flat))

    def project(self, name: str | None) -> Project:
        """Return the project of this name, or without a name the only one there is."""
        if name is None:
            if len(self._projects) > 1:
                raise UsageFailure(
                    f"{self.label} has several projects: {', '.join(self._projects)}", then="choose one: --project NAME"
                )
            if not self._projects:
                raise UsageFailure(f"{self.label} has no project", then=f"add [projects.NAME] to {self.label}")
            name = next(iter(self._projects))
        if name not in self._projects:
            raise self._unknown("project", name, tuple(self._projects))
        return _usable("project", name, self._projects[name])

    def hosts_for(self, project: Project, names: Sequence[str]) -> tuple[Host, ...]:
        """Return the hosts of these names, or without names the project's own."""
        if not names and not project.hosts:
            raise UsageFailure(
                f"the project {project.name} has no hosts", then=f"give one (-H HOST), or set `hosts` in {self.label}"
            )
        return self.expand(names or project.hosts)

    def _unknown(self, what: str, name: str, known: tuple[str, ...]) -> UsageFailure:
        alike = difflib.get_close_matches(name, known, n=1)
        meant = f", did you mean {alike[0]}?" if alike else ""
        there_are = f"{self.label} has: {', '.join(known)}" if known else f"{self.label} has none"
        return UsageFailure(
            f"there is no {what} {shown(name)}{meant}",
            details=(there_are,),
            then=None if known else f"add [{what}s.NAME] to {self.label}",
        )


def load(path: Path, environ: Mapping[str, str]) -> Inventory:
    """Return the inventory of `hosts.toml` and of the sandbox's file beside it, if there is one.

    Raises `UsageFailure` with one line for every mistake. Variables that are not set are mistakes only when the host or
    project with them is used.

    Arguments:
        path: the file; relative paths in it are relative to its directory.
        environ: values of `${NAME}`.
    """
    reader = _Reader(path, path.name, environ)
    hosts, projects = reader.entries("hosts", Host), reader.entries("projects", Project)
    groups = reader.groups()
    unknown = reader.unknown_tables({"hosts", "groups", "projects"})

    mistakes = [*unknown, *reader.mistakes]
    resolved = reader.resolved_hosts
    sandbox_path = path.parent / SANDBOX_FILE
    if sandbox_path.exists():
        sandbox = _Reader(sandbox_path, str(SANDBOX_FILE), environ)
        sandbox_hosts = sandbox.entries("hosts", Host)
        mistakes += [*sandbox.unknown_tables({"hosts"}), *sandbox.mistakes]
        mistakes += [
            f"{path.name}: hosts.{name}: {SANDBOX_FILE} defines this host too, choose another name"
            for name in hosts
            if name in sandbox_hosts
        ]
        hosts |= sandbox_hosts
        resolved |= sandbox.resolved_hosts

    mistakes += (f"{path.name}: {line}" for line in _cross_checks(resolved, groups, reader.resolved_projects))
    if mistakes:
        count = f"{len(mistakes)} mistakes" if len(mistakes) > 1 else "a mistake"
        raise UsageFailure(
            f"{path.name} has {count}", details=tuple(mistakes), then=f"correct {path.name}, nothing was done"
        )
    return Inventory(path.name, hosts, groups, projects)


def _usable(what: str, name: str, entry: Entry | Unset) -> Entry:
    if not isinstance(entry, Unset):
        return entry
    first = entry.variables[0]
    raise UsageFailure(
        f"the {what} {name} needs {', '.join(entry.variables)} from the environment",
        details=entry.lines,
        then=f"export {first}=..., or write ${{{first}:-default}}",
    )


@dataclass(slots=True)
class _Reader:
    """One file on its way to objects; collects the mistakes in it."""

    path: Path
    label: str
    environ: Mapping[str, str]
    mistakes: list[str] = field(default_factory=list)
    resolved_hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    resolved_projects: dict[str, dict[str, Any]] = field(default_factory=dict)
    document: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.document = read(self.path, self.label)

    def unknown_tables(self, known: set[str]) -> list[str]:
        """Return a line for every top-level key that is not known."""
        return [
            f"{self.label}: {key_path((key,))}: {unknown_key(key, known)}" for key in self.document if key not in known
        ]

    def groups(self) -> dict[str, tuple[str, ...]]:
        """Return the members of every group."""
        found: dict[str, tuple[str, ...]] = {}
        for name, members in self._table("groups").items():
            if not HOST_NAME.fullmatch(name):
                self._add(("groups", name), "must be a name of letters, digits and ._-")
            if isinstance(members, list) and members and all(isinstance(member, str) for member in members):
                found[name] = tuple(members)
            else:
                self._add(("groups", name), 'must be a list of hosts, as in ["prod", "prod-2"]')
        return found

    def entries(self, kind: Kind, model: type[Entry]) -> dict[str, Entry | Unset]:
        """Return the hosts or projects of this file."""
        found: dict[str, Entry | Unset] = {}
        resolved = self.resolved_hosts if kind == "hosts" else self.resolved_projects
        for name, written in self._table(kind).items():
            if not isinstance(written, dict):
                self._add((kind, name), f"must be a table: [{kind}.NAME]")
                continue
            variables = resolve(written, self.environ)
            unset = {location for location, _ in variables.unset}
            resolved[name] = {key: value for key, value in variables.value.items() if (key,) not in unset}
            for location in variables.malformed:
                self._add((kind, name, *location), "has a `${` that is neither ${NAME} nor ${NAME:-default}")
            for key, sentence in conflicts(kind, variables.value):
                self._add((kind, name, key), sentence)
            entry = self._entry((kind, name), model, written, variables)
            if entry:
                found[name] = entry
        return found

    def _entry(
        self, at: tuple[str, str], model: type[Entry], written: dict[str, Any], variables: Resolved
    ) -> Entry | Unset | None:
        """Return one host or project, or `None` after reporting what is wrong with it."""
        values = {**variables.value, "name": at[1]}
        if "name" in written:
            self._add((*at, "name"), "unknown key, the name is in the table's header")
        entry = None
        try:
            entry = model.model_validate(values, context={"folder": self.path.parent.absolute()})
        except ValidationError as error:
            if self._report(at, sentences(error, model, {**written, "name": at[1]}), variables):
                return None
        if variables.unset:
            names = tuple(dict.fromkeys(name for _, name in variables.unset))
            lines = tuple(self._line((*at, *location), f"${{{name}}} is not set") for location, name in variables.unset)
            return Unset(names, lines)
        return entry

    def _report(self, at: tuple[str, str], found: Iterable[tuple[Location, str]], variables: Resolved) -> bool:
        """Keep the mistakes other than those of values that are not known yet, and tell whether there are any."""
        ignored = [*(location for location, _ in variables.unset), *variables.malformed]
        remaining = [
            (location, sentence)
            for location, sentence in found
            if not any(location[: len(prefix)] == prefix for prefix in ignored)
        ]
        for location, sentence in remaining:
            self._add(at if location == ("name",) else (*at, *location), sentence)
        return bool(remaining)

    def _table(self, key: str) -> dict[str, Any]:
        table = self.document.get(key, {})
        if isinstance(table, dict):
            return table
        self._add((key,), f"must be a table: [{key}.NAME]")
        return {}

    def _add(self, location: Location, sentence: str) -> None:
        self.mistakes.append(self._line(location, sentence))

    def _line(self, location: Location, sentence: str) -> str:
        return f"{self.label}: {key_path(location)}: {sentence}"


def _cross_checks(
    hosts: Mapping[str, dict[str, Any]], groups: Mapping[str, tuple[str, ...]], projects: Mapping[str, dict[str, Any]]
) -> Iterator[str]:
    """Yield what is wrong between tables: references to nothing, circles, names and domains given twice."""
    for group, members in groups.items():
        if group in hosts:
            yield f"groups.{group}: is the name of a host too, choose another name"
        for member in members:
            if member in groups and member not in hosts:
                yield f"groups.{group}: {member} is a group, groups hold hosts only"
            else:
                yield from _reference(f"groups.{group}", member, hosts, ())
    for name, host in hosts.items():
        if isinstance(gateway := host.get("gateway"), str) and gateway:
            yield from _reference(f"hosts.{name}.gateway", gateway, hosts, ())
            if circle := _gateway_circle(name, hosts):
                yield f"hosts.{name}.gateway: leads back to where it came from: {' -> '.join(circle)}"
    for name, project in projects.items():
        for host_name in _texts(project.get("hosts")):
            yield from _reference(f"projects.{name}.hosts", host_name, hosts, groups)
    yield from _duplicate_domains(projects)


def _reference(
    at: str, name: str, hosts: Mapping[str, Any], groups: Sequence[str] | Mapping[str, Any]
) -> Iterator[str]:
    known = (*hosts, *groups)
    if name not in known and not SANDBOX_HOST.fullmatch(name):
        alike = difflib.get_close_matches(name, known, n=1)
        yield f"{at}: there is no host {shown(name)}" + (f', did you mean "{alike[0]}"?' if alike else "")


def _gateway_circle(name: str, hosts: Mapping[str, dict[str, Any]]) -> tuple[str, ...]:
    """Return the way from a host over its gateways back to itself, if there is one."""
    way = [name]
    while isinstance(step := hosts.get(way[-1], {}).get("gateway"), str) and step:
        if step in way:
            return (*way, step) if step == name else ()
        way.append(step)
    return ()


def _duplicate_domains(projects: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    owners: dict[str, str] = {}
    for name, project in projects.items():
        for key in ("domain", "aliases"):
            value = project.get(key)
            for domain in _texts([value] if isinstance(value, str) else value):
                if domain in owners:
                    yield f"projects.{name}.{key}: {shown(domain)} is a domain of the project {owners[domain]} already"
                owners.setdefault(domain, name)


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str) and "${" not in item] if isinstance(value, list) else []
