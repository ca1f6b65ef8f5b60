"""The figures of the benchmarks: medians, round trips, and what is held against what."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.bench import start
from sandbox.bench.bed import Done
from sandbox.bench.deploy import named
from sandbox.bench.figures import (
    PLAIN,
    ROUND_TRIP_MS,
    TARGETS,
    Figure,
    Target,
    found,
    gathered,
    judged,
    round_trips,
    rows,
)

FIGURE = {"median": 2.0, "min": 1.0, "max": 3.0, "values": [1.0, 2.0, 3.0]}


def results(seconds: float) -> dict[str, Any]:
    """Return results in which every figure has this value."""
    everything: dict[str, Any] = {}
    for target in TARGETS:
        place = everything
        for key in target.path[:-1]:
            place = place.setdefault(key, {})
        place[target.path[-1]] = Figure((seconds,)).json
    return everything


def test_a_figure_tells_median_spread_and_every_value() -> None:
    assert Figure((3.0, 1.0, 2.00049)).json == {"median": 2.0, "min": 1.0, "max": 3.0, "values": [3.0, 1.0, 2.0]}
    assert Figure((1.0, 2.0)).median == 1.5


def test_figures_are_gathered_by_name_over_all_runs() -> None:
    figures = gathered([{"wall": 4.0, "step tidy": 0.5}, {"wall": 2.0}, {"wall": 3.0}])
    assert figures["wall"] == {"median": 3.0, "min": 2.0, "max": 4.0, "values": [4.0, 2.0, 3.0]}
    assert figures["step tidy"]["values"] == [0.5]


def test_round_trips_follow_from_two_distances() -> None:
    assert round_trips({"median": 4.0}, {"median": 6.5}, milliseconds=100) == 25.0


def test_a_target_is_met_by_the_median_and_not_by_the_quickest_run() -> None:
    line = Target("deploy", ("deploy", "wall"), kamal=4.8, limit=1.5)
    (judgement,) = judged({"deploy": {"wall": FIGURE}}, [line])
    assert judgement == {
        "what": "deploy", "kamal": 4.8, "limit": 1.5, "median": 2.0, "min": 1.0, "max": 3.0, "met": False,
    }  # fmt: skip
    assert judged({"deploy": {"wall": FIGURE}}, [Target("deploy", ("deploy", "wall"), limit=2.0)])[0]["met"] is True


def test_what_was_not_measured_or_not_promised_is_not_judged() -> None:
    assert judged({}, [Target("deploy", ("deploy", "wall"), limit=1.0)]) == []
    assert judged({"x": FIGURE}, [Target("x", ("x",))])[0]["met"] is None
    assert found({"deploy": {}}, ("deploy", PLAIN, "0", "wall")) is None


@pytest.mark.parametrize(("seconds", "met"), [(1.0, True), (40.0, False)])
def test_everything_that_was_promised_is_judged(seconds: float, met: bool) -> None:
    promised = [line for line in judged(results(seconds)) if line["limit"] is not None]
    assert len(promised) == 7
    assert {line["met"] for line in promised} == {met}


def test_deploys_and_rollbacks_are_judged_at_every_distance() -> None:
    names = [target.what for target in TARGETS]
    assert len(names) == len(set(names))
    for command in ("deploy", "rollback"):
        distances = {target.path[2] for target in TARGETS if target.path[0] == command}
        assert distances == {str(milliseconds) for milliseconds in ROUND_TRIP_MS}


def test_the_table_marks_what_is_missed() -> None:
    line = {"what": "deploy", "kamal": None, "limit": 3.8, "median": 4.0, "min": 3.9, "max": 4.126, "met": False}
    assert rows([line]) == [("deploy", "", "4.00", "3.90 - 4.13", "3.8", "NO")]
    assert rows([{**line, "met": None, "limit": None}])[0][-2:] == ("", "")


def test_the_steps_of_both_colours_are_one_figure() -> None:
    text = (
        "  ✓ start green    0.50 s  \n  ✗ gate           1.25 s  \n  ✓ undo start green   0.05 s  stopped\nv1 is live\n"
    )
    done = Done(10.0, 12.5, text)
    assert done.wall == 2.5
    assert named(done) == {"step start": 0.5, "step gate": 1.25, "step undo start": 0.05}


def test_the_start_is_judged_by_the_ratio_of_medians() -> None:
    figures = start.judged({"import fabric": (0.2, 0.4, 0.3), "fab --list": (0.3, 0.36, 0.9)})
    assert (figures["ratio"], figures["met"]) == (1.2, True)
    assert figures["import fabric"]["median"] == 0.3
    assert not start.judged({"import fabric": (0.2,), "fab --list": (0.31,)})["met"]
