"""The reference of `hosts.toml`, made from the schema: every key with its type, default and meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from fabfile.model.mistakes import limits
from fabfile.model.schema import Host, Project, Table
from fabfile.model.secret import Secret

GROUPS = """## [groups]

Names for several hosts at once, for `-H` and for `hosts` of a project.

| Key | Type | Default | Meaning |
|---|---|---|---|
| `NAME` | list of text | required | Hosts of the group. |
"""

WORDS: dict[object, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    Secret: "text",
}


def reference() -> str:
    """Return the reference page in Markdown, one table of keys for each table of the file."""
    hosts, projects = (
        list(sections(title, table)) for title, table in (("hosts.NAME", Host), ("projects.NAME", Project))
    )
    return "\n".join([*hosts, GROUPS, *projects])


def sections(title: str, table: type[Table]) -> Iterator[str]:
    """Yield the section of a table of the file, then those of the tables inside it."""
    inner = {name: kind for name, field in keys(table).items() if (kind := inner_table(field))}
    rows = [_row(name, field) for name, field in keys(table).items() if name not in inner]
    head = [f"## [{title}]", "", table.__doc__ or "", "", "| Key | Type | Default | Meaning |", "|---|---|---|---|"]
    yield "\n".join([*head, *rows, ""])
    for name, kind in inner.items():
        yield from sections(f"{title}.{name}", kind)


def keys(table: type[Table]) -> dict[str, FieldInfo]:
    """Return the keys that may be written in a table, in order."""
    return {name: field for name, field in table.model_fields.items() if not field.exclude}


def inner_table(field: FieldInfo) -> type[Table] | None:
    """Return the table that a key holds, if it holds one."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Table) else None


def _row(name: str, field: FieldInfo) -> str:
    range_ = limits(field)
    kind = _type(field.annotation) + (f", {range_}" if range_ else "")
    return f"| `{name}` | {kind} | {_default(field)} | {field.description} |"


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f'`"{argument}"`' for argument in arguments)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "table of text"
    if annotation in WORDS:
        return WORDS[annotation]
    return _type(next(argument for argument in arguments if argument is not NoneType))  # X | None, Annotated[X, ...]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return "`[]`"
    if isinstance(value, str | Path):
        return f'`"{value}"`'
    return "`{}`" if isinstance(value, Mapping) else f"`{value}`"
