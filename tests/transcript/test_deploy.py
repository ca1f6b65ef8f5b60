"""Deploys as people type them; what the host was asked is the assertion."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest

from fabfile.model.secret import Secret
from fabfile.services.nginx import parse_upstream
from tests.fake_host import LONG, PASSWORD, SECRET_KEY, FakeHost
from tests.transcript.conftest import Fabulous, Prepare, leaks

LOOK = ["lock /opt/projects/mini/.deploy 0 900 <holder>", "facts mini"]
UPLOAD = [
    "rsync --link-dest=/opt/projects/mini/releases/v1/source /opt/projects/mini/releases/v2.partial",
    "place mini v2 green <unfinished>",
]
COMPARE = "rsync --dry-run /opt/projects/mini/releases/v1/source"
BUILD = ["build mini v2 . Dockerfile"]
START = ["start mini v2 green fresh"]
GATE = ["gate mini green fresh 60 /health mini.localhost 8002"]
SWITCH = ["switch mini mini.localhost <generation>"]
PROVE = ["prove mini.localhost /health 5 15 127.0.0.1:8002"]
WATCH = ["watch mini green 5 mini.localhost /health 127.0.0.1:8002"]
SETTLE = SWITCH
DRAIN = ["drain 30 10 8001"]
STOP_BLUE = ["stop mini blue 30"]
RECORD = ["record mini v2 <good> <good>"]
QUIET = ["flock -w 120 /opt/projects/mini/.deploy/busy true"]
DRAIN_GREEN = ["drain 30 10 8002"]
STOP_GREEN = ["stop mini green 30"]
SWITCH_BACK = [*QUIET, *SWITCH, *DRAIN_GREEN, *STOP_GREEN]
MARK = ["facts mini", "mark mini v2 <bad> <failed>"]
BEFORE_SWITCH = [*LOOK, *UPLOAD, *BUILD, *START, *GATE]
SICK = "@@ reason\nmini-green-1 is exited (exit code 3)\n@@ log mini-green-1\nTraceback\nKeyError: 'TOKEN'\n"
DATABASE = 'services = ["postgres"]\nmigrate = "alembic upgrade head"\n'


def test_a_new_release_goes_live_on_the_other_colour(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    fake.deployed("v1")
    ended = fab("-H", "prod", "deploy", "--project", "mini", "--version", "v2")
    assert (ended.code, ended.err) == (0, "")
    assert fake.transcript == [
        *BEFORE_SWITCH, *SWITCH, *PROVE, *WATCH, *SETTLE, *DRAIN, *STOP_BLUE, *RECORD
    ]  # fmt: skip
    assert (fake.world.live.colour, fake.world.live.release) == ("green", "v2")
    assert fake.world.running("green")
    assert not fake.world.running("blue")
    assert fake.world.current == "v2"
    assert not fake.world.holders
    assert "v2 is live on prod: http://mini.localhost" in ended.out
    assert leaks(fake, ended) == []


def test_the_first_release_has_nothing_to_drain(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    assert fab("deploy", "--version", "v1").code == 0
    assert fake.transcript == [
        *LOOK,
        "rsync /opt/projects/mini/releases/v1.partial",
        "place mini v1 blue <unfinished>",
        "build mini v1 . Dockerfile",
        "start mini v1 blue fresh",
        "gate mini blue fresh 60 /health mini.localhost 8001",
        "switch mini mini.localhost <generation>",
        "prove mini.localhost /health 5 15 127.0.0.1:8001",
        "record mini v1 <good> <good>",
    ]


def test_the_database_is_dumped_before_the_migration_runs_once_in_the_new_image(
    prepare: Prepare, fab: Fabulous
) -> None:
    fake = prepare(DATABASE)
    fake.deployed("v1")
    assert fab("deploy", "--version", "v2").code == 0
    between = fake.transcript[fake.transcript.index(BUILD[0]) + 1 : fake.transcript.index(START[0])]
    assert between == [
        "dump mini mini-data-postgres-1 mini mini 20261123T110141Z-before-v2.dump v2",
        "migrate mini v2 green app-green-1 alembic upgrade head",
    ]
    assert json.loads(fake.world.releases["v2"])["dump"] == "20261123T110141Z-before-v2.dump"


def test_data_services_that_run_are_left_alone_and_absent_ones_come_up(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare(DATABASE)
    assert fab("deploy", "--version", "v1").code == 0
    assert fab("deploy", "--version", "v2").code == 0
    assert fake.transcript.count("data mini") == 1
    assert f"POSTGRES_PASSWORD: {PASSWORD}" not in fake.world.data


def test_every_replica_is_started_gated_and_proved(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare("replicas = 2\n")
    fake.deployed("v1")
    assert fab("deploy", "--version", "v2").code == 0
    assert "gate mini green fresh 60 /health mini.localhost 8002 8004" in fake.transcript
    assert "drain 30 10 8001 8003" in fake.transcript
    assert "server 127.0.0.1:8004" in fake.world.upstream


def test_a_deploy_of_the_live_version_does_nothing(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    fake.deployed("v1")
    before = deepcopy(fake.world)
    before.journal = fake.world.journal  # it tells of the look
    ended = fab("deploy", "--version", "v1")
    assert (ended.code, fake.transcript) == (0, [*LOOK, COMPARE])
    assert "v1 is already live on prod: nothing to do" in ended.out
    assert fake.world == before


def test_another_source_under_the_name_of_the_live_release_is_refused(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    fake.deployed("v1")
    fake.world.differing = 2
    for words in ((), ("--plan",)):
        fake.transcript.clear()
        ended = fab("deploy", "--version", "v1", *words)
        assert ended.code == 2
        assert "v1 is live, and this source is not what was deployed under that name" in ended.err
        assert ended.visitors == "v1 (blue) is live"
        assert ended.next == "give the release another name: --version NAME"
        assert fake.transcript[-1] == COMPARE
        assert "2 files differ" in ended.out
    assert fab("deploy", "--version", "v1b").code == 0


def test_what_git_ignores_is_neither_uploaded_nor_compared(prepare: Prepare, fab: Fabulous, tmp_path: Path) -> None:
    fake = prepare()
    source = tmp_path / "source"
    subprocess.run(("git", "init", "--quiet", source), check=True)
    (source / ".gitignore").write_text("*.log\n/built/\n")
    (source / "built").mkdir()
    for path in ("built/a", "debug.log", "app.py"):
        (source / path).write_text("x")
    for _ in range(2):
        assert fab("deploy", "--version", "v1", "--allow-dirty").code == 0
    assert [line for line in fake.transcript if line.startswith("rsync")] == [
        "rsync --exclude=/built/ --exclude=/debug.log /opt/projects/mini/releases/v1.partial",
        "rsync --exclude=/built/ --exclude=/debug.log --dry-run /opt/projects/mini/releases/v1/source",
    ]


@pytest.mark.parametrize(
    ("image", "words", "version"),
    [
        ("registry.example:5000/team/mini:1.4", (), "1.4"),
        ("registry.example:5000/team/mini", (), "latest"),
        ("registry.example/mini:1.4", ("--version", "v1"), "v1"),
        (f"registry.example/mini:1.4@sha256:{'0' * 64}", (), "1.4"),
    ],
)
def test_an_image_from_a_registry_is_called_by_its_tag_wherever_this_is_typed(
    prepare: Prepare, fab: Fabulous, image: str, words: tuple[str, ...], version: str
) -> None:
    fake = prepare(f'image = "{image}"\n')
    assert fab("deploy", *words).code == 0
    shown = image if len(image) <= LONG else "<base64>"
    assert fake.transcript[2:4] == [f"place mini {version} blue <unfinished>", f"pull mini {version} {shown}"]
    assert fake.world.live.release == version
    fake.transcript.clear()
    assert "nothing to do" in fab("deploy", *words).out
    assert fake.transcript == LOOK


def test_without_a_watch_nothing_stands_by_and_nothing_is_settled(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare("[projects.mini.deploy]\nwatch_seconds = 0\n")
    fake.deployed("v1")
    seen: list[str] = []
    fake.before["drain"] = lambda: seen.append(fake.world.upstream)
    assert fab("deploy", "--version", "v2").code == 0
    assert fake.transcript == [*BEFORE_SWITCH, *SWITCH, *PROVE, *DRAIN, *STOP_BLUE, *RECORD]
    assert " backup;" not in seen[0]
    assert "max_fails=3" in seen[0]


def test_while_a_new_release_is_watched_the_old_one_stands_by_and_not_longer(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    fake.deployed("v1")
    seen: list[str] = []
    for label in ("watch", "drain"):
        fake.before[label] = lambda: seen.append(fake.world.upstream)
    assert fab("deploy", "--version", "v2").code == 0
    during, after = seen
    assert "server 127.0.0.1:8002 max_fails=0 " in during
    assert "server 127.0.0.1:8001 backup;" in during
    assert "server 127.0.0.1:8002 max_fails=3 " in after
    assert ":8001" not in after
    assert parse_upstream(during).generation != parse_upstream(after).generation


def arm(fake: FakeHost, act: Callable[[], object]) -> None:
    """Let something be in the way of the settling only: it is a switch too."""
    fake.before["watch"] = act


def test_a_backup_that_could_not_be_taken_out_goes_before_anything_is_started_in_its_place(
    prepare: Prepare, fab: Fabulous
) -> None:
    fake = prepare()
    fake.deployed("v1")
    arm(fake, lambda: fake.fail("switch", exit_code=22))
    ended = fab("deploy", "--version", "v2")
    assert (ended.code, fake.world.live.release) == (0, "v2")
    assert "warning: settle: " in ended.out
    assert "server 127.0.0.1:8001 backup;" in fake.world.upstream
    seen: list[str] = []
    fake.before["start"] = lambda: seen.append(fake.world.upstream)
    assert fab("deploy", "--version", "v3").code == 0
    assert "colour=green release=v2" in seen[0]
    assert " backup;" not in seen[0]


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("word", ["deploy", "recover"])
def test_a_connection_that_breaks_while_it_settles_leaves_nothing_that_is_not_made_whole(
    prepare: Prepare, fab: Fabulous, word: str, done: bool
) -> None:
    fake = prepare()
    fake.deployed("v1")
    arm(fake, lambda: fake.lose("switch", done=done))
    assert fab("deploy", "--version", "v2").code == 3
    fake.transcript.clear()
    assert fab(word, *(("--version", "v2") if word == "deploy" else ())).code == 0
    assert fake.transcript[-1:] == STOP_BLUE
    assert (fake.world.live.release, fake.world.current) == ("v2", "v2")
    assert " backup;" not in fake.world.upstream


VOUCH_FOR_V2 = [*PROVE, "record mini v2 <good> ''"]


@pytest.mark.parametrize("word", ["deploy", "recover"])
def test_a_switch_that_broke_off_between_file_and_reload_is_decided_before_anything_is_stopped(
    prepare: Prepare, fab: Fabulous, word: str
) -> None:
    fake = prepare()
    fake.deployed("v1")
    fake.lose_between_file_and_reload()
    assert fab("deploy", "--version", "v2").code == 3
    generation = fake.world.live.generation
    assert fake.facts().undecided
    fake.transcript.clear()
    assert fab(word, *(("--version", "v2") if word == "deploy" else ())).code == 0
    look = [*LOOK, COMPARE.replace("v1", "v2")] if word == "deploy" else LOOK
    # Decided, vouched for, and only then the backup is taken out and the old release stopped.
    assert fake.transcript == [*look, *SWITCH, *VOUCH_FOR_V2, *SETTLE, *DRAIN, *STOP_BLUE]
    assert not fake.facts().undecided
    assert fake.world.live.generation != generation
    assert (fake.world.live.release, fake.world.running("blue")) == ("v2", [])


def test_a_release_that_was_never_recorded_is_vouched_for_before_the_next_replaces_it(
    prepare: Prepare, fab: Fabulous
) -> None:
    fake = prepare()
    fake.deployed("v1")
    fake.lose("record", done=False)
    assert fab("deploy", "--version", "v2").code == 3
    fake.transcript.clear()
    assert fab("deploy", "--version", "v3").code == 0
    assert fake.transcript[: len(LOOK) + 2] == [*LOOK, *VOUCH_FOR_V2]
    assert {version: json.loads(text)["state"] for version, text in fake.world.releases.items()} == {
        "v1": "good", "v2": "good", "v3": "good",
    }  # fmt: skip


def test_a_live_release_that_does_not_answer_does_not_stop_the_one_that_mends_it(
    prepare: Prepare, fab: Fabulous
) -> None:
    fake = prepare()
    fake.deployed("v1", state="unfinished")
    fake.fail("prove", exit_code=21, err="the front door answered: 502\n")
    ended = fab("deploy", "--version", "v2")
    assert (ended.code, fake.world.live.release) == (0, "v2")
    assert "warning: vouch: " in ended.out
    assert json.loads(fake.world.releases["v1"])["state"] == "unfinished"


def test_changed_settings_start_the_live_release_again_without_upload_or_build(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    fake.deployed("v1")
    fake.world.env += "FEATURE=on\n"
    ended = fab("deploy", "--version", "v1")
    assert ended.code == 0
    assert "its settings (.env, hosts.toml) have changed" in ended.out
    assert fake.transcript == [
        *LOOK,
        COMPARE,
        "place mini v1 green <good>",
        "start mini v1 green fresh",
        *GATE,
        *SWITCH,
        *PROVE,
        *WATCH,
        *SETTLE,
        *DRAIN,
        *STOP_BLUE,
        "record mini v1 <good> <good>",
    ]


def test_a_hot_standby_goes_on_until_the_next_release_is_ready_to_start(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare('[projects.mini.deploy]\nstandby = "hot"\n')
    fake.deployed("v1")
    assert fab("deploy", "--version", "v2").code == 0
    assert not any(line.startswith("stop") for line in fake.transcript)
    fake.transcript.clear()
    assert fab("deploy", "--version", "v3").code == 0
    assert fake.transcript[2:7] == [
        "rsync --link-dest=/opt/projects/mini/releases/v2/source /opt/projects/mini/releases/v3.partial",
        "place mini v3 blue <unfinished>",
        "build mini v3 . Dockerfile",
        "drain 30 10 8001",
        "stop mini blue 30",
    ]
    assert fake.transcript[7] == "start mini v3 blue fresh blue-1"


def test_the_result_for_machines_is_json_and_nothing_else(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    fake.deployed("v1")
    (result,) = fab("deploy", "--version", "v2", "--json").json
    assert (result["host"], result["project"], result["release"], result["outcome"]) == (
        "prod", "mini", "v2", "deployed",
    )  # fmt: skip
    assert list(result["steps"]) == [
        "connect", "lock", "preflight", "upload", "image", "start green", "gate", "switch", "prove", "watch",
        "settle", "drain", "stop blue", "record",
    ]  # fmt: skip


def test_a_plan_prints_steps_and_files_and_changes_nothing(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    fake.deployed("v1")
    before = repr(fake.world)
    planned = fab("deploy", "--version", "v2", "--plan")
    assert (planned.code, fake.transcript) == (0, ["facts mini"])
    assert repr(fake.world) == before
    for part in ("1. upload", "switch", "point nginx from blue to green", "+    server 127.0.0.1:8002", "app-green-1:"):
        assert part in planned.out
    assert leaks(fake, planned) == []
    assert fab("plan", "--version", "v2").out.count("point nginx from blue to green") == 1


# --- What goes wrong


@pytest.mark.parametrize(
    ("broken", "step", "transcript"),
    [
        ("rsync", "upload", [*LOOK, UPLOAD[0], *MARK]),
        ("place", "upload", [*LOOK, *UPLOAD, *MARK]),
        ("build", "image", [*LOOK, *UPLOAD, *BUILD, *MARK]),
        ("start", "start green", [*LOOK, *UPLOAD, *BUILD, *START, *QUIET, *STOP_GREEN, *MARK]),
        ("gate", "gate", [*BEFORE_SWITCH, *QUIET, *STOP_GREEN, *MARK]),
        ("switch", "switch", [*BEFORE_SWITCH, *SWITCH, *SWITCH_BACK, *MARK]),
        ("prove", "prove", [*BEFORE_SWITCH, *SWITCH, *PROVE, *SWITCH_BACK, *MARK]),
        ("watch", "watch", [*BEFORE_SWITCH, *SWITCH, *PROVE, *WATCH, *SWITCH_BACK, *MARK]),
    ],
)
@pytest.mark.parametrize("how", ["fails", "stalls"])
def test_visitors_stay_on_blue_whatever_fails_before_the_point_of_no_return(
    prepare: Prepare, fab: Fabulous, broken: str, step: str, transcript: list[str], how: str
) -> None:
    fake = prepare()
    fake.deployed("v1")
    if how == "stalls":
        fake.stall(broken)
    else:
        fake.fail(broken, exit_code=25, err="no space left on device\n")
    ended = fab("deploy", "--version", "v2")
    assert fake.transcript == transcript
    assert ended.code == 1
    assert f"error: prod: deploy v2 failed at step '{step}': " in ended.err
    assert ended.visitors == "v1 (blue) is live"
    assert "deploy again" in ended.next
    assert (fake.world.live.colour, fake.world.live.release) == ("blue", "v1")
    assert fake.world.running("blue")
    assert not fake.world.running("green")
    assert not fake.world.holders
    assert fab("deploy", "--version", "v3").code == 0
    assert fake.world.live.release == "v3"


@pytest.mark.parametrize("step", ["gate", "watch"])
def test_visitors_stay_on_blue_when_green_never_gets_healthy(prepare: Prepare, fab: Fabulous, step: str) -> None:
    fake = prepare()
    fake.deployed("v1")
    fake.fail(step, exit_code=21, out=SICK)
    ended = fab("deploy", "--version", "v2")
    assert ended.code == 1
    assert "mini-green-1 is exited (exit code 3)" in ended.err.splitlines()[0]
    assert "  --- last lines of mini-green-1\n  Traceback\n  KeyError: 'TOKEN'\n" in ended.err
    assert ended.visitors == "v1 (blue) is live"
    assert fake.world.live.release == "v1"
    assert list(fake.world.containers) == ["blue-1", "green-1"]
    assert json.loads(fake.world.releases["v2"])["state"] == "bad"
    assert "exit code 3" in json.loads(fake.world.history[-1])["why"]


def test_the_first_release_that_is_never_healthy_leaves_nothing_live(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    fake.fail("prove", exit_code=21, err="the front door answered: 502\n")
    ended = fab("deploy", "--version", "v1")
    assert ended.visitors == "nothing is deployed yet"
    assert "the front door answered: 502" in ended.err
    assert fake.world.live.release is None
    assert not fake.world.running("blue")


@pytest.mark.parametrize("label", ["dump", "migrate"])
def test_nothing_is_started_when_dump_or_migration_fail(prepare: Prepare, fab: Fabulous, label: str) -> None:
    fake = prepare(DATABASE)
    fake.deployed("v1")
    fake.fail(label, exit_code=1, err="ERROR: relation exists\n")
    ended = fab("deploy", "--version", "v2")
    assert ended.code == 1
    assert "ERROR: relation exists" in ended.err
    assert ended.visitors == "v1 (blue) is live"
    assert not any(line.startswith(("start", "switch")) for line in fake.transcript)


@pytest.mark.parametrize("label", ["drain", "stop mini blue", "record"])
def test_after_the_point_of_no_return_failures_are_warnings(prepare: Prepare, fab: Fabulous, label: str) -> None:
    fake = prepare()
    fake.deployed("v1")
    fake.fail(label, exit_code=1)
    ended = fab("deploy", "--version", "v2")
    assert (ended.code, fake.world.live.release) == (0, "v2")
    assert "warning: " in ended.out
    assert fake.transcript[-1] == RECORD[0]


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("label", ["place", "build", "start", "gate", "switch", "prove", "watch", "drain", "record"])
def test_after_a_broken_connection_nothing_is_undone_blindly_and_a_plain_deploy_finishes_the_job(
    prepare: Prepare, fab: Fabulous, label: str, done: bool
) -> None:
    fake = prepare()
    fake.deployed("v1")
    fake.lose(label, done=done)
    ended = fab("deploy", "--version", "v2")
    assert ended.code == 3
    assert fake.transcript[-1].split()[0] == label
    assert "the connection broke while" in ended.err
    assert ended.visitors == "the site goes on: either the old or the new release is live"
    assert ended.next.startswith("fab -H prod recover --project mini")
    assert fab("deploy", "--version", "v2").code == 0
    assert fake.world.live.release == fake.world.current == "v2"
    assert fake.world.running(fake.world.live.colour)
    assert not fake.world.running(fake.facts().idle)
    assert json.loads(fake.world.releases["v2"])["state"] == "good"
    assert not fake.world.leftovers


def test_an_undo_waits_for_the_command_that_was_given_up_and_says_when_it_does_not_end(
    prepare: Prepare, fab: Fabulous
) -> None:
    fake = prepare()
    fake.deployed("v1")
    fake.stall("gate")
    fake.fail("flock", exit_code=1)
    ended = fab("deploy", "--version", "v2")
    assert fake.transcript[-4:] == [*QUIET, *STOP_GREEN, *MARK]
    assert "warning: a command that was broken off is still running on the server" in ended.out


def test_under_nohup_a_closed_terminal_is_no_reason_to_stop(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    fake.deployed("v1")
    fake.before["prove"] = lambda: os.kill(os.getpid(), signal.SIGHUP)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert fab("deploy", "--version", "v2").code == 0
    finally:
        signal.signal(signal.SIGHUP, before)
    assert fake.world.live.release == "v2"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_deploy_is_undone(prepare: Prepare, fab: Fabulous, number: signal.Signals) -> None:
    fake = prepare()
    fake.deployed("v1")
    fake.before["prove"] = lambda: os.kill(os.getpid(), number)
    ended = fab("deploy", "--version", "v2")
    assert ended.code == 1
    assert f"deploy v2 failed at step 'prove': interrupted by {number.name}" in ended.err
    assert fake.transcript[-7:] == [*PROVE, *SWITCH_BACK, *MARK]
    assert ended.visitors == "v1 (blue) is live"


def test_a_deploy_that_is_interrupted_while_it_drains_leaves_a_good_release_live(
    prepare: Prepare, fab: Fabulous
) -> None:
    fake = prepare()
    fake.deployed("v1")
    fake.before["drain"] = lambda: os.kill(os.getpid(), signal.SIGTERM)
    ended = fab("deploy", "--version", "v2")
    assert ended.code == 1
    assert ended.visitors == "v2 (green) is live"
    assert json.loads(fake.world.releases["v2"])["state"] != "bad"
    assert "recover" in ended.next
    assert fab("recover").code == 0
    assert json.loads(fake.world.releases["v2"])["state"] == "good"
    assert not fake.world.running("blue")


# --- Several hosts


def test_the_first_host_that_fails_ends_it_and_says_where_it_is_done_already(
    prepare: Prepare, fab: Fabulous, tmp_path: Path
) -> None:
    fake = prepare()
    hosts = tmp_path / "hosts.toml"
    hosts.write_text(
        hosts.read_text().replace('hosts = ["prod"]', 'hosts = ["prod", "spare"]')
        + '[hosts.spare]\nhostname = "203.0.113.11"\n'
    )
    fake.before["record"] = lambda: setattr(fake.world, "free_kib", 0)
    ended = fab("deploy", "--version", "v1", "--json")
    assert ended.code == 1
    assert "error: spare: not ready for a deploy" in ended.err
    assert "done before on prod: deployed" in ended.err
    assert [(result["host"], result["outcome"]) for result in ended.json] == [("prod", "deployed")]


# --- Who else is there, and what is not ready


def test_a_second_deploy_is_refused_and_told_who_holds_the_lock(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    fake.deployed("v1")
    fake.world.holders["/opt/projects/mini/.deploy"] = json.dumps(
        {"who": "ann@laptop", "what": "deploy v9", "since": "2026-11-23T11:00:00Z", "step": "migrate"}
    )
    ended = fab("deploy", "--version", "v2")
    assert (ended.code, fake.transcript) == (11, LOOK[:1])
    assert "locked by ann@laptop: deploy v9, at step 'migrate', since 2026-11-23T11:00:00Z" in ended.err
    assert "--lock-wait" in ended.next
    ended = fab("deploy", "--version", "v2", "--lock-wait", "300")
    assert fake.transcript[-2:] == [LOOK[0], "lock /opt/projects/mini/.deploy 300 900 <holder>"]
    assert "waiting for ann@laptop" in ended.out


def test_a_project_that_was_never_created_is_named_with_the_cure(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    fake.world.directory = False
    ended = fab("deploy", "--version", "v1")
    assert ended.code == 1
    assert ended.next == "fab -H prod project.create --project mini"


def test_all_that_is_not_ready_is_told_at_once_and_nothing_is_touched(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare('required = ["TOKEN"]\n')
    fake.deployed("v1")
    fake.world.nginx_running, fake.world.free_kib = False, 1024
    ended = fab("deploy", "--version", "v2")
    assert (ended.code, fake.transcript) == (1, LOOK)
    for problem in ("nginx does not run", "only 1 MB are free", "lacks: TOKEN"):
        assert problem in ended.err
    assert ended.visitors == "v1 (blue) is live"


def test_while_the_other_colour_serves_in_place_of_the_live_one_a_deploy_is_refused_with_the_way_out(
    prepare: Prepare, fab: Fabulous
) -> None:
    fake = prepare()
    fake.deployed("v1")
    fake.deployed("v2")
    fake.world.set_running("blue-1", True)
    fake.world.set_running("green-1", False)
    ended = fab("deploy", "--version", "v3")
    assert (ended.code, fake.transcript) == (1, LOOK)
    assert "first fab -H prod recover --project mini, or fab -H prod rollback --project mini --to v1" in ended.err
    assert fake.world.running("blue")


def test_a_site_that_is_not_what_hosts_toml_says_is_named_with_the_cure(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    fake.world.site = fake.world.site.replace("mini.localhost", "mini.example")
    ended = fab("deploy", "--version", "v1")
    assert (ended.code, fake.transcript) == (1, LOOK)
    assert "fab -H prod project.create --project mini" in ended.err
    assert fab("project.create").code == 0
    assert fab("deploy", "--version", "v1").code == 0


def test_keys_of_the_releases_own_env_example_are_required(prepare: Prepare, fab: Fabulous, tmp_path: Path) -> None:
    fake = prepare()
    (tmp_path / "source" / ".env.example").write_text("SECRET_KEY=\nMAIL_TOKEN=\n")
    ended = fab("deploy", "--version", "v1")
    assert "/opt/projects/mini/.env lacks: MAIL_TOKEN" in ended.err
    assert fake.transcript == LOOK


# --- Secrets


@pytest.mark.parametrize("label", ["place", "build", "start", "gate", "switch", "prove", "watch", "drain", "record"])
def test_no_secret_of_the_host_is_shown_whoever_prints_it(prepare: Prepare, fab: Fabulous, label: str) -> None:
    fake = prepare()
    fake.deployed("v1")
    fake.fail(label, exit_code=21, out=f"@@ reason\nlogin {PASSWORD} refused\n@@ log x\n{SECRET_KEY}\n", err=PASSWORD)
    ended = fab("deploy", "--version", "v2", "--verbose")
    assert leaks(fake, ended) == []


def test_slack_hears_how_it_ended_and_no_secret(
    prepare: Prepare, fab: Fabulous, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies: list[str] = []

    def post(_: Secret, body: dict[str, str], __: str | None) -> str:
        bodies.append(body["text"])
        return ""

    monkeypatch.setattr("fabfile.services.slack.post", post)
    fake = prepare('[projects.mini.slack]\nwebhook = "https://hooks.slack.example/T0/B0/x"\n')
    fake.deployed("v1")
    fake.fail("gate", exit_code=21, out=f"@@ reason\nlogin {PASSWORD} refused\n")
    failed = fab("deploy", "--version", "v2")
    done = fab("deploy", "--version", "v3")
    assert [body.splitlines()[0] for body in bodies] == [
        "*mini* on prod: deploy v2 failed: v2 did not get healthy: login *** refused",
        "*mini* on prod: deploy v3 done: v3 is live",
    ]
    assert "v1 (blue) is live" in bodies[0]
    for ended in (failed, done):
        assert "hooks.slack.example" not in ended.out + ended.err


def test_a_dead_slack_does_not_fail_a_deploy(prepare: Prepare, fab: Fabulous, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fabfile.services.slack.post", lambda *_: "Slack cannot be reached: ConnectTimeout")
    fake = prepare('[projects.mini.slack]\nwebhook = "https://hooks.slack.example/T0/B0/x"\n')
    ended = fab("deploy", "--version", "v1")
    assert (ended.code, fake.world.live.release) == (0, "v1")
    assert "Slack cannot be reached" in ended.out


def test_a_live_release_whose_new_settings_fail_stays_good(prepare: Prepare, fab: Fabulous) -> None:
    fake = prepare()
    fake.deployed("v1")
    fake.world.env += "FEATURE=on\n"
    fake.fail("gate", exit_code=21, out=SICK)
    ended = fab("deploy", "--version", "v1")
    assert (ended.code, ended.visitors) == (1, "v1 (blue) is live")
    assert json.loads(fake.world.releases["v1"])["state"] == "good"
    assert json.loads(fake.world.history[-1])["outcome"] == "failed"
