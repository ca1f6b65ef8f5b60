"""The keys of `hosts.toml`: their types, defaults and meaning; hosts and projects as frozen objects."""

from __future__ import annotations

import base64
import binascii
import posixpath
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from fabfile.model import dotenv, names
from fabfile.model.colour import Colour
from fabfile.model.failure import UsageFailure
from fabfile.model.ports import APP_REPLICAS
from fabfile.model.secret import Secret

PROJECTS = "/opt/projects"

HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252})|[0-9a-fA-F:]*:[0-9a-fA-F:.]*(%[A-Za-z0-9]+)?")
USER = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,31}")
IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,254}")
SIZE = re.compile(r"[1-9][0-9]*(\.[0-9]+)?([bkmg]|[kmg]b)?", re.IGNORECASE)
WHOLE_SIZE = re.compile(r"[1-9][0-9]*([kmg]b?)?", re.IGNORECASE)
URL_PATH = re.compile(r"/[A-Za-z0-9._~/%?&=+,:@-]*")
IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")
HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


# Validators: messages that begin with "must be" get ", is <value>" added, where the value may be shown.


def matching(pattern: re.Pattern[str], expected: str) -> AfterValidator:
    """Return a validator for text that has to match the whole pattern."""

    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"must be {expected}")
        return text

    return AfterValidator(check)


def named(check: Callable[[str], str]) -> AfterValidator:
    """Return a validator from a function that raises `UsageFailure`."""

    def validate(text: str) -> str:
        try:
            return check(text)
        except UsageFailure as failure:
            raise ValueError(failure.what) from failure

    return AfterValidator(validate)


