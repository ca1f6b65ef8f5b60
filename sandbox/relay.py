"""A TCP relay that makes a near server look far away, and can lose the connection on demand.

    with Relay(to=("127.0.0.1", 22), delay_ms=25) as relay:
        ...  # connect to 127.0.0.1:relay.port: round trips take 50 ms
        relay.cut()

The same from a shell: `python -m sandbox.relay --listen 2222 --to 127.0.0.1:22 --delay-ms 25`.

Bytes are late, never slow: each direction is a queue of pieces with the time at which they are due. Setting up a
connection costs a round trip, as over a real line: the system accepts it at once, but nothing that the client says
counts as sent before one round trip is over, and the server sees the connection when the handshake's last packet
would have reached it.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import struct
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

QUEUE_BYTES = 64 * 1024 * 1024
"""How much may be under way in one direction before the sender is made to wait."""

T = TypeVar("T")


@dataclass
class Line:
    """What all connections of one relay share: the delay, and whether anything gets through."""

    delay: float
    """One way, in seconds."""
    passable: asyncio.Event


class End(asyncio.Protocol):
    """One end of a relayed connection; what it receives is delivered to the other end when it is due."""

    def __init__(self, line: Line) -> None:
        self._loop = asyncio.get_running_loop()
        self._line = line
        self._transport: asyncio.Transport | None = None
        self._queue: deque[tuple[float, Callable[[End], None], int]] = deque()
        self._queued = 0
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self._said_end = self._told_end = False
        self.lost = False
        self.other: End | None = None

    def begin(self, *, not_before: float = 0.0) -> None:
        """Count nothing that this end says as sent before a time of the loop's clock."""
        self._not_before = not_before

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the new connection."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - asyncio's contract
        transport.set_write_buffer_limits(high=QUEUE_BYTES)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Send a piece on its way."""
        self._send(lambda other: other.write(data), len(data))

    def eof_received(self) -> bool:
        """Send the end of this direction on its way and keep the connection as long as the other direction is open."""
        self._said_end = True
        self._send(lambda other: other.write_end())
        return not self._told_end

    def connection_lost(self, error: Exception | None) -> None:
        """Send the loss of the connection on its way."""
        self.lost = True
        if error is not None or not self._said_end:
            self._send(lambda other: other.reset())

    def resume_writing(self) -> None:
        """Let the other end receive again."""
        if self.other is not None:
            self.other.read_on()

    def write(self, data: bytes) -> None:
        """Deliver a piece to the peer."""
        if self._transport is not None and not self.lost:
            self._transport.write(data)

    def write_end(self) -> None:
        """Tell the peer that this direction has ended, and close the connection when both have."""
        if self._transport is None or self.lost:
            return
        self._told_end = True
        self._transport.write_eof()
        if self._said_end:
            self._transport.close()

    def reset(self) -> None:
        """Drop the connection so that the peer sees a reset."""
        if self._transport is not None and not self.lost:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def deliver(self) -> None:
        """Deliver everything that is due, unless the line is frozen, and come back for the rest."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._loop.time()
        while self._queue and self.other is not None and self._line.passable.is_set():
            due, act, size = self._queue[0]
            if due > now:
                self._timer = self._loop.call_at(due, self.deliver)
                break
            self._queue.popleft()
            self._queued -= size
            act(self.other)
        self.read_on()

    def read_on(self) -> None:
        """Receive as long as little enough is under way."""
        if self._transport is None or self.lost or self._said_end or self._transport.is_closing():
            return
        waiting = self.other._transport.get_write_buffer_size() if self.other and self.other._transport else 0
        if self._queued + waiting > QUEUE_BYTES:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _send(self, act: Callable[[End], None], size: int = 0) -> None:
        due = max(self._loop.time(), self._not_before) + self._line.delay
        self._queue.append((due, act, size))
        self._queued += size
        if self._timer is None:
            self.deliver()
        elif self._queued > QUEUE_BYTES:
            self.read_on()


class Relay:
    """A relay on 127.0.0.1 in a thread of its own, from entering the context until leaving it.

    Arguments:
        to: address and port of the server.
        delay_ms: milliseconds one way; a round trip takes twice that.
        port: port to listen on; 0 takes a free one, `port` tells which.
    """

    def __init__(self, *, to: tuple[str, int], delay_ms: float = 0.0, port: int = 0) -> None:
        self.port = port
        self._to = to
        self._line = Line(delay_ms / 1000, passable=asyncio.Event())
        self._line.passable.set()
        self._pairs: list[tuple[End, End]] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._call(self._open())
        except BaseException:
            self._end_thread()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._call(self._close())
        self._end_thread()

    @property
    def connections(self) -> int:
        """How many connections are open through the relay now."""
        return self._call(self._count())

    def cut(self) -> None:
        """Drop all connections at once, with a reset to both sides; new ones are accepted."""
        self._call(self._cut())

    def freeze(self) -> None:
        """Let nothing through, in no direction, but keep the connections: the line has gone silent."""
        self._call(self._freeze())

    def thaw(self) -> None:
        """Let everything through again, first what has been held back."""
        self._call(self._thaw())

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self) -> None:
        self._server = await self._loop.create_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None  # noqa: S101 - made by _open()
        self._server.close()
        await self._cut()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self) -> End:
        client = End(self._line)
        task = self._loop.create_task(self._connect(client, accepted=self._loop.time()))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return client

    async def _connect(self, client: End, *, accepted: float) -> None:
        client.begin(not_before=accepted + 2 * self._line.delay)
        server = End(self._line)
        pair = (client, server)
        self._pairs.append(pair)
        await asyncio.sleep(3 * self._line.delay)
        await self._line.passable.wait()
        try:
            await self._loop.create_connection(lambda: server, *self._to)
        except OSError:
            client.reset()
        else:
            client.other, server.other = server, client
            client.deliver()
            server.deliver()

    async def _count(self) -> int:
        self._pairs = [pair for pair in self._pairs if not all(end.lost for end in pair)]
        return len(self._pairs)

    async def _cut(self) -> None:
        for task in self._connecting:
            task.cancel()
        for pair in self._pairs:
            for end in pair:
                end.other = None
                end.reset()
        self._pairs.clear()

    async def _freeze(self) -> None:
        self._line.passable.clear()

    async def _thaw(self) -> None:
        self._line.passable.set()
        for pair in self._pairs:
            for end in pair:
                end.deliver()


def main() -> int:
    """Relay until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.relay", description="a TCP relay that delays")
    parser.add_argument("--listen", type=int, default=0, metavar="PORT", help="port on 127.0.0.1; 0: a free one")
    parser.add_argument("--to", required=True, metavar="HOST:PORT", help="the server")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="milliseconds one way")
    options = parser.parse_args()
    host, _, port = options.to.rpartition(":")
    if not host or not port.isdigit():
        parser.error(f"--to: must be HOST:PORT, is {options.to!r}")
    with Relay(to=(host, int(port)), delay_ms=options.delay_ms, port=options.listen) as relay:
        print(f"listening on 127.0.0.1:{relay.port}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
