"""One run of the load generator inside an event loop."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Protocol, TextIO

from sandbox.load.clients import all_clients
from sandbox.load.ledger import Ledger
from sandbox.load.report import Mark, Report, summarise
from sandbox.load.stopping import Stopping
from sandbox.load.traffic import Traffic

OWN_DELAY_EVERY_SECONDS = 0.05
PROGRESS_EVERY_SECONDS = 0.25


class Worker(Protocol):
    """Anything that works until told to stop."""

    async def work(self, stopping: Stopping) -> None:
        """Work until told to stop, and finish what is in flight."""


class Run:
    """All clients at work; make it inside a running event loop."""

    def __init__(self, traffic: Traffic) -> None:
        self.ledger = Ledger(traffic.run)
        self.stopping = Stopping()
        self._workers: list[Worker] = [*all_clients(traffic, self.ledger)]
        if traffic.websocket:
            from sandbox.load.websocket import WebSocket  # noqa: PLC0415 - the library takes 0.1 s to import

            self._workers.append(WebSocket(traffic, self.ledger))
        if traffic.stream:
            from sandbox.load.stream import EventStream  # noqa: PLC0415 - as rarely used

            self._workers.append(EventStream(traffic, self.ledger))

    def mark(self, line: str) -> None:
        """Record a mark: `SECONDS_SINCE_EPOCH TEXT`, or only the text for now."""
        first, _, rest = line.strip().partition(" ")
        try:
            mark = Mark(time=float(first), text=rest)
        except ValueError:
            mark = Mark(time=time.time(), text=line.strip())
        if mark.text:
            self.ledger.marks.append(mark)

    async def execute(self, *, progress: TextIO | None = None) -> Report:
        """Work until told to stop, or until nobody has anything left to do, and return the report.

        Arguments:
            progress: written one line of JSON several times a second.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_own_delay())
            if progress:
                group.create_task(self._tell(progress))
            async with asyncio.TaskGroup() as workers:
                for worker in self._workers:
                    workers.create_task(worker.work(self.stopping))
            self.stopping.request()
        return summarise(self.ledger.close())

    async def _watch_own_delay(self) -> None:
        while not self.stopping.requested:
            due = time.perf_counter() + OWN_DELAY_EVERY_SECONDS
            await self.stopping.pause(OWN_DELAY_EVERY_SECONDS)
            if not self.stopping.requested:
                self.ledger.own_delays.append(max(time.perf_counter() - due, 0.0))

    async def _tell(self, progress: TextIO) -> None:
        while not self.stopping.requested:
            counts = {"requests": len(self.ledger.outcomes), "failed": self.ledger.failed}
            print(json.dumps({**counts, "in_flight": self.ledger.in_flight}), file=progress, flush=True)
            await self.stopping.pause(PROGRESS_EVERY_SECONDS)
