"""What is true on a host for one project, observed in one round trip. Nothing else is trusted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import unquote

from fabfile.model import dotenv, retention
from fabfile.model.colour import Colour
from fabfile.model.failure import Failure
from fabfile.model.ports import Ports, parse_registry
from fabfile.model.secret import Secret
from fabfile.remote.command import script
from fabfile.services import docker, nginx

if TYPE_CHECKING:
    from fabfile.remote.server import Remote

State = Literal["good", "bad", "unfinished"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Record:
    """What `release.json` says of a release.

    Arguments:
        created: when it was deployed first, ISO 8601 in UTC.
        image: id of its image; a rollback uses just that.
        dump: the database dump that was taken before its migration, if any.
        why: for a bad release, how it failed.
    """

    version: str
    state: State = "unfinished"
    created: str = ""
    commit: str | None = None
    subject: str | None = None
    dirty: bool = False
    who: str = ""
    image: str = ""
    dump: str = ""
    why: str = ""

    def json(self) -> str:
        """Return the record as one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=True)

    def ended(self, state: State, **changes: str) -> Record:
        """Return the record as it is after the release turned out good or bad."""
        return replace(self, state=state, **changes)  # type: ignore[arg-type]

    @property
    def as_release(self) -> retention.Release:
        """The record as the retention rules see it."""
        return retention.Release(self.version, parse_time(self.created), self.state)


def parse_time(text: str) -> datetime:
    """Return the time in ISO 8601; the epoch when there is none."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return EPOCH


@dataclass(frozen=True, slots=True)
class Facts:
    """The state of one project on one host.

    Arguments:
        live: what nginx's upstream file says; the only record that decides.
        containers: all containers of the project, running or not.
        tags: image id by version.
        env_text: the `.env` as it is, empty when there is none.
        releases: one record for each release directory.
        nginx_test: what `nginx -t` says; empty when it is content.
        in_force: the generation of the upstream file that nginx works with; empty when it did not say.
    """

    project: str
    now: int
    engine: str
    live: nginx.Live
    containers: tuple[docker.Container, ...] = ()
    nginx_running: bool = False
    nginx_test: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    has_network: bool = False
    has_directory: bool = False
    number: int | None = None
    in_force: str = ""
    site_text: str = ""
    upstream_text: str = ""
    env_text: str = ""
    data_text: str = ""
    compose_text: str = ""
    current: str = ""
    leftovers: tuple[str, ...] = ()
    releases: tuple[Record, ...] = ()
    free_disk_mb: int = 0
    free_inodes: int = 0
    listening: frozenset[int] = frozenset()
    holder: str = ""
    history: tuple[Mapping[str, Any], ...] = ()

    @property
    def ports(self) -> Ports:
        """The project's ports; a project without a number was never created."""
        if self.number is None:
            raise Failure(f"the project {self.project} is not registered on this host")
        return Ports(self.number)

    @property
    def undecided(self) -> bool:
        """Whether nginx works with another upstream file than the one that lies there: a switch broke off midway."""
        return bool(self.in_force) and self.in_force != self.live.generation

    @property
    def idle(self) -> Colour:
        """The colour that the next release gets."""
        return self.live.colour.other if self.live.colour else Colour.BLUE

    def app(self, colour: Colour | None) -> tuple[docker.Container, ...]:
        """Return the app's containers of a colour, by replica."""
        return tuple(
            sorted(
                (c for c in self.containers if c.role == "app" and c.colour == colour and not c.one_off),
                key=lambda c: int(c.labels.get("slipway.replica", "0")),
            )
        )

    def service(self, role: str) -> docker.Container | None:
        """Return the container of a data service, or None."""
        return next((c for c in self.containers if c.role == role), None)

    def record(self, version: str | None) -> Record | None:
        """Return the record of a release, or None when the host does not have it."""
        return next((r for r in self.releases if r.version == version), None)

    @property
    def env(self) -> dict[str, str]:
        """The values of `.env`."""
        return dotenv.parse(self.env_text)

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Values that nobody may see: every value of `.env` that is not plainly public."""
        return tuple(Secret(text) for key, value in self.env.items() for text in secret_parts(key, value))


PUBLIC = ("_PORT", "_USER", "_DB", "ENVIRONMENT", "WORKERS", "ALGORITHM", "_DAYS", "_MINUTES", "_ORIGINS", "_DOMAIN")
SHORTEST_SECRET = 8  # shorter values are words such as "true" or "production": hiding them would hide the message


def secret_parts(key: str, value: str) -> tuple[str, ...]:
    """Return what is to be hidden of a value of `.env`: nothing of public ones; a URL's password on its own too."""
    found = re.search(r"://[^/@\s]*:([^@\s]+)@", value)
    if found:
        return (value, found.group(1), unquote(found.group(1)))
    if key.upper().endswith(PUBLIC) or len(value) < SHORTEST_SECRET:
        return ()
    return (value,)


