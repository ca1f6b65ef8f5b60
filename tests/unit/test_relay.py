"""The relay delays by exactly so much, and loses the connection when told to."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sandbox.relay import Relay

ROOT = Path(__file__).parents[2]


def echo(connection: socket.socket) -> None:
    with connection:
        try:
            while data := connection.recv(1 << 20):
                connection.sendall(data)
        except OSError:
            return


def greet(connection: socket.socket) -> None:
    with connection:
        connection.sendall(b"SSH-2.0-server\r\n")


class Server:
    """A server on a free port that handles each connection in a thread."""

    def __init__(self, handle: Callable[[socket.socket], None]) -> None:
        self.accepted = 0
        self._handle = handle
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._threads.append(threading.Thread(target=self._handle, args=(connection,)))
            self._threads[-1].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()


@pytest.fixture
def server() -> Iterator[Server]:
    with closing(Server(echo)) as server:
        yield server


def connect(relay: Relay) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", relay.port), timeout=5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def round_trip(connection: socket.socket, data: bytes = b"ping") -> float:
    """Return the seconds until the data is back."""
    begin = time.perf_counter()
    connection.sendall(data)
    received = b""
    while len(received) < len(data):
        received += connection.recv(1 << 20)
    assert received == data
    return time.perf_counter() - begin


def test_a_round_trip_takes_twice_the_delay_and_the_first_one_twice_as_long(server: Server) -> None:
    firsts, others = [], []
    with Relay(to=server.address, delay_ms=20) as relay:
        for _ in range(2):
            with connect(relay) as connection:
                firsts.append(round_trip(connection))
                others += [round_trip(connection) for _ in range(2)]
    assert 0.080 <= min(firsts) < 0.095
    assert 0.040 <= min(others) < 0.050


def test_a_server_that_speaks_first_is_heard_after_two_round_trips() -> None:
    with closing(Server(greet)) as server, Relay(to=server.address, delay_ms=20) as relay:
        begin = time.perf_counter()
        with connect(relay) as connection:
            assert connection.recv(100) == b"SSH-2.0-server\r\n"
            assert 0.080 <= time.perf_counter() - begin < 0.2
            assert connection.recv(100) == b""


def test_bytes_are_late_but_not_slow(server: Server) -> None:
    payload = bytes(range(256)) * 4096 * 16  # 16 MiB
    received = bytearray()

    def receive() -> None:
        while len(received) < len(payload):
            received.extend(connection.recv(1 << 20))

    with Relay(to=server.address, delay_ms=50) as relay, connect(relay) as connection:
        round_trip(connection)
        begin = time.perf_counter()
        reader = threading.Thread(target=receive)
        reader.start()
        connection.sendall(payload)
        reader.join(5)
        seconds = time.perf_counter() - begin
    assert received == payload
    assert 0.1 <= seconds < 2  # a sleep of 50 ms for each piece of 256 KiB would add up to 3.2 s


def test_a_cut_resets_both_sides_and_new_connections_work(server: Server) -> None:
    with Relay(to=server.address) as relay:
        with connect(relay) as connection:
            round_trip(connection)
            assert relay.connections == 1
            relay.cut()
            assert relay.connections == 0
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
        with connect(relay) as connection:
            round_trip(connection)


def test_a_frozen_line_is_silent_and_delivers_everything_when_thawed(server: Server) -> None:
    with Relay(to=server.address, delay_ms=1) as relay, connect(relay) as connection:
        round_trip(connection)
        relay.freeze()
        connection.sendall(b"held back")
        connection.settimeout(0.15)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        late = connect(relay)
        late.sendall(b"late")
        time.sleep(0.05)
        assert server.accepted == 1
        relay.thaw()
        connection.settimeout(5)
        assert connection.recv(100) == b"held back"
        assert late.recv(100) == b"late"
        late.close()


def test_the_end_of_one_direction_leaves_the_other_open(server: Server) -> None:
    with Relay(to=server.address, delay_ms=5) as relay:
        with connect(relay) as connection:
            connection.sendall(b"last words")
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(100) == b"last words"
            assert connection.recv(100) == b""
        deadline = time.monotonic() + 2
        while relay.connections and time.monotonic() < deadline:
            time.sleep(0.01)
        assert relay.connections == 0


def test_a_server_that_refuses_is_a_reset() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with Relay(to=taken.getsockname()) as relay, connect(relay) as connection, pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_the_command_prints_its_port(server: Server) -> None:
    host, port = server.address
    command = [sys.executable, "-m", "sandbox.relay", "--to", f"{host}:{port}", "--delay-ms", "10"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", process.stdout.readline())
        assert found
        with socket.create_connection(("127.0.0.1", int(found[1])), timeout=5) as connection:
            assert round_trip(connection) >= 0.040
        process.terminate()
