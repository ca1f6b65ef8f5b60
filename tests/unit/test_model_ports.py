from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.model.colour import Colour
from fabfile.model.failure import Failure, UsageFailure
from fabfile.model.ports import HIGHEST_NUMBER, Ports, next_number, parse_registry, render_registry

NUMBERS = st.integers(1, HIGHEST_NUMBER)
NAMES = st.from_regex(r"[a-z]{3,10}[0-9]", fullmatch=True)
FIRST_EPHEMERAL_PORT = 32768


@pytest.mark.parametrize(("one", "other"), [(Colour.BLUE, Colour.GREEN), (Colour.GREEN, Colour.BLUE)])
def test_each_colour_has_another(one: Colour, other: Colour) -> None:
    assert one.other is other
    assert f"{one}" == one.value


@pytest.mark.parametrize(
    ("number", "blue", "green", "last", "postgres", "redis", "pgbouncer", "subnet"),
    [
        (1, 8001, 8002, 8030, 5433, 6380, 6432, "172.20.1.0/24"),
        (2, 8101, 8102, 8130, 5533, 6480, 6532, "172.20.2.0/24"),
        (240, 31901, 31902, 31930, 29333, 30280, 30332, "172.20.240.0/24"),
    ],
)
def test_the_table_of_the_design(
    number: int, blue: int, green: int, last: int, postgres: int, redis: int, pgbouncer: int, subnet: str
) -> None:
    ports = Ports(number)
    assert (ports.app(Colour.BLUE, 0), ports.app(Colour.GREEN, 0), ports.app(Colour.GREEN, 14)) == (blue, green, last)
    assert (ports.postgres, ports.redis, ports.pgbouncer, ports.subnet) == (postgres, redis, pgbouncer, subnet)
    assert ports.postgres_replica(1) == postgres + 1


@given(NUMBERS, NUMBERS)
def test_no_two_projects_share_a_port_or_a_subnet(one: int, other: int) -> None:
    if one != other:
        assert not Ports(one).all & Ports(other).all
        assert Ports(one).subnet != Ports(other).subnet


@given(NUMBERS)
def test_ports_are_neither_privileged_nor_handed_out_by_the_kernel(number: int) -> None:
    assert all(1024 <= port < FIRST_EPHEMERAL_PORT for port in Ports(number).all)


@given(NUMBERS)
def test_no_two_uses_of_a_project_share_a_port(number: int) -> None:
    assert len(Ports(number).all) == 2 * 15 + 1 + 9 + 2


@pytest.mark.parametrize("number", [0, -1, 241])
def test_numbers_without_ports(number: int) -> None:
    with pytest.raises(ValueError, match="1 to 240"):
        Ports(number)


def test_replicas_without_ports() -> None:
    for replica in (-1, 15):
        with pytest.raises(ValueError, match="0 to 14"):
            Ports(1).app(Colour.BLUE, replica)
    for replica in (0, 10):
        with pytest.raises(ValueError, match="1 to 9"):
            Ports(1).postgres_replica(replica)


@pytest.mark.parametrize(
    ("registry", "busy", "number", "reasons"),
    [
        ({}, set(), 1, ()),
        ({"a": 1, "b": 2}, set(), 3, ()),
        ({"a": 1, "c": 3}, set(), 2, ()),
        ({"a": 1}, {5433, 8001}, 2, ()),
        ({}, {80, 443, 22, 5432, 8080}, 1, ()),
        ({}, {8001}, 2, ("number 1 skipped: port 8001 already in use on this host",)),
        (
            {"b": 2},
            {8001, 8002, 8003, 8004, 8230},
            4,
            (
                "number 1 skipped: ports 8001, 8002, 8003 ... already in use on this host",
                "number 3 skipped: port 8230 already in use on this host",
            ),
        ),
    ],
)
def test_a_new_project_gets_the_smallest_free_number(
    registry: dict[str, int], busy: set[int], number: int, reasons: tuple[str, ...]
) -> None:
    assert next_number(registry, busy) == (number, reasons)


def test_a_full_server_is_a_failure() -> None:
    full = {f"p{number}": number for number in range(1, HIGHEST_NUMBER)}
    with pytest.raises(Failure, match="239 of 240 are registered, 1 have ports that are in use"):
        next_number(full, {Ports(HIGHEST_NUMBER).redis})


@given(st.dictionaries(NAMES, NUMBERS, max_size=8).filter(lambda numbers: len(set(numbers.values())) == len(numbers)))
def test_the_registry_is_read_as_it_was_written(numbers: dict[str, int]) -> None:
    assert parse_registry(render_registry(numbers)) == numbers


def test_people_can_read_the_registry() -> None:
    assert json.loads(render_registry({"muscleup": 1})) == {
        "version": 1,
        "projects": {
            "muscleup": {
                "number": 1,
                "ports": {
                    "blue": 8001,
                    "green": 8002,
                    "postgres": 5433,
                    "redis": 6380,
                    "pgbouncer": 6432,
                    "subnet": "172.20.1.0/24",
                },
            }
        },
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\x00\x00\x00",
        "{",
        "null",
        "[]",
        "{}",
        '{"version": 2, "projects": {}}',
        '{"version": 1}',
        '{"version": 1, "projects": []}',
        '{"version": 1, "projects": {"a": 1}}',
        '{"version": 1, "projects": {"a": {}}}',
        '{"version": 1, "projects": {"a": {"number": 0}}}',
        '{"version": 1, "projects": {"a": {"number": 241}}}',
        '{"version": 1, "projects": {"a": {"number": true}}}',
        '{"version": 1, "projects": {"a": {"number": "1"}}}',
        '{"version": 1, "projects": {"../a": {"number": 1}}}',
        '{"version": 1, "projects": {"a": {"number": 1}, "b": {"number": 1}}}',
        '{"version": 1, "projects": {"a": {"number": 1}, "a": {"number": 2}}}',
        render_registry({"muscleup": 1, "shop": 2})[:-40],
    ],
)
def test_a_damaged_registry_is_a_failure_and_never_empty(text: str) -> None:
    with pytest.raises(Failure, match="registry is damaged") as caught:
        parse_registry(text)
    assert not isinstance(caught.value, UsageFailure)
