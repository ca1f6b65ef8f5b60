"""kill -9 at the begin and end of every step: the site goes on, no lock stays, the next deploy finishes the job."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fabfile.model.inventory import load
from fabfile.services.docker import Container
from fabfile.services.nginx import parse_upstream
from fabfile.steps.deploy import new_release
from fabfile.steps.facts import Facts, Record
from tests.e2e.world import ROOT, Project, World

HOSTS = """
[hosts.test]
hostname = "127.0.0.1"
[projects.crash]
hosts = ["test"]
domain = "crash.localhost"
source = "."
services = ["postgres"]
migrate = "true"
[projects.crash.deploy]
keep_releases = 2
"""
BEFORE_PLANNING = ["connect", "lock", "preflight"]


def steps_of_a_deploy(folder: Path) -> list[str]:
    """Return the first words of the names of all steps of a deploy onto a live project, as the product plans them."""
    file = folder / "hosts.toml"
    file.write_text(HOSTS)
    inventory = load(file, {})
    labels = {"slipway.role": "app", "slipway.colour": "blue", "slipway.release": "old", "slipway.replica": "1"}
    postgres = Container("p", "crash-data-postgres-1", "running", "Up (healthy)", {"slipway.role": "postgres"})
    facts = Facts(
        project="crash",
        now=1_800_000_000,
        engine="26",
        number=1,
        live=parse_upstream("# slipway: project=crash colour=blue release=old generation=1"),
        containers=(Container("a", "blue", "running", "Up (healthy)", labels), postgres),
        releases=tuple(Record(name, "good", "2026-01-01") for name in ("oldest", "older", "old")),
        current="old",
    )
    steps = new_release(inventory.project("crash"), inventory.host("test"), facts, record=Record("new"), source=folder)
    return [*BEFORE_PLANNING, *(step.name.split()[0] for step in steps)]


@pytest.fixture(scope="module")
def project(world: World) -> Project:
    found = world.project(
        "crash",
        services=["postgres"],
        migrate=["python", "-c", "print('migrated')"],
        settings={"NUMBERS_FILE": "/app/logs/numbers"},
        deploy={**world_settings(), "keep_releases": 2},
    )
    for version in ("base-1", "base-2", "base-3"):
        found.deploy(version, start_seconds=0.1)
    return found


def world_settings() -> dict[str, int]:
    return {"watch_seconds": 1, "drain_seconds": 20, "grace_seconds": 15, "min_free_disk_mb": 200}


@pytest.fixture(scope="module")
def reference(project: Project) -> list[str]:
    """The world after a deploy that nobody killed."""
    before = project.visible
    project.deploy("unkilled")
    return normal(project, new="unkilled", old=before)


def normal(project: Project, *, new: str, old: str) -> list[str]:
    """Return the state of the server with the names of this turn taken out."""
    lines = project.state()["world"]
    live = next(line for line in lines if line.startswith("# slipway")).split("colour=")[1].split()[0]
    colours = {live: "LIVE", "green" if live == "blue" else "blue": "IDLE"}
    for name, word in ({new: "NEW", old: "OLD"} | colours).items():
        lines = [line.replace(name, word) for line in lines]
    return sorted(lines)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "killed_step" in metafunc.fixturenames:
        with tempfile.TemporaryDirectory() as folder:
            names = list(dict.fromkeys(steps_of_a_deploy(Path(folder))))
        metafunc.parametrize("killed_step", names)


@pytest.mark.parametrize("event", ["begin", "end"])
def test_a_killed_deploy_costs_no_request_and_the_next_one_finishes_the_job(
    project: Project, reference: list[str], killed_step: str, event: str
) -> None:
    world, version, before = project.world, f"k-{killed_step}-{event}", project.visible
    project.release(version=version)
    words = ["-H", world.host, "deploy", "--project", project.name, "--version", version]
    # No idle clients here: each of them makes a drain ten seconds longer. The test of the lossless deploy has them.
    with project.load(rate=100.0, idle=0) as load:
        killed = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("killed_fab.py")), killed_step, event, *words],
            cwd=ROOT,
            env={**world.environment, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
        again = project.deploy(version)
        report = load.stop()
    assert report.failed == 0, (report.errors, killed.stdout, again.text)
    assert set(report.releases) <= {before, version}
    assert project.visible == version
    assert normal(project, new=version, old=before) == reference, again.text
    assert project.fab("recover").out.count("nothing to recover") == 1
