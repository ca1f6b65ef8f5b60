"""Commands quote themselves, and secrets do not get into them."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.model.failure import ExitCode
from fabfile.model.secret import Secret
from fabfile.remote.command import SCRIPTS, Answer, Command, CommandFailure, script, script_text

NAMES = sorted(path.stem for path in SCRIPTS.glob("*.sh"))
SHELLCHECK = Path(__file__).parents[2] / ".venv" / "bin" / "shellcheck"
HOSTILE = ["", " ", "a b", "'", '"', "$(id)", "`id`", "$HOME", "\\", "a\nb", "-rf", "*", "; reboot", "~", "é\u2028"]


@given(st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_characters="\0")))))
def test_the_line_of_a_command_is_just_its_words(words: list[str]) -> None:
    command = Command(("printf", *words))
    assert shlex.split(command.line) == ["printf", *words]


def test_a_real_shell_reads_hostile_arguments_as_they_are() -> None:
    line = Command(("printf", "%s\\0", *HOSTILE)).line
    said = subprocess.run(("sh", "-c", line), capture_output=True, check=True).stdout.decode()
    assert said.split("\0")[:-1] == HOSTILE


def test_hostile_arguments_of_a_script_stay_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fabfile.remote.command.script_text", lambda _: 'printf \'%s\\0\' "$0" "$@"')
    said = subprocess.run(("sh", "-c", script("gate", *HOSTILE).line), capture_output=True, check=True).stdout.decode()
    assert said.split("\0")[:-1] == ["gate", *HOSTILE]


def test_a_secret_cannot_become_a_word_of_a_command() -> None:
    with pytest.raises(TypeError):
        Command(("login", Secret("hunter2-hunter2"))).line  # type: ignore[arg-type]  # noqa: B018 - raises
    with pytest.raises(TypeError):
        script("data", Secret("hunter2-hunter2"))  # type: ignore[arg-type]


def test_standard_input_is_not_shown() -> None:
    command = Command(("cat",), stdin=b"hunter2-hunter2", label="write .env")
    assert "hunter2" not in repr(command) + str(command) + command.line
    assert str(command) == "write .env"
    assert str(Command(("ls", "a b"))) == "ls 'a b'"


def test_long_arguments_do_not_hide_the_message() -> None:
    command = script("place", "mini", "v1", "blue", "{" + "x" * 500 + "}")
    assert str(command) == "place mini v1 blue ..."
    assert command.argv[-1] == "{" + "x" * 500 + "}"


def test_a_failure_shows_the_last_lines_that_were_said() -> None:
    said = "\n".join(f"line {number}" for number in range(100)) + "\n\n"
    failure = CommandFailure(script("build", "mini"), Answer(7, "out", said), host="prod")
    assert failure.what == "`build mini` ended with exit code 7"
    assert failure.details == tuple(f"line {number}" for number in range(80, 100))
    assert failure.code == ExitCode.FAILED
    assert CommandFailure(script("build"), Answer(7, "only out\n", ""), host="prod").details == ("only out",)


# --- Scripts


@pytest.mark.parametrize("name", NAMES)
def test_every_script_says_first_what_it_does(name: str) -> None:
    first = script_text(name).splitlines()[0]
    assert first.startswith("# ")
    assert first.rstrip().endswith((".", ",", ":", ";")) or script_text(name).splitlines()[1].startswith("# ")


@pytest.mark.parametrize("name", NAMES)
def test_every_script_stops_at_unset_variables(name: str) -> None:
    lines = [line for line in script_text(name).splitlines() if line and not line.startswith("#")]
    assert lines[0] in ("set -eu", "set -u") or "=$1" not in script_text(name)


def test_scripts_have_nothing_to_complain_about() -> None:
    found = shutil.which("shellcheck", path=f"{SHELLCHECK.parent}") or "shellcheck"
    files = [str(path) for path in sorted(SCRIPTS.glob("*.sh"))]
    done = subprocess.run((found, "-s", "sh", *files), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_script_is_used_and_every_used_script_exists() -> None:
    sources = "\n".join(path.read_text() for path in SCRIPTS.parents[1].rglob("*.py"))
    unused = [name for name in NAMES if f'"{name}"' not in sources]
    assert unused == []
