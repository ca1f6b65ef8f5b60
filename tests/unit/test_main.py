"""A wrong command line ends like every other mistake: one sentence, what to type next, exit code 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fabfile.model.failure import ExitCode

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["depoly"], "No idea what 'depoly' is!"),
        (["deploy", "--nope"], "No idea what '--nope' is!"),
        (["deploy", "--version"], "Flag --version needed value and was not given one!"),
    ],
)
def test_a_wrong_command_line_ends_with_exit_code_2(words: list[str], said: str) -> None:
    # In a process of its own: Invoke loads the package anew, under the feet of the other tests.
    done = subprocess.run(
        [sys.executable, "-m", "fabfile.main", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == ExitCode.USAGE
    assert said in done.stderr
    assert "next: ./fab --list" in done.stderr
    assert "Traceback" not in done.stderr
