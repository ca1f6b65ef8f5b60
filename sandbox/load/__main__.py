"""The load generator as a command: `python -m sandbox.load --base http://127.0.0.1:8080 --get / --seconds 10`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from sandbox.load.report import Report
from sandbox.load.run import Run
from sandbox.load.traffic import Traffic, add_options


class Lines(asyncio.Protocol):
    """Hands every line of standard input to the run, and stops it at the end of input."""

    def __init__(self, run: Run) -> None:
        self._run, self._rest = run, b""

    def data_received(self, data: bytes) -> None:
        """Take input, cut anywhere."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._run.mark(line.decode("utf-8", "replace"))

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Stop at the end of input: whoever started us is done, or gone."""
        self._run.stopping.request()


async def execute(traffic: Traffic, options: argparse.Namespace) -> Report:
    """Run until the time is over, a signal comes or standard input ends."""
    run = Run(traffic)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, run.stopping.request)
    if options.seconds:
        loop.call_later(options.seconds, run.stopping.request)
    if options.marks:
        await loop.connect_read_pipe(lambda: Lines(run), sys.stdin)
    return await run.execute(progress=sys.stdout if options.progress else None)


def main() -> int:
    """Return the exit code: 0 when no request failed, 1 when some did, 2 for wrong options."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.load", description=__doc__)
    add_options(parser)
    parser.add_argument("--seconds", type=float, default=0.0, help="how long (default: until SIGINT or SIGTERM)")
    parser.add_argument("--json", type=Path, help="write the report to this file instead of standard output")
    parser.add_argument("--marks", action="store_true", help="read marks from standard input, stop at its end")
    parser.add_argument("--progress", action="store_true", help="print counts as lines of JSON while running")
    options = parser.parse_args()
    try:
        traffic = Traffic.from_arguments(options)
    except ValueError as error:
        parser.error(str(error))
    report = asyncio.run(execute(traffic, options))
    text = report.model_dump_json(indent=2) + "\n"
    if options.json:
        partial = options.json.with_name(options.json.name + ".partial")
        partial.write_text(text)
        partial.replace(options.json)
    else:
        sys.stdout.write(text)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
