"""The lists of steps are the runbook; they are compared, not executed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fabfile.model.colour import Colour
from fabfile.model.failure import Failure
from fabfile.services import compose
from fabfile.steps.deploy import Target, history_line, is_settled, known_release, new_release, recovery, verdicts
from fabfile.steps.facts import Record
from tests.fake_host import FakeHost, make_project

SOURCE = Path("/somewhere")
Change = Callable[[FakeHost], None]
GO_LIVE = ["gate", "switch", "prove"]
DATABASE = {"services": ["postgres"], "migrate": "alembic upgrade head"}


def nothing(_: FakeHost) -> None: ...


def first(fake: FakeHost) -> None:
    fake.deployed("v1", created="2026-11-20T10:00:00+00:00")


def second(fake: FakeHost) -> None:
    first(fake)
    fake.deployed("v2", created="2026-11-21T10:00:00+00:00")


def idle_runs(fake: FakeHost) -> None:
    second(fake)
    fake.world.set_running("blue-1", True)


def idle_is_unhealthy(fake: FakeHost) -> None:
    idle_runs(fake)
    fake.world.containers["blue-1"]["Status"] = "Up 3 minutes (unhealthy)"


def idle_has_other_settings(fake: FakeHost) -> None:
    idle_runs(fake)
    fake.world.containers["blue-1"]["Labels"]["slipway.settings"] = "other"


def idle_runs_another(fake: FakeHost) -> None:
    idle_runs(fake)
    fake.world.containers["blue-1"]["Labels"]["slipway.release"] = "v0"


def idle_is_backup(fake: FakeHost) -> None:
    """The command broke off in the watch and what it had switched to was recorded since."""
    idle_runs(fake)
    fake.world.upstream = fake.world.upstream.replace(
        "    keepalive 32;", "    server 127.0.0.1:8001 backup;\n    keepalive 32;"
    )
    assert " backup;" in fake.world.upstream


def switched(fake: FakeHost) -> None:
    """Green is live, blue still runs, nothing is recorded."""
    first(fake)
    fake.deployed("v2", created="2026-11-21T10:00:00+00:00", state="unfinished")
    fake.world.set_running("blue-1", True)


def between_file_and_reload(fake: FakeHost) -> None:
    """The upstream file says green, nginx still works with the one that said blue."""
    first(fake)
    fake.world.in_force = fake.world.live.generation
    fake.deployed("v2", created="2026-11-21T10:00:00+00:00", state="unfinished")
    fake.world.set_running("blue-1", True)


def postgres_absent(fake: FakeHost) -> None:
    first(fake)
    del fake.world.containers["postgres-1"]


def postgres_down(fake: FakeHost) -> None:
    first(fake)
    fake.world.set_running("postgres-1", False)


def many(fake: FakeHost) -> None:
    for day in range(1, 8):
        fake.deployed(f"v{day}", created=f"2026-11-1{day}T10:00:00+00:00")


def half_uploaded(fake: FakeHost) -> None:
    first(fake)
    fake.world.leftovers |= {"v9.partial", "v7.partial"}


@pytest.mark.parametrize(
    ("settings", "change", "names"),
    [
        ({}, nothing, ["upload", "image", "start blue", *GO_LIVE, "record"]),
        ({}, first, ["upload", "image", "start green", *GO_LIVE, "watch", "settle", "drain", "stop blue", "record"]),
        ({}, second, ["upload", "image", "start blue", *GO_LIVE, "watch", "settle", "drain", "stop green", "record"]),
        (
            {},
            idle_runs,
            ["upload", "image", "drain blue", "stop blue", "start blue", *GO_LIVE, "watch", "settle", "drain",
             "stop green", "record"],
        ),
        (
            DATABASE,
            idle_runs,
            ["upload", "image", "dump", "migrate", "drain blue", "stop blue", "start blue", *GO_LIVE, "watch", "settle",
             "drain", "stop green", "record"],
        ),
        (
            {},
            idle_is_backup,
            ["upload", "image", "settle", "drain blue", "stop blue", "start blue", *GO_LIVE, "watch", "settle",
             "drain", "stop green", "record"],
        ),
        (
            {},
            switched,
            ["vouch", "upload", "image", "drain blue", "stop blue", "start blue", *GO_LIVE, "watch", "settle", "drain",
             "stop green", "record"],
        ),
        (
            {},
            between_file_and_reload,
            ["decide", "vouch", "upload", "image", "drain blue", "stop blue", "start blue", *GO_LIVE, "watch", "settle",
             "drain", "stop green", "record"],
        ),
        (
            DATABASE,
            nothing,
            ["upload", "image", "data", "dump", "migrate", "start blue", *GO_LIVE, "record"],
        ),
        (
            DATABASE,
            first,
            ["upload", "image", "dump", "migrate", "start green", *GO_LIVE, "watch", "settle", "drain", "stop blue",
             "record"],
        ),
        (
            {"services": ["postgres"]},
            postgres_absent,
            ["upload", "image", "data", "start green", *GO_LIVE, "watch", "settle", "drain", "stop blue", "record"],
        ),
        (
            {"services": ["postgres"]},
            postgres_down,
            ["upload", "image", "data", "start green", *GO_LIVE, "watch", "settle", "drain", "stop blue", "record"],
        ),
        (
            {"services": ["redis"], "migrate": "manage migrate"},
            first,
            ["upload", "image", "migrate", "start green", *GO_LIVE, "watch", "settle", "drain", "stop blue", "record"],
        ),
        (
            {"deploy": {"standby": "hot"}},
            first,
            ["upload", "image", "start green", *GO_LIVE, "watch", "settle", "drain", "record"],
        ),
        (
            {"deploy": {"watch_seconds": 0}},
            first,
            ["upload", "image", "start green", *GO_LIVE, "drain", "stop blue", "record"],
        ),
        (
            {},
            many,
            ["upload", "image", "start green", *GO_LIVE, "watch", "settle", "drain", "stop blue", "record", "tidy"],
        ),
        (
            {},
            half_uploaded,
            ["upload", "image", "start green", *GO_LIVE, "watch", "settle", "drain", "stop blue", "record", "tidy"],
        ),
    ],
)  # fmt: skip
def test_the_steps_of_a_new_release(settings: dict[str, object], change: Change, names: list[str]) -> None:
    fake = FakeHost(make_project(**settings))
    change(fake)
    record = Record("v9", created="2026-11-23T11:00:00+00:00")
    steps = new_release(fake.project, fake.host, fake.facts(), record=record, source=SOURCE)
    assert [step.name for step in steps] == names
    assert all(step.what for step in steps)


def test_a_release_from_a_registry_uploads_nothing() -> None:
    fake = FakeHost(make_project(image="registry.example/mini:1.4"))
    steps = new_release(fake.project, fake.host, fake.facts(), record=Record("v1"), source=None)
    assert [step.name for step in steps][:2] == ["render", "image"]
    assert steps[1].what == "pull registry.example/mini:1.4"


def test_the_point_of_no_return_is_the_end_of_the_watch() -> None:
    fake = FakeHost(make_project(**DATABASE))
    many(fake)
    steps = new_release(fake.project, fake.host, fake.facts(), record=Record("v9"), source=SOURCE)
    late = [step.name for step in steps if step.late]
    assert late == ["settle", "drain", "stop blue", "record", "tidy"]
    assert [step.name for step in steps][-5:] == late
    assert [step.name for step in steps if step.undo] == ["start green", "switch"]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (second, ["render", "start blue", *GO_LIVE, "watch", "settle", "drain", "stop green", "record"]),
        (between_file_and_reload, ["decide", "vouch", "render", "start blue", *GO_LIVE, "watch", "settle", "drain",
                                   "stop green", "record"]),
        (idle_runs, ["render", "start blue", *GO_LIVE, "watch", "settle", "drain", "stop green", "record"]),
        (idle_is_backup, ["render", "start blue", *GO_LIVE, "watch", "settle", "drain", "stop green", "record"]),
        (idle_is_unhealthy, ["render", "drain blue", "stop blue", "start blue", *GO_LIVE, "watch", "settle", "drain",
                             "stop green", "record"]),
        (idle_has_other_settings, ["render", "drain blue", "stop blue", "start blue", *GO_LIVE, "watch", "settle",
                                   "drain", "stop green", "record"]),
        (idle_runs_another, ["render", "drain blue", "stop blue", "start blue", *GO_LIVE, "watch", "settle", "drain",
                             "stop green", "record"]),
    ],
)  # fmt: skip
def test_a_rollback_needs_no_upload_no_build_and_no_migration(change: Change, names: list[str]) -> None:
    fake = FakeHost(make_project(**DATABASE))
    change(fake)
    record = fake.facts().record("v1")
    assert record is not None
    steps = known_release(fake.project, fake.host, fake.facts(), record=record, what="rollback")
    assert [step.name for step in steps] == names


def test_kept_containers_are_started_again_only_when_they_are_just_what_is_wanted() -> None:
    fake = FakeHost()
    second(fake)

    def start_of(version: str) -> str:
        record = fake.facts().record(version) or Record(version)
        steps = known_release(fake.project, fake.host, fake.facts(), record=record, what="rollback")
        return next(step.what for step in steps if step.name == "start blue")

    assert start_of("v1") == "start the kept containers of v1 as blue on 127.0.0.1:8001"
    assert start_of("v9") == "start v9 as blue on 127.0.0.1:8001"
    fake.world.env += "FEATURE=on\n"
    assert start_of("v1") == "start v1 as blue on 127.0.0.1:8001"


def test_the_old_colour_stands_by_as_backup_until_the_watch_is_over() -> None:
    fake = FakeHost(make_project(replicas=2))
    first(fake)
    target = Target(fake.project, fake.host, fake.facts(), Record("v2"))
    assert target.colour == Colour.GREEN
    during, after = target.upstream(with_backup=True), target.upstream(with_backup=False)
    for port in (8001, 8003):
        assert f"server 127.0.0.1:{port} backup;" in during
        assert f":{port}" not in after
    for port in (8002, 8004):
        assert f"server 127.0.0.1:{port} max_fails=0" in during
        assert f"server 127.0.0.1:{port} max_fails=3" in after
    generations = {target.generation, target.settled_generation, fake.facts().live.generation}
    assert len(generations) == 3
    assert during.count(target.generation) == after.count(target.settled_generation) == 2


@pytest.mark.parametrize(("change", "watch_seconds"), [(first, 0), (nothing, 5)])
def test_without_a_watch_or_an_old_release_nothing_stands_by(change: Change, watch_seconds: int) -> None:
    fake = FakeHost(make_project(deploy={"watch_seconds": watch_seconds}))
    change(fake)
    target = Target(fake.project, fake.host, fake.facts(), Record("v2"))
    assert not target.is_watched
    text = target.upstream(with_backup=target.is_watched)
    assert " backup;" not in text
    assert "max_fails=3" in text
    assert text.count(target.generation) == 2
    assert target.settled_generation not in text


def test_going_back_is_the_live_release_under_the_generation_asked_for() -> None:
    fake = FakeHost()
    first(fake)
    target = Target(fake.project, fake.host, fake.facts(), Record("v2"))
    before = target.upstream_of_live("a1")
    assert "colour=blue release=v1 generation=a1" in before
    assert "server 127.0.0.1:8001 max_fails=3" in before
    assert ":8002" not in before
    assert target.generation not in before


def test_before_the_first_release_going_back_is_to_nothing() -> None:
    fake = FakeHost(make_project(replicas=2))
    target = Target(fake.project, fake.host, fake.facts(), Record("v1"))
    before = target.upstream_of_live("a1")
    assert "colour=none release=none generation=a1" in before
    assert before.count(" down;") == 2


def test_an_old_release_with_fewer_replicas_is_drained_at_the_ports_that_it_has() -> None:
    fake = FakeHost(make_project(replicas=1))
    first(fake)
    fake.project = make_project(replicas=3)
    target = Target(fake.project, fake.host, fake.facts(), Record("v2"))
    assert target.ports(Colour.BLUE) == [8001]
    assert target.ports(Colour.GREEN) == [8002, 8004, 8006]


# --- After interruptions


def stopped_but_not_recorded(fake: FakeHost) -> None:
    switched(fake)
    fake.world.set_running("blue-1", False)


def started_but_not_switched(fake: FakeHost) -> None:
    first(fake)
    fake.world.add_container("green-1", role="app", colour="green", release="v2", replica="1", settings="")
    fake.uploaded("v2", state="unfinished")


def live_is_down(fake: FakeHost) -> None:
    first(fake)
    fake.world.set_running("blue-1", False)


def live_is_down_and_undecided(fake: FakeHost) -> None:
    between_file_and_reload(fake)
    fake.world.set_running("green-1", False)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (nothing, []),
        (first, []),
        (second, []),
        (switched, ["vouch", "drain blue", "stop blue"]),
        (stopped_but_not_recorded, ["vouch"]),
        (between_file_and_reload, ["decide", "vouch", "drain blue", "stop blue"]),
        (idle_is_backup, ["settle", "drain blue", "stop blue"]),
        (live_is_down_and_undecided, ["start green", "gate", "decide", "vouch", "drain blue", "stop blue"]),
        (started_but_not_switched, ["drain green", "stop green", "tidy"]),
        (half_uploaded, ["tidy"]),
        (live_is_down, ["start blue", "gate"]),
    ],
)
def test_the_steps_of_a_recovery(change: Change, names: list[str]) -> None:
    fake = FakeHost()
    change(fake)
    assert [step.name for step in recovery(fake.project, fake.host, fake.facts())] == names


def test_a_recovery_leaves_a_hot_standby_running() -> None:
    fake = FakeHost(make_project(deploy={"standby": "hot"}))
    idle_runs(fake)
    assert recovery(fake.project, fake.host, fake.facts()) == []


def test_a_recovery_stops_a_hot_standby_that_is_no_good_release() -> None:
    fake = FakeHost(make_project(deploy={"standby": "hot"}))
    idle_runs(fake)
    fake.world.releases["v1"] = ""
    assert [step.name for step in recovery(fake.project, fake.host, fake.facts())][:2] == ["drain blue", "stop blue"]


@pytest.mark.parametrize("change", [first, switched])
def test_a_live_release_without_containers_takes_a_deploy(change: Change) -> None:
    fake = FakeHost()
    change(fake)
    live = fake.world.live
    for name in [name for name in fake.world.containers if name.startswith(f"{live.colour}-")]:
        del fake.world.containers[name]
    with pytest.raises(Failure, match=f"{live.release} .{live.colour}. is live, but its containers are gone") as caught:
        recovery(fake.project, fake.host, fake.facts())
    assert caught.value.then == f"fab -H prod deploy --project mini --version {live.release}"


def test_nothing_is_decided_when_nginx_does_not_say_what_it_works_with() -> None:
    fake = FakeHost()
    switched(fake)
    fake.world.in_force = ""
    assert not fake.facts().undecided
    assert next(step.name for step in recovery(fake.project, fake.host, fake.facts())) == "vouch"


def test_vouching_for_what_is_replaced_anyway_stops_no_deploy_and_no_rollback() -> None:
    fake = FakeHost()
    switched(fake)
    facts = fake.facts()
    for steps in (
        new_release(fake.project, fake.host, facts, record=Record("v3"), source=SOURCE),
        known_release(fake.project, fake.host, facts, record=Record("v1", "good"), what="rollback"),
    ):
        assert (steps[0].name, steps[0].late, steps[0].undo) == ("vouch", True, None)


def standby_was_never_good(fake: FakeHost) -> None:
    switched(fake)
    fake.world.releases["v1"] = Record("v1", "bad").json()


@pytest.mark.parametrize(
    ("change", "goes_back"),
    [(switched, True), (standby_was_never_good, False), (stopped_but_not_recorded, False)],
)
def test_a_recovery_goes_back_to_a_good_release_that_still_runs_when_the_live_one_does_not_answer(
    change: Change, goes_back: bool
) -> None:
    fake = FakeHost()
    change(fake)
    vouch = recovery(fake.project, fake.host, fake.facts())[0]
    assert (vouch.name, vouch.late, vouch.undo is not None) == ("vouch", False, goes_back)


def no_more_than_backup(fake: FakeHost) -> None:
    """The settling failed with a warning: the old colour is stopped and still named as backup."""
    idle_is_backup(fake)
    fake.world.set_running("blue-1", False)


@pytest.mark.parametrize(("standby", "change"), [("cold", no_more_than_backup), ("hot", idle_is_backup)])
def test_a_recovery_ends_a_backup_that_was_left_and_does_no_more_than_that(standby: str, change: Change) -> None:
    fake = FakeHost(make_project(deploy={"standby": standby}))
    change(fake)
    assert [step.name for step in recovery(fake.project, fake.host, fake.facts())] == ["settle"]


def undos(fake: FakeHost) -> list[str]:
    record = fake.facts().record("v1")
    assert record is not None
    steps = known_release(fake.project, fake.host, fake.facts(), record=record, what="rollback")
    return [step.name for step in steps if step.undo]


def test_the_undo_of_a_rollback_takes_away_only_what_the_rollback_brought() -> None:
    fake = FakeHost()
    second(fake)
    assert undos(fake) == ["start blue", "switch"]
    fake.world.set_running("blue-1", True)
    assert undos(fake) == ["switch"]  # a standby goes on
    fake.world.set_running("green-1", False)
    assert undos(fake) == []  # the way back would lead to what is down


def test_what_is_live_is_never_tidied_even_when_it_was_never_recorded() -> None:
    fake = FakeHost()
    switched(fake)
    assert not any("v2" in step.what for step in recovery(fake.project, fake.host, fake.facts()) if step.name == "tidy")


def other_env(fake: FakeHost) -> None:
    fake.world.env = "A=b\n"


def two_replicas(fake: FakeHost) -> None:
    fake.project = make_project(replicas=2)


def less_memory(fake: FakeHost) -> None:
    fake.project = make_project(memory="1G")


def no_containers(fake: FakeHost) -> None:
    fake.world.containers.clear()


@pytest.mark.parametrize(
    ("change", "settled"),
    [
        (nothing, True),
        (other_env, False),
        (two_replicas, False),
        (less_memory, False),
        (no_containers, False),
    ],
)
def test_the_live_release_is_settled_when_its_containers_have_these_settings_in_this_number(
    change: Change, settled: bool
) -> None:
    fake = FakeHost()
    first(fake)
    change(fake)
    facts = fake.facts()
    wanted = compose.app_file(fake.project, facts.ports, version="v1", colour=Colour.BLUE, env_text=facts.env_text)
    assert is_settled(fake.project, facts, compose.settings_of(wanted)) == settled


# --- Retention


def test_releases_stay_or_go_with_a_reason() -> None:
    fake = FakeHost(make_project(deploy={"keep_releases": 2}))
    many(fake)
    fake.uploaded("bad1", created="2026-11-12T11:00:00+00:00", state="bad")
    fake.uploaded("bad2", created="2026-11-12T12:00:00+00:00", state="bad")
    found = {v.release.name: (v.keep, v.why) for v in verdicts(fake.project, fake.facts(), live="v8", containers=())}
    assert found["v8"] == (True, "live")
    assert found["v7"] == (True, "was live before")
    assert found["bad2"] == (True, "the newest failed release, kept to look into")
    assert [name for name, (keep, _) in found.items() if not keep] == ["v6", "v5", "v4", "v3", "bad1", "v2", "v1"]


def test_after_a_rollback_the_release_that_was_left_stays() -> None:
    fake = FakeHost(make_project(deploy={"keep_releases": 1}))
    many(fake)
    kept = [v.release.name for v in verdicts(fake.project, fake.facts(), live="v5", containers=()) if v.keep]
    assert set(kept) == {"v5", "v7"}


def test_images_without_a_kept_release_go_and_the_live_one_never() -> None:
    fake = FakeHost(make_project(deploy={"keep_releases": 1}))
    second(fake)
    fake.world.tags["stray"] = "sha256:stray"
    steps = new_release(fake.project, fake.host, fake.facts(), record=Record("v3"), source=SOURCE)
    tidy = next(step for step in steps if step.name == "tidy")
    assert tidy.what == "keep v2, v3; remove v1, stray"


def test_the_history_names_both_releases_and_nothing_is_written_without_an_event() -> None:
    fake = FakeHost()
    first(fake)
    assert history_line(fake.facts(), Record("v2"), "") == ""
    line = history_line(fake.facts(), Record("v2", who="ann@laptop"), "deploy", outcome="failed", why="exit code 3")
    assert '"release": "v2", "from": "v1", "outcome": "failed", "who": "ann@laptop", "why": "exit code 3"' in line
    assert "\n" not in line


def test_a_host_without_records_keeps_what_is_live() -> None:
    fake = FakeHost()
    first(fake)
    facts = replace(fake.facts(), releases=())
    assert [v.release.name for v in verdicts(fake.project, facts, live="v1", containers=facts.containers)] == ["v1"]
