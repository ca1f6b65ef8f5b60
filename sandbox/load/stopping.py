"""The wish to stop, which wakes everybody who only waits and interrupts nobody who has a request in flight."""

from __future__ import annotations

import asyncio


class Stopping:
    """Shared by all clients of one run; belongs to the event loop it was made in."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._sleeping: set[asyncio.Future[None]] = set()
        self.wish: asyncio.Future[None] = self._loop.create_future()

    @property
    def requested(self) -> bool:
        """Whether somebody has asked to stop."""
        return self.wish.done()

    def request(self) -> None:
        """Ask everybody to stop; asking again changes nothing."""
        if not self.wish.done():
            self.wish.set_result(None)
        for sleeper in self._sleeping:
            wake(sleeper)

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until somebody asks to stop."""
        if self.requested:
            return
        sleeper: asyncio.Future[None] = self._loop.create_future()
        self._sleeping.add(sleeper)
        timer = self._loop.call_later(seconds, wake, sleeper)
        try:
            await sleeper
        finally:
            timer.cancel()
            self._sleeping.discard(sleeper)


def wake(sleeper: asyncio.Future[None]) -> None:
    """End somebody's pause."""
    if not sleeper.done():
        sleeper.set_result(None)
