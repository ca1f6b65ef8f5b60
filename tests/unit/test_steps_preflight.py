"""What must be true before a deploy: each problem alone, and all at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fabfile.model.failure import Failure
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


def found(fake: FakeHost, example: str = "") -> list[str]:
    return preflight.problems(fake.project, fake.host, fake.facts(), example_text=example)


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
