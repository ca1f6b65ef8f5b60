"""The WebSocket: opened, kept busy, opened again when the server closes it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from sandbox.load.ledger import Ledger
from sandbox.load.report import Outcome
from sandbox.load.stopping import Stopping
from sandbox.load.tally import Tally
from sandbox.load.traffic import Traffic

SEND_EVERY_SECONDS = 0.5
RECONNECT_SECONDS = 0.1
CLOSE_SECONDS = 2


class WebSocket:
    """One WebSocket that sends a numbered message every half second."""

    def __init__(self, traffic: Traffic, ledger: Ledger) -> None:
        self._traffic, self._ledger = traffic, ledger

    async def work(self, stopping: Stopping) -> None:
        """Keep one WebSocket open until told to stop; a refused handshake is a failure, a close is recorded."""
        while not stopping.requested:
            socket = await self._open()
            if socket is not None:
                self._ledger.in_flight["websocket"] += 1
                await self._talk(socket, stopping)
                self._ledger.in_flight["websocket"] -= 1
            else:
                await stopping.pause(RECONNECT_SECONDS)

    async def _open(self) -> ClientConnection | None:
        address, port = self._traffic.address
        start, clock = time.time(), time.perf_counter()
        socket, status, error = None, None, None
        try:
            socket = await connect(
                f"ws://{self._traffic.host_header}{self._traffic.websocket}",
                host=address,
                port=port,
                proxy=None,
                ping_interval=None,
                open_timeout=self._traffic.timeout,
                close_timeout=CLOSE_SECONDS,
            )
            status = 101
        except InvalidStatus as refusal:
            status = refusal.response.status_code
            error = f"status {status}"
        except (OSError, EOFError, ValueError, WebSocketException) as failure:
            error = f"no WebSocket: {str(failure) or type(failure).__name__}"
        seconds = time.perf_counter() - clock
        self._ledger.add(Outcome("websocket", self._traffic.websocket, start, seconds, status, error, None))
        return socket

    async def _talk(self, socket: ClientConnection, stopping: Stopping) -> None:
        tally = Tally()
        reader = asyncio.create_task(count_messages(socket, tally))
        reasons_to_wake: set[asyncio.Future[Any]] = {reader, stopping.wish}
        try:
            while not stopping.requested and not reader.done():
                await socket.send(json.dumps({"seq": tally.sent + 1}))
                tally.sent += 1
                await asyncio.wait(reasons_to_wake, timeout=SEND_EVERY_SECONDS, return_when="FIRST_COMPLETED")
        except ConnectionClosed:
            pass  # the reader tells when
        by_client = stopping.requested and not reader.done()
        await socket.close()
        closed = await reader
        code, reason = socket.close_code, socket.close_reason or ""
        session = tally.end(closed=closed, closed_by="client" if by_client else "server", code=code, reason=reason)
        self._ledger.websocket_sessions.append(session)


async def count_messages(socket: ClientConnection, tally: Tally) -> float:
    """Count all messages and return the moment the WebSocket was closed."""
    try:
        while True:
            await socket.recv()
            tally.message()
    except ConnectionClosed:
        return time.time()
