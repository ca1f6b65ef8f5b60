"""New projects, and what can be read about those that there are."""

from __future__ import annotations

import base64

import pytest

from fabfile.model import dotenv
from tests.fake_host import FakeHost
from tests.transcript.conftest import Fabulous, Prepare, leaks

DATABASE = 'services = ["postgres", "redis"]\nsecrets = ["SECRET_KEY"]\n'


def empty(fake: FakeHost) -> FakeHost:
    fake.world.number, fake.world.env, fake.world.directory, fake.world.network = None, "", False, False
    fake.world.upstream = fake.world.site = ""
    return fake


def test_a_new_project_gets_a_number_directories_secrets_and_its_data_services(prepare: Prepare, fab: Fabulous) -> None:
    fake = empty(prepare(DATABASE))
    ended = fab("-H", "prod", "project.create", "--project", "mini")
    assert (ended.code, ended.err) == (0, "")
    assert fake.transcript == [
        "lock /opt/deploy/lock 0 900 <holder>",
        "ports",
        "register",
        "create mini 172.20.1.0/24 <base64> <base64>",
        "data mini",
    ]
    assert fake.world.number == 1
    env = dotenv.parse(fake.world.env)
    assert {"POSTGRES_PASSWORD", "DATABASE_URL", "REDIS_URL", "SECRET_KEY"} <= set(env)
    assert len(env["SECRET_KEY"]) >= 40
    assert not fake.world.holders
    assert "fab -H prod deploy --project mini" in ended.out


def test_no_generated_secret_leaves_by_anything_but_standard_input(prepare: Prepare, fab: Fabulous) -> None:
    fake = empty(prepare(DATABASE))
    ended = fab("project.create")
    env = dotenv.parse(fake.world.env)
    seen = [ended.out, ended.err, *fake.sent, *fake.transcript]
    for key in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "SECRET_KEY"):
        forms = (env[key], base64.b64encode(env[key].encode()).decode().rstrip("="))
        assert not any(form in text for form in forms for text in seen)


def test_creating_twice_keeps_number_secrets_and_site(prepare: Prepare, fab: Fabulous) -> None:
    fake = empty(prepare(DATABASE))
    fab("project.create")
    env, number = fake.world.env, fake.world.number
    fake.transcript.clear()
    ended = fab("project.create")
    assert ended.code == 0
    assert (fake.world.env, fake.world.number) == (env, number)
    assert "register" not in fake.transcript
    assert "already number 1" in ended.out
    assert "already there" in ended.out


