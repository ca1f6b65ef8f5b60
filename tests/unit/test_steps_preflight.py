"""What must be true before a deploy: each problem alone, and all at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fabfile.model.failure import Failure
from fabfile.services import nginx
from fabfile.steps import preflight
from tests.fake_host import FakeHost, make_project

Change = Callable[[FakeHost], object]
DATABASE = {"services": ["postgres"]}
MISSING_CERTIFICATE = (
    'nginx: [emerg] cannot load certificate "/opt/nginx/ssl/shop.pem" in /opt/nginx/conf.d/shop.conf:12\n'
    "nginx: configuration file /opt/nginx/nginx.conf test failed\nexit 1"
)


def setting(**values: object) -> Change:
    def change(fake: FakeHost) -> None:
        for name, value in values.items():
            setattr(fake.world, name, value)

    return change


def found(fake: FakeHost, example: str = "", back_to: str | None = None) -> list[str]:
    return preflight.problems(fake.project, fake.host, fake.facts(), example_text=example, back_to=back_to)


def both_run(fake: FakeHost) -> None:
    """v2 is live on green, v1 runs on blue."""
    fake.deployed("v1")
    fake.deployed("v2")
    fake.world.set_running("blue-1", True)


def live_is_down(fake: FakeHost) -> None:
    both_run(fake)
    fake.world.set_running("green-1", False)


def nginx_says_nothing(fake: FakeHost) -> None:
    both_run(fake)
    fake.world.in_force = ""


def undecided(fake: FakeHost) -> None:
    both_run(fake)
    fake.world.in_force = "0123456789abcdef"


def other_domain(fake: FakeHost) -> None:
    fake.world.site = fake.world.site.replace("mini.localhost", "mini.example")


def test_a_host_in_order_has_no_problem() -> None:
    fake = FakeHost(make_project(**DATABASE, secrets=["SECRET_KEY"]))
    assert found(fake) == []
    preflight.check(fake.project, fake.host, fake.facts())


@pytest.mark.parametrize(
    ("settings", "change", "problem"),
    [
        ({}, setting(number=None), "the project is not on this host yet: fab -H prod project.create --project mini"),
        ({}, setting(directory=False), "the project is not on this host yet"),
        ({}, setting(nginx_running=False), "nginx does not run: fab -H prod server.bootstrap"),
        ({}, setting(nginx_test=MISSING_CERTIFICATE), "(/opt/nginx/conf.d/shop.conf, line 12)"),
        ({}, setting(nginx_test='nginx: [warn] conflicting server name "a.b"\nexit 0'), "conflicting server name"),
        ({}, setting(nginx_test="Error response from daemon: container is restarting\nexit 1"), "Error response"),
        ({}, setting(network=False), "the network mini_internal is missing"),
        ({}, setting(free_kib=1023 * 1024), "only 1023 MB are free, 1024 are required (min_free_disk_mb)"),
        ({"deploy": {"min_free_disk_mb": 60_000}}, setting(), "60000 are required"),
        ({}, setting(free_inodes=500), "only 500 inodes are free"),
        ({}, setting(env=""), "/opt/projects/mini/.env is missing"),
        ({"required": ["TOKEN"]}, setting(), "/opt/projects/mini/.env lacks: TOKEN"),
        ({"required": ["TOKEN"]}, setting(env="TOKEN=\n"), "lacks: TOKEN"),
        ({"secrets": ["SECRET_KEY"]}, setting(env="A=b\n"), "lacks: SECRET_KEY"),
        (DATABASE, setting(env="POSTGRES_USER=a\nPOSTGRES_DB=b\n"), "lacks: POSTGRES_PASSWORD"),
        ({"services": ["redis"]}, setting(), "lacks: REDIS_PASSWORD"),
        ({}, setting(env="A=b$C\n"), "Compose would read other values than are written there, mend: A "),
        (
            {},
            other_domain,
            "the nginx site is not what hosts.toml says (domain, health path): fab -H prod project.create",
        ),
        ({"health": {"path": "/up"}}, setting(site=nginx.site_file(make_project())), "the nginx site is not what"),
        ({}, nginx_says_nothing, "nginx does not say which release it serves, and blue runs too: try again"),
        ({}, live_is_down, "v2 (green) is live but down, v1 serves in its place: first fab -H prod recover"),
        ({}, live_is_down, "or fab -H prod rollback --project mini --to v1"),
        ({}, setting(listening={22, 80, 8001}), "port 8001 is taken by something that is not ours"),
        ({"replicas": 3}, setting(listening={8005}), "port 8005 is taken"),
    ],
)
def test_each_problem_is_found_alone(settings: dict[str, object], change: Change, problem: str) -> None:
    fake = FakeHost(make_project(**settings))
    change(fake)
    (sentence,) = found(fake)
    assert problem in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    "change",
    [
        setting(free_inodes=0),
        setting(listening={22, 80, 8002, 8003}),
        lambda fake: (fake.deployed("v1"), fake.world.listening.add(8001)),
        lambda fake: (
            fake.deployed("v1"), fake.deployed("v2"), fake.world.set_running("blue-1", True),
            fake.world.listening.update({8001, 8002}),
        ),
    ],
)  # fmt: skip
def test_what_is_no_problem(change: Change) -> None:
    fake = FakeHost()
    change(fake)
    assert found(fake) == []


@pytest.mark.parametrize(
    "change",
    [
        setting(site=""),  # project.create has not got that far; nginx says so itself
        setting(in_force=""),
        lambda fake: (fake.deployed("v1"), setting(in_force="")(fake)),
        lambda fake: (fake.deployed("v1"), fake.world.set_running("blue-1", False)),
        undecided,
    ],
)
def test_what_a_deploy_finds_its_own_way_out_of(change: Change) -> None:
    fake = FakeHost()
    change(fake)
    assert found(fake) == []


@pytest.mark.parametrize(
    ("line", "is_read_alike"),
    [
        ("K=plain", True),
        ("K=", True),
        ("export K=plain", True),
        ("K='a b$c'", True),
        ('K="a b"', True),
        ("K=plain # or another", True),
        ("K='a b' # or another", True),
        ("K=plain\t# or another", False),
        ("K=a$b # or another", False),
        ("K=a$b", False),
        ("K=a${b}c", False),
        ('K="a$b"', False),
        ('K="a\\nb"', False),
        ("K='it\\'s'", False),
        ("K='a${b}'", False),
    ],
)
def test_lines_of_env_that_compose_reads_differently(line: str, is_read_alike: bool) -> None:
    fake = FakeHost()
    fake.world.env = f"FIRST=1\n{line}\n"
    assert bool(found(fake)) != is_read_alike
    assert not any("FIRST" in problem for problem in found(fake))


def test_the_last_line_of_a_key_counts() -> None:
    fake = FakeHost()
    fake.world.env = "K=a$b\nK=plain\n"
    assert found(fake) == []
    fake.world.env = "K=plain\nK=a$b\n"
    assert len(found(fake)) == 1


def test_what_only_a_new_release_needs_does_not_stop_a_rollback() -> None:
    fake = FakeHost(make_project(required=["TOKEN"]))
    both_run(fake)
    fake.world.free_kib, fake.world.free_inodes, fake.world.env = 0, 1, "A=b$C\n"
    assert len(found(fake)) == 3
    assert found(fake, back_to="v1") == []
    fake.world.network = False
    assert len(found(fake, back_to="v1")) == 1


def test_a_rollback_to_the_release_that_serves_in_place_of_the_live_one_is_the_way_out() -> None:
    fake = FakeHost()
    live_is_down(fake)
    assert found(fake, back_to="v1") == []
    (problem,) = found(fake, back_to="v0")
    assert "v1 serves in its place" in problem


def test_a_rollback_that_is_not_ready_names_itself() -> None:
    fake = FakeHost()
    both_run(fake)
    fake.world.nginx_running = False
    with pytest.raises(Failure, match="not ready for a rollback, nothing was changed") as caught:
        preflight.check(fake.project, fake.host, fake.facts(), back_to="v1")
    assert caught.value.then == "mend it, then: fab -H prod rollback --project mini"


def test_keys_of_the_example_must_exist_but_may_be_empty() -> None:
    fake = FakeHost(make_project(required=["TOKEN"]))
    fake.world.env = "TOKEN=x\nOPTIONAL=\n"
    assert found(fake, "TOKEN=\nOPTIONAL=\n") == []
    assert found(fake, "OPTIONAL=\nNEW=1\nNEWER=2\n") == ["/opt/projects/mini/.env lacks: NEW, NEWER"]


def test_all_problems_are_told_together_with_what_visitors_see() -> None:
    fake = FakeHost(make_project(required=["TOKEN"]))
    fake.deployed("v1")
    fake.world.nginx_running, fake.world.network, fake.world.free_kib = False, False, 0
    with pytest.raises(Failure) as caught:
        preflight.check(fake.project, fake.host, fake.facts())
    assert len(caught.value.details) == 4
    assert caught.value.visitors == "v1 (blue) is live"
    assert caught.value.host == "prod"
    assert caught.value.then is not None


def test_the_example_of_a_source_is_found_beside_it_or_in_the_context(tmp_path: Path) -> None:
    (tmp_path / "backend").mkdir()
    assert preflight.example_file(tmp_path, "backend") == ""
    (tmp_path / "backend" / ".env.example").write_text("A=\n")
    assert preflight.example_file(tmp_path, "backend") == "A=\n"
    (tmp_path / ".env.example").write_text("B=\n")
    assert preflight.example_file(tmp_path, "backend") == "B=\n"
    assert preflight.example_file(None, ".") == ""
