"""The end of a process: answer what was asked, say goodbye on what is open, then go.

uvicorn waits for every open connection before it runs the lifespan's shutdown, so an event stream or a WebSocket that
waits for that shutdown would wait for ever; and it closes WebSockets itself, at once and with its own code. So the
signal comes here first: streams end, WebSockets are closed, and only then uvicorn's own handler is called. It stops
accepting, lets the requests in flight finish and ends the process.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

logger = logging.getLogger(__name__)

FAREWELL_SECONDS = 2.0  # how long a client may take to answer the close of its WebSocket

Handler = Callable[[int, FrameType | None], object]


class Shutdown:
    """Tells everything long-lived that the process is about to end, and waits until it has let go."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self._open = 0
        self._none_open = asyncio.Event()
        self._none_open.set()
        self._farewell: asyncio.Task[None] | None = None

    @contextmanager
    def holds(self) -> Iterator[None]:
        """While inside, the process's end waits (for a short while) for this connection's goodbye."""
        self._open += 1
        self._none_open.clear()
        try:
            yield
        finally:
            self._open -= 1
            if not self._open:
                self._none_open.set()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While inside, SIGTERM and SIGINT come here first and to the handler found (uvicorn's) afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals belong to the main thread; a server in another one is stopped by its owner
            self.requested.set()
            return
        loop = asyncio.get_running_loop()
        found = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def on_signal(number: int, frame: FrameType | None) -> None:
            after = found[signal.Signals(number)]
            if not callable(after):
                after = signal.default_int_handler
            loop.call_soon_threadsafe(self._begin, after, number, frame)

        for number in found:
            signal.signal(number, on_signal)
        try:
            yield
        finally:
            self.requested.set()  # uvicorn also ends for reasons of its own, without a signal
            for number, handler in found.items():
                signal.signal(number, handler)

    def _begin(self, after: Handler, number: int, frame: FrameType | None) -> None:
        if self.requested.is_set():
            after(number, frame)  # the second signal is for those in a hurry
            return
        logger.info("%s: closing %d open streams and sockets", signal.Signals(number).name, self._open)
        self.requested.set()
        self._farewell = asyncio.create_task(self._say_goodbye(after, number, frame))

    async def _say_goodbye(self, after: Handler, number: int, frame: FrameType | None) -> None:
        try:
            async with asyncio.timeout(FAREWELL_SECONDS + 0.5):
                await self._none_open.wait()
        except TimeoutError:
            logger.warning("%d streams and sockets are still open", self._open)
        after(number, frame)
