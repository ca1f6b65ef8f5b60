"""The load generator counts exactly what a visitor would have suffered."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from sandbox.load import Load, LoadError, Report
from sandbox.load.run import Run
from sandbox.load.traffic import Traffic, add_options

ROOT = Path(__file__).parents[2]
OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"release":"v1"}'
Condition = Callable[[Run], bool]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GET_ONLY: dict[str, Any] = {"get": ("/",), "idle": 0, "keep_alive": 4, "new_connection": 4, "rate": 2000}


async def requests_of(reader: asyncio.StreamReader) -> Any:
    """Yield first line and body of each request of a connection."""
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        lines = head.decode().split("\r\n")
        length = next((int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:")), 0)
        yield lines[0], await reader.readexactly(length)


def reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def answering(*pieces: bytes, close: bool = False) -> Handler:
    """Return a server that answers every request with these pieces."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for _ in requests_of(reader):
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0)
            if close:
                return

    return handle


def closing(handler: Handler) -> Handler:
    """Return the same server, which closes its connections also when it is cancelled."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):  # asyncio logs a cancelled handler as an error
            await handler(reader, writer)
        writer.close()

    return handle


async def cancel_others() -> None:
    """End all that servers are still doing."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)


def requests(count: int) -> Condition:
    """Return the condition that so many requests are done."""
    return lambda run: len(run.ledger.outcomes) >= count


async def execute(traffic: Traffic, until: Condition) -> Report:
    """Return the report on this traffic, told to stop when the condition holds, or after 5 seconds."""
    run = Run(traffic)

    async def stop() -> None:
        async with asyncio.timeout(5):
            while not until(run):
                await asyncio.sleep(0.005)
        run.stopping.request()

    report, _ = await asyncio.gather(run.execute(), stop())
    return report


async def loaded(handler: Handler, *, until: Condition, **options: Any) -> Report:
    """Return the report on this traffic against this server."""
    async with await asyncio.start_server(closing(handler), "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        report = await execute(Traffic(base=f"http://127.0.0.1:{port}", **options), until)
        await cancel_others()
        return report


def test_healthy_traffic_has_no_failure_and_names_its_release() -> None:
    report = asyncio.run(loaded(answering(OK), until=requests(50), **GET_ONLY))
    assert report.failed == 0
    assert set(report.by_kind) == {"keep-alive", "new-connection"}
    assert report.releases["v1"].count == report.requests
    assert 0 < (report.p50_ms or 0) <= (report.p99_ms or 0) <= (report.max_ms or 0)


def test_every_reset_is_one_failure() -> None:
    seen, resets = 0, 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen, resets
        async for _ in requests_of(reader):
            seen += 1
            if seen % 10 == 0:
                resets += 1
                reset(writer)
                return
            writer.write(OK)

    report = asyncio.run(loaded(handle, until=requests(50), **GET_ONLY))
    assert resets > 3
    assert (report.requests, report.failed) == (seen, resets)
    assert report.errors == {"connection reset before the response": resets}
    assert sum(figures.failed for figures in report.by_kind.values()) == resets


def test_an_announced_close_is_no_failure() -> None:
    polite = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    report = asyncio.run(loaded(answering(polite, close=True), until=requests(50), **GET_ONLY))
    assert report.failed == 0


def test_a_close_that_is_seen_before_writing_is_no_failure() -> None:
    report = asyncio.run(loaded(answering(OK, close=True), until=requests(50), **GET_ONLY))
    assert report.failed == 0


def test_a_close_after_writing_is_a_failure() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for _ in requests_of(reader):
            return

    report = asyncio.run(loaded(handle, until=requests(50), **GET_ONLY))
    assert report.failed == report.requests > 0
    assert set(report.errors) == {"connection closed before the response"}


def test_a_chunked_answer_in_many_pieces_is_read_completely() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = (head, b"8\r\n", b'{"releas', b"\r\n8\r\ne", b'":"v2"}\r\n', b"0\r\n", b"\r\n")
    report = asyncio.run(loaded(answering(*pieces), until=requests(50), **GET_ONLY))
    assert (report.failed, list(report.releases)) == (0, ["v2"])


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (OK[:-3], "connection closed after 13 of 16 bytes of the body"),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "status 503"),
        (b"HTTP/1.1 301 Moved Permanently\r\nContent-Length: 0\r\nLocation: /\r\n\r\n", "status 301"),
        (b"nonsense\r\n\r\n", "malformed response: status line 'nonsense'"),
    ],
)
def test_anything_but_a_complete_success_is_a_failure(answer: bytes, error: str) -> None:
    report = asyncio.run(loaded(answering(answer, close=True), until=requests(8), **GET_ONLY))
    assert report.failed == report.requests > 0
    assert set(report.errors) == {error}


