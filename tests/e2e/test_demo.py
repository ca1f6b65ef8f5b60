"""The demo keeps its promises on the real example: FastAPI, PostgreSQL and Redis, under load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.e2e.world import ROOT, World


def test_the_demo_deploys_and_rolls_back_under_load_without_a_failed_request(world: World, tmp_path: Path) -> None:
    file = tmp_path / "demo.json"
    done = subprocess.run(
        [str(Path(sys.executable).with_name("inv")), "demo", "--name", world.sandbox.name, "--json", str(file)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    figures = json.loads(file.read_text())
    assert figures["failed"] == 0
    assert figures["requests"] >= 20_000
    assert figures["posts"]["sent"] == figures["posts"]["count"] == figures["posts"]["distinct"]
    assert figures["data_containers_unchanged"]
    assert all(request["ok"] for request in figures["slow_requests"])
    assert figures["p50_ms"] < figures["p99_ms"]
    assert {"upload", "image", "dump", "migrate", "gate", "switch"} <= set(figures["steps"]["deploy v2"])
    # The example's own tests, in the image that was deployed, against the services it was deployed with.
    network = ["--network", "muscleup_internal", "--env-file", "/opt/projects/muscleup/.env"]
    world.on_server("docker", "run", "--rm", *network, "muscleup:v1", "python", "-m", "unittest", "-q")
