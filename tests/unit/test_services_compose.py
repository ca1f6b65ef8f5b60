"""Compose files: what is rendered for one colour and for the data services."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fabfile.model.colour import Colour
from fabfile.model.ports import Ports
from fabfile.services import compose
from tests.fake_host import make_host, make_project

FULL: dict[str, Any] = {
    "services": ["postgres", "redis"],
    "replicas": 3,
    "workers": 4,
    "reservations": {"cpus": 0.5, "memory": "256M"},
    "memory": "1G",
    "cpus": 1.5,
}


def app(version: str = "v1", colour: Colour = Colour.BLUE, env: str = "A=b\n", **changes: Any) -> str:
    return compose.app_file(make_project(**changes), Ports(2), version=version, colour=colour, env_text=env)


def data(**changes: Any) -> str:
    return compose.data_file(make_project(**changes), make_host(), Ports(2))


def paths(text: str) -> list[str]:
    """Return the keys of a YAML text as dotted paths, after checking indentation and quoting of every line."""
    found: list[str] = []
    way: list[tuple[int, str]] = []
    block: int | None = None
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip(" "))
        if block is not None and (indent > block or not line.strip()):
            continue
        block = None
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        assert "\t" not in line
        assert indent % 2 == 0
        item = line.strip()
        if item.startswith("- "):
            item = item.removeprefix("- ")
        else:
            match = re.fullmatch(r"([A-Za-z_][\w.-]*):(?: (.*))?", item)
            assert match, line
            way = [(depth, key) for depth, key in way if depth < indent] + [(indent, match[1])]
            path = "/".join(key for _, key in way)
            assert path not in found, f"{path} is given twice"
            found.append(path)
            item = match[2] or ""
        if item == "|":
            block = indent
        elif item[:1] in "\"'":
            assert item == "" or item[-1] == item[0]
        elif not item.startswith("["):
            assert not re.search(r": |\s#|^[&*!%@`{]", item), line
    return found


@pytest.mark.parametrize("changes", [{}, FULL, {"services": ["redis"]}])
def test_the_rendered_files_are_yaml_without_a_key_given_twice(changes: dict[str, Any]) -> None:
    assert {"services", "networks/project/name"} <= set(paths(app(**changes)))
    assert {"services", "networks/project/external"} <= set(paths(data(**changes)))


def test_each_replica_has_a_service_a_port_of_its_own_and_labels() -> None:
    text = app("v1.2", Colour.GREEN, **FULL)
    services = [path.removeprefix("services/") for path in paths(text) if path.count("/") == 1 and "services/" in path]
    assert services == ["app-green-1", "app-green-2", "app-green-3"]
    assert re.findall(r'- "(127.*)"', text) == ["127.0.0.1:8102:8000", "127.0.0.1:8104:8000", "127.0.0.1:8106:8000"]
    assert text.count('image: "mini:v1.2"') == 3
    for label in ('project: "mini"', "role: app", 'colour: "green"', 'release: "v1.2"', 'replica: "3"'):
        assert f"slipway.{label}" in text
    assert text.count(f'slipway.settings: "{compose.settings_of(text)}"') == 3


def test_the_two_colours_share_neither_names_nor_ports() -> None:
    def names_and_ports(text: str) -> set[str]:
        return {*re.findall(r"^  (app-\S+):", text, re.MULTILINE), *re.findall(r'"127.0.0.1:(\d+):', text)}

    assert not names_and_ports(app(colour=Colour.BLUE, **FULL)) & names_and_ports(app(colour=Colour.GREEN, **FULL))


@pytest.mark.parametrize("text", [app(**FULL), data(**FULL)])
def test_no_file_fixes_a_container_name_or_publishes_to_the_world(text: str) -> None:
    assert "container_name" not in text
    published = re.findall(r'^      - "(\S*:\d+)"$', text, re.MULTILINE)
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_only_the_data_file_takes_values_from_the_env_file_and_no_file_holds_one() -> None:
    assert "${" not in app(env="SECRET_KEY=hunter2hunter2\n", **FULL)
    assert "hunter2" not in app(env="SECRET_KEY=hunter2hunter2\n", **FULL)
    assert set(re.findall(r"\$\{(\w+)", data(**FULL))) == {
        "POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB", "REDIS_PASSWORD",
    }  # fmt: skip


def test_limits_grace_and_health_come_from_the_project() -> None:
    text = app(**FULL, deploy={"grace_seconds": 45}, health={"interval": 7, "start_period": 90})
    for line in ('cpus: "1.5"', 'memory: "1G"', 'cpus: "0.5"', "stop_grace_period: 45s", "interval: 7s",
                 "start_period: 90s", 'WORKERS: "4"', 'RELEASE: "v1"'):  # fmt: skip
        assert line in text
    assert "reservations" not in app()


def test_data_services_are_only_those_that_the_project_has() -> None:
    assert [p for p in paths(data(services=["redis"])) if p.count("/") == 1] == ["services/redis", "networks/project"]
    assert '"127.0.0.1:5533:5432"' in data(services=["postgres"])
    assert '"127.0.0.1:6480:6379"' in data(services=["redis"])


def test_images_of_the_host_win_over_those_of_the_project() -> None:
    project = make_project(services=["postgres", "redis"], postgres={"image": "postgres:16"})
    assert 'image: "postgres:16"' in compose.data_file(project, make_host(), Ports(1))
    mirror = make_host(images={"postgres": "mirror.example/postgres:15"})
    text = compose.data_file(project, mirror, Ports(1))
    assert 'image: "mirror.example/postgres:15"' in text
    assert 'image: "redis:7-alpine"' in text


def test_the_fingerprint_changes_with_all_that_containers_are_made_from() -> None:
    first = compose.settings_of(app())
    assert re.fullmatch(r"[0-9a-f]{16}", first)
    others = [
        app(env="A=c\n"),
        app(replicas=2),
        app(memory="3G"),
        app(health={"path": "/health", "interval": 11}),
        app("v2"),
        app(colour=Colour.GREEN),
    ]
    assert len({first, *map(compose.settings_of, others)}) == len(others) + 1


def test_the_fingerprint_is_the_same_whatever_was_deployed_in_between() -> None:
    first, _, again = app("v1"), app("v2", Colour.GREEN), app("v1")
    assert first == again


def test_the_fingerprint_does_not_change_with_what_containers_are_not_made_from() -> None:
    changed = app(deploy={"watch_seconds": 60, "keep_releases": 9}, exclude=["*.bak"], migrate="alembic upgrade head")
    assert compose.settings_of(changed) == compose.settings_of(app())


def test_a_text_without_fingerprint_has_none() -> None:
    assert compose.settings_of("services: {}\n") == ""


def test_commands_name_project_colour_and_deadline() -> None:
    start = compose.start("mini", version="v2", colour=Colour.GREEN, again=False, containers=("a", "b"))
    assert str(start) == "start mini v2 green fresh a b"
    again = compose.start("mini", version="v2", colour=Colour.GREEN, again=True, containers=("a",))
    assert str(again) == "start mini v2 green again a"
    stop = compose.stop("mini", Colour.BLUE, grace_seconds=45)
    assert (str(stop), stop.deadline) == ("stop mini blue 45", 105)
    migrate = compose.migrate("mini", version="v2", colour=Colour.GREEN, argv=("alembic", "upgrade"), deadline=600)
    assert str(migrate) == "migrate mini v2 green app-green-1 alembic upgrade"
    assert migrate.stream
