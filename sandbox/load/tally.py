"""The count of one session: messages, and the silence between them."""

from __future__ import annotations

import time

from sandbox.load.report import Session


class Tally:
    """Counts the messages of one WebSocket or event stream from now on."""

    def __init__(self) -> None:
        self.opened = self._latest = time.time()
        self.sent = self.messages = 0
        self._longest_gap = 0.0

    def message(self, count: int = 1) -> None:
        """Count messages that arrive now."""
        now = time.time()
        self._longest_gap = max(self._longest_gap, now - self._latest)
        self._latest = now
        self.messages += count

    def end(self, *, closed: float, closed_by: str, reason: str, code: int | None = None) -> Session:
        """Return the session as the report lists it; `closed` is in seconds since the epoch."""
        return Session(
            opened=self.opened,
            closed=closed,
            seconds=round(closed - self.opened, 6),
            code=code,
            reason=reason,
            closed_by=closed_by,
            sent=self.sent,
            messages=self.messages,
            longest_gap_seconds=round(max(self._longest_gap, closed - self._latest), 6),
        )
