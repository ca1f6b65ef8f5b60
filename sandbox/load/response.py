"""HTTP/1.1 responses, read exactly: complete, cut short, or malformed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

LONGEST_HEAD = 65536


class MalformedResponseError(Exception):
    """The bytes are not an HTTP/1.1 response."""


class CutResponseError(Exception):
    """The connection ended before the response was complete."""


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and header fields, names in lower case."""

    status: int
    headers: dict[str, str]
    reusable: bool
    """Whether the server keeps the connection open for another request."""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response."""

    head: Head
    body: bytes


class Expected(Enum):
    """The next thing a response consists of."""

    HEAD = auto()
    BODY = auto()
    BODY_UNTIL_END = auto()
    CHUNK_SIZE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILER = auto()
    NOTHING = auto()


class ResponseReader:
    """Turns the bytes of one response into a `Response`.

    Arguments:
        on_body: called with each piece of the body instead of collecting it (event streams never end).
    """

    def __init__(self, on_body: Callable[[bytes], None] | None = None) -> None:
        self.head: Head | None = None
        self.received = 0
        self._expected = Expected.HEAD
        self._buffer = b""
        self._parts: list[bytes] = []
        self._on_body = on_body or self._parts.append
        self._remaining = 0

    @property
    def response(self) -> Response:
        """The response; only when `feed` or `end` said that it is complete."""
        assert self.head is not None  # noqa: S101 - a wrong caller is a bug
        assert self._expected is Expected.NOTHING  # noqa: S101 - a wrong caller is a bug
        return Response(self.head, b"".join(self._parts))

    def feed(self, data: bytes) -> bool:
        """Take received bytes and return whether the response is complete.

        Raises:
            MalformedResponseError: also for bytes after the end of the response, as they belong to no request.
        """
        self._buffer += data
        while self._expected is not Expected.NOTHING and self._advance():
            pass
        if self._expected is not Expected.NOTHING:
            return False
        if self._buffer:
            raise MalformedResponseError(f"{len(self._buffer)} bytes after the end of the response")
        return True

    def end(self) -> None:
        """Take the end of the connection, which completes a response without a declared length.

        Raises:
            CutResponseError: the response is not complete.
        """
        if self._expected is Expected.BODY_UNTIL_END:
            self._expected = Expected.NOTHING
        if self._expected is not Expected.NOTHING:
            raise CutResponseError(self.describe())

    def describe(self) -> str:
        """Return how far the response came."""
        if self.head is None:
            return "inside the response's head" if self._buffer else "before the response"
        if self._expected is Expected.BODY:
            return f"after {self.received} of {self.received + self._remaining} bytes of the body"
        return f"after {self.received} bytes of the body"

    def _advance(self) -> bool:
        """Consume the next thing and return False when more bytes are needed for it."""
        match self._expected:
            case Expected.HEAD:
                return self._take_head()
            case Expected.BODY | Expected.CHUNK:
                return self._take_body(self._remaining)
            case Expected.BODY_UNTIL_END:
                return self._take_body(len(self._buffer))
            case _:
                return self._take_line()

    def _take_head(self) -> bool:
        text, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            if len(self._buffer) > LONGEST_HEAD:
                raise MalformedResponseError("the response's head does not end")
            return False
        self._buffer = rest
        head = parse_head(text)
        if head.status >= 200 or head.status == 101:  # the others only announce the response
            self.head = head
            self._expected, self._remaining = framing(head)
        return True

    def _take_body(self, most: int) -> bool:
        piece, self._buffer = self._buffer[:most], self._buffer[most:]
        if not piece:
            return False
        self.received += len(piece)
        self._on_body(piece)
        if self._expected is not Expected.BODY_UNTIL_END:
            self._remaining -= len(piece)
            if not self._remaining:
                self._expected = Expected.NOTHING if self._expected is Expected.BODY else Expected.CHUNK_END
        return True

    def _take_line(self) -> bool:
        line, found, rest = self._buffer.partition(b"\r\n")
        if not found:
            return False
        self._buffer = rest
        if self._expected is Expected.CHUNK_SIZE:
            self._remaining = parse_chunk_size(line)
            self._expected = Expected.CHUNK if self._remaining else Expected.TRAILER
        elif self._expected is Expected.CHUNK_END:
            if line:
                raise MalformedResponseError("a chunk is longer than its size")
            self._expected = Expected.CHUNK_SIZE
        elif not line:
            self._expected = Expected.NOTHING
        return True


def parse_head(text: bytes) -> Head:
    """Return the head of a response from its bytes without the empty line."""
    first, *lines = text.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status = rest[:3]
    if version not in {"HTTP/1.1", "HTTP/1.0"} or not (status.isascii() and status.isdigit() and len(status) == 3):
        raise MalformedResponseError(f"status line {first[:60]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    tokens = headers.get("connection", "").lower()
    return Head(int(status), headers, "keep-alive" in tokens if version == "HTTP/1.0" else "close" not in tokens)


def framing(head: Head) -> tuple[Expected, int]:
    """Return what follows a head and, where it is known, how many bytes (RFC 9112, section 6.3)."""
    length = head.headers.get("content-length")
    if head.status in {101, 204, 304}:
        return Expected.NOTHING, 0
    if "chunked" in head.headers.get("transfer-encoding", "").lower():
        return Expected.CHUNK_SIZE, 0
    if length is None:
        return Expected.BODY_UNTIL_END, 0
    if not (length.isascii() and length.isdigit()):
        raise MalformedResponseError(f"Content-Length {length[:30]!r}")
    return (Expected.BODY, int(length)) if int(length) else (Expected.NOTHING, 0)


def parse_chunk_size(line: bytes) -> int:
    """Return the size that a chunk's first line declares."""
    digits = line.partition(b";")[0].strip()
    try:
        return int(digits, 16)
    except ValueError:
        raise MalformedResponseError(f"chunk size {line[:30]!r}") from None
