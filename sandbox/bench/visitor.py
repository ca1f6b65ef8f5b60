"""A visitor who asks again and again over new connections and notes which version answers when."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

EVERY_SECONDS = 0.02
TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer: when it was complete (monotonic clock), and its first word; empty when there was none."""

    time: float
    version: str


class Visitor:
    """Asks for one page every 20 ms from entering the context until leaving it.

    Arguments:
        port: port 80 of the server, on this machine.
        domain: the site.
    """

    def __init__(self, port: int, domain: str, path: str = "/version") -> None:
        self._port, self._domain, self._path = port, domain, path
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask_on, name="visitor", daemon=True)
        self.seen: list[Seen] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def first(self, version: str) -> float:
        """Return when a version answered first."""
        return next(seen.time for seen in self.seen if seen.version == version)

    @property
    def failed(self) -> int:
        """How often there was no good answer."""
        return sum(not seen.version for seen in self.seen)

    def _ask_on(self) -> None:
        due = time.monotonic()
        while not self._ended.is_set():
            version = self._ask()
            self.seen.append(Seen(time.monotonic(), version))
            due = max(due + EVERY_SECONDS, time.monotonic())
            self._ended.wait(due - time.monotonic())

    def _ask(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("GET", self._path, headers={"Host": self._domain, "Connection": "close"})
            answer = connection.getresponse()
            text = answer.read().decode()
            return text.split()[0] if answer.status == http.client.OK and text.strip() else ""
        except (OSError, http.client.HTTPException):
            return ""
        finally:
            connection.close()
