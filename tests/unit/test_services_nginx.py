"""nginx's files, and what they say is live."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.model.colour import Colour
from fabfile.model.names import PROJECT, VERSION
from fabfile.services import nginx
from tests.fake_host import make_project

projects = st.from_regex(PROJECT, fullmatch=True)
versions = st.from_regex(VERSION, fullmatch=True)
ports = st.lists(st.integers(1, 65535), min_size=1, max_size=15)


@given(projects, st.sampled_from(Colour), versions, ports, ports)
def test_what_an_upstream_file_makes_live_is_read_back(
    project: str, colour: Colour, release: str, own: list[int], old: list[int]
) -> None:
    generation = nginx.new_generation()
    text = nginx.upstream_file(
        project, colour=colour, release=release, generation=generation, ports=own, backup_ports=old
    )
    assert nginx.parse_upstream(text) == nginx.Live(colour, release, generation)
    servers = re.findall(r"server 127\.0\.0\.1:(\d+) max_fails=0 fail_timeout=10s;", text)
    assert servers == [str(port) for port in own]
    assert re.findall(r"server 127\.0\.0\.1:(\d+) backup;", text) == [str(port) for port in old]


@given(ports)
def test_without_a_backup_a_replica_that_fails_is_left_out_for_a_while(own: list[int]) -> None:
    text = nginx.upstream_file("mini", colour=Colour.BLUE, release="v1", generation="a1", ports=own)
    assert text.count(" max_fails=3 fail_timeout=10s;") == len(own)
    assert "backup" not in text


def test_nginx_gives_up_an_idle_connection_before_an_app_does() -> None:
    text = nginx.upstream_file("mini", colour=Colour.BLUE, release="v1", generation="a1", ports=[8001])
    assert re.findall(r"^ *keepalive_timeout (\d+)s;", text, re.MULTILINE) == ["4"]  # uvicorn: 5 s


def test_before_the_first_deploy_every_server_is_down() -> None:
    text = nginx.upstream_file("mini", colour=None, release=None, generation="a1", ports=[8001])
    assert nginx.parse_upstream(text) == nginx.Live(None, None, "a1")
    assert "server 127.0.0.1:8001 max_fails=3 fail_timeout=10s down;" in text


@pytest.mark.parametrize("text", ["", "upstream mini {\n}\n", "# slipway: project=mini colour=red release=v1"])
def test_a_foreign_file_makes_nothing_live(text: str) -> None:
    assert nginx.parse_upstream(text) == nginx.NOTHING_LIVE


def test_the_first_line_is_what_the_scripts_on_the_server_look_for() -> None:
    text = nginx.upstream_file("mini", colour=Colour.BLUE, release="v1", generation="a1", ports=[8001])
    assert "colour=blue " in text.splitlines()[0]


def test_no_generation_comes_twice() -> None:
    assert len({nginx.new_generation() for _ in range(100)}) == 100


@pytest.mark.parametrize(("name", "variable"), [("mini", "mini_generation"), ("my-shop", "my_shop_generation")])
def test_the_site_answers_with_the_generation_of_its_upstream(name: str, variable: str) -> None:
    upstream = nginx.upstream_file(name, colour=Colour.BLUE, release="v1", generation="a1", ports=[8001])
    site = nginx.site_file(make_project(name=name))
    assert f"map $realip_remote_addr ${variable} {{" in upstream
    assert f"return 200 ${variable};" in site
    assert f"proxy_pass http://{name};" in site
    assert f"upstream {name} {{" in upstream


def test_the_site_has_all_domains_and_the_health_path() -> None:
    site = nginx.site_file(make_project(aliases=["www.mini.example"], health={"path": "/up"}))
    assert "server_name mini.localhost www.mini.example;" in site
    assert "location = /up {" in site
    assert site.count("{") == site.count("}")


def test_commands_carry_files_on_standard_input_and_addresses_as_arguments() -> None:
    switch = nginx.switch("mini", domain="mini.localhost", text="upstream", generation="a1")
    assert (str(switch), switch.stdin) == ("switch mini mini.localhost a1", b"upstream")
    prove = nginx.prove("mini.localhost", "/up", count=5, seconds=15, addresses=["127.0.0.1:8001"])
    assert (str(prove), prove.deadline) == ("prove mini.localhost /up 5 15 127.0.0.1:8001", 45)
    watch = nginx.watch("mini", Colour.BLUE, seconds=5, domain="d.e", path="/up", addresses=["127.0.0.1:8001"])
    assert (str(watch), watch.accept) == ("watch mini blue 5 d.e /up 127.0.0.1:8001", frozenset({0, 21}))
    drain = nginx.drain([8001, 8003], seconds=30)
    assert (str(drain), drain.stdin, drain.deadline) == ("drain 30 10 8001 8003", b"", 60)
