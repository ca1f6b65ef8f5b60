"""A wrong command line ends like every other mistake: one sentence, what to type next, exit code 2."""

from __future__ import annotations

import pytest

from fabfile.main import program
from fabfile.model.failure import ExitCode


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["depoly"], "No idea what 'depoly' is!"),
        (["deploy", "--nope"], "No idea what '--nope' is!"),
        (["deploy", "--version"], "Flag --version needed value and was not given one!"),
    ],
)
def test_a_wrong_command_line_ends_with_exit_code_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        program.run(["fab", *words])
    assert ended.value.code == ExitCode.USAGE
    printed = capsys.readouterr()
    assert said in printed.err
    assert "next: ./fab --list" in printed.err
    assert "Traceback" not in printed.err
