from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.model.failure import ExitCode, UsageFailure
from fabfile.model.names import domain_name, is_domain, project_name, version_name

CHECKS = (project_name, version_name, domain_name)
HOSTILE = (
    "",
    " ",
    "..",
    "../x",
    "a/b",
    "a;b",
    "$(id)",
    "`id`",
    "a b",
    "-x",
    "--help",
    "x" * 300,
    "магазин",
    "shop\n",
    "shop\x00",
    "shop\u202e",
    "shop'",
    "a\\b",
    "~",
    "*",
)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("check", CHECKS)
def test_hostile_names_are_refused(check: Callable[[str], str], text: str) -> None:
    with pytest.raises(UsageFailure) as caught:
        check(text)
    assert caught.value.code == ExitCode.USAGE
    assert len(caught.value.what) < 200
    assert caught.value.what.isprintable()


@pytest.mark.parametrize("text", ["muscleup", "a", "shop-2", "x1", "a" * 30])
def test_project_names(text: str) -> None:
    assert project_name(text) == text


@pytest.mark.parametrize(
    "text", ["Shop", "2shop", "shop-", "a--b", "a_b", "a.b", "a" * 31, "nginx", "data", "blue", "green", "current"]
)
def test_names_that_no_project_can_have(text: str) -> None:
    with pytest.raises(UsageFailure):
        project_name(text)


def test_a_project_cannot_hide_an_official_image() -> None:
    with pytest.raises(UsageFailure, match="reserved"):
        project_name("postgres")


@pytest.mark.parametrize("text", ["v1.2.3", "1", "a1b2c3d4", "2026-11-23_1", "V1", "x" * 63])
def test_version_names(text: str) -> None:
    assert version_name(text) == text


@pytest.mark.parametrize("text", ["current", "v1.partial", "v1..2", ".v1", "_v1", "v1+build", "x" * 64, "release/1"])
def test_names_that_no_version_can_have(text: str) -> None:
    with pytest.raises(UsageFailure):
        version_name(text)


@pytest.mark.parametrize(
    "text", ["api.muscleup.kz", "localhost", "muscleup.localhost", "xn--80ak6aa92e.com", "a.b.c.d", "1.example.com"]
)
def test_domains(text: str) -> None:
    assert domain_name(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "example",
        "10.0.0.1",
        "a..b",
        ".a.b",
        "a-.com",
        "-a.com",
        "a_b.com",
        "*.example.com",
        "https://example.com",
        "example.com:80",
        "a" * 64 + ".com",
        ".".join(["a" * 60] * 5),
    ],
)
def test_names_that_are_no_domains(text: str) -> None:
    with pytest.raises(UsageFailure):
        domain_name(text)


@pytest.mark.parametrize(
    ("text", "alternative"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("пример.рф", "xn--e1afmkfd.xn--p1ai"),
        ("Bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_the_right_spelling_of_a_domain_is_suggested(text: str, alternative: str) -> None:
    with pytest.raises(UsageFailure, match=f'write it as "{alternative}"'):
        domain_name(text)


def test_no_other_domain_is_suggested_where_the_old_idna_changes_letters() -> None:
    with pytest.raises(UsageFailure) as caught:
        domain_name("straße.de")
    assert "strasse" not in caught.value.what


@given(st.text(max_size=80))
def test_what_passes_is_safe_as_a_word_everywhere(text: str) -> None:
    for check in CHECKS:
        try:
            check(text)
        except UsageFailure:
            continue
        assert text.isascii()
        assert not set(text) & set(" \t\n/\\'\"$`;&|<>(){}[]*?!#~%=:@,")
        assert not text.startswith(("-", "."))
        assert ".." not in text


@given(st.text(max_size=80))
def test_refusing_a_domain_never_crashes(text: str) -> None:
    if not is_domain(text):
        with pytest.raises(UsageFailure):
            domain_name(text)
