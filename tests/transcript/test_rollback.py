"""Rollbacks as people type them."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.fake_host import FakeHost
from tests.transcript.conftest import Fabulous, Prepare, leaks

LOOK = ["lock /opt/projects/mini/.deploy 0 900 <holder>", "facts mini"]
BACK_TO_V1 = [
    *LOOK,
    "place mini v1 blue <good>",
    "start mini v1 blue again blue-1",
    "gate mini blue again 60 /health mini.localhost 8001",
    "switch mini mini.localhost <generation>",
    "prove mini.localhost /health 5 15 127.0.0.1:8001",
    "watch mini blue 5 mini.localhost /health 127.0.0.1:8001",
    "switch mini mini.localhost <generation>",
    "drain 30 10 8002",
    "stop mini green 30",
    "record mini v1 <good> <good>",
]


def two_releases(fake: FakeHost) -> FakeHost:
    fake.deployed("v1", created="2026-11-20T10:00:00+00:00")
    fake.deployed("v2", created="2026-11-21T10:00:00+00:00")
    return fake


def test_a_rollback_starts_the_kept_containers_again_without_upload_build_or_registry(
    prepare: Prepare, fab: Fabulous
) -> None:
    fake = two_releases(prepare())
    ended = fab("-H", "prod", "rollback", "--project", "mini")
    assert (ended.code, ended.err) == (0, "")
    assert fake.transcript == BACK_TO_V1
    assert (fake.world.live.release, fake.world.current) == ("v1", "v1")
    assert "v2 (green) is live, going to v1" in ended.out
    assert leaks(fake, ended) == []


def test_a_rollback_of_a_project_with_migrations_says_that_the_schema_did_not_move(
    prepare: Prepare, fab: Fabulous
) -> None:
    two_releases(prepare('services = ["postgres"]\nmigrate = "alembic upgrade head"\n'))
    ended = fab("rollback")
    assert "the database schema did not move: it is still that of v2" in ended.out
    assert "the dump from before its migration is before-v2.dump" in ended.out


def test_bad_releases_are_passed_over_and_named(prepare: Prepare, fab: Fabulous) -> None:
    fake = two_releases(prepare())
    fake.uploaded("v1b", created="2026-11-20T12:00:00+00:00", state="bad")
    ended = fab("rollback")
    assert "passed over v1b: failed" in ended.out
    assert fake.world.live.release == "v1"


def test_the_containers_are_made_anew_when_settings_have_changed_since(prepare: Prepare, fab: Fabulous) -> None:
    fake = two_releases(prepare())
    fake.world.env += "FEATURE=on\n"
    assert fab("rollback").code == 0
    assert "start mini v1 blue fresh blue-1" in fake.transcript
    assert "gate mini blue fresh 60 /health mini.localhost 8001" in fake.transcript


def test_a_release_that_no_container_is_left_of_is_started_from_its_image(prepare: Prepare, fab: Fabulous) -> None:
    fake = two_releases(prepare())
    fake.deployed("v3", created="2026-11-22T10:00:00+00:00")
    assert fab("rollback", "--to", "v1").code == 0
    assert "start mini v1 green fresh green-1" in fake.transcript
    assert fake.world.live.release == "v1"


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (("--to", "v9"), 2, "v9 is not on the host"),
        (("--to", "v2"), 2, "v2 is live already"),
        (("--to", "v0"), 2, "v0 has no image on the host any more"),
        (("--to", "v1b"), 2, "v1b was never good (bad)"),
    ],
)
def test_releases_that_cannot_be_gone_back_to(
    prepare: Prepare, fab: Fabulous, words: tuple[str, ...], code: int, what: str
) -> None:
    fake = two_releases(prepare())
    fake.uploaded("v0", created="2026-11-19T10:00:00+00:00")
    del fake.world.tags["v0"]
    fake.uploaded("v1b", created="2026-11-20T12:00:00+00:00", state="bad")
    ended = fab("rollback", *words)
    assert (ended.code, fake.transcript) == (code, LOOK)
    assert ended.err.startswith(f"error: prod: {what}")


def test_the_first_release_has_nothing_to_go_back_to(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    fake.deployed("v1")
    ended = fab("rollback")
    assert (ended.code, ended.visitors) == (1, "v1 (blue) is live")
    assert "no earlier good release" in ended.err
    assert fake.transcript == LOOK


def test_without_a_live_release_there_is_nothing_to_roll_back(prepare: Prepare, fab: Fabulous) -> None:
    prepare()
    ended = fab("rollback")
    assert ended.code == 1
    assert "nothing is live" in ended.err


@pytest.mark.parametrize("step", ["start", "gate", "switch", "prove", "watch"])
def test_a_rollback_that_fails_leaves_the_newer_release_live_and_the_older_one_good(
    prepare: Prepare, fab: Fabulous, step: str
) -> None:
    fake = two_releases(prepare())
    fake.fail(step, exit_code=21, out="@@ reason\nblue-1 is exited\n")
    ended = fab("rollback")
    assert (ended.code, ended.visitors) == (1, "v2 (green) is live")
    assert "error: prod: rollback to v1 failed at step " in ended.err
    assert fake.transcript[-3:] == ["stop mini blue 30", "facts mini", "mark mini v1 <good> <failed>"]
    assert json.loads(fake.world.releases["v1"])["state"] == "good"
    assert fake.world.running("green")
    assert not fake.world.running("blue")


def live_is_down(fake: FakeHost) -> FakeHost:
    """v2 is live on green and down; v1 on blue stands by as nginx's backup and serves."""
    two_releases(fake)
    fake.world.set_running("blue-1", True)
    fake.world.set_running("green-1", False)
    servers = "    server 127.0.0.1:8001 backup;\n    keepalive 32;"
    fake.world.upstream = fake.world.upstream.replace("    keepalive 32;", servers)
    return fake


