"""Recovery: whatever an interrupted command left, one word makes it whole."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.fake_host import FakeHost
from tests.transcript.conftest import Fabulous, Prepare, leaks

LOOK = ["lock /opt/projects/mini/.deploy 0 900 <holder>", "facts mini"]
VOUCH = ["prove mini.localhost /health 5 15 127.0.0.1:8001", "record mini v1 <good> ''"]
STEPS = ["place", "build", "start", "gate", "switch", "prove", "watch", "drain", "stop mini blue", "record"]


def test_with_nothing_left_half_done_recover_does_nothing(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    fake.deployed("v1")
    ended = fab("recover")
    assert (ended.code, fake.transcript) == (0, LOOK)
    assert "nothing to recover on prod: v1 is live, all is in order" in ended.out


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("label", STEPS)
def test_recover_makes_whole_what_a_broken_connection_left(
    prepare: Prepare, fab: Fabulous, label: str, done: bool
) -> None:
    fake = prepare()
    fake.deployed("v1")
    fake.lose(label, done=done)
    assert fab("deploy", "--version", "v2").code == 3
    live = fake.world.live.release
    ended = fab("recover")
    assert ended.code == 0
    assert fake.world.live.release == fake.world.current == live
    assert json.loads(fake.world.releases[str(live)])["state"] == "good"
    assert fake.world.running(fake.world.live.colour)
    assert not fake.world.running(fake.facts().idle)
    assert "unfinished" not in {json.loads(text)["state"] for text in fake.world.releases.values()}
    assert not fake.world.leftovers
    assert leaks(fake, ended) == []
    fake.transcript.clear()
    assert fab("recover").code == 0
    assert fake.transcript == LOOK


def dead_replica(fake: FakeHost) -> None:
    fake.world.set_running("blue-1", False)


def no_record(fake: FakeHost) -> None:
    fake.world.releases["v1"] = ""


def other_current(fake: FakeHost) -> None:
    fake.world.current = ""


@pytest.mark.parametrize(
    ("harm", "transcript"),
    [
        (dead_replica, ["restart mini blue-1", "gate mini blue again 60 /health mini.localhost 8001"]),
        (no_record, VOUCH),
        (other_current, VOUCH),
    ],
)
def test_a_live_release_is_put_in_order(
    prepare: Prepare, fab: Fabulous, harm: Callable[[FakeHost], None], transcript: list[str]
) -> None:
    fake = prepare()
    fake.deployed("v1")
    harm(fake)
    assert fab("recover").code == 0
    assert fake.transcript == [*LOOK, *transcript]
    assert fake.world.running("blue")


def test_a_release_that_never_answered_makes_way_for_the_good_one_that_still_runs(
    prepare: Prepare, fab: Fabulous
) -> None:
    fake = prepare()
    fake.deployed("v1")
    fake.lose("prove", done=False)
    assert fab("deploy", "--version", "v2").code == 3
    fake.transcript.clear()
    fake.fail("prove", exit_code=21, err="the front door answered: 502\n")
    ended = fab("recover")
    assert (ended.code, ended.visitors) == (1, "v1 (blue) is live")
    assert "recover failed at step 'vouch'" in ended.err
    assert "the front door answered: 502" in ended.err
    assert fake.transcript == [
        *LOOK,
        "prove mini.localhost /health 5 15 127.0.0.1:8002",
        "flock -w 120 /opt/projects/mini/.deploy/busy true",
        "switch mini mini.localhost <generation>",
        "facts mini",
    ]
    assert (fake.world.live.release, fake.world.running("blue")) == ("v1", ["blue-1"])
    fake.transcript.clear()
    assert fab("recover").code == 0
    assert fake.transcript[2:4] == ["drain 30 10 8002", "stop mini green 30"]
    assert not fake.world.running("green")


def test_a_live_release_without_containers_is_told_and_the_deploy_that_is_named_mends_it(
    prepare: Prepare, fab: Fabulous
) -> None:
    fake = prepare()
    fake.deployed("v1")
    fake.world.containers.clear()
    ended = fab("recover")
    assert (ended.code, fake.transcript) == (1, LOOK)
    assert "v1 (blue) is live, but its containers are gone" in ended.err
    assert ended.visitors == "errors, until it is deployed again"
    assert ended.next == "fab -H prod deploy --project mini --version v1"
    assert fab(*ended.next.split()[1:]).code == 0
    assert fake.world.live.release == "v1"
    assert fake.world.running(fake.world.live.colour)


def test_status_shows_a_project_whose_live_release_has_no_containers(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    fake.deployed("v1")
    fake.world.containers.clear()
    ended = fab("status")
    assert (ended.code, ended.err) == (0, "")
    assert "live is v1 (blue)" in ended.out
    assert "v1 (blue) is live, but its containers are gone" in ended.out
    assert "fab -H prod deploy --project mini --version v1" in ended.out


@pytest.mark.parametrize("state", ["good", "unfinished", "bad"])
def test_a_hot_standby_stays_when_it_is_a_good_release_and_goes_when_it_is_not(
    prepare: Prepare, fab: Fabulous, state: str
) -> None:
    fake = prepare('[projects.mini.deploy]\nstandby = "hot"\n')
    fake.deployed("v1", state=state)
    fake.deployed("v2")
    fake.world.set_running("blue-1", True)
    assert fab("recover").code == 0
    assert bool(fake.world.running("blue")) == (state == "good")
    assert fake.world.running("green")


def test_a_plain_deploy_of_the_live_version_recovers_too(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    fake.deployed("v1")
    dead_replica(fake)
    assert fab("deploy", "--version", "v1").code == 0
    assert fake.transcript == [
        *LOOK,
        "rsync --dry-run /opt/projects/mini/releases/v1/source",
        "restart mini blue-1",
        "gate mini blue again 60 /health mini.localhost 8001",
    ]


def test_status_tells_that_something_was_left_half_done(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    fake.deployed("v1")
    assert "half done" not in fab("status").out
    fake.lose("drain", done=False)
    fab("deploy", "--version", "v2")
    assert "something was left half done: fab -H prod recover --project mini" in fab("status").out
