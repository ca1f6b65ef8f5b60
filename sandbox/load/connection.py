"""One HTTP/1.1 connection: ask, and learn exactly how it went."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import Callable

from sandbox.load.response import CutResponseError, MalformedResponseError, Response, ResponseReader


class ExchangeError(Exception):
    """A request got no complete response; the message says why."""


class Connection(asyncio.Protocol):
    """A connection that carries one request at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = ResponseReader()
        self._waiting: asyncio.Future[Response] | None = None
        self._readable = select.poll()

    @classmethod
    async def open(cls, address: tuple[str, int], *, within: float) -> Connection:
        """Return a new connection.

        Arguments:
            within: seconds.

        Raises:
            ExchangeError: refused, unreachable or not within that time.
        """
        try:
            async with asyncio.timeout(within):
                _, connection = await asyncio.get_running_loop().create_connection(cls, *address)
        except TimeoutError:
            raise ExchangeError("timeout while connecting") from None
        except OSError as error:
            raise ExchangeError(f"cannot connect: {os.strerror(error.errno) if error.errno else error}") from None
        return connection

    def is_open(self) -> bool:
        """Return whether the next request may be written: no end, reset or stray bytes have arrived by now.

        The socket itself is asked, because the event loop may not have come round to reading what has arrived.
        """
        transport = self._transport
        return transport is not None and not transport.is_closing() and not self._readable.poll(0)

    def close(self) -> None:
        """Close the connection, whatever is under way on it."""
        if self._transport is not None:
            self._transport.abort()

    async def ask(
        self, request: bytes, *, within: float | None, on_body: Callable[[bytes], None] | None = None
    ) -> Response:
        """Write the request once and return the complete response.

        Arguments:
            within: seconds until it counts as failed; None waits without end.
            on_body: called with each piece of the body instead of collecting it.

        Raises:
            ExchangeError: reset, closed early, malformed or too late; the connection is closed then.
        """
        assert self._transport is not None  # noqa: S101 - a wrong caller is a bug
        assert self._waiting is None  # noqa: S101 - a wrong caller is a bug
        self._reader = ResponseReader(on_body)
        self._waiting = self._loop.create_future()
        limit = self._loop.call_later(within, self._expire) if within is not None else None
        try:
            self._transport.write(request)
            response = await self._waiting
        except BaseException:
            self.close()
            raise
        finally:
            self._waiting = None
            if limit:
                limit.cancel()
        if not response.head.reusable:
            self.close()
        return response

    def _expire(self) -> None:
        self._fail(f"timeout {self._reader.describe()}")

    def _fail(self, reason: str) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ExchangeError(reason))

    def _finish(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(self._reader.response)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the new connection."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - asyncio's contract
        self._transport = transport
        sock: socket.socket = transport.get_extra_info("socket")
        self._readable.register(sock.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the response; bytes that nobody asked for end the connection."""
        if self._waiting is None or self._waiting.done():
            self.close()
            return
        try:
            if self._reader.feed(data):
                self._finish()
        except MalformedResponseError as error:
            self._fail(f"malformed response: {error}")

    def eof_received(self) -> None:
        """Take the server's end of the connection, a failure only while a response is awaited."""
        try:
            self._reader.end()
            self._finish()
        except CutResponseError as error:
            self._fail(f"connection closed {error}")

    def connection_lost(self, error: Exception | None) -> None:
        """Take the loss of the connection, a failure only while a response is awaited."""
        reason = "connection reset" if isinstance(error, ConnectionError) else f"connection lost ({error})"
        self._fail(f"{reason} {self._reader.describe()}")
