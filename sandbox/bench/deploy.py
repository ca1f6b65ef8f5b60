"""`./inv bench.deploy`: deploys, rollbacks and refusals, timed as a person and a visitor see them."""

from __future__ import annotations

import json
import os
import tempfile
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fabfile.model.failure import Failure
from sandbox.bench.bed import ROOT, Bed, Done, Project, ready
from sandbox.bench.figures import HOT, PLAIN, ROUND_TRIP_MS, WATCHED, Figure, gathered, judged, round_trips, rows
from sandbox.bench.visitor import Visitor
from sandbox.load import Load, Report

SETTINGS: dict[str, dict[str, Any]] = {
    PLAIN: {"watch_seconds": 0},  # as Kamal, which does not watch
    WATCHED: {},
    HOT: {"watch_seconds": 0, "standby": "hot"},
}
SMALL, EXAMPLE = "bench", "muscleup"
Say = Callable[[str], None]


@dataclass
class Small:
    """The small project: no database, one second to start; a release differs in one file.

    Arguments:
        live: the release that visitors see.
    """

    project: Project
    number: int = 0
    live: str = ""

    def next(self, **behaviour: Any) -> str:
        """Make the source another release and return its name."""
        self.number += 1
        version = f"v{int(time.time())}-{self.number}"
        file = self.project.source / "release.json"
        good = {"version": version, "start_seconds": 1.0, "crash_at_start": False}
        file.write_text(json.dumps({**json.loads(file.read_text()), **good, **behaviour}))
        return version

    def visitor(self) -> Visitor:
        """Return somebody who watches the site."""
        return Visitor(self.project.bed.http_port, self.project.domain)

    def begin(self) -> None:
        """Deploy a release without looking, so that one is live."""
        self.live = self.next()
        self.project.deploy(self.live)

    def deploy(self, *, milliseconds: int) -> dict[str, float]:
        """Deploy a release in which one file has changed."""
        version = self.next()
        return self._timed(version, lambda: self.project.deploy(version, milliseconds=milliseconds))

    def roll_back(self, version: str, *, milliseconds: int) -> dict[str, float]:
        """Go back to the release before."""
        return self._timed(version, lambda: self.project.roll_back(version, milliseconds=milliseconds))

    def _timed(self, version: str, command: Callable[[], Done]) -> dict[str, float]:
        with self.visitor() as visitor:
            done = command()
            time.sleep(0.1)  # the visitor is to see the end as well
        if visitor.failed:
            raise Failure(f"{visitor.failed} requests failed during the switch to {version}", details=(done.text,))
        self.live = version
        return {"wall": done.wall, "first": visitor.first(version) - done.began, **named(done)}


def run(*, name: str, runs: int, json_file: str, say: Say = print) -> dict[str, Any]:
    """Measure everything, print the table and return the results.

    Arguments:
        name: of the sandbox.
        runs: how often each figure is taken; half as often for those that take half a minute.
        json_file: where the results are written; empty: nowhere.

    Raises `Failure` when a command or a visitor's request fails. A missed target is only shown.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ready(name, Path(folder)) as bed:
        results: dict[str, Any] = {"runs": runs, "cores": os.cpu_count(), "load_before": os.getloadavg()[0]}
        small = Small(bed.project(SMALL, "minimal"))
        small.project.set(watch_seconds=0)
        small.begin()
        results |= _near_and_far(small, runs, say)
        results["round_trips"] = _round_trips(results)
        results["refused"] = _refused(small, runs, say)
        results["unchanged"] = _unchanged(small, runs, say)
        results["streams"] = _streams(small, max(1, runs // 2), say)
        results["muscleup"] = _example(bed, max(1, runs // 2), say)
    results["targets"] = judged(results)
    if json_file:
        Path(json_file).write_text(json.dumps(results, indent=2) + "\n")
    show(results)
    return results


def show(results: dict[str, Any]) -> None:
    """Print what was measured beside Kamal's figures and what was promised."""
    from fabfile.commands.console import table  # noqa: PLC0415

    print()
    table("Seconds", ("", "Kamal 2.12", "ours", "min - max", "at most", "met"), rows(results["targets"]))
    trips = results["round_trips"]
    print(f"\nRound trips: deploy {trips['deploy']}, rollback {trips['rollback']}.", end=" ")
    closed = ", ".join(f"{kind}: {ends}" for kind, ends in results["streams"]["closed"].items())
    print(f"Open streams were closed with: {closed}.")


# ---------------------------------------------------------------- what is measured


def _near_and_far(small: Small, runs: int, say: Say) -> dict[str, Any]:
    """Return deploys and rollbacks by setting and distance."""
    results: dict[str, Any] = {"deploy": {}, "rollback": {}}
    for setting, deploy in SETTINGS.items():
        small.project.set(**deploy)
        for milliseconds in ROUND_TRIP_MS:
            say(f"== deploy and rollback, {setting}, round trip {milliseconds} ms, {runs} times")
            taken: dict[str, list[dict[str, float]]] = {"deploy": [], "rollback": []}
            for _ in range(runs):
                before = small.live
                taken["deploy"].append(small.deploy(milliseconds=milliseconds))
                taken["rollback"].append(small.roll_back(before, milliseconds=milliseconds))
            for command, figures in taken.items():
                results[command].setdefault(setting, {})[str(milliseconds)] = gathered(figures)
                say(f"   {command}: {_summary(figures)}")
    return results


