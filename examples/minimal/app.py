"""The smallest thing worth deploying: HTTP/1.1, server-sent events and a WebSocket on nothing but the standard library.

`release.json` says how this release behaves, so that a test makes a broken one by changing that file.
"""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import websocket

DEFAULTS: dict[str, Any] = {"version": "v1", "start_seconds": 1.0, "request_ms": 0}
DEFAULTS |= {"crash_at_start": False, "healthy": True, "die_after": None}
BEHAVIOUR = DEFAULTS | json.loads(Path(__file__).with_name("release.json").read_text(encoding="utf-8"))
VERSION = str(BEHAVIOUR["version"])
RELEASE = os.environ.get("RELEASE") or "unknown"
KEEP_ALIVE_SECONDS = 75.0  # longer than nginx's upstream keepalive_timeout
GRACE_SECONDS = 30.0
FAREWELL_SECONDS = 2.0  # for a client to answer the close of its WebSocket
BODY_LIMIT = 1 << 20
REASONS = {200: "OK", 201: "Created", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}
REASONS |= {413: "Content Too Large", 426: "Upgrade Required", 501: "Not Implemented", 503: "Service Unavailable"}

Answer = tuple[int, str]

stopping = asyncio.Event()
tasks: set[asyncio.Task[None]] = set()
idle: set[asyncio.StreamWriter] = set()
sockets: set[asyncio.StreamWriter] = set()


class RefusedError(Exception):
    """A request that cannot be understood: a status and a text; the connection ends with it."""


