"""Values that must never be seen: hidden by their type, and removed from text that others wrote."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from collections.abc import Iterable, Iterator
from typing import Final, Never
from urllib.parse import quote, quote_plus

MASK = "***"
SHORTEST_REDACTED = 6  # shorter values occur in ordinary text: masking them would hide the message, not the secret


class Secret:
    """A text that shows as `***` wherever it is printed; `reveal()` is the only way to it."""

    __slots__ = ("__text",)
    __text: Final[str]

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"a secret is text, not {type(text).__name__}")
        self.__text = text

    def reveal(self) -> str:
        """Return the text itself, to be sent on stdin or written into a 0600 file."""
        return self.__text

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK

    def __format__(self, specification: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__text.encode(), other.__text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self.__text))

    def __reduce_ex__(self, protocol: object) -> Never:
        raise TypeError("a secret cannot be pickled or copied")


def generate(length_bytes: int = 32) -> Secret:
    """Return a new random secret of `[A-Za-z0-9_-]` that holds `length_bytes` bytes of randomness."""
    return Secret(secrets.token_urlsafe(length_bytes))


def redact(text: str, secrets: Iterable[Secret]) -> str:
    """Return `text` with every raw, JSON, percent-encoded and base64 form of the secrets replaced by `***`."""
    values = {secret.reveal() for secret in secrets}
    forms = {form for value in values if len(value) >= SHORTEST_REDACTED for form in _forms(value)}
    spans = sorted(span for form in forms for span in _occurrences(text, form))
    # Overlapping finds become one: masking them one after the other would leave the tail of the second.
    pieces: list[str] = []
    end = 0
    for first, last in spans:
        if first > end or not pieces:
            pieces += [text[end:first], MASK]
        end = max(end, last)
    return "".join([*pieces, text[end:]])


def _forms(value: str) -> Iterator[str]:
    yield value
    yield json.dumps(value)[1:-1]
    for encoded in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield encoded
        yield _lower_escapes(encoded)
    data = value.encode()
    yield from _base64_forms(data)


def _lower_escapes(encoded: str) -> str:
    head, *escapes = encoded.split("%")
    return "%".join([head, *(escape[:2].lower() + escape[2:] for escape in escapes)])


def _base64_forms(data: bytes) -> Iterator[str]:
    """Yield what `data` looks like alone, and at each of the three positions inside a longer text (`user:password`)."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(data).decode()
        for offset in range(3):
            # Characters at the edges also hold bits of the neighbours: take only those that hold bits of ours.
            first, last = -(-offset * 8 // 6), (offset + len(data)) * 8 // 6
            yield encode(bytes(offset) + data).decode()[first:last]


def _occurrences(text: str, form: str) -> Iterator[tuple[int, int]]:
    index = text.find(form)
    while index >= 0:
        yield index, index + len(form)
        index = text.find(form, index + 1)
