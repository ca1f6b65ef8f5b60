"""A file of hosts and projects as plain tables: read, and `${NAME}` replaced from the environment."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fabfile.model.failure import UsageFailure

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
POSITION = re.compile(r"(?P<what>.*) \(at line (?P<line>\d+), column (?P<column>\d+)\)", re.DOTALL)

Location = tuple[str | int, ...]  # where in a table: keys, and indices of lists


@dataclass(slots=True)
class Resolved:
    """A table with its variables replaced; values with unset ones stay as written and are listed."""

    value: Any = None
    unset: list[tuple[Location, str]] = field(default_factory=list)
    malformed: list[Location] = field(default_factory=list)


def read(path: Path, label: str) -> dict[str, Any]:
    """Return the file's tables; a file that cannot be read as TOML is a `UsageFailure` with line and column."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n"))
    except FileNotFoundError as error:
        raise UsageFailure(
            f"{label} not found in {path.parent.absolute()}",
            then="change to the directory with hosts.toml, or write one: README.md shows how",
        ) from error
    except OSError as error:
        raise UsageFailure(f"{label} cannot be read: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UsageFailure(f"{label}: line {line}: not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageFailure(f"{label}: {_with_position(str(error))}", then=f"correct {label}") from error


def resolve(table: Any, environ: Mapping[str, str]) -> Resolved:
    """Return the table with `${NAME}` and `${NAME:-default}` replaced in all text, as sh would do it."""
    resolved = Resolved()
    resolved.value = _replaced(table, environ, (), resolved)
    return resolved


def _replaced(value: Any, environ: Mapping[str, str], at: Location, resolved: Resolved) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(item, environ, (*at, key), resolved) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, environ, (*at, index), resolved) for index, item in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value
    if "${" in VARIABLE.sub("", value):
        resolved.malformed.append(at)
        return value
    variables = [match.groups() for match in VARIABLE.finditer(value)]
    unset = [(at, name) for name, default in variables if default is None and name not in environ]
    if unset:
        resolved.unset += unset
        return value
    return VARIABLE.sub(lambda match: environ.get(match[1]) or match[2] or "", value)


def _with_position(message: str) -> str:
    match = POSITION.fullmatch(message)
    if not match:
        return message[:1].lower() + message[1:]
    return f"line {match['line']}, column {match['column']}: {match['what'][:1].lower()}{match['what'][1:]}"
