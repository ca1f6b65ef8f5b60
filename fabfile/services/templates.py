"""Rendering of `templates/`: what lies there is laid out like the server."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - `--list` needs no templates

    # What is rendered is YAML, nginx and env files, not HTML: autoescape would damage it.
    return Environment(  # noqa: S701
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render(name: str, **values: object) -> str:
    """Return the template `templates/<name>.j2` with these values; a missing value is an error."""
    return _environment().get_template(f"{name}.j2").render(**values)


def prepare(*names: str) -> None:
    """Compile templates before they are needed."""
    for name in names:
        _environment().get_template(f"{name}.j2")
