"""What people see, and that nobody looking is no reason to stop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fabfile.commands.console import Screen

ROOT = Path(__file__).parents[2]
ALL = """
screen.title("deploy v2")
screen.begin("gate", "every replica answers")
screen.line("1 of 1 replicas answer")
screen.note("warning: drain: timed out")
screen.end("gate", "1 of 1 replicas healthy", 1.0, "done")
screen.transient("...")
screen.erase()
screen.result("v2 is live")
open(sys.argv[1], "w").write("came to the end")
"""


class Gone:
    """A terminal that went away."""

    encoding = "utf-8"

    def write(self, _: str) -> int:
        raise OSError(5, "Input/output error")

    def flush(self) -> None:
        raise OSError(5, "Input/output error")

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1


@pytest.mark.parametrize("quiet", [False, True])
def test_a_terminal_that_went_away_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch, quiet: bool) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", Gone())
    monkeypatch.setattr(sys, "stderr", Gone())
    screen = Screen(quiet=quiet, verbose=True)
    screen.title("deploy v2")
    screen.begin("gate", "every replica answers")
    screen.line("1 of 1 replicas answer")
    screen.note("warning: drain: timed out")
    screen.end("gate", "1 of 1 replicas healthy", 1.0, "done")
    screen.transient("...")
    screen.erase()
    screen.result("v2 is live")


@pytest.mark.parametrize("quiet", [False, True])
def test_a_pipe_that_nobody_reads_any_more_is_no_reason_to_stop(tmp_path: Path, quiet: bool) -> None:
    program = (
        f"import sys\nfrom fabfile.commands.console import Screen\nscreen = Screen(quiet={quiet}, verbose=True)\n{ALL}"
    )
    read, write = os.pipe()
    os.close(read)
    subprocess.run(
        (sys.executable, "-c", program, tmp_path / "end"), cwd=ROOT, stdout=write, stderr=write, timeout=60, check=False
    )
    os.close(write)
    assert (tmp_path / "end").read_text() == "came to the end"


def test_with_json_only_remarks_are_printed_and_not_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(quiet=True)
    screen.title("deploy v2")
    screen.begin("gate", "every replica answers")
    screen.note("warning: drain: timed out")
    screen.end("gate", "", 1.0, "done")
    screen.result("v2 is live")
    assert capsys.readouterr() == ("", "warning: drain: timed out\n")