def _no_flag(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")  # pydantic would take true for 1
    return value


def _one_line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("must be one line of text")
    return text


def _inside(text: str) -> str:
    if not text or not text.isprintable() or text.startswith("/") or ".." in text.split("/"):
        raise ValueError("must be a relative path without '..'")
    return posixpath.normpath(text)


def _beside(value: object, info: ValidationInfo) -> object:
    """Take paths as relative to the file they are written in, `~` as the home directory, and "" as none."""
    if not isinstance(value, str | Path):
        return value
    if not str(value):
        return None
    return Path((info.context or {}).get("folder", ".")) / Path(value).expanduser()


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


def _command(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return shlex.split(value)
    except ValueError as error:
        raise ValueError(f"must be a command: {str(error).lower()}") from error


def _public_keys(value: object) -> object:
    if isinstance(value, str):
        value = [value] if value else []
    if not isinstance(value, list):
        return value
    return [_public_key(line) if isinstance(line, str) else line for line in value]


def _public_key(line: str) -> str:
    kind, _, rest = line.strip().partition(" ")
    blob = rest.split(" ", 1)[0]
    try:
        data = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    # The key names its own type again: a length of four bytes, then the text (RFC 4253, 6.6).
    if not kind or data[4 : 4 + len(kind)] != kind.encode() or int.from_bytes(data[:4]) != len(kind):
        raise ValueError('must be a public key such as "ssh-ed25519 AAAA...", without the name of the host')
    return f"{kind} {blob}"


def _webhook(value: object) -> object:
    if not isinstance(value, str) or not value:
        return _empty_is_none(value)
    parts = urlsplit(value)
    if parts.scheme not in {"https", "http"} or not parts.hostname or not value.isprintable():
        raise ValueError("must be an https address")
    return Secret(value)


def _setting(value: object) -> object:
    """Take numbers and flags as the text that a program finds in its environment."""
    text = str(value).lower() if isinstance(value, bool | int | float) else value
    if not isinstance(text, str) or not dotenv.is_representable(text):
        raise ValueError("must be text for .env: printable ASCII without single quote, backslash and ${")
    return text


Whole = Annotated[int, BeforeValidator(_no_flag)]
Fraction = Annotated[float, BeforeValidator(_no_flag)]
Text = Annotated[str, AfterValidator(_one_line)]
OptionalText = Annotated[Text | None, BeforeValidator(_empty_is_none)]
OptionalPath = Annotated[Path | None, BeforeValidator(_beside)]
Inside = Annotated[str, AfterValidator(_inside)]
Size = Annotated[str, matching(SIZE, 'a size such as "512M" or "2G"')]
Image = Annotated[str, matching(IMAGE, 'an image such as "postgres:15-alpine"')]
WholeSize = Annotated[str, matching(WHOLE_SIZE, 'a size such as "256mb" or "1gb"')]
OptionalImage = Annotated[Image | None, BeforeValidator(_empty_is_none)]
Domain = Annotated[str, named(names.domain_name)]
EnvKey = Annotated[str, matching(dotenv.KEY, "the name of a variable: letters, digits and _")]
Identifier = Annotated[str, matching(IDENTIFIER, "a name of a-z, 0-9 and _, at most 63 characters")]
User = Annotated[str, matching(USER, "the name of a user")]


class Table(BaseModel):
    """A table of `hosts.toml`: unknown keys are mistakes, and nothing changes it afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, validate_default=True)


class Images(Table):
    """Images that this host uses instead of those that projects name, for private mirrors."""

    postgres: OptionalImage = Field(None, description="Image for PostgreSQL on this host.")
    redis: OptionalImage = Field(None, description="Image for Redis on this host.")
    nginx: OptionalImage = Field(None, description="Image for nginx on this host; needs nginx 1.28 or newer.")


class Host(Table):
    """A server, and how to reach it."""

    name: Annotated[str, matching(HOST_NAME, "a name of letters, digits and ._-")] = Field(exclude=True)
    hostname: Annotated[str, matching(HOSTNAME, "a host name or an IP address")] = Field(
        description="Name or address that SSH connects to."
    )
    user: User = Field("deploy", description="User that deploys; `server.bootstrap` makes it.")
    admin: User = Field(
        "root", description="User that `server.bootstrap` logs in as: root, or one with sudo without password."
    )
    port: Whole = Field(22, ge=1, le=65535, description="Port of sshd.")
    identity_file: OptionalPath = Field(
        None, description="Private key file; without it the SSH agent and the usual keys are tried."
    )
    identity_env: Annotated[EnvKey | None, BeforeValidator(_empty_is_none)] = Field(
        None, description="Name of the environment variable that holds the private key's text, for CI."
    )
    host_key: Annotated[tuple[str, ...], BeforeValidator(_public_keys)] = Field(
        (), description='Public key of the host, "type base64", or a list of them: only these are trusted.'
    )
    known_hosts: OptionalPath = Field(
        None, description="Known hosts file with the host's public key, instead of `host_key`."
    )
    gateway: OptionalText = Field(None, description="Name of another host in this file to connect through.")
    connect_timeout: Whole = Field(10, ge=1, le=600, description="Seconds to wait for a connection.")
    images: Images = Field(Images(), description="Images used instead of the projects' own.")
    sandbox: bool = Field(False, description="Whether this is a throwaway server on this machine.")


class Reservations(Table):
    """What the application is sure to get, even on a busy server."""

    cpus: Annotated[float | None, BeforeValidator(_no_flag)] = Field(
        None, gt=0, le=1024, description="Processor cores reserved for each replica."
    )
    memory: Size | None = Field(None, description="Memory reserved for each replica.")


class Health(Table):
    """How to find out whether the application works."""

    path: Annotated[str, matching(URL_PATH, 'a path such as "/health"')] = Field(
        "/health", description="Path that answers 200 when the application works."
    )
    deadline: Whole = Field(60, ge=1, le=3600, description="Seconds within which a new release must be healthy.")
    interval: Whole = Field(10, ge=1, le=3600, description="Seconds between two checks of a running container.")
    timeout: Whole = Field(5, ge=1, le=600, description="Seconds that one check may take.")
    retries: Whole = Field(3, ge=1, le=100, description="Failed checks in a row that make a container unhealthy.")
    start_period: Whole = Field(
        40, ge=0, le=3600, description="Seconds after the start in which failed checks do not count."
    )


class Deploy(Table):
    """Time limits and habits of a deploy."""

    watch_seconds: Whole = Field(
        5, ge=0, le=3600, description="Seconds to watch the new release before the old one is stopped."
    )
    drain_seconds: Whole = Field(
        30, ge=0, le=86400, description="Seconds that open connections to the old release may live on."
    )
    grace_seconds: Whole = Field(30, ge=1, le=3600, description="Seconds between SIGTERM and SIGKILL.")
    prove_requests: Whole = Field(
        5, ge=1, le=1000, description="Answers that the new release must give through nginx after the switch."
    )
    migrate_timeout: Whole = Field(600, ge=1, le=86400, description="Seconds that the migration may take.")
    build_timeout: Whole = Field(
        1800, ge=1, le=86400, description="Seconds that building or pulling the image may take."
    )
    dump_timeout: Whole = Field(3600, ge=1, le=86400, description="Seconds that the database dump may take.")
    keep_releases: Whole = Field(3, ge=1, le=100, description="Good releases that stay on the server for rollback.")
    standby: Literal["cold", "hot"] = Field(
        "cold", description='Whether the old release is stopped after a deploy ("cold") or kept running ("hot").'
    )
    min_free_disk_mb: Whole = Field(
        1024, ge=0, le=10**9, description="Megabytes that must be free before a deploy starts."
    )


class Postgres(Table):
    """The project's PostgreSQL; `services` must list it."""

    image: Image = Field("postgres:15-alpine", description="Image of PostgreSQL.")
    memory: Size = Field("1G", description="Most memory that PostgreSQL may use.")
    user: Identifier | None = Field(None, description="User of the database; `<project>_prod` by default.")
    database: Identifier | None = Field(None, description="Name of the database; `<project>_production` by default.")


class Redis(Table):
    """The project's Redis; `services` must list it."""

    image: Image = Field("redis:7-alpine", description="Image of Redis.")
    memory: Size = Field("512M", description="Most memory that the container may use; more than `maxmemory`.")
    maxmemory: WholeSize = Field("256mb", description="Size of the data at which Redis starts to evict keys.")
    maxmemory_policy: Literal[
        "noeviction",
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
    ] = Field("allkeys-lru", description="Which keys Redis evicts when the memory is full.")


class Slack(Table):
    """Where deploys are announced."""

    webhook: Annotated[Secret | None, BeforeValidator(_webhook)] = Field(
        None, description="Address of an incoming webhook; nothing is sent without one."
    )
    channel: OptionalText = Field(None, description="Channel, where the webhook lets one choose.")


class Project(Table):
    """A web project: where its source is, how it runs, and what it needs."""

    name: Annotated[str, named(names.project_name)] = Field(exclude=True)
    hosts: tuple[Text, ...] = Field((), description="Hosts and groups it is deployed to when `-H` is not given.")
    domain: Domain = Field(description="Domain of the site.")
    aliases: tuple[Domain, ...] = Field((), description="Further domains of the same site.")
    source: Annotated[Path, BeforeValidator(_beside)] = Field(
        Path("."), description="Directory that is uploaded, relative to this file; required unless `image` is given."
    )
    dockerfile: Inside = Field("Dockerfile", description="File in `context` that the image is built from.")
    image: OptionalImage = Field(None, description="Image to pull instead of building one; excludes `dockerfile`.")
    context: Inside = Field(".", description="Directory in `source` that the image is built in.")
    port: Whole = Field(8000, ge=1, le=65535, description="Port that the application listens on in its container.")
    replicas: Whole = Field(1, ge=1, le=APP_REPLICAS, description="Containers of the application.")
    workers: Whole = Field(2, ge=1, le=256, description="Worker processes in each container, passed on as WORKERS.")
    cpus: Fraction = Field(2.0, gt=0, le=1024, description="Most processor cores that each replica may use.")
    memory: Size = Field("2G", description="Most memory that each replica may use.")
    reservations: Reservations = Field(Reservations(), description="What each replica is sure to get.")
    services: tuple[Literal["postgres", "redis"], ...] = Field(
        (), description="Services that the project has for itself."
    )
    migrate: Annotated[tuple[Text, ...], BeforeValidator(_command)] = Field(
        (),
        description="Command that migrates the database, text or a list; run once in the new image.",
    )
    settings: Mapping[EnvKey, Annotated[str, BeforeValidator(_setting)]] = Field(
        {}, description="Settings that are no secrets, written into `.env` when the project is created."
    )
    secrets: tuple[EnvKey, ...] = Field(
        (), description="Names of secrets that are made up when the project is created."
    )
    required: tuple[EnvKey, ...] = Field((), description="Names that must have a value in `.env` before a deploy.")
    exclude: tuple[Text, ...] = Field(
        (), description="Patterns of rsync for files that are not uploaded, beyond the usual ones."
    )
    health: Health = Field(Health(), description="How to find out whether the application works.")
    deploy: Deploy = Field(Deploy(), description="Time limits and habits of a deploy.")
    postgres: Postgres = Field(Postgres(), description="The project's PostgreSQL.")
    redis: Redis = Field(Redis(), description="The project's Redis.")
    slack: Slack = Field(Slack(), description="Where deploys are announced.")

    @property
    def domains(self) -> tuple[str, ...]:
        """Return the domain and its aliases."""
        return (self.domain, *self.aliases)

    @property
    def uses_postgres(self) -> bool:
        """Tell whether the project has a PostgreSQL for itself."""
        return "postgres" in self.services

    @property
    def uses_redis(self) -> bool:
        """Tell whether the project has a Redis for itself."""
        return "redis" in self.services

    @property
    def postgres_user(self) -> str:
        """Return the database's user."""
        return self.postgres.user or f"{self._identifier}_prod"

    @property
    def postgres_database(self) -> str:
        """Return the database's name."""
        return self.postgres.database or f"{self._identifier}_production"

    @property
    def network(self) -> str:
        """Return the name of the project's Docker network."""
        return f"{self.name}_internal"

    @property
    def directory(self) -> str:
        """Return the project's directory on the server."""
        return f"{PROJECTS}/{self.name}"

    @property
    def build_context(self) -> str:
        """Return the directory the image is built in, relative to a release directory."""
        return self.context

    def release_directory(self, version: str) -> str:
        """Return the directory of a release on the server."""
        return f"{self.directory}/releases/{version}"

    def compose_name(self, kind: Colour | Literal["data", "blue", "green"]) -> str:
        """Return the name of the compose project of one colour, or of the data services."""
        return f"{self.name}-{kind}"

    def image_tag(self, version: str) -> str:
        """Return the tag that a release's image has on the server."""
        return f"{self.name}:{version}"

    @property
    def _identifier(self) -> str:
        return self.name.replace("-", "_")


def conflicts(kind: Literal["hosts", "projects"], table: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return mistakes that no key makes alone, as pairs of key and sentence."""
    if kind == "hosts":
        both = table.get("identity_file") and table.get("identity_env")
        return [("identity_env", "is given beside `identity_file`, only one can be used")] if both else []
    found: list[tuple[str, str]] = []
    if table.get("image"):
        if "dockerfile" in table:
            found.append(("image", "is given beside `dockerfile`, only one can be used"))
    elif "source" not in table:
        found.append(("source", "is required (the directory that is uploaded), unless `image` is given"))
    services = table.get("services", [])
    if isinstance(services, list):
        found += [
            (service, f'is given, but `services` does not list "{service}"')
            for service in ("postgres", "redis")
            if service in table and service not in services
        ]
        if len({str(service) for service in services}) < len(services):
            found.append(("services", "lists a service twice"))
    secrets, settings = table.get("secrets"), table.get("settings")
    if isinstance(secrets, list) and isinstance(settings, dict):
        found += [("secrets", f"lists {key}, which `settings` sets") for key in secrets if key in settings]
    return found
