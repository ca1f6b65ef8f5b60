"""The record of one run while it is going on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

from sandbox.load.report import Mark, Outcome, Recorded, Session


class Ledger:
    """Collects what happens, in memory."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.started = time.time()
        self.failed = 0
        self.in_flight: Counter[str] = Counter()
        self.outcomes: list[Outcome] = []
        self.marks: list[Mark] = []
        self.websocket_sessions: list[Session] = []
        self.stream_sessions: list[Session] = []
        self.own_delays: list[float] = []
        self.numbers = self._count()
        self._sent = 0
        self._acknowledged: set[int] = set()
        self._cpu = time.process_time()

    def _count(self) -> Iterator[int]:
        while True:
            self._sent += 1
            yield self._sent

    def add(self, outcome: Outcome, number: int | None = None) -> None:
        """Record how a request went; `number` is that of a POST."""
        self.outcomes.append(outcome)
        if outcome.error is not None:
            self.failed += 1
        elif number is not None:
            self._acknowledged.add(number)

    def close(self) -> Recorded:
        """Return everything that was recorded until now."""
        return Recorded(
            run=self.run,
            started=self.started,
            ended=time.time(),
            outcomes=self.outcomes,
            marks=self.marks,
            sent=self._sent,
            acknowledged=frozenset(self._acknowledged),
            websocket_sessions=self.websocket_sessions,
            stream_sessions=self.stream_sessions,
            cpu_seconds=time.process_time() - self._cpu,
            own_delays=self.own_delays,
        )