class Request:
    """One request: its line, its headers in lower case, its body."""

    def __init__(self, head: bytes) -> None:
        line, *fields = head.decode("latin-1").split("\r\n")[:-2]
        match = re.fullmatch(r"([!-~]+) ([!-~]+) HTTP/1\.([01])", line)
        headers = [re.fullmatch(r"([!-9;-~]+):[ \t]*(.*?)[ \t]*", field) for field in fields]
        if not match or not all(headers):
            raise RefusedError(400, "malformed request")
        self.method, target, minor = match.groups()
        try:
            url = urlsplit(target)
        except ValueError:
            raise RefusedError(400, "malformed address") from None
        self.path, self.query = url.path, parse_qs(url.query)
        self.headers: dict[str, str] = {}
        for header in filter(None, headers):
            name = header[1].lower()
            if name == "content-length" and self.headers.get(name, header[2]) != header[2]:
                raise RefusedError(400, "two different Content-Lengths")
            self.headers[name] = header[2]
        self.modern = minor == "1"
        wishes = {wish.strip() for wish in self.headers.get("connection", "").lower().split(",")}
        self.keep_alive = "close" not in wishes and (self.modern or "keep-alive" in wishes)
        self.body = b""

    async def read_body(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read what Content-Length announces."""
        if "transfer-encoding" in self.headers:
            raise RefusedError(501, "send a Content-Length")
        length = self.headers.get("content-length", "0")
        if not re.fullmatch(r"[0-9]{1,15}", length):
            raise RefusedError(400, "malformed Content-Length")
        if int(length) > BODY_LIMIT:
            raise RefusedError(413, f"at most {BODY_LIMIT} bytes")
        if self.headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.body = await reader.readexactly(int(length))


class Numbers:
    """What was posted: lines of NUMBERS_FILE, which all containers share, or a list while the process lives."""

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.memory: list[int] = []
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666) if path else None

    def add(self, number: int) -> None:
        """Store one more."""
        if self.file is None:
            self.memory.append(number)
        else:
            os.write(self.file, b"%d\n" % number)  # one write, appended whole whoever else is writing

    def count(self) -> dict[str, int]:
        """How many there are, and how many different ones."""
        stored = Path(self.path).read_text(encoding="ascii").split() if self.path else self.memory
        return {"count": len(stored), "distinct": len(set(stored))}


async def version(_request: Request, _numbers: Numbers) -> Answer:
    """Which release answers."""
    return 200, f"{VERSION} {RELEASE}"


async def health(_request: Request, _numbers: Numbers) -> Answer:
    """What release.json says."""
    status = "ok" if BEHAVIOUR["healthy"] else "failed"
    return (200 if BEHAVIOUR["healthy"] else 503), json.dumps(
        {"status": status, "version": VERSION, "release": RELEASE}
    )


async def slow(request: Request, _numbers: Numbers) -> Answer:
    """An answer that takes its time."""
    seconds = request.query.get("seconds", ["10"])[0]
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?", seconds):
        return 400, "seconds must be a number"
    await asyncio.sleep(float(seconds))
    return 200, f"slept {seconds} s in {VERSION} {RELEASE}"


async def add_number(request: Request, numbers: Numbers) -> Answer:
    """Store the number in the body, also when it is there already."""
    if not re.fullmatch(rb"[0-9]{1,18}", request.body.strip()):
        return 400, "send a decimal number"
    numbers.add(int(request.body))
    return 201, "stored"


async def count_numbers(_request: Request, numbers: Numbers) -> Answer:
    """How many there are."""
    return 200, json.dumps(numbers.count())


ROUTES: dict[str, tuple[set[str], Callable[[Request, Numbers], Awaitable[Answer]]]] = {
    "/": ({"GET", "HEAD"}, version),
    "/version": ({"GET", "HEAD"}, version),
    "/health": ({"GET", "HEAD"}, health),
    "/slow": ({"GET", "HEAD"}, slow),
    "/numbers": ({"POST"}, add_number),
    "/numbers/count": ({"GET", "HEAD"}, count_numbers),
}


async def answer(request: Request, numbers: Numbers) -> Answer:
    """The status and the text for a request."""
    if request.path not in ROUTES:
        return 404, "not found"
    methods, handler = ROUTES[request.path]
    if request.method not in methods:
        return 405, f"only {' '.join(sorted(methods))}"
    if handler is not health and BEHAVIOUR["request_ms"]:
        await asyncio.sleep(BEHAVIOUR["request_ms"] / 1000)
    return await handler(request, numbers)


def response(status: int, text: str, *, keep_alive: bool, head_only: bool = False) -> bytes:
    """A complete response."""
    body = f"{text}\n".encode()
    kind = "application/json" if text.startswith("{") else "text/plain; charset=utf-8"
    connection = "keep-alive" if keep_alive else "close"
    head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    head += f"Connection: {connection}\r\nX-Release: {RELEASE}\r\n\r\n"
    return head.encode() + (b"" if head_only else body)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, numbers: Numbers) -> None:
    """Answer the requests of one connection, one after the other."""
    keep_alive = True
    while keep_alive:
        idle.add(writer)
        try:
            async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                first = await reader.readexactly(1)
                idle.discard(writer)  # from here on it is a request in flight
                request = Request(first + await reader.readuntil(b"\r\n\r\n"))
                await request.read_body(reader, writer)
        finally:
            idle.discard(writer)
        if request.path == "/ws" and request.method == "GET":
            await serve_websocket(request, reader, writer)
            return
        if request.path == "/stream" and request.method == "GET":
            await serve_events(request, writer)
            return
        status, text = await answer(request, numbers)
        keep_alive = request.keep_alive and not stopping.is_set()
        writer.write(response(status, text, keep_alive=keep_alive, head_only=request.method == "HEAD"))
        await writer.drain()


async def serve_events(request: Request, writer: asyncio.StreamWriter) -> None:
    """One event per second, and a proper end of the stream when the process ends."""
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\n"
    head += f"X-Release: {RELEASE}\r\nConnection: close\r\n"
    writer.write((head + ("Transfer-Encoding: chunked\r\n\r\n" if request.modern else "\r\n")).encode())
    number = 0
    while not stopping.is_set():
        number += 1
        event = f"data: {number} {VERSION} {RELEASE}\n\n".encode()
        writer.write(b"%x\r\n%b\r\n" % (len(event), event) if request.modern else event)
        await writer.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await stopping.wait()
    writer.write(b"0\r\n\r\n" if request.modern else b"")


async def serve_websocket(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Echo until the client closes, or, after our own goodbye at the end of the process, until it answers that."""
    key = request.headers.get("sec-websocket-key")
    if request.headers.get("upgrade", "").lower() != "websocket" or not key:
        raise RefusedError(426, "this is a WebSocket")
    writer.write(websocket.handshake(key))
    sockets.add(writer)
    if stopping.is_set():
        say_goodbye(writer)
    try:
        async for opcode, data in websocket.frames(reader):
            if writer in sockets:  # else our close is sent, and nothing may follow it
                writer.write(websocket.reply(opcode, data))
                await writer.drain()
            if opcode == websocket.CLOSE:
                return
    except websocket.ClosedError as closed:
        if writer in sockets:
            writer.write(websocket.closing(*closed.args))
    finally:
        sockets.discard(writer)


def say_goodbye(writer: asyncio.StreamWriter) -> None:
    """Close a WebSocket; its client has a moment to answer."""
    sockets.discard(writer)
    writer.write(websocket.closing(1001, "service restart"))
    asyncio.get_running_loop().call_later(FAREWELL_SECONDS, writer.close)


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: int, text: str) -> None:
    """Answer a request that was not read to its end; what is still coming must not turn the answer into a reset."""
    with suppress(ConnectionError, TimeoutError):
        writer.write(response(status, text, keep_alive=False))
        writer.write_eof()
        async with asyncio.timeout(1):
            while await reader.read(1 << 16):
                pass


