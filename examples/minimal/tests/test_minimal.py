"""The program as visitors and Docker see it: a process, a port, signals."""

import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

SOURCE = Path(__file__).parent.parent


class Server:
    """The program, started with a release.json of its own."""

    def __init__(self, folder: Path, behaviour: dict[str, Any], environment: dict[str, str]) -> None:
        for name in ("app.py", "websocket.py", "healthcheck.py"):
            shutil.copy(SOURCE / name, folder)
        (folder / "release.json").write_text(json.dumps({"start_seconds": 0, **behaviour}), encoding="utf-8")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.folder = folder
        self.environment = {"PORT": str(self.port), "RELEASE": "r1", **environment}
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait(self) -> "Server":
        while self.process.poll() is None and time.monotonic() < self.started + 10:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.01)
            else:
                return self
        raise AssertionError(f"never listened: {self.process.poll()}")

    def client(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)

    def ask(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        with closing(self.client()) as client:
            client.request(method, path, body)
            answer = client.getresponse()
            return answer.status, answer.read().decode().strip()

    def raw(self, data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=15) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def stop(self) -> tuple[int, float]:
        """The exit status after SIGTERM, and how long that took."""
        before = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=15), time.monotonic() - before


Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    servers: list[Server] = []

    def start(environment: dict[str, str] | None = None, **behaviour: Any) -> Server:
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        servers.append(Server(folder, behaviour, environment or {}))
        return servers[-1]

    yield start
    for server in servers:
        server.process.kill()
        server.process.communicate()


