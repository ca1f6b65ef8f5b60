"""Responses are complete, cut short or malformed, however the network cuts them into pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.load.response import CutResponseError, MalformedResponseError, Response, ResponseReader

WITH_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Release: v1\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;note=x\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"
AFTER_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + WITH_LENGTH
UNTIL_THE_END = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


def read(pieces: list[bytes]) -> ResponseReader:
    reader = ResponseReader()
    done = [reader.feed(piece) for piece in pieces]
    assert not any(done[:-1])
    return reader


def cut(text: bytes, places: set[int]) -> list[bytes]:
    edges = [0, *sorted(place % len(text) for place in places if place % len(text)), len(text)]
    return [text[begin:end] for begin, end in pairwise(edges) if begin != end]


@given(st.sampled_from([WITH_LENGTH, CHUNKED, AFTER_HINTS]), st.sets(st.integers(1, 200), max_size=20))
def test_a_response_is_the_same_however_it_is_cut_into_pieces(text: bytes, places: set[int]) -> None:
    response = read(cut(text, places)).response
    assert (response.head.status, response.body, response.head.reusable) == (200, b"hello", True)


@pytest.mark.parametrize("text", [WITH_LENGTH, CHUNKED])
def test_a_response_is_incomplete_until_its_last_byte(text: bytes) -> None:
    for length in range(1, len(text)):
        reader = ResponseReader()
        assert not reader.feed(text[:length])
        with pytest.raises(CutResponseError):
            reader.end()


def test_a_response_without_a_length_ends_with_the_connection() -> None:
    reader = read([UNTIL_THE_END])
    reader.end()
    assert (reader.response.body, reader.response.head.reusable) == (b"hello", False)


def test_a_response_without_content_ends_with_its_head() -> None:
    assert read([EMPTY]).response.body == b""


def test_a_missing_part_is_described() -> None:
    reader = ResponseReader()
    assert reader.describe() == "before the response"
    reader.feed(WITH_LENGTH[:20])
    assert reader.describe() == "inside the response's head"
    reader.feed(WITH_LENGTH[20:-2])
    assert reader.describe() == "after 3 of 5 bytes of the body"


@pytest.mark.parametrize(
    "text",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfive\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n",
        WITH_LENGTH + b"!",
        b"x" * 70000,
    ],
)
def test_anything_else_is_malformed(text: bytes) -> None:
    with pytest.raises(MalformedResponseError):
        ResponseReader().feed(text)


def test_a_connection_is_reused_unless_the_server_says_close() -> None:
    def reusable(text: bytes) -> bool:
        response: Response = read([text]).response
        return response.head.reusable

    assert reusable(WITH_LENGTH)
    assert not reusable(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n")
    assert not reusable(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert reusable(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n")