def test_silence_is_a_failure_after_the_timeout() -> None:
    report = asyncio.run(loaded(answering(), until=requests(4), timeout=0.1, **GET_ONLY))
    assert report.failed == report.requests > 0
    assert set(report.errors) == {"timeout before the response"}
    assert all(failure.seconds >= 0.1 for failure in report.failures)


def test_a_refused_connection_is_a_failure() -> None:
    async def refused() -> Report:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can answer there
            traffic = Traffic(base=f"http://127.0.0.1:{taken.getsockname()[1]}", **GET_ONLY)
            return await execute(traffic, requests(8))

    report = asyncio.run(refused())
    assert report.failed == report.requests > 0
    assert set(report.errors) == {"cannot connect: Connection refused"}


def test_every_post_is_sent_once_and_those_without_an_answer_are_listed() -> None:
    arrived: list[int] = []
    dropped: list[int] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for first, body in requests_of(reader):
            assert first == "POST /notes HTTP/1.1"
            document = json.loads(body)
            assert document["run"] == "r7"
            arrived.append(document["number"])
            if document["number"] % 7 == 0:
                dropped.append(document["number"])
                reset(writer)
                return
            writer.write(OK)

    report = asyncio.run(loaded(handle, until=requests(50), post="/notes", run="r7", rate=2000))
    assert dropped
    assert sorted(arrived) == list(range(1, report.posts.sent + 1))
    assert report.posts.unacknowledged == sorted(dropped)
    assert report.posts.acknowledged == report.posts.sent - len(dropped)
    assert report.failed == len(dropped)
    assert set(report.by_kind) == {"post-keep-alive", "post-new-connection"}


def test_a_long_request_in_flight_is_finished_when_told_to_stop() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for _ in requests_of(reader):
            await asyncio.sleep(0.2)
            writer.write(OK)

    report = asyncio.run(loaded(handle, until=lambda run: run.ledger.in_flight["slow"] > 0, slow="/slow"))
    (slow,) = report.slow_requests
    assert slow.ok
    assert slow.seconds >= 0.2


def test_a_run_with_nothing_left_to_do_ends_by_itself() -> None:
    report = asyncio.run(loaded(answering(OK), until=requests(6), slow="/slow", slow_clients=2, slow_times=3))
    assert (len(report.slow_requests), report.failed) == (6, 0)


