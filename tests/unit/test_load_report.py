"""The figures of the report follow from what was recorded."""

from __future__ import annotations

from sandbox.load.report import Mark, Outcome, Recorded, Report, percentile, summarise


def outcome(
    start: float, seconds: float = 0.1, *, kind: str = "keep-alive", error: str | None = None, release: str = "v1"
) -> Outcome:
    return Outcome(kind, "/", start, seconds, None if error else 200, error, None if error else release)


def report(
    *outcomes: Outcome,
    marks: tuple[tuple[float, str], ...] = (),
    sent: int = 0,
    acknowledged: frozenset[int] = frozenset(),
) -> Report:
    return summarise(
        Recorded(
            run="r1",
            started=0.0,
            ended=100.0,
            outcomes=outcomes,
            marks=[Mark(time=time, text=text) for time, text in marks],
            sent=sent,
            acknowledged=acknowledged,
            websocket_sessions=[],
            stream_sessions=[],
            cpu_seconds=1.0,
            own_delays=[0.001, 0.002],
        )
    )


def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, percent) for percent in (50, 99, 100)] == [50.0, 99.0, 100.0]
    assert percentile([7.0], 1) == 7.0
    assert percentile([], 50) is None


def test_a_request_is_inside_a_window_when_it_was_under_way_at_any_time_of_it() -> None:
    found = report(
        outcome(1.0),
        outcome(9.9, 0.2),  # begun before
        outcome(15.0, 0.3),
        outcome(19.9, 0.5),  # ended after
        outcome(20.1),
        marks=((10.0, "begin deploy v2"), (12.0, "switched"), (20.0, "end deploy v2")),
    )
    assert (found.inside.requests, found.outside.requests) == (3, 2)
    assert (found.inside.p50_ms, found.inside.max_ms, found.outside.max_ms) == (300.0, 500.0, 100.0)
    (window,) = found.windows
    assert (window.name, window.begin, window.end, window.requests) == ("deploy v2", 10.0, 20.0, 3)
    assert [mark.text for mark in found.marks] == ["begin deploy v2", "switched", "end deploy v2"]


def test_a_window_that_never_ends_lasts_until_the_end_of_the_run() -> None:
    found = report(outcome(50.0), marks=((10.0, "begin deploy"),))
    assert (found.windows[0].end, found.inside.requests) == (100.0, 1)


def test_two_windows_of_one_name_are_two_windows() -> None:
    marks = ((1.0, "begin x"), (2.0, "end x"), (3.0, "begin x"), (4.0, "end x"))
    assert [(window.begin, window.end) for window in report(marks=marks).windows] == [(1.0, 2.0), (3.0, 4.0)]


def test_every_window_tells_first_and_last_answer_of_each_release() -> None:
    found = report(
        outcome(1.0),
        outcome(11.0, release="v2"),
        outcome(12.0, release="v1"),
        outcome(13.0, release="v2"),
        outcome(30.0, release="v1"),
        marks=((10.0, "begin deploy"), (20.0, "end deploy")),
    )
    assert {name: (span.first, span.last, span.count) for name, span in found.windows[0].releases.items()} == {
        "v2": (11.1, 13.1, 2),
        "v1": (12.1, 12.1, 1),
    }
    assert [(name, span.count) for name, span in found.releases.items()] == [("v1", 3), ("v2", 2)]


def test_failures_are_counted_all_and_listed_up_to_fifty() -> None:
    found = report(*(outcome(float(second), error="status 502") for second in range(60)), outcome(99.0))
    assert (found.requests, found.failed, len(found.failures)) == (61, 60, 50)
    assert found.errors == {"status 502": 60}
    assert (found.failures[0].time, found.failures[0].error) == (0.0, "status 502")


def test_a_failed_request_has_no_latency() -> None:
    found = report(outcome(1.0, 15.0, error="timeout"), outcome(2.0, 0.1))
    assert (found.max_ms, found.by_kind["keep-alive"].failed) == (100.0, 1)


def test_long_requests_count_and_do_not_spoil_the_latency_of_the_others() -> None:
    found = report(outcome(1.0), outcome(2.0, 10.0, kind="slow"), outcome(3.0, 1.0, kind="slow", error="reset"))
    assert (found.requests, found.failed, found.max_ms) == (3, 1, 100.0)
    assert [(slow.started, slow.ok, slow.error) for slow in found.slow_requests] == [
        (2.0, True, None),
        (3.0, False, "reset"),
    ]


def test_posts_without_an_acknowledgement_are_listed() -> None:
    posts = report(sent=5, acknowledged=frozenset({1, 2, 5})).posts
    assert (posts.run, posts.sent, posts.acknowledged, posts.unacknowledged) == ("r1", 5, 3, [3, 4])


def test_the_report_survives_its_own_json() -> None:
    found = report(outcome(1.0), outcome(2.0, error="reset"), marks=((0.5, "begin x"),))
    assert Report.model_validate_json(found.model_dump_json()) == found
