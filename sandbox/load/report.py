"""What happened, in figures: a pure function from what was recorded to a `Report`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import ceil
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

SHOWN_FAILURES = 50
LONG_KINDS = frozenset({"slow", "websocket", "stream"})


class Outcome(NamedTuple):
    """How one request went; times are seconds since the epoch."""

    kind: str
    path: str
    start: float
    seconds: float
    status: int | None
    error: str | None
    release: str | None

    @property
    def end(self) -> float:
        """When the answer was complete, or the request had failed."""
        return self.start + self.seconds


class Frozen(BaseModel):
    """A value of the report."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Mark(Frozen):
    """A moment somebody named; `begin NAME` and `end NAME` enclose a window."""

    time: float
    text: str


class Span(Frozen):
    """When a release answered first and last, and how often."""

    first: float
    last: float
    count: int


class Figures(Frozen):
    """Counts and latency of some requests; latency is that of the answered ones."""

    requests: int
    failed: int
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None


class Window(Figures):
    """The requests that were under way at any time between two marks."""

    name: str
    begin: float
    end: float
    releases: dict[str, Span]


class FailedRequest(Frozen):
    """One request that failed, and why."""

    time: float
    seconds: float
    kind: str
    path: str
    status: int | None
    error: str


class Posts(Frozen):
    """The numbered POSTs: 1 to `sent`, each sent once; all are acknowledged but the listed ones."""

    run: str
    sent: int
    acknowledged: int
    unacknowledged: list[int]


class Session(Frozen):
    """One WebSocket or event stream from its opening to its end."""

    opened: float
    closed: float
    seconds: float
    code: int | None
    """The WebSocket's close code; 1006: cut without a closing handshake."""
    reason: str
    closed_by: str
    """`client` when the load generator stopped, else `server`."""
    sent: int
    messages: int
    longest_gap_seconds: float
    """The longest time without a message."""


class SlowRequest(Frozen):
    """One long request."""

    started: float
    seconds: float
    ok: bool
    status: int | None
    error: str | None
    release: str | None


class Report(Figures):
    """Everything a run of the load generator found out; latency is without long requests and sessions."""

    run: str
    started: float
    ended: float
    requests_per_second: float
    by_kind: dict[str, Figures]
    inside: Figures
    """The requests under way in any window; `outside` are the others."""
    outside: Figures
    windows: list[Window]
    marks: list[Mark]
    failures: list[FailedRequest]
    errors: dict[str, int]
    """How often each error occurred."""
    releases: dict[str, Span]
    posts: Posts
    websocket_sessions: list[Session]
    stream_sessions: list[Session]
    slow_requests: list[SlowRequest]
    cpu_seconds: float
    own_delay_p99_ms: float | None
    """How late the load generator itself woke up: a busy machine, not a slow server."""
    own_delay_max_ms: float | None


class Recorded(NamedTuple):
    """What one run recorded."""

    run: str
    started: float
    ended: float
    outcomes: Sequence[Outcome]
    marks: Sequence[Mark]
    sent: int
    acknowledged: frozenset[int]
    websocket_sessions: Sequence[Session]
    stream_sessions: Sequence[Session]
    cpu_seconds: float
    own_delays: Sequence[float]


class Interval(NamedTuple):
    """A window before anything is counted."""

    name: str
    begin: float
    end: float

    def holds(self, outcome: Outcome) -> bool:
        """Return whether the request was under way in it."""
        return outcome.start <= self.end and outcome.end >= self.begin


def summarise(recorded: Recorded) -> Report:
    """Return the report on one run."""
    outcomes = sorted(recorded.outcomes, key=lambda outcome: outcome.start)
    short = [outcome for outcome in outcomes if outcome.kind not in LONG_KINDS]
    intervals = find_windows(recorded.marks, ended=recorded.ended)
    inside = [outcome for outcome in short if any(interval.holds(outcome) for interval in intervals)]
    outside = [outcome for outcome in short if not any(interval.holds(outcome) for interval in intervals)]
    failures = [outcome for outcome in outcomes if outcome.error is not None]
    delays = sorted(recorded.own_delays)
    return Report(
        **latency(short),
        requests=len(outcomes),
        failed=len(failures),
        run=recorded.run,
        started=recorded.started,
        ended=recorded.ended,
        requests_per_second=round(len(outcomes) / max(recorded.ended - recorded.started, 0.001), 1),
        by_kind={
            kind: figures([outcome for outcome in outcomes if outcome.kind == kind])
            for kind in sorted({outcome.kind for outcome in outcomes})
        },
        inside=figures(inside),
        outside=figures(outside),
        windows=[window(interval, [one for one in short if interval.holds(one)]) for interval in intervals],
        marks=list(recorded.marks),
        failures=[failed_request(outcome) for outcome in failures[:SHOWN_FAILURES]],
        errors=dict(Counter(outcome.error or "" for outcome in failures).most_common()),
        releases=releases(outcomes),
        posts=posts(recorded),
        websocket_sessions=list(recorded.websocket_sessions),
        stream_sessions=list(recorded.stream_sessions),
        slow_requests=[slow_request(outcome) for outcome in outcomes if outcome.kind == "slow"],
        cpu_seconds=round(recorded.cpu_seconds, 3),
        own_delay_p99_ms=milliseconds(percentile(delays, 99)),
        own_delay_max_ms=milliseconds(percentile(delays, 100)),
    )


