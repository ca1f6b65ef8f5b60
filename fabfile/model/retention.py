"""Which releases stay on the server and which one a rollback goes to: arithmetic with reasons."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True)
class Release:
    """One release directory: its version, when it was deployed, and how that ended."""

    name: str
    created: datetime
    state: Literal["good", "bad", "unfinished"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a release, and why."""

    release: Release
    keep: bool
    why: str


def releases(
    found: Sequence[Release], *, keep: int, current: str | None, previous: str | None, running: Set[str]
) -> list[Verdict]:
    """Return a verdict for every release found, newest first.

    Arguments:
        keep: how many good releases stay, counted from the newest; failed ones take none of these places.
        current: the live version; it always stays.
        previous: the version that was live before; it always stays.
        running: versions that have containers; they always stay.
    """
    if keep < 0:
        raise ValueError(f"cannot keep {keep} releases")
    ordered = newest_first(found)
    good = [release.name for release in ordered if release.state == "good"]
    bad = [release.name for release in ordered if release.state == "bad"]

    def verdict(release: Release) -> Verdict:
        name, state = release.name, release.state
        for stays, why in (
            (name == current, "live"),
            (name == previous, "was live before"),
            (name in running, "has containers"),
            (name in good[:keep], f"one of the {keep} newest good releases" if keep > 1 else "the newest good release"),
            (name in bad[:1], "the newest failed release, kept to look into"),
        ):
            if stays:
                return Verdict(release, keep=True, why=why)
        if state == "good":
            return Verdict(release, keep=False, why=f"older than the {keep} newest good releases")
        return Verdict(
            release, keep=False, why="failed, and not the newest that did" if state == "bad" else "unfinished"
        )

    return [verdict(release) for release in ordered]


def rollback_target(found: Sequence[Release], current: str | None) -> tuple[Release | None, tuple[str, ...]]:
    """Return the newest good release from before the current one, and why newer ones were passed over.

    A release deployed after the current one was left by a rollback: going there again must be asked for by name. Where
    the current release is not among those found, the newest good one of all is meant.
    """
    live = next((release for release in found if release.name == current), None)
    passed: list[str] = []
    for release in newest_first(found):
        if release.name == current:
            continue
        if live and _age(release) > _age(live):
            passed.append(f"{release.name}: deployed after {live.name}, which is live")
        elif release.state == "good":
            return release, tuple(passed)
        else:
            passed.append(f"{release.name}: {'failed' if release.state == 'bad' else 'was never finished'}")
    return None, tuple(passed)


def newest_first(found: Sequence[Release]) -> list[Release]:
    """Return the releases by time, newest first; names decide between equal times."""
    return sorted(found, key=_age, reverse=True)


def _age(release: Release) -> tuple[datetime, str]:
    return release.created, release.name
