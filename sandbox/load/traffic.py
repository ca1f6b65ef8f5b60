"""What is sent, to whom, and how often: the options of the load generator."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, field, fields
from typing import Any, Self
from urllib.parse import urlsplit

PRINTABLE = re.compile(r"[!-~]+")


def option(default: Any, text: str) -> Any:
    """Return a dataclass field that is also a command line option with this help text."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """One description of traffic, with the same names in Python (`post_body`) and on the command line (`--post-body`).

    Raises:
        ValueError: a value makes no sense; the message names it.
    """

    base: str = option("", "address the connections go to: http://ADDRESS:PORT")
    host: str = option("", "Host header; that of --base when left out")
    run: str = option("run", "name of this run, sent with every numbered POST")

    get: tuple[str, ...] = option((), "path to GET; may be given several times")
    post: str = option("", "path of the numbered POSTs, each sent exactly once")
    post_body: str = option('{"number": {number}, "run": "{run}"}', "their body; {number} and {run} are filled in")
    post_type: str = option("application/json", "their Content-Type")
    websocket: str = option("", "path of one WebSocket that stays open and sends a message every half second")
    slow: str = option("", "path of the long request")
    stream: str = option("", "path of one event stream that stays open")

    rate: float = option(400.0, "requests per second of all clients together, without idle and long ones")
    keep_alive: int = option(40, "clients that reuse one connection")
    new_connection: int = option(10, "clients that open a connection for every request")
    idle: int = option(20, "clients that reuse one connection and wait 2 to 8 seconds between requests")
    post_keep_alive: int = option(5, "clients that send POSTs over one connection")
    post_new_connection: int = option(5, "clients that open a connection for every POST")
    slow_clients: int = option(1, "clients that send the long request")
    slow_times: int = option(0, "how often each of them sends it; 0: again and again")

    timeout: float = option(15.0, "seconds until a request counts as failed")
    slow_timeout: float = option(30.0, "seconds until a long request counts as failed")

    release_header: str = option("X-Release", "response header that names the release")
    release_json_field: str = option("release", "field of a JSON body that names the release")
    release_pattern: str = option("", "regular expression whose first group in the body is the release")

    def __post_init__(self) -> None:
        address = urlsplit(self.base)
        if address.scheme != "http" or not address.hostname or address.path not in {"", "/"}:
            raise ValueError(f"base: must be http://ADDRESS:PORT, is {self.base!r}")
        for name in ("host", "post_type", "release_header"):
            if not re.fullmatch(r"[ -~]*", getattr(self, name)):
                raise ValueError(f"{name}: must be printable ASCII")
        for path in self.paths:
            if not path.startswith("/") or not PRINTABLE.fullmatch(path):
                raise ValueError(f"a path starts with / and is printable ASCII without spaces, not {path!r}")
        for name in ("rate", "timeout", "slow_timeout"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: must be above 0")
        if not self.paths:
            raise ValueError("nothing to do: give at least one of get, post, websocket, slow, stream")
        try:
            groups = re.compile(self.release_pattern).groups
        except re.error as error:
            raise ValueError(f"release_pattern: {error}") from None
        if self.release_pattern and not groups:
            raise ValueError("release_pattern: must have a group")

    @property
    def paths(self) -> tuple[str, ...]:
        """All paths that are asked for."""
        return (*self.get, *(path for path in (self.post, self.websocket, self.slow, self.stream) if path))

    @property
    def address(self) -> tuple[str, int]:
        """Address and port the connections go to."""
        parts = urlsplit(self.base)
        return str(parts.hostname), parts.port or 80

    @property
    def host_header(self) -> str:
        """The Host header of every request."""
        return self.host or urlsplit(self.base).netloc

    @property
    def arguments(self) -> list[str]:
        """The command line that describes the same traffic."""
        found: list[str] = []
        for each in fields(Traffic):
            value = getattr(self, each.name)
            for one in value if isinstance(value, tuple) else (value,):
                found.append(f"{flag(each.name)}={one}")
        return found

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> Self:
        """Return the traffic described by a command line that was parsed with `add_options`."""
        values: dict[str, Any] = {each.name: getattr(arguments, each.name) for each in fields(Traffic)}
        values["get"] = tuple(values["get"])
        return cls(**values)


def flag(name: str) -> str:
    """Return the command line option of a field."""
    return "--host-header" if name == "host" else "--" + name.replace("_", "-")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add one option for every field of `Traffic`."""
    for each in fields(Traffic):
        text = each.metadata["help"]
        if isinstance(each.default, tuple):
            parser.add_argument(flag(each.name), dest=each.name, action="append", default=[], help=text)
        else:
            shown = f"{text} (default {each.default})" if each.default else text
            kind = type(each.default)
            parser.add_argument(flag(each.name), dest=each.name, type=kind, default=each.default, help=shown)
