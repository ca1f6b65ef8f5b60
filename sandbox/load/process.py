"""The load generator in a process of its own, so that it neither waits for us nor we for it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from sandbox.load.report import Report
from sandbox.load.traffic import Traffic

ROOT = Path(__file__).parents[2]
START_SECONDS = 20.0


class LoadError(RuntimeError):
    """The load generator itself broke; nothing is known about the server."""


@dataclass(frozen=True)
class Progress:
    """Counts while the load is running."""

    requests: int = 0
    failed: int = 0
    in_flight: dict[str, int] = field(default_factory=dict)
    """Requests and sessions under way, by kind (`slow`, `websocket`, ...)."""


class Load(Traffic):
    """Traffic that flows from entering the context until `stop()`; takes the fields of `Traffic` by keyword."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._progress: Progress | None = None
        self._report: Report | None = None
        self._process: subprocess.Popen[str] | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._listener: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None and self._report is None:
                self.stop()
        finally:
            self._discard()

    def start(self) -> None:
        """Start the process and return once its clients are at work.

        Raises:
            LoadError: it did not come up; the message has its error output.
        """
        self._directory = tempfile.TemporaryDirectory(prefix="load-")
        folder = Path(self._directory.name)
        command = [sys.executable, "-m", "sandbox.load", "--marks", "--progress", f"--json={folder / 'report.json'}"]
        with (folder / "errors").open("w") as errors:
            self._process = subprocess.Popen(
                [*command, *self.arguments],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # Ctrl-C is for us; we tell the process when to stop
            )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._wait(lambda: self._progress is not None, within=START_SECONDS, what="the start of the load generator")

    def mark(self, text: str) -> None:
        """Name this moment in the report; `begin NAME` and `end NAME` enclose a window.

        Raises:
            LoadError: the load generator is not running any more.
        """
        stdin = self._running().stdin
        assert stdin is not None  # noqa: S101 - made by start()
        assert "\n" not in text  # noqa: S101 - a wrong caller is a bug
        try:
            stdin.write(f"{time.time():.6f} {text}\n")
            stdin.flush()
        except OSError:
            raise self._broken("it has ended") from None

    @contextmanager
    def window(self, name: str) -> Iterator[None]:
        """Report on the requests that are under way inside this context by themselves."""
        self.mark(f"begin {name}")
        try:
            yield
        finally:
            self.mark(f"end {name}")

    @property
    def progress(self) -> Progress:
        """The latest counts, at most half a second old."""
        return self._progress or Progress()

    def wait_until(self, condition: Callable[[Progress], bool], *, within: float, what: str) -> Progress:
        """Return the counts as soon as they satisfy the condition.

        Arguments:
            within: seconds.
            what: what is waited for, for the message.

        Raises:
            LoadError: not within that time; the message has the latest counts.
        """
        self._wait(lambda: condition(self.progress), within=within, what=what)
        return self.progress

    def stop(self, *, within: float = 60.0) -> Report:
        """Finish what is in flight and return the report; later calls return the same report.

        Arguments:
            within: seconds, which must be enough for a long request.

        Raises:
            LoadError: no report within that time; the message has the error output.
        """
        if self._report is None:
            process = self._running()
            assert process.stdin is not None  # noqa: S101 - made by start()
            assert self._directory is not None  # noqa: S101 - made by start()
            process.stdin.close()
            try:
                process.wait(within)
            except subprocess.TimeoutExpired:
                raise self._broken(f"it did not stop within {within:g} s") from None
            file = Path(self._directory.name) / "report.json"
            if not file.exists():
                raise self._broken(f"it ended with exit code {process.returncode} and without a report")
            self._report = Report.model_validate_json(file.read_text())
            self._discard()
        return self._report

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise LoadError("the load generator is not running")
        return self._process

    def _wait(self, condition: Callable[[], bool], *, within: float, what: str) -> None:
        deadline = time.monotonic() + within
        while not condition():
            if self._running().poll() is not None:
                raise self._broken(f"it ended with exit code {self._running().returncode}")
            if time.monotonic() > deadline:
                raise self._broken(f"waited {within:g} s for {what}; last seen: {self._progress}")
            time.sleep(0.02)

    def _listen(self) -> None:
        stdout = self._running().stdout
        assert stdout is not None  # noqa: S101 - made by start()
        for line in stdout:
            self._progress = Progress(**json.loads(line))

    def _broken(self, what: str) -> LoadError:
        """Return the error with what the process wrote, and end the process."""
        errors = Path(self._directory.name, "errors").read_text().strip() if self._directory else ""
        self._discard()
        return LoadError(f"load generator: {what}\n{errors}".rstrip())

    def _discard(self) -> None:
        """End the process, if it is still there, and remove its files."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._listener is not None:
                self._listener.join()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None and not pipe.closed:
                    pipe.close()
            self._process = None
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None
