"""The clients: who sends which request when, over which kind of connection."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from sandbox.load.connection import Connection, ExchangeError
from sandbox.load.ledger import Ledger
from sandbox.load.report import Outcome
from sandbox.load.response import Response
from sandbox.load.stopping import Stopping
from sandbox.load.traffic import Traffic

IDLE_SECONDS = (2.0, 8.0)
AFTER_FAILURE_SECONDS = 0.05


class Request(NamedTuple):
    """The bytes to write; a POST has a number."""

    path: str
    content: bytes
    number: int | None = None


Requests = Callable[[], Request]
Pace = Callable[[], float]


class Client:
    """Somebody who asks again and again.

    Arguments:
        kind: the word that the report uses for these requests.
        requests: makes the next request.
        pace: seconds from the start of one request to the start of the next; a late answer is not made up for.
        fresh: open a connection for every request.
        times: how many requests; 0 for no limit.
    """

    def __init__(
        self,
        traffic: Traffic,
        ledger: Ledger,
        *,
        kind: str,
        requests: Requests,
        pace: Pace,
        fresh: bool,
        timeout: float,
        times: int = 0,
    ) -> None:
        self._ledger, self._kind, self._requests, self._pace = ledger, kind, requests, pace
        self._fresh, self._timeout, self._times = fresh, timeout, times
        self._address = traffic.address
        self._release = ReleaseFinder(traffic)
        self._connection: Connection | None = None

    async def work(self, stopping: Stopping) -> None:
        """Send requests until told to stop, and finish the one that is in flight."""
        await stopping.pause(random.random() * self._pace())  # noqa: S311 - spreads load, protects nothing
        done = 0
        while not stopping.requested:
            due = time.perf_counter() + self._pace()
            answered = await self._send(self._requests())
            done += 1
            if done == self._times:
                break
            await stopping.pause(max(due - time.perf_counter(), 0 if answered else AFTER_FAILURE_SECONDS))
        if self._connection is not None:
            self._connection.close()

    async def _send(self, request: Request) -> bool:
        start, clock = time.time(), time.perf_counter()
        status, release, error = None, None, None
        self._ledger.in_flight[self._kind] += 1
        try:
            connection = await self._connect()
            remaining = self._timeout - (time.perf_counter() - clock)
            response = await connection.ask(request.content, within=max(remaining, 0.0))
        except ExchangeError as failure:
            error = str(failure)
        else:
            status, release = response.head.status, self._release.find(response)
            error = None if 200 <= status < 300 else f"status {status}"
            if self._fresh:
                connection.close()
        finally:
            self._ledger.in_flight[self._kind] -= 1
        seconds = time.perf_counter() - clock
        self._ledger.add(Outcome(self._kind, request.path, start, seconds, status, error, release), request.number)
        return error is None

    async def _connect(self) -> Connection:
        """Return the connection to write to: the kept one unless the server has closed it by now."""
        if self._fresh or self._connection is None or not self._connection.is_open():
            if self._connection is not None:
                self._connection.close()
            self._connection = await Connection.open(self._address, within=self._timeout)
        return self._connection


class ReleaseFinder:
    """Finds the name of the release that answered: in a header, a JSON field or by a pattern in the body."""

    def __init__(self, traffic: Traffic) -> None:
        self._header, self._field = traffic.release_header.lower(), traffic.release_json_field
        self._pattern = re.compile(traffic.release_pattern) if traffic.release_pattern else None

    def find(self, response: Response) -> str | None:
        """Return the name, or None where the response does not tell it."""
        if named := response.head.headers.get(self._header):
            return named
        if self._pattern:
            found = self._pattern.search(response.body.decode("utf-8", "replace"))
            return found.group(1) if found else None
        if self._field and "json" in response.head.headers.get("content-type", ""):
            return self._find_field(response.body)
        return None

    def _find_field(self, body: bytes) -> str | None:
        try:
            document = json.loads(body)
        except ValueError:
            return None
        value = document.get(self._field) if isinstance(document, dict) else None
        return None if value is None else str(value)


def get_requests(traffic: Traffic, paths: tuple[str, ...]) -> Requests:
    """Return a maker of GET requests for these paths in turn."""
    prepared = [Request(path, head(traffic, "GET", path) + b"\r\n") for path in paths]
    turn = random.randrange(len(prepared))  # noqa: S311 - spreads load, protects nothing

    def make() -> Request:
        nonlocal turn
        turn = (turn + 1) % len(prepared)
        return prepared[turn]

    return make


def post_requests(traffic: Traffic, numbers: Iterator[int]) -> Requests:
    """Return a maker of numbered POST requests; makers that share `numbers` never send one twice."""
    start = head(traffic, "POST", traffic.post) + f"Content-Type: {traffic.post_type}\r\nContent-Length: ".encode()
    template = traffic.post_body.replace("{run}", traffic.run)

    def make() -> Request:
        number = next(numbers)
        body = template.replace("{number}", str(number)).encode()
        return Request(traffic.post, start + b"%d\r\n\r\n%b" % (len(body), body), number)

    return make


def head(traffic: Traffic, method: str, path: str) -> bytes:
    """Return the first lines of a request."""
    return f"{method} {path} HTTP/1.1\r\nHost: {traffic.host_header}\r\nAccept: */*\r\n".encode("ascii")


def all_clients(traffic: Traffic, ledger: Ledger) -> list[Client]:
    """Return the clients that the traffic consists of."""
    if_get, if_post = bool(traffic.get), bool(traffic.post)
    keep_alive, new_connection = traffic.keep_alive * if_get, traffic.new_connection * if_get
    post_keep_alive, post_new_connection = traffic.post_keep_alive * if_post, traffic.post_new_connection * if_post
    busy = keep_alive + new_connection + post_keep_alive + post_new_connection
    mean = busy / traffic.rate

    def spread() -> float:
        return random.uniform(0, 2 * mean)  # noqa: S311 - spreads load, protects nothing

    def idle() -> float:
        return random.uniform(*IDLE_SECONDS)  # noqa: S311 - spreads load, protects nothing

    def some(count: int, kind: str, requests: Callable[[], Requests], *, fresh: bool, pace: Pace) -> list[Client]:
        return [
            Client(traffic, ledger, kind=kind, requests=requests(), pace=pace, fresh=fresh, timeout=traffic.timeout)
            for _ in range(count)
        ]

    def gets() -> Requests:
        return get_requests(traffic, traffic.get)

    def posts() -> Requests:
        return post_requests(traffic, ledger.numbers)

    return [
        *some(keep_alive, "keep-alive", gets, fresh=False, pace=spread),
        *some(new_connection, "new-connection", gets, fresh=True, pace=spread),
        *some(traffic.idle * if_get, "idle", gets, fresh=False, pace=idle),
        *some(post_keep_alive, "post-keep-alive", posts, fresh=False, pace=spread),
        *some(post_new_connection, "post-new-connection", posts, fresh=True, pace=spread),
        *slow_clients(traffic, ledger),
    ]


def slow_clients(traffic: Traffic, ledger: Ledger) -> list[Client]:
    """Return the clients that send the long request, one after the other."""
    return [
        Client(
            traffic,
            ledger,
            kind="slow",
            requests=get_requests(traffic, (traffic.slow,)),
            pace=lambda: 0.0,
            fresh=True,
            timeout=traffic.slow_timeout,
            times=traffic.slow_times,
        )
        for _ in range(traffic.slow_clients if traffic.slow else 0)
    ]
