"""The event stream: opened, listened to, opened again when the server ends it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from sandbox.load.clients import head
from sandbox.load.connection import Connection, ExchangeError
from sandbox.load.ledger import Ledger
from sandbox.load.report import Outcome
from sandbox.load.response import Response
from sandbox.load.stopping import Stopping
from sandbox.load.tally import Tally
from sandbox.load.traffic import Traffic

RECONNECT_SECONDS = 0.1


class EventCounter:
    """Counts the `data:` lines of a stream from its first byte on."""

    def __init__(self) -> None:
        self.tally: Tally | None = None
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line = b""

    def take(self, piece: bytes) -> None:
        """Take a piece of the stream, cut anywhere."""
        if self.tally is None:
            self.tally = Tally()
            self.begun.set_result(None)
        *lines, self._line = (self._line + piece).split(b"\n")
        events = sum(line.startswith(b"data:") for line in lines)
        if events:
            self.tally.message(events)


class EventStream:
    """One response that does not end by itself."""

    def __init__(self, traffic: Traffic, ledger: Ledger) -> None:
        self._traffic, self._ledger = traffic, ledger
        self._request = head(traffic, "GET", traffic.stream) + b"\r\n"

    async def work(self, stopping: Stopping) -> None:
        """Keep one stream open until told to stop; a missing or bad response is a failure, an end is recorded."""
        while not stopping.requested:
            start, clock, error = time.time(), time.perf_counter(), None
            seconds: float | None = None
            try:
                opened = await self._listen(stopping)
                seconds = None if opened is None else opened - start
            except ExchangeError as failure:
                error, seconds = str(failure), time.perf_counter() - clock
            if seconds is not None:
                self._ledger.add(Outcome("stream", self._traffic.stream, start, seconds, None, error, None))
            await stopping.pause(RECONNECT_SECONDS)

    async def _listen(self, stopping: Stopping) -> float | None:
        """Return when the stream began, after its end, or None when told to stop before."""
        counter = EventCounter()
        connection = await Connection.open(self._traffic.address, within=self._traffic.timeout)
        answer = asyncio.create_task(connection.ask(self._request, within=None, on_body=counter.take))
        begun: set[asyncio.Future[Any]] = {answer, stopping.wish, counter.begun}
        await asyncio.wait(begun, timeout=self._traffic.timeout, return_when="FIRST_COMPLETED")
        in_time = answer.done() or stopping.requested or counter.begun.done()
        if in_time:
            self._ledger.in_flight["stream"] += 1
            ended: set[asyncio.Future[Any]] = {answer, stopping.wish}
            await asyncio.wait(ended, return_when="FIRST_COMPLETED")
            self._ledger.in_flight["stream"] -= 1
        by_client = not answer.done()
        closed = time.time()
        connection.close()
        (ending,) = await asyncio.gather(answer, return_exceptions=True)
        if not in_time:
            raise ExchangeError("timeout before the stream")
        reason = "" if by_client else how_it_ended(ending, begun=counter.tally is not None)
        if counter.tally is None:
            return None
        closed_by = "client" if by_client else "server"
        self._ledger.stream_sessions.append(counter.tally.end(closed=closed, closed_by=closed_by, reason=reason))
        return counter.tally.opened


def how_it_ended(ending: Response | BaseException, *, begun: bool) -> str:
    """Return how the server ended the stream.

    Raises:
        ExchangeError: there was no stream at all.
    """
    if isinstance(ending, Response):
        if not 200 <= ending.head.status < 300:
            raise ExchangeError(f"status {ending.head.status}")
        return "end of the stream"
    if isinstance(ending, ExchangeError) and begun:
        return str(ending)
    raise ending
