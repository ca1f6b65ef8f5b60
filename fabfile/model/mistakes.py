"""What pydantic found wrong, as sentences for people: key path, what is expected, what is written."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from fabfile.model.hosts_file import Location

BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")
SECRET_KEY = re.compile(r"webhook|password|secret|token|key|identity_env|settings", re.IGNORECASE)
SHOWN_CHARACTERS = 60

EXPECTED = {
    "int": "must be a whole number",
    "float": "must be a number",
    "bool": "must be true or false",
    "string": "must be text in quotes",
    "path": "must be text in quotes",
    "tuple": "must be a list",
    "list": "must be a list",
    "dict": "must be a table",
    "mapping": "must be a table",
    "model": "must be a table",
}


def key_path(location: Location) -> str:
    """Return where in the file, as in `projects.shop.hosts[0]`."""
    parts = []
    for part in location:
        if isinstance(part, int):
            parts.append(f"[{part}]")
        else:
            parts.append(f".{part}" if BARE_KEY.fullmatch(part) else f".{part[:SHOWN_CHARACTERS]!r}")
    return "".join(parts).removeprefix(".")


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Return the sentence for a key that is not known, with the known one that is meant, if any is like it."""
    alike = difflib.get_close_matches(key, list(known), n=1)
    return f'unknown key, did you mean "{alike[0]}"?' if alike else "unknown key"


def sentences(
    error: ValidationError, table: type[BaseModel], written: Mapping[str, Any]
) -> Iterator[tuple[Location, str]]:
    """Yield location and sentence of every mistake in one table.

    Arguments:
        table: the table's model.
        written: the table as it stands in the file, before variables were replaced: what people see and may be shown.
    """
    for mistake in error.errors(include_url=False):
        location = tuple(part for part in mistake["loc"] if part != "[key]")  # pydantic's mark of a wrong key
        owner, field = _field_at(table, location)
        sentence = _sentence(mistake, owner, field)
        if sentence.startswith("must be") and not any(SECRET_KEY.search(str(part)) for part in location):
            sentence += f", is {_shown(_value_at(written, location))}"
        yield location, sentence


def _sentence(mistake: ErrorDetails, owner: type[BaseModel], field: FieldInfo | None) -> str:
    kind, context = mistake["type"], mistake.get("ctx", {})
    if kind == "extra_forbidden":
        known = [name for name, one in owner.model_fields.items() if not one.exclude]
        return unknown_key(str(mistake["loc"][-1]), known)
    if kind == "missing":
        about = field.description.rstrip(".") if field and field.description else ""
        return f"is required ({about[:1].lower()}{about[1:]})"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"must be {str(context['expected']).replace(chr(39), chr(34))}"
    range_ = limits(field)
    if range_ and kind.startswith(("greater_than", "less_than", "int_", "float_")):
        return f"must be {range_}"
    return EXPECTED.get(kind.split("_")[0], mistake["msg"][:1].lower() + mistake["msg"][1:])


def limits(field: FieldInfo | None) -> str:
    """Return the range of a number in words: `1 to 15`."""
    bounds = {type(bound): bound for bound in (field.metadata if field else [])}
    low, above, high = bounds.get(Ge), bounds.get(Gt), bounds.get(Le)
    first = f"{low.ge}" if low else f"more than {above.gt}" if above else ""
    return f"{first} to {high.le}" if low and high else f"{first}, at most {high.le}" if first and high else first


def _field_at(table: type[BaseModel], location: Location) -> tuple[type[BaseModel], FieldInfo | None]:
    """Return the innermost table that the location leads to, and the field in it."""
    field: FieldInfo | None = None
    for part in location:
        if isinstance(part, int):
            continue
        inner = _table_of(field) if field else None
        table = inner or table
        field = table.model_fields.get(part)
        if field is None:
            break
    return table, field


def _table_of(field: FieldInfo) -> type[BaseModel] | None:
    candidates = (field.annotation, *get_args(field.annotation))
    return next((one for one in candidates if isinstance(one, type) and issubclass(one, BaseModel)), None)


def _value_at(written: Any, location: Location) -> Any:
    for part in location:
        try:
            written = written[part]
        except (KeyError, IndexError, TypeError):
            return written
    return written


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        short = value if len(value) <= SHOWN_CHARACTERS else value[:SHOWN_CHARACTERS] + "…"
        return f'"{short}"' if short.isprintable() and '"' not in short else repr(short)
    if isinstance(value, list):
        return "a list"
    return "a table" if isinstance(value, Mapping) else str(value)