def in_background(work: Callable[[], Any]) -> Callable[[], Any]:
    """Start some work now; the returned function waits for what it gives."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()

    def result() -> Any:
        thread.join(20)
        return results[0]

    return result


def test_the_shipped_release_is_the_documented_one() -> None:
    shipped = json.loads((SOURCE / "release.json").read_text(encoding="utf-8"))
    assert shipped == {
        "version": "v1",
        "start_seconds": 1.0,
        "request_ms": 0,
        "crash_at_start": False,
        "healthy": True,
        "die_after": None,
    }


def test_it_tells_its_version_and_release(start: Start) -> None:
    server = start(version="v7").wait()
    assert server.ask("GET", "/") == (200, "v7 r1")
    assert server.ask("GET", "/version") == (200, "v7 r1")
    status, text = server.ask("GET", "/health")
    assert (status, json.loads(text)) == (200, {"status": "ok", "version": "v7", "release": "r1"})


def test_an_unhealthy_release_answers_503_and_its_check_fails(start: Start) -> None:
    for healthy, status, code in ((True, 200, 0), (False, 503, 1)):
        server = start(healthy=healthy).wait()
        assert server.ask("GET", "/health")[0] == status
        check = subprocess.run(
            [sys.executable, "-I", "-S", "healthcheck.py"],
            cwd=server.folder,
            env=server.environment,
            check=False,
            capture_output=True,
        )
        assert check.returncode == code


def test_it_listens_only_after_start_seconds(start: Start) -> None:
    server = start(start_seconds=0.7).wait()
    assert 0.7 <= time.monotonic() - server.started < 3


def test_sigterm_during_the_start_ends_it_at_once(start: Start) -> None:
    server = start(start_seconds=30)
    time.sleep(0.7)
    status, seconds = server.stop()
    assert status == 0
    assert seconds < 1


def test_a_crashing_release_exits_1_and_says_why(start: Start) -> None:
    server = start(crash_at_start=True)
    output, _ = server.process.communicate(timeout=10)
    assert server.process.returncode == 1
    assert "crashes at start" in output


def test_a_dying_release_serves_and_then_exits_1(start: Start) -> None:
    server = start(die_after=0.5).wait()
    assert server.ask("GET", "/")[0] == 200
    assert server.process.wait(timeout=5) == 1


def test_request_ms_delays_requests_but_not_the_health_check(start: Start) -> None:
    server = start(request_ms=300).wait()
    before = time.monotonic()
    server.ask("GET", "/health")
    assert time.monotonic() - before < 0.25
    server.ask("GET", "/")
    assert time.monotonic() - before >= 0.3


def test_many_requests_share_one_connection(start: Start) -> None:
    requests = (
        ("GET", "/", None, 200),
        ("HEAD", "/", None, 200),
        ("POST", "/numbers", "12", 201),
        ("POST", "/numbers", "no", 400),
        ("GET", "/nowhere", None, 404),
        ("DELETE", "/", None, 405),
        ("GET", "/version", None, 200),
    )
    with closing(start().wait().client()) as client:
        client.connect()
        only = client.sock
        for method, path, body, status in requests:
            client.request(method, path, body)
            answer = client.getresponse()
            assert (method, path, answer.status) == (method, path, status)
            assert answer.getheader("X-Release") == "r1"
            assert bool(answer.read()) == (method != "HEAD")
            assert client.sock is only


def test_pipelined_requests_are_answered_in_order(start: Start) -> None:
    one = b"POST /numbers HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n7"
    last = b"GET /numbers/count HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = start().wait().raw(one * 3 + last)
    assert answer.count(b"201 Created") == 3
    assert answer.endswith(b'{"count": 3, "distinct": 1}\n')


def test_connection_close_and_http_1_0_end_the_connection(start: Start) -> None:
    server = start().wait()
    assert b"Connection: close" in server.raw(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"Connection: close" in server.raw(b"GET / HTTP/1.0\r\n\r\n")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"400"),
        (b"GET //[ HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"POST /numbers HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST /numbers HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"POST /numbers HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        (b"POST /numbers HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"501"),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", b"426"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", b"400"),
    ],
)
def test_what_it_does_not_understand_is_refused(start: Start, data: bytes, status: bytes) -> None:
    server = start().wait()
    assert server.raw(data).split(b" ")[1] == status
    assert server.ask("GET", "/")[0] == 200


def test_two_servers_append_to_one_file_and_count_alike(start: Start, tmp_path: Path) -> None:
    environment = {"NUMBERS_FILE": str(tmp_path / "numbers")}
    blue, green = start(environment).wait(), start(environment).wait()

    def send(server: Server, numbers: range) -> None:
        for number in numbers:
            assert server.ask("POST", "/numbers", str(number))[0] == 201

    waits = [
        in_background(partial(send, server, numbers))
        for server, numbers in ((blue, range(150)), (green, range(100, 250)))
    ]
    for wait in waits:
        wait()
    for server in (blue, green):
        assert json.loads(server.ask("GET", "/numbers/count")[1]) == {"count": 300, "distinct": 250}


def test_an_idle_server_exits_0_at_once_and_closes_idle_connections(start: Start) -> None:
    server = start().wait()
    with closing(server.client()) as client:
        client.request("GET", "/")
        client.getresponse().read()
        status, seconds = server.stop()
        assert status == 0
        assert seconds < 0.5
        assert client.sock.recv(1) == b""


def test_a_request_in_flight_is_completed_and_new_connections_are_refused(start: Start) -> None:
    server = start().wait()
    slow = in_background(lambda: server.ask("GET", "/slow?seconds=2"))
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as half:
        half.sendall(b"POST /numbers HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n1")
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=1)
        half.sendall(b"23")
        answer = b"".join(iter(lambda: half.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 201")
        assert b"Connection: close" in answer
    assert slow() == (200, "slept 2 s in v1 r1")
    assert server.process.wait(timeout=5) == 0


def test_an_event_stream_ends_properly_at_sigterm(start: Start) -> None:
    server = start(version="v3").wait()
    modern = in_background(lambda: server.ask("GET", "/stream"))
    old = in_background(lambda: server.raw(b"GET /stream HTTP/1.0\r\n\r\n"))
    time.sleep(1.5)
    status, seconds = server.stop()
    assert (status, seconds < 0.5) == (0, True)
    assert modern()[1] == "data: 1 v3 r1\n\ndata: 2 v3 r1"  # http.client raises when the last chunk is missing
    assert old().endswith(b"\r\n\r\ndata: 1 v3 r1\n\ndata: 2 v3 r1\n\n")


def test_a_websocket_echoes_and_is_closed_with_1001_at_sigterm(start: Start) -> None:
    server = start().wait()
    with connect(f"ws://127.0.0.1:{server.port}/ws", compression=None) as socket_:
        for message in ("hello", "", "ж" * 100, "x" * 70_000, b"\x00\xff"):
            socket_.send(message)
            assert socket_.recv(timeout=5) == message
        socket_.send(["in ", "three ", "parts"])
        assert socket_.recv(timeout=5) == "in three parts"
        assert socket_.ping("are you there").wait(5)
        stop = in_background(server.stop)
        with pytest.raises(ConnectionClosed) as closed:
            socket_.recv(timeout=5)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "service restart")
    status, seconds = stop()
    assert (status, seconds < 1) == (0, True)


def test_a_websocket_client_that_never_answers_the_close_delays_the_end_by_seconds_only(start: Start) -> None:
    server = start().wait()
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as silent:
        silent.sendall(b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in silent.recv(65536)  # the example of RFC 6455, 1.3
        status, seconds = server.stop()
        assert (status, 1.5 < seconds < 4) == (0, True)
        assert silent.recv(65536) == b"\x88\x11\x03\xe9service restart"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x01a", 1002),  # not masked
        (b"\xf1\x80\x00\x00\x00\x00", 1002),  # reserved bits
        (b"\x80\x80\x00\x00\x00\x00", 1002),  # continues nothing
        (b"\x09\x80\x00\x00\x00\x00", 1002),  # a ping in parts
        (b"\x81\xff\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00", 1009),
        (b"\x81\x81\x00\x00\x00\x00\xff", 1007),
    ],
)
def test_a_broken_frame_closes_the_websocket_with_the_right_code(start: Start, frame: bytes, code: int) -> None:
    server = start().wait()
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as client:
        client.sendall(b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        client.recv(65536)
        client.sendall(frame)
        assert client.recv(65536)[2:4] == code.to_bytes(2, "big")
        assert client.recv(65536) == b""
