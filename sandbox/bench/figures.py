"""Figures of repeated runs, and what they are held against: pure, no clock and no server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured quantity, as often as it was measured."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Return the value in the middle."""
        return median(self.values)

    @property
    def json(self) -> dict[str, Any]:
        """Return median, least, most and every value, rounded to milliseconds."""
        return {
            "median": round(self.median, 3),
            "min": round(min(self.values), 3),
            "max": round(max(self.values), 3),
            "values": [round(value, 3) for value in self.values],
        }


def gathered(runs: Iterable[Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """Return a figure, as JSON, for every name that the runs measured."""
    values: dict[str, list[float]] = {}
    for run in runs:
        for name, value in run.items():
            values.setdefault(name, []).append(value)
    return {name: Figure(tuple(found)).json for name, found in values.items()}


def round_trips(near: Mapping[str, Any], far: Mapping[str, Any], *, milliseconds: float) -> float:
    """Return how many round trips one after the other explain why a command takes longer from afar.

    Arguments:
        near, far: the same figure at two distances.
        milliseconds: how much longer a round trip takes from afar.
    """
    return round(float(far["median"] - near["median"]) * 1000 / milliseconds, 1)


@dataclass(frozen=True, slots=True)
class Target:
    """What was promised of one figure, and what Kamal 2.12 needs for the same.

    Arguments:
        what: the figure, for people.
        path: where it stands in the results.
        kamal: seconds, measured with the same small application on the same kind of machine.
        limit: most seconds; None when nothing is promised.
    """

    what: str
    path: tuple[str, ...]
    kamal: float | None = None
    limit: float | None = None


PLAIN, WATCHED, HOT = "without watch", "default settings", "hot standby"
ROUND_TRIP_MS = (0, 50, 150)


def _at(
    what: str, command: str, series: str, figure: str, values: Sequence[tuple[float | None, float | None]]
) -> list[Target]:
    """Return the targets of a figure at every distance."""
    return [
        Target(f"{what}, {milliseconds} ms", (command, series, str(milliseconds), figure), kamal, limit)
        for milliseconds, (kamal, limit) in zip(ROUND_TRIP_MS, values, strict=True)
    ]


NOTHING: tuple[float | None, float | None] = (None, None)
TARGETS = (
    *_at("deploy", "deploy", PLAIN, "wall", [(4.8, 3.8), (8.0, 5.5), (15.4, 8.0)]),
    *_at("deploy to the first new answer", "deploy", PLAIN, "first", [(4.0, None), (6.5, None), (12.0, None)]),
    *_at("deploy, watched 5 s", "deploy", WATCHED, "wall", [NOTHING] * 3),
    *_at("deploy, watched 5 s, to the first new answer", "deploy", WATCHED, "first", [NOTHING] * 3),
    *_at("rollback to the first old answer", "rollback", PLAIN, "first", [(2.5, 1.8), (4.0, 2.5), (7.8, 4.0)]),
    *_at("rollback", "rollback", PLAIN, "wall", [(2.9, None), (4.7, None), (9.4, None)]),
    *_at("rollback to a hot standby, to the first old answer", "rollback", HOT, "first", [NOTHING] * 3),
    *_at("rollback, watched 5 s, to the first old answer", "rollback", WATCHED, "first", [NOTHING] * 3),
    Target("a release that exits at once is refused", ("refused", "wall"), 34.0, 3.0),
    Target("deploy of an unchanged version", ("unchanged", "wall")),
    Target("deploy with one event stream and one WebSocket open", ("streams", "wall"), 36.0),
    Target("the event stream lives on after the switch", ("streams", "event stream"), 30.0),
    Target("the WebSocket lives on after the switch", ("streams", "websocket"), 0.0),
    Target("muscleup, deploy", ("muscleup", PLAIN, "wall")),
    Target("muscleup, deploy, watched 5 s", ("muscleup", WATCHED, "wall")),
)


def found(results: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any] | None:
    """Return the figure at this place of the results; None when it was not measured."""
    place: Any = results
    for key in path:
        if key not in place:
            return None
        place = place[key]
    return dict(place)


def judged(results: Mapping[str, Any], targets: Iterable[Target] = TARGETS) -> list[dict[str, Any]]:
    """Return every measured target beside what was measured, and whether it is met (None: nothing was promised)."""
    lines = []
    for target in targets:
        figure = found(results, target.path)
        if figure is not None:
            met = None if target.limit is None else figure["median"] <= target.limit
            ours = {key: figure[key] for key in ("median", "min", "max")}
            lines.append({"what": target.what, "kamal": target.kamal, "limit": target.limit, **ours, "met": met})
    return lines


def rows(judgement: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the lines of the table: what, Kamal, ours, the spread, the limit, whether it is met."""
    return [
        (
            line["what"],
            _seconds(line["kamal"], 1),
            _seconds(line["median"]),
            f"{_seconds(line['min'])} - {_seconds(line['max'])}",
            _seconds(line["limit"], 1),
            {True: "yes", False: "NO", None: ""}[line["met"]],
        )
        for line in judgement
    ]


def _seconds(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"