def sections(text: str) -> dict[str, str]:
    """Return the sections of a script's output by name: each begins with a line `@@ NAME`."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("@@ "):
            lines = found.setdefault(line[3:].strip(), [])
        else:
            lines.append(line)
    return {name: "\n".join(lines).strip("\n") for name, lines in found.items()}


def parse(project: str, text: str) -> Facts:
    """Return the facts in the output of `facts.sh`.

    Raises `Failure` when Docker does not answer or a record is damaged: half the facts are no facts.
    """
    part = sections(text)
    if "end" not in part or not part["time"].isdigit():
        raise Failure("the host's facts are incomplete")
    engine = _json(part["engine"])
    if "Version" not in engine:
        raise Failure(
            "Docker does not answer",
            details=(part["engine"][:300],),
            then="look at it with server.doctor, set it up with server.bootstrap",
        )
    numbers = parse_registry(part["registry"]) if part["registry"].strip() else {}
    if project in numbers and not nginx.HEADER.search(part["upstream"]):
        raise Failure(
            f"/opt/nginx/upstreams/{project}.conf does not say what is live, so nothing is started or stopped",
            details=(part["upstream"][:200] or "it is empty or missing",),
            then=f"fab project.create --project {project} makes it anew if it is missing; then look which containers "
            f"run: docker ps --filter label=slipway.project={project}",
        )
    disk = part["disk"].splitlines()
    test = part["nginx-test"]
    # What `cat` printed has lost its last newline in the sections.
    env_text = part["env"] + "\n" if part["env"] else ""
    return Facts(
        project=project,
        now=int(part["time"]),
        engine=str(engine["Version"]),
        live=nginx.parse_upstream(part["upstream"]),
        containers=docker.parse_containers(_listed(part, "containers")),
        nginx_running=any(c.running for c in docker.parse_containers(_listed(part, "nginx"))),
        nginx_test="" if test.endswith("exit 0") and "[warn]" not in test else test,
        tags=docker.parse_tags(_listed(part, "images")),
        has_network=any(n.get("Name") == f"{project}_internal" for n in json.loads(_listed(part, "networks"))),
        has_directory=part["directory"] == "present",
        number=numbers.get(project),
        in_force=part.get("in-force", ""),
        site_text=part["site"],
        upstream_text=part["upstream"],
        env_text=env_text,
        data_text=part["data"],
        compose_text=part.get("compose", ""),
        current=part["current"],
        leftovers=tuple(part["partial"].split()),
        releases=tuple(_record(line) for line in part["releases"].splitlines() if line.strip()),
        free_disk_mb=_free(disk[0]) // 1024 if disk else 0,
        free_inodes=_free(disk[1]) if len(disk) > 1 else 0,
        listening=frozenset(int(port) for port in part["listening"].split() if port.isdigit()),
        holder=part["holder"],
        history=tuple(_json(line) for line in part["history"].splitlines() if line.strip()),
    )


def observe(server: Remote, project: str) -> Facts:
    """Return what is true for a project on a host, and hide its secrets in all that follows."""
    facts = parse(project, server.run(script("facts", project, deadline=60)).out)
    server.hide(facts.secrets)
    return facts


def _listed(part: Mapping[str, str], name: str) -> str:
    """Return an answer of Docker that is a list; taking an error for "none" would start or remove the wrong things."""
    try:
        if isinstance(json.loads(part[name]), list):
            return part[name]
    except ValueError:
        pass
    raise Failure(f"Docker does not list its {name}", details=(part[name][:300],), then="run the same command again")


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _record(line: str) -> Record:
    version, _, text = line.partition(" ")
    # A record is there for people and may have been edited: what is not of its kind is left out.
    return Record(version, **{key: value for key, value in _json(text).items() if _is_of_record(key, value)})


def _is_of_record(key: str, value: object) -> bool:
    if key == "state":
        return value in get_args(State)
    if key == "version" or key not in Record.__dataclass_fields__:
        return False
    default = Record.__dataclass_fields__[key].default
    return value is None or isinstance(value, str) if default is None else type(value) is type(default)


def _free(line: str) -> int:
    words = line.split()
    return int(words[3]) if len(words) > 3 and words[3].isdigit() else 0
