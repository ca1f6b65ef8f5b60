"""What people see: quiet, one line a step; colours and a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

HEARTBEAT_SECONDS = 10
UNLIMITED_WIDTH = 10_000  # a file or pipe has no width: what is folded there cannot be read or searched


def console() -> Console:
    """Return the console for standard output; plain where there is no terminal or `NO_COLOR` is set."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


class Screen:
    """Reports the steps of a command.

    Arguments:
        prefix: name of the host, printed when there are several.
        quiet: print nothing but notes (with `--json`).
        verbose: print every line of long commands too (always on when `SLIPWAY_VERBOSE` is set).
    """

    def __init__(self, *, prefix: str = "", quiet: bool = False, verbose: bool = False) -> None:
        self._console = console()
        self._prefix, self._quiet = prefix, quiet
        self._verbose = verbose or bool(os.environ.get("SLIPWAY_VERBOSE"))
        self._live = self._console.is_terminal and not quiet
        self._ticker: _Ticker | None = None

    def title(self, text: str) -> None:
        """Print the first line of a command."""
        self._print(f"[bold]{_plain(text)}[/bold]")

    def begin(self, name: str, what: str) -> None:
        """Say that a step begins."""
        if self._quiet:
            return
        self._ticker = _Ticker(self, name, what)
        self._ticker.start()

    def line(self, text: str) -> None:
        """Take a line of output of the running step."""
        if self._ticker is not None:
            self._ticker.last = text.strip()
        if self._verbose and not self._quiet:
            self._print(f"    [dim]{_plain(text)}[/dim]")

    def end(self, name: str, detail: str, seconds: float, outcome: str) -> None:
        """Say how a step ended."""
        if self._quiet:
            return
        if self._ticker is not None:
            self._ticker.stop()
            self._ticker = None
        mark = "[green]✓[/green]" if outcome == "done" else "[red]✗[/red]"
        self._print(f"  {mark} {name:<14} {seconds:6.2f} s  [dim]{_plain(detail)}[/dim]".rstrip())

    def note(self, text: str) -> None:
        """Print a remark that people should read."""
        if self._ticker is not None:
            self._ticker.clear()
        if not self._quiet:
            self._print(f"    {_plain(text)}")
        else:
            with contextlib.suppress(OSError):
                print(text, file=sys.stderr)

    def result(self, text: str) -> None:
        """Print how it all ended."""
        if not self._quiet:
            self._print(_plain(text))

    def _print(self, text: str) -> None:
        if self._quiet:
            return
        prefix = f"[cyan]{self._prefix}[/cyan] " if self._prefix else ""
        # A terminal that went away is no reason to stop halfway; of a broken pipe rich makes an exit.
        with contextlib.suppress(OSError, SystemExit):
            self._console.print(prefix + text)

    def transient(self, text: str) -> None:
        """Show a line that the next one replaces (terminals only)."""
        width = max(20, self._console.width - 1)
        with contextlib.suppress(OSError):
            self._console.file.write("\r\x1b[K" + text[:width])
            self._console.file.flush()

    def heartbeat(self, name: str, seconds: float, last: str) -> None:
        """Show that a long step goes on."""
        if self._live:
            self.transient(f"  … {name:<14} {seconds:6.1f} s  {last}")
        elif seconds >= HEARTBEAT_SECONDS:
            self._print(f"  … {name:<14} {seconds:6.0f} s  [dim]{_plain(last)}[/dim]")

    def erase(self) -> None:
        """Remove the transient line."""
        if self._live:
            with contextlib.suppress(OSError):
                self._console.file.write("\r\x1b[K")
                self._console.file.flush()

    @property
    def interval(self) -> float:
        """Seconds between two heartbeats."""
        return 0.2 if self._live else HEARTBEAT_SECONDS


class _Ticker(threading.Thread):
    def __init__(self, screen: Screen, name: str, what: str) -> None:
        super().__init__(daemon=True)
        self._screen, self._step = screen, name
        self.last = what
        self._ended = threading.Event()
        self._began = time.monotonic()

    def run(self) -> None:
        while not self._ended.wait(self._screen.interval):
            self._screen.heartbeat(self._step, time.monotonic() - self._began, self.last)

    def clear(self) -> None:
        self._screen.erase()

    def stop(self) -> None:
        self._ended.set()
        self.join(1)
        self._screen.erase()


def _plain(text: str) -> str:
    """Return text that rich does not read as markup."""
    from rich.markup import escape

    return escape(text)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: framed on a terminal, aligned columns elsewhere."""
    from rich import box
    from rich.table import Table

    out = console()
    if not out.is_terminal:
        out.width = UNLIMITED_WIDTH
    grid = Table(title=title or None, title_justify="left", box=box.SIMPLE if out.is_terminal else None, pad_edge=False)
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*(_plain(cell) for cell in row))
    out.print(grid)
