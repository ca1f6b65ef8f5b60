from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.model.retention import Release, releases, rollback_target

State = Literal["good", "bad", "unfinished"]
STATES: dict[str, State] = {"+": "good", "-": "bad", "?": "unfinished"}
START = datetime(2026, 11, 1, tzinfo=UTC)


def history(text: str) -> list[Release]:
    """Return releases from `v1+ v2- v3?`: oldest first, + is good, - is bad, ? is unfinished."""
    return [Release(word[:-1], START + timedelta(days=day), STATES[word[-1]]) for day, word in enumerate(text.split())]


FOUND = st.lists(
    st.builds(
        Release,
        st.sampled_from([f"v{number}" for number in range(12)]),
        st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 3)),
        st.sampled_from(["good", "bad", "unfinished"]),
    ),
    unique_by=lambda release: release.name,
)


@pytest.mark.parametrize(
    ("found", "keep", "current", "previous", "running", "kept"),
    [
        ("", 3, None, None, set(), ""),
        ("v1+ v2+ v3+ v4+ v5+", 3, "v5", "v4", set(), "v5 v4 v3"),
        ("v1+ v2+ v3+ v4+ v5+", 1, "v5", "v4", set(), "v5 v4"),
        ("v1+ v2+ v3+ v4+ v5+", 2, "v1", "v2", set(), "v5 v4 v2 v1"),
        ("v1+ v2+ v3+ v4+ v5+", 1, "v5", "v5", {"v2"}, "v5 v2"),
        ("v1+ v2+ v3- v4- v5- v6+", 2, "v6", "v2", set(), "v6 v5 v2"),
        ("v1+ v2- v3- v4- v5-", 3, "v1", None, set(), "v5 v1"),
        ("v1+ v2? v3? v4+", 3, "v4", "v1", set(), "v4 v1"),
        ("v1? v2-", 3, "v1", "v2", set(), "v2 v1"),
        ("v1+ v2+", 0, None, None, set(), ""),
        ("v1+ v2+ v3+", 2, "gone", "lost", {"other"}, "v3 v2"),
    ],
)
def test_which_releases_stay(
    found: str, keep: int, current: str | None, previous: str | None, running: set[str], kept: str
) -> None:
    verdicts = releases(history(found), keep=keep, current=current, previous=previous, running=running)
    assert [verdict.release.name for verdict in verdicts if verdict.keep] == kept.split()


def test_every_verdict_has_its_reason() -> None:
    found = history("v1+ v2+ v3- v4- v5? v6+ v7+ v8+")
    verdicts = releases(found, keep=2, current="v8", previous="v6", running={"v1"})
    assert {verdict.release.name: verdict.why for verdict in verdicts} == {
        "v8": "live",
        "v7": "one of the 2 newest good releases",
        "v6": "was live before",
        "v5": "unfinished",
        "v4": "the newest failed release, kept to look into",
        "v3": "failed, and not the newest that did",
        "v2": "older than the 2 newest good releases",
        "v1": "has containers",
    }


def test_a_negative_number_is_a_bug() -> None:
    with pytest.raises(ValueError, match="-1"):
        releases([], keep=-1, current=None, previous=None, running=set())


@given(FOUND, st.integers(0, 5), st.data())
def test_what_is_live_was_live_or_runs_is_never_removed(found: list[Release], keep: int, data: st.DataObject) -> None:
    names = st.sampled_from([release.name for release in found] or ["x"])
    current, previous, running = data.draw(names), data.draw(names), data.draw(st.sets(names))
    verdicts = releases(found, keep=keep, current=current, previous=previous, running=running)
    assert sorted(verdict.release.name for verdict in verdicts) == sorted(release.name for release in found)
    removed = {verdict.release.name for verdict in verdicts if not verdict.keep}
    assert not removed & {current, previous, *running}
    good = sorted((r for r in found if r.state == "good"), key=lambda r: (r.created, r.name), reverse=True)
    assert not removed & {release.name for release in good[:keep]}


@given(FOUND, st.permutations(range(12)))
def test_the_order_in_which_releases_are_found_does_not_matter(found: list[Release], order: list[int]) -> None:
    shuffled = [found[index] for index in order if index < len(found)]
    assert releases(found, keep=2, current=None, previous=None, running=set()) == releases(
        shuffled, keep=2, current=None, previous=None, running=set()
    )


@pytest.mark.parametrize(
    ("found", "current", "target", "reasons"),
    [
        ("", None, None, ()),
        ("v1+", "v1", None, ()),
        ("v1+ v2+", "v2", "v1", ()),
        ("v1+ v2+ v3+", "v3", "v2", ()),
        ("v1+ v2- v3? v4+", "v4", "v1", ("v3: was never finished", "v2: failed")),
        ("v1+ v2+ v3+", "v2", "v1", ("v3: deployed after v2, which is live",)),
        ("v1+ v2+ v3+", "v1", None, ("v3: deployed after v1, which is live", "v2: deployed after v1, which is live")),
        ("v1+ v2-", "v2", "v1", ()),
        ("v1+ v2+ v3-", None, "v2", ("v3: failed",)),
        ("v1+ v2+", "gone", "v2", ()),
        ("v1- v2+", "v2", None, ("v1: failed",)),
    ],
)
def test_where_a_rollback_goes(found: str, current: str | None, target: str | None, reasons: tuple[str, ...]) -> None:
    release, passed = rollback_target(history(found), current)
    assert (release.name if release else None, passed) == (target, reasons)


@given(FOUND)
def test_a_rollback_never_goes_to_a_bad_release_or_to_the_live_one(found: list[Release]) -> None:
    for current in (None, *(release.name for release in found)):
        target, _ = rollback_target(found, current)
        assert target is None or (target.state == "good" and target.name != current)
