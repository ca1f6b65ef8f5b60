"""The running service: real processes, a real PostgreSQL and Redis, real signals."""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import unittest
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

FOLDER = Path(__file__).parent.parent
DATABASE_URL = os.environ.get("DATABASE_URL", "")
REDIS_URL = os.environ.get("REDIS_URL", "")
NOWHERE = "127.0.0.1:9"


class Service:
    """`python -m app` with two workers on a free port."""

    def __init__(self, **changes: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        secrets = {"SECRET_KEY": "not secret", "CSRF_SECRET_KEY": "nor is this"}
        settings = {"PORT": str(self.port), "WORKERS": "2", "RELEASE": "test", "RATE_LIMIT_PER_MINUTE": "10"}
        settings |= {"ENVIRONMENT": "production", **secrets, **changes}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app"],
            cwd=FOLDER,
            env={**os.environ, **settings},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 30
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the service does not answer; exit status {self.process.poll()}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            self.ask("GET", "/api/v1/version")
        except OSError:
            return False
        return True

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        sent = {"content-type": "application/json", **(headers or {})}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as client:
            client.request(method, path, None if body is None else json.dumps(body), sent)
            answer = client.getresponse()
            return answer.status, json.loads(answer.read())

    def socket(self) -> connect:
        return connect(f"ws://127.0.0.1:{self.port}/api/v1/vision/ws/pose", proxy=None)

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@unittest.skipUnless(DATABASE_URL and REDIS_URL, "DATABASE_URL and REDIS_URL are not set")
class ServiceTest(unittest.TestCase):
    service: Service

    @classmethod
    def setUpClass(cls) -> None:
        migrate = [sys.executable, "-m", "alembic", "upgrade", "head"]
        subprocess.run(migrate, cwd=FOLDER, check=True, stdout=subprocess.DEVNULL)
        cls.service = Service()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.service.kill()

    def test_health_checks_both_and_tells_the_release(self) -> None:
        assert self.service.ask("GET", "/health") == (200, {"status": "ok", "release": "test"})

    def test_the_images_health_check_agrees(self) -> None:
        script = [sys.executable, "-I", "-S", "app/healthcheck.py"]
        for port, status in ((self.service.port, 0), (9, 1)):
            check = subprocess.run(script, cwd=FOLDER, env={"PORT": str(port)}, check=False, stdout=subprocess.DEVNULL)
            assert check.returncode == status

    def test_a_number_sent_twice_is_two_rows(self) -> None:
        run = f"test-{uuid.uuid4()}"
        self.addCleanup(asyncio.run, forget(run))
        for number in (1, 2, 2):
            status, stored = self.service.ask("POST", "/api/v1/workouts", {"number": number, "note": "é", "run": run})
            assert (status, stored["number"], stored["run"]) == (201, number, run)
        assert self.service.ask("GET", f"/api/v1/workouts/count?run={run}") == (200, {"count": 3, "distinct": 2})
        status, newest = self.service.ask("GET", "/api/v1/workouts?limit=1")
        assert (status, len(newest)) == (200, 1)

    def test_what_cannot_be_stored_is_refused(self) -> None:
        for body in ({}, {"number": "x"}, {"number": 2**63}, {"number": 1, "note": "\x00"}):
            assert self.service.ask("POST", "/api/v1/workouts", body)[0] == 422

    def test_the_counter_is_shared_through_redis(self) -> None:
        counts = [self.service.ask("GET", "/api/v1/cached")[1]["count"] for _ in range(5)]
        assert counts == sorted(set(counts))

    def test_the_greeting_comes_with_the_code(self) -> None:
        greeting = (FOLDER / "app" / "greeting.txt").read_text(encoding="utf-8").strip()
        assert self.service.ask("GET", "/api/v1/greeting") == (200, {"greeting": greeting, "release": "test"})

    def test_production_shows_no_documentation(self) -> None:
        for path in ("/docs", "/redoc", "/openapi.json"):
            assert self.service.ask("GET", path)[0] == 404

    def test_a_login_needs_a_csrf_token_and_is_limited_per_client_and_minute(self) -> None:
        client = {"x-forwarded-for": f"2001:db8::{uuid.uuid4().hex[:4]}"}
        _, csrf = self.service.ask("GET", "/api/v1/auth/csrf")
        trusted = {**client, "x-csrf-token": csrf["token"]}
        time.sleep(max(0.0, time.time() % 60 - 50) * 1.1)  # not across the turn of the minute
        status, session = self.service.ask("POST", "/api/v1/auth/login", {"name": "guest"}, trusted)
        assert (status, session["access_token"].count(".")) == (200, 1)
        for _ in range(9):
            assert self.service.ask("POST", "/api/v1/auth/login", {"name": "guest"}, client)[0] == 403
        assert self.service.ask("POST", "/api/v1/auth/login", {"name": "guest"}, trusted)[0] == 429

    def test_a_pose_is_answered(self) -> None:
        async def talk() -> list[Any]:
            async with self.service.socket() as pose:
                answers = []
                for message in ('{"seq": 7}', "not json", b"bytes"):
                    await pose.send(message)
                    answers.append(await pose.recv())
                return answers

        first, second, third = asyncio.run(talk())
        assert json.loads(first) == {"seq": 7, "release": "test"}
        assert (second, third) == ("not json", "only text is understood")


@unittest.skipUnless(DATABASE_URL and REDIS_URL, "DATABASE_URL and REDIS_URL are not set")
class BrokenServicesTest(unittest.TestCase):
    def check(self, expected: str, **changes: str) -> None:
        service = Service(WORKERS="1", **changes)
        self.addCleanup(service.kill)
        before = time.monotonic()
        status, answer = service.ask("GET", "/health")
        assert status == 503
        assert time.monotonic() - before < 4
        assert {name for name in ("postgres", "redis") if answer[name] != "ok"} == {expected}

    def test_health_names_postgres(self) -> None:
        self.check("postgres", DATABASE_URL=f"postgresql+asyncpg://nobody@{NOWHERE}/nothing")

    def test_health_names_redis(self) -> None:
        self.check("redis", REDIS_URL=f"redis://{NOWHERE}/0")


@unittest.skipUnless(DATABASE_URL and REDIS_URL, "DATABASE_URL and REDIS_URL are not set")
class ShutdownTest(unittest.IsolatedAsyncioTestCase):
    async def test_an_idle_service_ends_within_a_second_with_status_0(self) -> None:
        for workers in ("1", "2"):
            service = Service(WORKERS=workers)
            self.addCleanup(service.kill)
            await asyncio.sleep(1)  # for the second worker
            before = time.monotonic()
            service.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(service.process.wait, 10) == 0
            assert time.monotonic() - before < 1.5

    async def test_at_sigterm_requests_are_finished_and_what_is_open_is_closed_politely(self) -> None:
        for workers in ("1", "2"):
            service = Service(WORKERS=workers)
            self.addCleanup(service.kill)
            slow = [asyncio.to_thread(service.ask, "GET", "/api/v1/slow?seconds=5") for _ in range(4)]
            flying = asyncio.gather(*slow)
            poses = [asyncio.create_task(talk_until_closed(service, pause)) for pause in (0, 0.05, 0.3, 60)]
            streams = [asyncio.create_task(read_stream(service.port)) for _ in range(3)]
            await asyncio.sleep(1.5)
            service.process.send_signal(signal.SIGTERM)
            before = time.monotonic()
            assert await asyncio.gather(*poses) == [(1001, "service restart")] * 4
            for text in await asyncio.gather(*streams):
                assert text.endswith(b"\r\n0\r\n\r\n")
            assert time.monotonic() - before < 2
            assert [status for status, _ in await flying] == [200] * 4
            assert await asyncio.to_thread(service.process.wait, 10) == 0


async def talk_until_closed(service: Service, pause: float) -> tuple[int, str]:
    """The code and reason of the server's close, after talking once every `pause` seconds till then."""
    async with service.socket() as pose:
        try:
            for number in range(1_000_000):
                await pose.send(json.dumps({"seq": number}))
                assert json.loads(await pose.recv())["seq"] == number
                await wait_or_closed(pose, pause)
        except ConnectionClosed:
            return pose.close_code or 0, pose.close_reason or ""
    raise AssertionError("never closed")


async def wait_or_closed(pose: ClientConnection, seconds: float) -> None:
    """Return after some seconds, or as soon as the connection is closed."""
    try:
        async with asyncio.timeout(seconds):
            await pose.wait_closed()
    except TimeoutError:
        pass


async def read_stream(port: int) -> bytes:
    """Everything a stream sends until its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    text = await reader.read()
    writer.close()
    return text


async def forget(run: str) -> None:
    """Delete the rows of a run."""
    connection = await asyncpg.connect(DATABASE_URL.replace("+asyncpg", ""))
    await connection.execute("DELETE FROM workouts WHERE run = $1", run)
    await connection.close()