def find_windows(marks: Iterable[Mark], *, ended: float) -> list[Interval]:
    """Return the windows between `begin NAME` and `end NAME`; one that never ended lasts until the end of the run."""
    open_since: dict[str, float] = {}
    found: list[Interval] = []
    for mark in sorted(marks, key=lambda mark: mark.time):
        word, _, name = mark.text.partition(" ")
        if word == "begin":
            open_since.setdefault(name, mark.time)
        elif word == "end" and name in open_since:
            found.append(Interval(name, open_since.pop(name), mark.time))
    found += [Interval(name, begin, ended) for name, begin in open_since.items()]
    return sorted(found, key=lambda interval: interval.begin)


def figures(outcomes: Sequence[Outcome]) -> Figures:
    """Return counts and latency of these requests."""
    failed = sum(outcome.error is not None for outcome in outcomes)
    return Figures(requests=len(outcomes), failed=failed, **latency(outcomes))


def latency(outcomes: Iterable[Outcome]) -> dict[str, float | None]:
    """Return the latency of the answered ones of these requests."""
    seconds = sorted(outcome.seconds for outcome in outcomes if outcome.error is None)
    return {
        "p50_ms": milliseconds(percentile(seconds, 50)),
        "p99_ms": milliseconds(percentile(seconds, 99)),
        "max_ms": milliseconds(percentile(seconds, 100)),
    }


def percentile(ascending: Sequence[float], percent: int) -> float | None:
    """Return the smallest value that so many per cent of the values do not exceed."""
    if not ascending:
        return None
    return ascending[max(ceil(len(ascending) * percent / 100), 1) - 1]


def milliseconds(seconds: float | None) -> float | None:
    """Return the duration in milliseconds, to the microsecond."""
    return None if seconds is None else round(seconds * 1000, 3)


def window(interval: Interval, outcomes: Sequence[Outcome]) -> Window:
    """Return the figures of one window."""
    return Window(
        name=interval.name,
        begin=interval.begin,
        end=interval.end,
        releases=releases(outcomes),
        **figures(outcomes).model_dump(),
    )


def releases(outcomes: Iterable[Outcome]) -> dict[str, Span]:
    """Return first and last answer of every release, in the order in which they first answered."""
    ends: dict[str, list[float]] = {}
    for outcome in outcomes:
        if outcome.release is not None and outcome.error is None:
            ends.setdefault(outcome.release, []).append(outcome.end)
    spans = [(name, Span(first=min(times), last=max(times), count=len(times))) for name, times in ends.items()]
    return dict(sorted(spans, key=lambda item: item[1].first))


def failed_request(outcome: Outcome) -> FailedRequest:
    """Return a failure as listed in the report."""
    return FailedRequest(
        time=outcome.start,
        seconds=round(outcome.seconds, 6),
        kind=outcome.kind,
        path=outcome.path,
        status=outcome.status,
        error=outcome.error or "",
    )


def slow_request(outcome: Outcome) -> SlowRequest:
    """Return a long request as listed in the report."""
    return SlowRequest(
        started=outcome.start,
        seconds=round(outcome.seconds, 6),
        ok=outcome.error is None,
        status=outcome.status,
        error=outcome.error,
        release=outcome.release,
    )


def posts(recorded: Recorded) -> Posts:
    """Return which numbers were acknowledged."""
    missing = [number for number in range(1, recorded.sent + 1) if number not in recorded.acknowledged]
    return Posts(run=recorded.run, sent=recorded.sent, acknowledged=len(recorded.acknowledged), unacknowledged=missing)