def test_a_release_that_serves_in_place_of_the_live_one_becomes_live_without_being_stopped(
    prepare: Prepare, fab: Fabulous
) -> None:
    fake = live_is_down(prepare())
    assert fab("rollback").code == 0
    assert fake.transcript == BACK_TO_V1
    assert (fake.world.live.release, fake.world.running("blue")) == ("v1", ["blue-1"])


@pytest.mark.parametrize("step", ["start", "gate", "switch", "prove", "watch"])
@pytest.mark.parametrize("how", ["fails", "is interrupted"])
def test_a_rollback_that_fails_never_stops_the_only_release_that_serves(
    prepare: Prepare, fab: Fabulous, step: str, how: str
) -> None:
    fake = live_is_down(prepare())
    if how == "fails":
        fake.fail(step, exit_code=21, out="@@ reason\nno answer\n")
    else:
        fake.before[step] = lambda: os.kill(os.getpid(), signal.SIGTERM)
    assert fab("rollback").code == 1
    assert fake.world.running("blue")
    assert "server 127.0.0.1:8001" in fake.world.upstream
    # Past the switch there is no way back to what is down: it is finished instead.
    assert fake.world.live.release == ("v1" if step in ("prove", "watch") else "v2") or how == "is interrupted"
    assert fab("recover" if fake.world.live.release == "v1" else "rollback").code == 0
    assert (fake.world.live.release, fake.world.current) == ("v1", "v1")
    assert fake.world.running("blue")


@pytest.mark.parametrize("step", ["start", "gate", "switch", "prove", "watch"])
def test_a_hot_standby_outlives_a_rollback_that_fails(prepare: Prepare, fab: Fabulous, step: str) -> None:
    fake = two_releases(prepare('[projects.mini.deploy]\nstandby = "hot"\n'))
    fake.world.set_running("blue-1", True)
    fake.fail(step, exit_code=21, out="@@ reason\nno answer\n")
    ended = fab("rollback")
    assert (ended.code, ended.visitors) == (1, "v2 (green) is live")
    assert fake.world.running("blue")
    assert fake.world.running("green")


def test_a_rollback_needs_neither_room_nor_settings_that_only_a_new_release_asks_for(
    prepare: Prepare, fab: Fabulous
) -> None:
    fake = two_releases(prepare('required = ["TOKEN"]\n'))
    fake.world.free_kib = 0
    assert fab("deploy", "--version", "v3").code == 1
    assert fab("rollback").code == 0
    assert fake.world.live.release == "v1"


def test_a_rollback_after_a_switch_that_broke_off_between_file_and_reload(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    fake.deployed("v1")
    fake.lose_between_file_and_reload()
    assert fab("deploy", "--version", "v2").code == 3
    fake.transcript.clear()
    assert fab("rollback").code == 0
    assert fake.transcript == [
        *LOOK,
        "switch mini mini.localhost <generation>",
        "prove mini.localhost /health 5 15 127.0.0.1:8002",
        "record mini v2 <good> ''",
        *BACK_TO_V1[2:],
    ]
    assert fake.world.live.release == fake.world.current == "v1"


def test_an_interrupted_rollback_is_undone(prepare: Prepare, fab: Fabulous) -> None:
    fake = two_releases(prepare())
    fake.before["gate"] = lambda: os.kill(os.getpid(), signal.SIGTERM)
    ended = fab("rollback")
    assert (ended.code, ended.visitors) == (1, "v2 (green) is live")
    assert not fake.world.running("blue")


def test_the_plan_of_a_rollback_changes_nothing(prepare: Prepare, fab: Fabulous) -> None:
    fake = two_releases(prepare())
    before = repr(fake.world)
    ended = fab("rollback", "--plan")
    assert (ended.code, fake.transcript, repr(fake.world)) == (0, ["facts mini"], before)
    assert "start the kept containers of v1 as blue" in ended.out
