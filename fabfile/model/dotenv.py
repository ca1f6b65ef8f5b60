"""The `.env` file: one dialect that bash, dash, Docker Compose and python-dotenv read alike.

Written: unquoted `[A-Za-z0-9_./:@%+=,-]*`, otherwise single-quoted printable ASCII without `'`, a backslash and `${`.
Read: as python-dotenv does without interpolation, but a line that it would skip is a failure.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from fabfile.model.failure import Failure, UsageFailure
from fabfile.model.names import shown

if TYPE_CHECKING:
    from dotenv.parser import Binding

KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
UNQUOTED = re.compile(r"[A-Za-z0-9_./:@%+=,-]*")
QUOTED = re.compile(r"(?:(?!\$\{)[ -&(-\[\]-~])*")  # printable ASCII without ' \ and ${


def parse(text: str, *, name: str = ".env") -> dict[str, str]:
    """Return the values by key; a line that is no `KEY=value` is a `Failure` that names its number, never its text.

    Arguments:
        name: how messages call the file.
    """
    values: dict[str, str] = {}
    wrong: list[int] = []
    for binding in _bindings(text):
        if binding.key is None and not binding.error:
            continue  # a comment or blank lines
        if binding.key is None or binding.value is None or not KEY.fullmatch(binding.key):
            wrong.append(_line_number(binding))
        else:
            values[binding.key] = binding.value
    if wrong:
        numbers = ", ".join(str(number) for number in wrong)
        raise Failure(
            f"{name}: line{'s' if len(wrong) > 1 else ''} {numbers}: not KEY=value",
            then=f"correct {name}; values with spaces or signs go into single quotes",
        )
    return values


def render(values: Mapping[str, str], *, header: str = "", comments: Mapping[str, str] | None = None) -> str:
    """Return the file's text, one `KEY=value` a line; a value outside the dialect is a `UsageFailure` naming the key.

    Arguments:
        header: comment at the top, without `#`.
        comments: comment above a key, without `#`, by key; it is preceded by an empty line.
    """
    lines = _comment(header)
    for key, value in values.items():
        if comments and key in comments:
            lines += ([""] if lines else []) + _comment(comments[key])
        lines.append(_assignment(key, value))
    return "".join(f"{line}\n" for line in lines)


def set_values(text: str, changes: Mapping[str, str]) -> str:
    """Return `text` with these keys set: changed in place, new ones at the end; comments and order stay."""
    assignments = {key: _assignment(key, value) for key, value in changes.items()}
    known = parse(text)
    pieces = [
        _with_assignment(binding, assignments[binding.key]) if binding.key in assignments else binding.original.string
        for binding in _bindings(text)
    ]
    if pieces and not pieces[-1].endswith(("\n", "\r")):
        pieces.append("\n")
    return "".join(pieces) + "".join(f"{line}\n" for key, line in assignments.items() if key not in known)


def missing(example_text: str, env_text: str) -> tuple[str, ...]:
    """Return the keys of `.env.example` that `.env` lacks, in the example's order."""
    present = parse(env_text)
    return tuple(key for key in parse(example_text, name=".env.example") if key not in present)


def is_representable(value: str) -> bool:
    """Tell whether all readers of `.env` would read `value` back as it is."""
    return bool(UNQUOTED.fullmatch(value) or QUOTED.fullmatch(value))


def _bindings(text: str) -> Iterator[Binding]:
    from dotenv.parser import parse_stream  # noqa: PLC0415  (costs a tenth of `fab --list`)

    return parse_stream(io.StringIO(text))


def _line_number(binding: Binding) -> int:
    written = binding.original.string
    blank = written[: len(written) - len(written.lstrip())]
    return binding.original.line + len(re.findall(r"\r\n|\n|\r", blank))


def _assignment(key: str, value: str) -> str:
    if not KEY.fullmatch(key):
        raise UsageFailure(f"{shown(key)} cannot be a key in .env: letters, digits and _ only, first no digit")
    if UNQUOTED.fullmatch(value):
        return f"{key}={value}"
    if QUOTED.fullmatch(value):
        return f"{key}='{value}'"
    raise UsageFailure(
        f"the value of {key} cannot be written into .env: "
        "printable ASCII without single quote, backslash and ${ is read alike everywhere",
        then=f"choose another value for {key}, or encode it (base64)",
    )


def _with_assignment(binding: Binding, assignment: str) -> str:
    """Return the binding's text with the new assignment, between the old blank lines, remark and line end."""
    written = binding.original.string
    body = written.strip()
    before, _, after = written.partition(body)
    return before + assignment + _remark(binding, body) + after.lstrip(" \t")


def _remark(binding: Binding, body: str) -> str:
    """Return the `# ...` behind the value: the longest tail without which the value is the same."""
    for match in re.finditer(r"[ \t]+#", body):
        head = next(iter(_bindings(body[: match.start()])))
        if not head.error and (head.key, head.value) == (binding.key, binding.value):
            return body[match.start() :]
    return ""


def _comment(text: str) -> list[str]:
    return [f"# {line}".rstrip() for line in text.splitlines()]
