from __future__ import annotations

import base64
import copy
import json
import pickle
import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.model.secret import MASK, Secret, generate, redact

PASSWORD = "p/ss word+1é?"


def test_a_secret_never_shows_itself() -> None:
    secret = Secret(PASSWORD)
    for shown in (str(secret), repr(secret), f"{secret}", f"{secret:>20}", f"{secret!r}", f"{[secret]}", "%s" % secret):  # noqa: UP031
        assert "ss word" not in shown
        assert MASK in shown
    assert secret.reveal() == PASSWORD


def test_a_secret_cannot_be_written_down_by_accident() -> None:
    secret = Secret(PASSWORD)
    with pytest.raises(TypeError):
        json.dumps({"password": secret})
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled"):
            leave(secret)
    with pytest.raises(TypeError):
        vars(secret)


def test_secrets_compare_by_value() -> None:
    assert Secret("one-value") == Secret("one-value")
    assert Secret("one-value") != Secret("another")
    assert Secret("one-value") != "one-value"
    assert len({Secret("one-value"), Secret("one-value")}) == 1


def test_a_secret_is_text() -> None:
    with pytest.raises(TypeError):
        Secret(b"bytes")  # type: ignore[arg-type]


def test_new_secrets_are_long_different_and_safe_in_addresses() -> None:
    values = {generate().reveal() for _ in range(50)}
    assert len(values) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", value) for value in values)
    assert len(generate(16).reveal()) == 22


@pytest.mark.parametrize(
    "text",
    [
        PASSWORD,
        f"postgres://u:{quote(PASSWORD, safe='')}@db/x",
        f"at {quote(PASSWORD)}",
        quote(PASSWORD, safe="")
        .replace("%2F", "%2f")
        .replace("%C3%A9", "%c3%a9")
        .replace("%2B", "%2b")
        .replace("%3F", "%3f"),
        json.dumps({"password": PASSWORD}),
        base64.b64encode(PASSWORD.encode()).decode(),
        base64.urlsafe_b64encode(PASSWORD.encode()).decode(),
        f"Authorization: Basic {base64.b64encode(f'u:{PASSWORD}'.encode()).decode()}",
        f"Authorization: Basic {base64.b64encode(f'us:{PASSWORD}!'.encode()).decode()}",
        f"Authorization: Basic {base64.b64encode(f'use:{PASSWORD}'.encode()).decode()}",
    ],
)
def test_every_form_of_a_secret_is_masked(text: str) -> None:
    masked = redact(text, [Secret(PASSWORD)])
    assert MASK in masked
    for part in ("ss word", "ss%20word", "ss+word", base64.b64encode(PASSWORD.encode()).decode()[4:-4]):
        assert part not in masked


def test_a_secret_with_quotes_is_masked_in_json() -> None:
    assert redact(json.dumps('say "friend"'), [Secret('say "friend"')]) == '"***"'


def test_a_secret_inside_a_longer_one_leaves_no_rest() -> None:
    assert redact("x longer-password y", [Secret("longer"), Secret("longer-password")]) == "x *** y"


def test_secrets_that_overlap_leave_no_rest() -> None:
    assert redact("x abcdefghij y", [Secret("abcdefg"), Secret("efghij")]) == "x *** y"


def test_ordinary_text_stays() -> None:
    assert redact("5 of 12345 done", [Secret("12345"), Secret("")]) == "5 of 12345 done"
    assert redact("nothing to hide", []) == "nothing to hide"


@given(st.text(st.characters(codec="ascii", min_codepoint=33), min_size=6), st.text(max_size=9), st.text(max_size=9))
def test_no_masked_text_holds_the_secret(value: str, before: str, after: str) -> None:
    masked = redact(before + value + after, [Secret(value)])
    assert value not in masked
    assert MASK in masked


@given(st.binary(max_size=9), st.text(min_size=6, max_size=40), st.binary(max_size=9))
def test_a_secret_is_masked_at_any_place_in_base64(before: bytes, value: str, after: bytes) -> None:
    encoded = base64.b64encode(before + value.encode() + after).decode()
    assert MASK in redact(encoded, [Secret(value)])
