"""`./inv demo`: the whole path on a throwaway server, under load, with figures at the end."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fabfile.model.failure import Failure
from sandbox import server
from sandbox.inventory import Sandbox
from sandbox.load import Load, Report

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "muscleup"
DOMAIN = "muscleup.localhost"
REQUESTS = 20_500
REQUESTS_PER_SECOND = 320.0
STEP_LINE = re.compile(r"^\s+[✓✗] (?P<name>\S.*?)\s+(?P<seconds>\d+\.\d+) s")


@dataclass
class Demo:
    """One run of the demo.

    Arguments:
        sandbox: the throwaway server.
        folder: where the sources of the releases are made.
        steps: seconds of every step, by command.
    """

    sandbox: Sandbox
    folder: Path
    steps: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """The name of the server in the inventory."""
        return self.sandbox.hosts[0].name

    @property
    def base(self) -> str:
        """The server's port 80 as seen from this machine."""
        return f"http://127.0.0.1:{self.sandbox.hosts[0].http_port}"

    def source(self, version: str, *, broken: bool = False) -> Path:
        """Return a copy of the example that is this version; a broken one crashes when it starts."""
        place = self.folder / version
        shutil.copytree(ROOT / "examples" / PROJECT, place, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
        (place / "app" / "greeting.txt").write_text(f"Hello from {version}\n")
        if broken:
            start = place / "app" / "__main__.py"
            start.write_text('raise RuntimeError("this release is broken on purpose")\n')
        return place

    def fab(self, *words: str, code: int = 0) -> None:
        """Run a command as a person would, show what it prints, and remember the seconds of its steps."""
        print(f"\n$ ./fab -H {self.host} {' '.join(words)}", flush=True)
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        process = subprocess.Popen(
            [str(ROOT / "fab"), "-H", self.host, *words],
            cwd=ROOT,
            env={**environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        name = f"{words[0]} {words[-1]}" if "--version" in words else words[0]
        for line in process.stdout:
            print(line, end="", flush=True)
            found = STEP_LINE.match(line)
            if found:
                self.steps.setdefault(name, {})[found["name"]] = float(found["seconds"])
        if process.wait() != code:
            raise Failure(f"`fab {' '.join(words)}` ended with exit code {process.returncode} instead of {code}")

    def deploy(self, version: str, *, broken: bool = False) -> None:
        """Deploy a version of the example; a broken one must be refused."""
        source = self.source(version, broken=broken)
        self.fab("deploy", "--project", PROJECT, "--source", str(source), "--version", version, code=int(broken))

    def ask(self, path: str) -> Any:
        """Return what the site answers to this path."""
        request = urllib.request.Request(f"{self.base}{path}", headers={"Host": DOMAIN})  # noqa: S310 - our own address
        with urllib.request.urlopen(request, timeout=15) as answer:  # noqa: S310
            return json.load(answer)

    def data_containers(self) -> list[str]:
        """Return the ids of the database's and Redis's containers."""
        argv = ["docker", "exec", self.sandbox.hosts[0].container, "docker", "ps", "--no-trunc", "--quiet"]
        text = subprocess.run(
            [*argv, "--filter", f"name={PROJECT}-data-"], capture_output=True, text=True, check=True, timeout=30
        ).stdout
        return sorted(text.split())

    def load(self, run: str) -> Load:
        """Return the traffic: every kind of visitor that a switch could hurt."""
        return Load(
            base=self.base,
            host=DOMAIN,
            run=run,
            get=("/api/v1/version", "/api/v1/greeting", "/api/v1/workouts?limit=5"),
            post="/api/v1/workouts",
            post_body='{"number": {number}, "run": "{run}", "note": "demo"}',
            websocket="/api/v1/vision/ws/pose",
            slow="/api/v1/slow?seconds=10",
            rate=REQUESTS_PER_SECOND,
        )


def run(*, name: str = "sandbox", json_file: str = "") -> dict[str, Any]:
    """Run the demo and return its figures.

    Arguments:
        name: which sandbox; it stays up.
        json_file: where the figures are written too.

    Raises `Failure` when anything is not as promised: a failed request, a POST lost or stored twice, the old release
    gone, the database touched.
    """
    began = time.monotonic()
    with _announced("a throwaway server on this machine"):
        sandbox = server.up(name)
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        demo = Demo(sandbox, Path(folder))
        demo.fab("server.bootstrap")
        demo.fab("project.create", "--project", PROJECT)
        demo.deploy("v1")
        before = demo.data_containers()
        ticket = f"demo-{int(time.time())}"
        print(f"\nNow under load: {REQUESTS_PER_SECOND:.0f} requests a second, a WebSocket, 10-second requests ...")
        with demo.load(ticket) as load:
            load.wait_until(lambda p: p.requests > 200 and bool(p.in_flight.get("slow")), within=60, what="traffic")
            with load.window("deploy v2"):
                demo.deploy("v2")
            with load.window("rollback"):
                demo.fab("rollback", "--project", PROJECT)
            demo.deploy("v3", broken=True)
            print("\nv3 was refused, as it should be; finishing the load ...", flush=True)
            load.wait_until(lambda p: p.requests > REQUESTS, within=180, what=f"{REQUESTS} requests")
            report = load.stop()
        stored = demo.ask(f"/api/v1/workouts/count?run={ticket}")
        figures = _figures(demo, report, stored, same_data=demo.data_containers() == before)
        figures["seconds"] = round(time.monotonic() - began, 1)
        figures["live"] = demo.ask("/api/v1/version")["release"]
    if json_file:
        Path(json_file).write_text(json.dumps(figures, indent=2) + "\n")
    _print(figures, demo)
    _judge(figures)
    return figures


def _figures(demo: Demo, report: Report, stored: dict[str, int], *, same_data: bool) -> dict[str, Any]:
    sessions = report.websocket_sessions
    return {
        "requests": report.requests,
        "failed": report.failed,
        "errors": report.errors,
        "p50_ms": report.p50_ms,
        "p99_ms": report.p99_ms,
        "inside": {"requests": report.inside.requests, "p50_ms": report.inside.p50_ms, "p99_ms": report.inside.p99_ms},
        "outside": {
            "requests": report.outside.requests,
            "p50_ms": report.outside.p50_ms,
            "p99_ms": report.outside.p99_ms,
        },
        "posts": {"sent": report.posts.sent, "acknowledged": report.posts.acknowledged, **stored},
        "websockets": [{"seconds": s.seconds, "code": s.code, "closed_by": s.closed_by} for s in sessions],
        "slow_requests": [{"seconds": s.seconds, "ok": s.ok} for s in report.slow_requests],
        "data_containers_unchanged": same_data,
        "steps": demo.steps,
    }


def _judge(figures: dict[str, Any]) -> None:
    posts = figures["posts"]
    wrong = [
        text
        for bad, text in (
            (figures["failed"], f"{figures['failed']} requests failed: {figures['errors']}"),
            (
                posts["count"] != posts["sent"] or posts["distinct"] != posts["sent"],
                f"POSTs are not stored once: {posts}",
            ),
            (not figures["data_containers_unchanged"], "PostgreSQL or Redis was touched"),
            (figures["live"] != "v1", f"{figures['live']} is live instead of v1"),
            (not all(s["ok"] for s in figures["slow_requests"]), "a 10-second request did not complete"),
        )
        if bad
    ]
    if wrong:
        raise Failure("the demo did not keep its promises", details=tuple(wrong))


def _print(figures: dict[str, Any], demo: Demo) -> None:
    from fabfile.commands.console import table  # noqa: PLC0415

    inside, outside, posts = figures["inside"], figures["outside"], figures["posts"]
    rows: list[Sequence[str]] = [
        ("requests", f"{figures['requests']:,}"),
        ("failed", str(figures["failed"])),
        ("latency outside", f"p50 {outside['p50_ms']:.1f} ms, p99 {outside['p99_ms']:.1f} ms"),
        ("latency while deploying", f"p50 {inside['p50_ms']:.1f} ms, p99 {inside['p99_ms']:.1f} ms"),
        ("numbered POSTs", f"{posts['sent']:,} sent, {posts['count']:,} stored, {posts['distinct']:,} different"),
        ("10-second requests", f"{len(figures['slow_requests'])}, all completed"),
        ("database containers", "the same before and after" if figures["data_containers_unchanged"] else "CHANGED"),
    ]
    print()
    table("What the visitors saw", ("", ""), rows)
    steps = list(dict.fromkeys(name for command in figures["steps"].values() for name in command))
    commands = [name for name in figures["steps"] if name.startswith(("deploy", "rollback"))]
    cells = [
        [step, *(f"{figures['steps'][c][step]:.2f}" if step in figures["steps"][c] else "" for c in commands)]
        for step in steps
        if any(step in figures["steps"][c] for c in commands)
    ]
    table("Seconds a step", ("step", *commands), cells)
    port = demo.sandbox.hosts[0].http_port
    print(f"""
The server stays up. What to try next:
  open http://{DOMAIN}:{port}/api/v1/greeting
  ./fab -H {demo.host} status
  ./fab -H {demo.host} releases
  ./fab -H {demo.host} deploy --allow-dirty    (after changing something in examples/{PROJECT})
  ./fab -H {demo.host} rollback
  ./inv sandbox.down              (stops it; --purge removes it)""")


@contextmanager
def _announced(what: str) -> Iterator[None]:
    print(f"== {what}", flush=True)
    yield
