from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fabfile.model.failure import UsageFailure
from fabfile.model.inventory import load
from fabfile.model.reference import inner_table, keys, reference
from fabfile.model.schema import Host, Project, Table

SHIPPED = Path(__file__).parents[2] / "hosts.toml"


def tables(title: str, table: type[Table]) -> Iterator[tuple[str, type[Table]]]:
    yield title, table
    for name, field in keys(table).items():
        if inner := inner_table(field):
            yield from tables(f"{title}.{name}", inner)


TABLES = [*tables("hosts.prod", Host), *tables("projects.shop", Project)]


@pytest.fixture(scope="module")
def examples() -> dict[str, Any]:
    """Return the shipped file with its examples uncommented."""
    return tomllib.loads(re.sub(r"^#(?=[\w\[])", "", SHIPPED.read_text(), flags=re.MULTILINE))


def at(document: dict[str, Any], title: str) -> dict[str, Any]:
    for part in title.split("."):
        document = document[part]
    return document


def test_the_shipped_file_works_with_nothing_but_the_sandbox(tmp_path: Path) -> None:
    (tmp_path / "hosts.toml").write_text(SHIPPED.read_text())
    (tmp_path / ".sandbox").mkdir()
    (tmp_path / ".sandbox" / "hosts.toml").write_text('[hosts.sandbox]\nhostname = "127.0.0.1"\nsandbox = true\n')
    inventory = load(tmp_path / "hosts.toml", {})
    project = inventory.project(None)
    assert project.name == "muscleup"
    assert project.uses_postgres
    assert project.uses_redis
    assert project.migrate == ("alembic", "upgrade", "head")
    assert project.source == tmp_path / "examples" / "muscleup"
    assert [host.name for host in inventory.hosts_for(project, [])] == ["sandbox"]


@pytest.mark.parametrize(("title", "table"), TABLES, ids=[title for title, _ in TABLES])
def test_the_shipped_file_shows_every_key_with_its_default(
    examples: dict[str, Any], title: str, table: type[Table]
) -> None:
    shown = at(examples, title)
    for name, field in keys(table).items():
        assert name in shown
        default = field.default
        if field.is_required() or inner_table(field) or name in {"source", "settings"}:
            continue
        if default is None:
            own = "# (default: " in line_of(title, name)
            assert shown[name] == "" or own, f"{title}.{name}"
        else:
            assert shown[name] == (list(default) if isinstance(default, tuple) else default), f"{title}.{name}"


def line_of(title: str, key: str) -> str:
    section = SHIPPED.read_text().split(f"[{title}]", 1)[1].split("\n#[", 1)[0]
    return next(line for line in section.splitlines() if line.startswith(f"#{key} ="))


def test_the_examples_of_the_shipped_file_are_right_but_for_what_excludes_each_other(tmp_path: Path) -> None:
    text = re.sub(r"^#(?=[\w\[])", "", SHIPPED.read_text(), flags=re.MULTILINE)
    (tmp_path / "hosts.toml").write_text(text)
    with pytest.raises(UsageFailure) as caught:
        load(tmp_path / "hosts.toml", {})
    assert caught.value.details == (
        'hosts.toml: projects.shop.postgres: is given, but `services` does not list "postgres"',
        'hosts.toml: projects.shop.redis: is given, but `services` does not list "redis"',
    )
    (tmp_path / "hosts.toml").write_text(text.replace("services = []", 'services = ["postgres", "redis"]'))
    assert load(tmp_path / "hosts.toml", {}).projects == ("muscleup", "shop")


def test_the_reference_has_every_key_with_type_default_and_meaning() -> None:
    page = reference()
    for title, table in TABLES:
        heading = title.replace("prod", "NAME").replace("shop", "NAME")
        section = page.split(f"## [{heading}]", 1)[1].split("\n## ", 1)[0]
        for name, field in keys(table).items():
            assert field.description
            assert re.fullmatch(r"[A-Z`].*\.", field.description), field.description
            if not inner_table(field):
                assert f"| `{name}` | " in section
    for row in page.splitlines():
        if row.startswith("| `"):
            assert len(row.replace("\\|", "").split("|")) == 6


@pytest.mark.parametrize(
    "row",
    [
        "| `replicas` | whole number, 1 to 15 | `1` | Containers of the application. |",
        "| `sandbox` | true or false | `false` | Whether this is a throwaway server on this machine. |",
        "| `domain` | text | required | Domain of the site. |",
        '| `image` | text | `"redis:7-alpine"` | Image of Redis. |',
        "| `aliases` | list of text | `[]` | Further domains of the same site. |",
    ],
)
def test_rows_of_the_reference(row: str) -> None:
    assert row in reference().splitlines()
