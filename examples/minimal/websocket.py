"""The frames of RFC 6455, no more than a server needs to echo and to say goodbye."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
MESSAGE_LIMIT = 1 << 20


class ClosedError(Exception):
    """What a client sent is not acceptable: the code and the reason to close with."""


def handshake(key: str) -> bytes:
    """The response that turns the connection into a WebSocket."""
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()  # noqa: S324 - RFC 6455, 4.2.2
    head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return f"{head}Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n\r\n".encode()


def frame(opcode: int, payload: bytes) -> bytes:
    """A whole, unmasked WebSocket frame (RFC 6455, 5.2)."""
    if len(payload) < 126:
        return bytes((0x80 | opcode, len(payload))) + payload
    if len(payload) < 1 << 16:
        return bytes((0x80 | opcode, 126)) + len(payload).to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + len(payload).to_bytes(8, "big") + payload


def closing(code: int, reason: str) -> bytes:
    """A close frame."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason.encode())


async def frames(reader: asyncio.StreamReader) -> AsyncIterator[tuple[int, bytes]]:
    """Whole messages and control frames of a client; ClosedError for a broken one."""
    message, kind = b"", 0
    while True:
        first, second = await reader.readexactly(2)
        opcode, length = first & 0x0F, second & 0x7F
        if length >= 126:
            length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
        control = opcode >= CLOSE
        if first & 0x70 or not second & 0x80 or opcode not in {0, TEXT, BINARY, CLOSE, PING, PONG}:
            raise ClosedError(1002, "protocol error")
        if (control and (length > 125 or not first & 0x80)) or (not control and (opcode == 0) != (kind != 0)):
            raise ClosedError(1002, "protocol error")
        if length + len(message) > MESSAGE_LIMIT:
            raise ClosedError(1009, "message too big")
        mask = await reader.readexactly(4)
        data = await reader.readexactly(length)
        key = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
        data = (int.from_bytes(data, "big") ^ key).to_bytes(length, "big")
        if control:
            yield opcode, data
            continue
        message, kind = message + data, kind or opcode
        if first & 0x80:
            yield kind, message
            message, kind = b"", 0


def reply(opcode: int, data: bytes) -> bytes:
    """The frame that answers a message or control frame; empty where none is due."""
    if opcode == TEXT:
        try:
            data.decode()
        except UnicodeDecodeError:
            raise ClosedError(1007, "not UTF-8") from None
    answers = {TEXT: TEXT, BINARY: BINARY, PING: PONG, CLOSE: CLOSE}
    return frame(answers[opcode], data) if opcode in answers else b""