def test_creating_a_project_again_does_not_take_the_live_release_away(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    fake.deployed("v1")
    assert fab("project.create").code == 0
    assert fake.world.live.release == "v1"


def test_a_number_whose_ports_are_taken_is_skipped_and_the_reason_printed(prepare: Prepare, fab: Fabulous) -> None:
    fake = empty(prepare())
    fake.world.others = {"shop": 1}
    fake.world.listening |= {8102}
    ended = fab("project.create")
    assert fake.world.number == 3
    assert "number 2 skipped: port 8102 already in use on this host" in ended.out
    assert "create mini 172.20.3.0/24 <base64> <base64>" in fake.transcript


def test_a_damaged_registry_is_never_overwritten(
    prepare: Prepare, fab: Fabulous, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = empty(prepare())
    monkeypatch.setattr("tests.fake_host.World.registry", '{"version": 1, "projects": {"shop"')
    ended = fab("project.create")
    assert ended.code == 1
    assert "the port registry is damaged" in ended.err
    assert fake.transcript == ["lock /opt/deploy/lock 0 900 <holder>", "ports"]
    assert not fake.world.holders


def test_a_site_that_nginx_refuses_is_reported_in_a_short_sentence(prepare: Prepare, fab: Fabulous) -> None:
    fake = empty(prepare())
    fake.fail("create", exit_code=21, err="nginx refuses the site: conflicting server name\n")
    ended = fab("project.create")
    assert ended.code == 1
    assert "nginx refuses the site: conflicting server name" in ended.err
    assert max(map(len, ended.err.splitlines())) < 200
    assert leaks(fake, ended) == []


def test_a_project_whose_upstream_file_is_gone_is_not_taken_for_one_without_a_live_release(
    prepare: Prepare, fab: Fabulous
) -> None:
    fake = prepare()
    fake.deployed("v1")
    fake.world.upstream = ""
    for words in (("deploy", "--version", "v2"), ("rollback",), ("recover",), ("status",)):
        ended = fab(*words)
        assert ended.code == 1
        assert "/opt/nginx/upstreams/mini.conf does not say what is live" in ended.err
        assert "project.create --project mini" in ended.next
    assert not any(line.startswith(("stop", "start", "switch")) for line in fake.transcript)
    assert fake.world.running("blue")
    assert fab("project.create").code == 0
    assert fab("status").code == 0


def test_a_host_that_was_never_set_up_is_told_so(
    prepare: Prepare, fab: Fabulous, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare()
    monkeypatch.setattr("tests.fake_host.FakeChannel._take", lambda _: (13, ""))
    ended = fab("project.create")
    assert (ended.code, ended.next) == (1, "fab -H prod server.bootstrap")
    assert "the host is not set up yet" in ended.err


# --- Reading


def test_a_project_is_shown_with_the_names_of_its_settings_and_never_their_values(
    prepare: Prepare, fab: Fabulous
) -> None:
    fake = prepare()
    fake.deployed("v1")
    for words in (("project.show",), ("project.show", "--json"), ("status",), ("status", "--json")):
        ended = fab(*words)
        assert ended.code == 0
        assert "v1" in ended.out
        assert leaks(fake, ended) == []
    (shown,) = fab("project.show", "--json").json
    assert shown["env"] == ["POSTGRES_DB", "POSTGRES_PASSWORD", "POSTGRES_USER", "SECRET_KEY"]
    assert shown["ports"]["blue"] == 8001


def test_projects_are_listed_with_their_ports(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    fake.world.others = {"shop": 2}
    listed = fab("-H", "prod", "project.list", "--json").json
    assert [(p["project"], p["number"], p["ports"]["green"]) for p in listed] == [("mini", 1, 8002), ("shop", 2, 8102)]
    assert "8101/8102" in fab("-H", "prod", "project.list").out
    assert fake.transcript == ["ports", "ports"]


def test_status_says_what_is_live_and_who_works_on_it(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    assert "live is nothing yet" in fab("status").out
    fake.deployed("v1")
    assert "mini on prod: live is v1 (blue), since 2026-11-20T10:00:00+00:00" in fab("status").out
    fake.world.holders["/opt/projects/mini/.deploy"] = (
        '{"who": "ann@laptop", "what": "deploy v2", "since": "2026-11-23T11:00:00Z", "step": "gate"}'
    )
    assert "in work: ann@laptop: deploy v2, at step 'gate'" in fab("status").out


def test_health_fails_when_the_front_door_does_not_answer(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare(DATABASE)
    fake.deployed("v1")
    assert fab("health").code == 0
    fake.world.set_running("blue-1", False)
    del fake.world.containers["redis-1"]
    ended = fab("health", "--json")
    assert ended.code == 1
    assert {c["check"]: c["ok"] for c in ended.json} == {
        "front door": False, "port 8001": True, "mini-blue-1": False, "mini-postgres-1": True, "redis": False,
    }  # fmt: skip
    assert ended.next == "fab -H prod status --project mini"


def test_releases_name_the_one_that_a_rollback_goes_to(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    assert "no release of mini yet" in fab("releases").out
    fake.deployed("v1", created="2026-11-20T10:00:00+00:00")
    fake.uploaded("v1b", created="2026-11-20T12:00:00+00:00", state="bad")
    fake.deployed("v2", created="2026-11-21T10:00:00+00:00")
    listed = fab("releases", "--json").json
    assert [(r["release"], r["state"], r["mark"]) for r in listed] == [
        ("v2", "good", "live"), ("v1b", "bad", ""), ("v1", "good", "rollback goes here"),
    ]  # fmt: skip
    assert "rollback goes here" in fab("releases").out