def _round_trips(results: dict[str, Any]) -> dict[str, float]:
    """Return how many round trips the wall time of each command rests on."""
    near, far = ROUND_TRIP_MS[1:]
    return {
        command: round_trips(
            results[command][PLAIN][str(near)]["wall"],
            results[command][PLAIN][str(far)]["wall"],
            milliseconds=far - near,
        )
        for command in ("deploy", "rollback")
    }


def _refused(small: Small, runs: int, say: Say) -> dict[str, Any]:
    """Return the seconds until a release that exits at once is refused."""
    say(f"== a release that exits at once, {runs} times")
    small.project.set(watch_seconds=0)
    small.begin()  # no standby is left to be stopped
    taken = []
    for _ in range(runs):
        done = small.project.deploy(small.next(crash_at_start=True), code=1)
        taken.append({"wall": done.wall, **named(done)})
    say(f"   {_summary(taken)}")
    return gathered(taken)


def _unchanged(small: Small, runs: int, say: Say) -> dict[str, Any]:
    """Return the seconds until a deploy has seen that there is nothing to do."""
    say(f"== an unchanged version, {runs} times")
    small.begin()
    taken = []
    for _ in range(runs):
        done = small.project.deploy(small.live)
        if "nothing to do" not in done.text:
            raise Failure("the deploy of an unchanged version did something", details=(done.text,))
        taken.append({"wall": done.wall})
    say(f"   {_summary(taken)}")
    return gathered(taken)


def _streams(small: Small, runs: int, say: Say) -> dict[str, Any]:
    """Return how long after the switch one open event stream and one WebSocket lived, and how they were closed."""
    say(f"== one event stream and one WebSocket open, {runs} times")
    small.project.set(watch_seconds=0)  # drain_seconds is the default
    taken: list[dict[str, float]] = []
    closed: dict[str, list[str]] = {"event stream": [], "websocket": []}
    for _ in range(runs):
        version = small.next()
        with _listeners(small) as load, small.visitor() as visitor:
            load.wait_until(lambda p: _both_open(p.in_flight), within=20, what="an event stream and a WebSocket")
            done = small.project.deploy(version)
            switched = time.time() - (time.monotonic() - visitor.first(version))
            report = load.stop()
        small.live = version
        lived, ends = _lives(report, switched)
        taken.append({"wall": done.wall, **lived, **named(done)})
        for kind, how in ends.items():
            closed[kind].append(how)
    say(f"   {_summary(taken)}")
    return {**gathered(taken), "closed": closed}


def _listeners(small: Small) -> Load:
    """Return one event stream and one WebSocket, and no other traffic."""
    return Load(
        base=f"http://127.0.0.1:{small.project.bed.http_port}",
        host=small.project.domain,
        stream="/stream",
        websocket="/ws",
        keep_alive=0,
        new_connection=0,
        idle=0,
        post_keep_alive=0,
        post_new_connection=0,
        slow_clients=0,
    )


def _both_open(in_flight: dict[str, int]) -> bool:
    return bool(in_flight.get("stream") and in_flight.get("websocket"))


def _lives(report: Report, switched: float) -> tuple[dict[str, float], dict[str, str]]:
    """Return, by kind, the seconds from the switch to the end of what was opened before it, and how it ended."""
    stream = next(s for s in report.stream_sessions if s.opened < switched)
    socket = next(s for s in report.websocket_sessions if s.opened < switched)
    lived = {"event stream": stream.closed - switched, "websocket": socket.closed - switched}
    return lived, {"event stream": stream.reason, "websocket": f"{socket.code} {socket.reason}".strip()}


def _example(bed: Bed, runs: int, say: Say) -> dict[str, Any]:
    """Return deploys of the example with its database: dump, migration, two workers."""
    say(f"== examples/{EXAMPLE}, {runs} times")
    entry = tomllib.loads((ROOT / "hosts.toml").read_text())["projects"][EXAMPLE]
    settings = {key: value for key, value in entry.items() if key not in {"hosts", "domain", "source", "slack"}}
    project = bed.project(EXAMPLE, EXAMPLE, **settings)
    stamp = int(time.time())
    results: dict[str, Any] = {}
    project.deploy(f"e{stamp}")  # builds all layers, makes the database
    for setting in (PLAIN, WATCHED):
        project.set(**SETTINGS[setting])
        taken = []
        for number in range(runs):
            version = f"e{stamp}-{len(results)}-{number}"
            (project.source / "app" / "greeting.txt").write_text(f"Hello from {version}\n")
            done = project.deploy(version)
            taken.append({"wall": done.wall, **named(done)})
        say(f"   {setting}: {_summary(taken)}")
        results[setting] = gathered(taken)
    return results


def named(done: Done) -> dict[str, float]:
    """Return the seconds of every step under names that no other figure has; colours alternate and are left out."""
    steps: dict[str, float] = {}
    for name, seconds in done.steps.items():
        key = f"step {' '.join(word for word in name.split() if word not in {'blue', 'green'})}"
        steps[key] = steps.get(key, 0.0) + seconds
    return steps


def _summary(taken: list[dict[str, float]]) -> str:
    figures = {name: Figure(tuple(run[name] for run in taken)) for name in taken[0] if not name.startswith("step ")}
    return ", ".join(f"{name} {figure.median:.2f} s" for name, figure in figures.items())