def test_a_websocket_that_the_server_closes_is_recorded_and_opened_again() -> None:
    hosts = []

    async def echo(socket: ServerConnection) -> None:
        assert socket.request is not None
        hosts.append(socket.request.headers["Host"])
        await socket.send(await socket.recv())
        await socket.send("something more")
        await socket.close(1012, "restart")

    async def run() -> Report:
        async with serve(echo, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            traffic = Traffic(base=f"http://127.0.0.1:{port}", host="shop.localhost", websocket="/ws")
            return await execute(traffic, lambda run: len(run.ledger.websocket_sessions) > 1)

    report = asyncio.run(run())
    assert report.failed == 0
    assert len(report.websocket_sessions) > 1
    assert set(hosts) == {"shop.localhost"}
    first = report.websocket_sessions[0]
    assert (first.code, first.reason, first.closed_by, first.sent, first.messages) == (1012, "restart", "server", 1, 2)
    assert report.started <= first.opened <= first.closed <= report.ended


def test_a_websocket_that_is_cut_has_code_1006_and_one_that_lives_is_closed_by_the_client() -> None:
    async def handle(socket: ServerConnection) -> None:
        first = not handled
        handled.append(True)
        async for message in socket:
            await socket.send(message)
            if first:
                await asyncio.sleep(0.05)
                socket.transport.abort()

    async def run() -> Report:
        async with serve(handle, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            traffic = Traffic(base=f"http://127.0.0.1:{port}", websocket="/ws")
            return await execute(traffic, lambda run: len(handled) == 2 and run.ledger.in_flight["websocket"] > 0)

    handled: list[bool] = []
    cut, living = asyncio.run(run()).websocket_sessions
    assert (cut.code, cut.closed_by, cut.messages) == (1006, "server", 1)
    assert cut.seconds >= 0.05
    assert (living.code, living.closed_by) == (1000, "client")


def test_a_refused_websocket_is_a_failure() -> None:
    report = asyncio.run(
        loaded(answering(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"), until=requests(1), websocket="/ws")
    )
    assert report.failed == report.requests > 0
    assert set(report.errors) == {"status 502"}


def test_an_event_stream_is_counted_until_its_end_and_opened_again() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for _ in requests_of(reader):
            writer.write(head + b"9\r\ndata: 1\n\n\r\n")
            await asyncio.sleep(0.05)
            writer.write(b"9\r\ndata: 2\n\n\r\n")
            ended.append(True)
            if len(ended) == 1:
                writer.write(b"0\r\n\r\n")
            elif len(ended) == 2:
                await asyncio.sleep(0.02)  # a reset would overtake the event
                reset(writer)
            else:
                await asyncio.sleep(5)

    ended: list[bool] = []
    report = asyncio.run(loaded(handle, until=lambda _: len(ended) == 3, stream="/events"))
    assert report.failed == 0
    sessions = report.stream_sessions
    assert [one.closed_by for one in sessions] == ["server", "server", "client"]
    assert [one.messages for one in sessions[:2]] == [2, 2]
    assert sessions[0].reason == "end of the stream"
    assert sessions[1].reason.startswith("connection reset after ")


def test_a_refused_event_stream_is_a_failure() -> None:
    bad = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nbad"
    report = asyncio.run(loaded(answering(bad), until=requests(1), stream="/events"))
    assert report.failed == report.requests > 0
    assert (set(report.errors), report.stream_sessions) == ({"status 502"}, [])


@contextmanager
def served(handler: Handler) -> Iterator[str]:
    """Serve in a thread and yield the base URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def close() -> None:
        server.close()
        await cancel_others()

    server = asyncio.run_coroutine_threadsafe(asyncio.start_server(closing(handler), "127.0.0.1"), loop).result()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_load_runs_beside_the_caller_and_tells_what_happened_inside_its_windows() -> None:
    with served(answering(OK)) as base:
        with Load(base=base, host="shop.localhost", get=("/", "/a"), post="/notes", run="r1", rate=300) as load:
            with load.window("deploy v2"):
                before = load.progress.requests
                seen = load.wait_until(lambda now: now.requests > before + 50, within=10, what="50 requests")
            load.mark("that was all")
        report = load.stop()
    assert (seen.failed, report.failed) == (0, 0)
    assert report.requests >= seen.requests > 50
    assert [mark.text for mark in report.marks] == ["begin deploy v2", "end deploy v2", "that was all"]
    assert [window.name for window in report.windows] == ["deploy v2"]
    assert report.inside.requests >= 50
    assert report.posts.acknowledged == report.posts.sent > 0
    assert report.cpu_seconds > 0
    with pytest.raises(LoadError, match="not running"):
        load.mark("too late")


def test_a_load_that_breaks_says_so() -> None:
    wrong = pytest.raises(LoadError, match="ended with exit code -9")
    with wrong, Load(base="http://127.0.0.1:9", get=("/",)) as load:
        assert load._process is not None
        load._process.kill()
        load.wait_until(lambda _: False, within=5, what="nothing")


def test_the_command_finishes_and_writes_its_report_on_sigterm(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    with served(answering(OK)) as base:
        command = [
            sys.executable,
            "-m",
            "sandbox.load",
            "--base",
            base,
            "--get",
            "/",
            "--progress",
            "--json",
            str(file),
        ]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
    report = Report.model_validate_json(file.read_text())
    assert report.failed == 0


def test_a_command_line_describes_the_same_traffic() -> None:
    traffic = Traffic(base="http://127.0.0.1:8080", host="shop.localhost", get=("/", "/a"), rate=5, slow="/s?seconds=1")
    parser = argparse.ArgumentParser()
    add_options(parser)
    assert Traffic.from_arguments(parser.parse_args(traffic.arguments)) == traffic


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": "https://x"}, "base: must be http://ADDRESS:PORT"),
        ({"get": ()}, "nothing to do"),
        ({"get": ("no-slash",)}, "a path starts with /"),
        ({"get": ("/a b",)}, "a path starts with /"),
        ({"host": "a\r\nb"}, "host: must be printable"),
        ({"rate": 0}, "rate: must be above 0"),
        ({"release_pattern": "("}, "release_pattern"),
        ({"release_pattern": "v1"}, "must have a group"),
    ],
)
def test_traffic_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Traffic(**{"base": "http://127.0.0.1:1", "get": ("/",), **options})


@pytest.mark.parametrize(
    ("answer", "options"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Release: v9\r\nContent-Length: 2\r\n\r\nhi", {}),
        (b"HTTP/1.1 200 OK\r\nServed-By: v9\r\nContent-Length: 2\r\n\r\nhi", {"release_header": "Served-By"}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nrelease v9", {"release_pattern": r"release (\S+)"}),
    ],
)
def test_a_release_is_found_in_a_header_or_in_text(answer: bytes, options: dict[str, Any]) -> None:
    report = asyncio.run(loaded(answering(answer), until=requests(1), **GET_ONLY, **options))
    assert list(report.releases) == ["v9"]
