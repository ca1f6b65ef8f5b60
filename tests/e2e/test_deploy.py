"""Deploy and rollback on a real server: no request is lost, broken releases never reach a visitor."""

from __future__ import annotations

import re
import threading
import time
from typing import Any

import pytest

from sandbox.relay import Relay
from tests.e2e.world import QUICK, Done, Project, World


@pytest.fixture(scope="module")
def shop(world: World) -> Project:
    project = world.project("shop", settings={"NUMBERS_FILE": "/app/logs/numbers"}, secrets=["SECRET_KEY"])
    project.deploy("v1", start_seconds=0.2)
    return project


def test_a_deploy_of_the_live_version_says_so_and_does_nothing(shop: Project) -> None:
    before = shop.containers()
    assert "already live" in shop.fab("deploy", "--version", shop.visible).out
    assert shop.containers() == before


def test_deploy_and_rollback_lose_no_request_no_post_and_no_open_connection(shop: Project) -> None:
    first = shop.visible
    shop.world.on_server("sh", "-c", ": >/opt/projects/shop/logs/backend/numbers")
    shop.set(deploy={**QUICK, "drain_seconds": 30})
    with shop.load(rate=500.0, websocket="/ws", slow="/slow?seconds=10", stream="/stream", keep_alive=20) as load:
        load.wait_until(lambda p: p.requests > 200 and bool(p.in_flight.get("slow")), within=30, what="traffic")
        with load.window("deploy"):
            shop.deploy("lossless-2", start_seconds=1.0)
        with load.window("rollback"):
            assert "passed over" not in shop.fab("rollback").out
        load.wait_until(lambda p: p.requests > 20_500, within=60, what="20,000 requests")
        report = load.stop()
    assert report.failed == 0, report.errors
    assert report.requests >= 20_000
    assert all(request.ok for request in report.slow_requests)
    assert shop.visible == first
    stored = shop.world.on_server("cat", "/opt/projects/shop/logs/backend/numbers").split()
    assert sorted(map(int, stored)) == list(range(1, report.posts.sent + 1))
    # A WebSocket lives until the old release is stopped, at the end of the drain, and is told so.
    for session in report.websocket_sessions:
        assert session.closed_by == "client" or session.code == 1001, session
    switches = [window for window in report.windows if window.name == "deploy"]
    ended = [s.closed for s in report.websocket_sessions if s.closed_by == "server"]
    assert ended
    assert min(ended) - switches[0].begin > 25


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "crashes at start": ({"crash_at_start": True}, "ended by itself|is exited|is restarting"),
    "never healthy": ({"healthy": False}, "not healthy after"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_release_is_refused_and_no_visitor_ever_sees_it(shop: Project, how: str) -> None:
    release, reason = BROKEN[how]
    shop.set(health={"deadline": 5})
    live, version = shop.visible, f"broken-{how.replace(' ', '-')}"
    with shop.load() as load:
        failed = shop.deploy(version, code=1, **release)
        report = load.stop()
    assert report.failed == 0, report.errors
    assert set(report.releases) == {live}
    assert re.search(reason, failed.err), failed.text
    assert "last lines of" in failed.err
    assert f"visitors: {live}" in failed.err
    assert "next: " in failed.err
    assert version in shop.fab("releases").out
    good = f"after-{version}"
    shop.deploy(good, start_seconds=0.2)
    assert shop.visible == good


def test_a_release_that_exits_at_once_is_refused_within_three_seconds_of_its_start(shop: Project) -> None:
    failed = shop.deploy("exits", code=1, crash_at_start=True)
    assert failed.seconds < 8, failed.text


def test_a_failing_build_changes_nothing_for_visitors(shop: Project) -> None:
    live, dockerfile = shop.visible, shop.source / "Dockerfile"
    text = dockerfile.read_text()
    dockerfile.write_text(text.replace("USER appuser", "RUN echo this build breaks && exit 7\nUSER appuser"))
    with shop.load() as load:
        failed = shop.deploy("no-build", code=1)
        report = load.stop()
    dockerfile.write_text(text)
    assert report.failed == 0, report.errors
    assert set(report.releases) == {live}
    assert "this build breaks" in failed.err
    assert "'image'" in failed.err
    assert shop.visible == live
    shop.deploy("built-again")


def test_a_failing_migration_leaves_visitors_on_the_old_release(shop: Project) -> None:
    live = shop.visible
    shop.set(migrate=["python", "-c", "raise SystemExit('there is no such column')"])
    with shop.load() as load:
        failed = shop.deploy("bad-schema", code=1)
        report = load.stop()
    shop.set(migrate=[])
    assert report.failed == 0, report.errors
    assert set(report.releases) == {live}
    assert "'migrate'" in failed.err
    assert "there is no such column" in failed.err
    assert f"visitors: {live}" in failed.err
    shop.deploy("good-schema")
    assert shop.visible == "good-schema"


def test_a_rollback_keeps_the_release_that_serves_when_the_live_one_is_down(shop: Project) -> None:
    shop.set(deploy={**QUICK, "watch_seconds": 60})
    before = shop.visible
    process = shop.start_deploy("falls")
    _read_until(process, "prove")
    process.kill()
    process.communicate()
    colour = shop.fab("status").out.split("(")[1].split(")")[0]
    shop.set(deploy=QUICK)
    with shop.load() as load:
        load.wait_until(lambda p: p.requests > 50, within=20, what="traffic")
        # What is live dies; nginx's backup serves. Neither a deploy nor the rollback may stop that.
        shop.world.on_server("docker", "stop", "--time", "0", f"shop-{colour}-app-{colour}-1-1")
        refused = shop.deploy("next", code=1)
        assert "serves in its place" in refused.err
        shop.fab("rollback", "--to", before)
        report = load.stop()
    assert shop.visible == before
    assert report.failed <= 3, report.errors
    shop.deploy("after-the-fall")


def test_a_key_of_the_example_that_env_lacks_stops_the_deploy_before_anything(shop: Project) -> None:
    live, example = shop.visible, shop.source / ".env.example"
    example.write_text("SECRET_KEY=\nPAYMENT_TOKEN=put yours here\n")
    with shop.load() as load:
        failed = shop.deploy("lacks-a-key", code=1)
        report = load.stop()
    example.unlink()
    assert report.failed == 0, report.errors
    assert set(report.releases) == {live}
    assert "PAYMENT_TOKEN" in failed.err
    assert "nothing was changed" in failed.err
    assert "lacks-a-key" not in shop.fab("releases").out
    assert shop.visible == live
    shop.deploy("has-every-key")
    assert shop.visible == "has-every-key"


def test_a_release_that_dies_while_it_is_watched_is_taken_back_within_two_seconds(shop: Project) -> None:
    live = shop.visible
    shop.set(deploy={**QUICK, "watch_seconds": 15})
    with shop.load() as load:
        load.wait_until(lambda p: p.requests > 50, within=20, what="traffic")
        with load.window("deploy"):
            failed = shop.deploy("dies", code=1, die_after=3.0)
        report = load.stop()
    assert "failed while it was watched" in failed.err
    assert f"visitors: {live}" in failed.err
    assert shop.visible == live
    # Only what was in flight on it when it died may fail: its old release stands by as nginx's backup.
    died = report.releases["dies"].last
    assert report.failed <= 3, report.errors
    assert all(failure.time < died + 1 for failure in report.failures)
    assert report.releases[live].last > died
    back = re.search(r"undo switch +(\d+\.\d+) s", failed.out)
    assert back
    assert float(back.group(1)) < 2, failed.text
    shop.set(deploy=QUICK)


def test_one_of_two_deploys_at_once_wins_and_the_other_names_it(shop: Project) -> None:
    first = shop.start_deploy("first", env={})
    _read_until(first, "upload")
    second = shop.fab("deploy", "--version", "second", code=11)
    assert re.search(r"locked by \S+@\S+: deploy first, at step '.+', since 20\d\d-", second.err)
    assert _finish(first) == 0
    assert shop.visible == "first"


def test_lock_wait_waits_for_the_other_deploy(shop: Project) -> None:
    first = shop.start_deploy("earlier")
    _read_until(first, "upload")
    done = shop.fab("deploy", "--version", "later", "--lock-wait", "300")
    assert "waiting for" in done.out
    assert _finish(first) == 0
    assert shop.visible in ("later", "earlier")  # the same source; what counts is that both ended well
    assert shop.fab("releases").out.count("later")


def test_two_projects_made_at_once_get_different_numbers(world: World) -> None:
    names = ("twin-a", "twin-b")
    projects = [world.project(name, create=False) for name in names]
    done: dict[str, Done] = {}
    threads = [threading.Thread(target=lambda p=p: done.update({p.name: p.fab("project.create")})) for p in projects]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = [re.search(r"number (\d+)", done[name].out) for name in names]
    assert all(numbers)
    assert len({found.group(1) for found in numbers if found}) == len(names)
    assert "already there" in projects[0].fab("project.create").out


def test_a_connection_that_breaks_after_the_switch_costs_no_request(shop: Project) -> None:
    world = shop.world
    ssh_port = world.sandbox.hosts[0].ssh_port
    with Relay(to=("127.0.0.1", ssh_port)) as relay:
        world.hosts["relayed"] = _host(world, port=relay.port)
        shop.set(hosts=["relayed"])
        version, live = "cut", shop.visible
        with shop.load(slow="/slow?seconds=10") as load:
            load.wait_until(lambda p: bool(p.in_flight.get("slow")), within=20, what="a long request")
            process = shop.start_deploy(version, host="relayed")
            _read_until(process, "switch ")
            load.mark("begin cut")
            relay.cut()
            out, _ = process.communicate(timeout=60)
            assert process.returncode != 0, out
            assert "recover" in out
            time.sleep(1)
            assert shop.visible in (version, live)
            load.mark("end cut")
            with load.window("recover"):
                recovered = shop.fab("recover", host=world.host)
            report = load.stop()
        shop.set(hosts=[world.host])
    assert report.failed == 0, (report.errors, report.failures[:3], report.windows, out, recovered.text)
    assert all(request.ok for request in report.slow_requests)
    assert shop.visible == version
    assert recovered.code == 0
    assert "nothing to recover" in shop.fab("recover").out


def test_a_changed_host_key_stops_everything_and_shows_both_fingerprints(shop: Project) -> None:
    world = shop.world
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJi"
    world.hosts["changed"] = {**_host(world), "host_key": other}
    world.write()
    failed = shop.fab("status", host="changed", code=3)
    assert failed.err.count("SHA256:") == 2
    assert "nothing was sent" in failed.err


def test_three_replicas_share_the_work(world: World) -> None:
    project = world.project("many", replicas=3)
    project.deploy("v1", start_seconds=0.1)
    assert len(project.containers()) == 3
    with project.load() as load:
        project.deploy("v2")
        report = load.stop()
    assert report.failed == 0, report.errors
    project.set(replicas=2)
    assert "settings" in project.fab("deploy", "--version", "v2").out
    running = project.world.on_server("docker", "ps", "--quiet", "--filter", "label=slipway.project=many").split()
    assert len(running) == 2


def test_an_upload_sends_only_what_changed_and_shares_the_rest(shop: Project) -> None:
    for number in range(1000):
        (shop.source / "assets").mkdir(exist_ok=True)
        (shop.source / "assets" / f"{number}.txt").write_text(f"file {number}\n" * 20)
    shop.deploy("files-1")
    (shop.source / "assets" / "500.txt").write_text("changed\n")
    done = shop.deploy("files-2")
    # The example's release.json differs too: it names the version
    assert re.search(r"2 of 10\d\d files sent", done.out), done.out
    text = shop.world.on_server(
        "sh", "-c", "cd /opt/projects/shop/releases && find files-2/source/assets -type f -links 1 | wc -l"
    )
    assert text.strip() == "1"


def test_no_secret_is_in_any_output_journal_process_list_or_image(shop: Project) -> None:
    world = shop.world
    env = world.on_server("cat", "/opt/projects/shop/.env")
    secret = next(line.partition("=")[2] for line in env.splitlines() if line.startswith("SECRET_KEY="))
    assert len(secret) > 30
    listed: list[str] = []
    stop = threading.Event()

    def sample() -> None:
        while not stop.is_set():
            listed.append(world.on_server("ps", "-eo", "args"))

    sampler = threading.Thread(target=sample)
    sampler.start()
    texts = [shop.deploy("hidden").text, shop.deploy("hidden-broken", code=1, crash_at_start=True).text]
    stop.set()
    sampler.join()
    texts += [shop.fab(word).text for word in ("status", "releases", "health", "project.show")]
    texts += [shop.fab("deploy", "--version", "x", "--plan").text, *listed]
    texts.append(world.on_server("sh", "-c", "cat /opt/projects/shop/.deploy/*.jsonl"))
    texts.append(world.on_server("sh", "-c", "docker history --no-trunc shop:hidden; docker inspect shop:hidden"))
    texts.append(world.on_server("sh", "-c", "cat /opt/projects/shop/releases/hidden/compose.*.yml"))
    assert listed
    assert not [text for text in texts if secret in text]


def test_a_switch_that_broke_off_between_file_and_reload_is_decided_before_anything_is_stopped(shop: Project) -> None:
    file, live = "/opt/nginx/upstreams/shop.conf", shop.visible
    text = shop.world.on_server("cat", file)
    generation = re.search(r"generation=(\w+)", text)
    assert generation
    shop.world.on_server("sh", "-c", f"cat >{file}", stdin=text.replace(generation.group(1), "0123abcd").encode())
    assert "decide" in shop.fab("recover").out
    assert "nothing to recover" in shop.fab("recover").out
    assert shop.visible == live


def test_health_says_what_is_wrong(shop: Project) -> None:
    assert "ok" in shop.fab("health").out
    colour = shop.fab("status").out.split("(")[1].split(")")[0]
    shop.world.on_server("docker", "stop", f"shop-{colour}-app-{colour}-1-1")
    assert "FAILED" in shop.fab("health", code=1).out
    assert "start" in shop.fab("recover").out
    shop.fab("health")


def _host(world: World, **changes: Any) -> dict[str, Any]:
    sandbox = world.sandbox
    return {
        "hostname": "127.0.0.1",
        "port": sandbox.hosts[0].ssh_port,
        "identity_file": str(sandbox.identity_file),
        "host_key": sandbox.hosts[0].host_key,
        "images": dict(sandbox.images),
        **changes,
    }


def _finish(process: Any) -> int:
    """Return the exit code, after reading whatever else is printed."""
    process.communicate(timeout=120)
    return int(process.returncode)


def _read_until(process: Any, text: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        line = process.stdout.readline()
        if not line or text in line:
            return
    raise AssertionError(f"{text!r} never came")