async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, numbers: Numbers) -> None:
    """Serve a connection to its end, whatever the client does to it."""
    task = asyncio.current_task()
    if task is not None:
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    try:
        await serve(reader, writer, numbers)
    except RefusedError as refused:
        await refuse(reader, writer, *refused.args)
    except asyncio.LimitOverrunError:
        await refuse(reader, writer, 400, "headers too long")
    except (asyncio.IncompleteReadError, TimeoutError, ConnectionError):
        pass  # the client has gone, or was silent for too long
    finally:
        writer.close()
        with suppress(ConnectionError, TimeoutError):
            await writer.wait_closed()


async def main() -> None:
    """Listen until SIGTERM or SIGINT, then finish what is in flight."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    with suppress(TimeoutError):
        async with asyncio.timeout(BEHAVIOUR["start_seconds"]):
            await stopping.wait()
    if stopping.is_set():
        return
    numbers = Numbers(os.environ.get("NUMBERS_FILE"))
    port = int(os.environ.get("PORT") or 8000)
    server = await asyncio.start_server(lambda r, w: connected(r, w, numbers), "0.0.0.0", port, backlog=2048)  # noqa: S104
    print(f"{VERSION} {RELEASE} listens on port {port}", flush=True)
    if BEHAVIOUR["die_after"] is not None:
        loop.call_later(BEHAVIOUR["die_after"], die)
    await stopping.wait()
    print(f"stopping: {len(tasks)} connections, {len(idle)} of them idle", flush=True)
    server.close()
    for writer in tuple(sockets):
        say_goodbye(writer)
    await asyncio.sleep(0.02)  # a request that has just arrived gets its turn to be in flight
    for writer in tuple(idle):
        writer.close()
    if tasks:
        await asyncio.wait(tasks, timeout=GRACE_SECONDS)


def die() -> None:
    """End as a crash does."""
    print(f"{VERSION} dies, as release.json says", file=sys.stderr, flush=True)
    os._exit(1)


if __name__ == "__main__":
    if BEHAVIOUR["crash_at_start"]:
        sys.exit(f"{VERSION} crashes at start, as release.json says")
    asyncio.run(main())
