"""The two places an application can run in; visitors are on one of them."""

from __future__ import annotations

from enum import StrEnum


class Colour(StrEnum):
    """One of the two sides of a blue-green deploy."""

    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> Colour:
        """Return the side that this one is not."""
        return Colour.GREEN if self is Colour.BLUE else Colour.BLUE
