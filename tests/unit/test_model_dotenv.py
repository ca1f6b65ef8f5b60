from __future__ import annotations

import io
import shutil
import string
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from dotenv import dotenv_values
from hypothesis import given, settings
from hypothesis import strategies as st

from fabfile.model.dotenv import missing, parse, render, set_values
from fabfile.model.failure import ExitCode, Failure, UsageFailure

KEYS = st.from_regex(r"K_[A-Za-z0-9_]{0,12}", fullmatch=True)
PRINTABLE = "".join(character for character in string.printable[:95] if character not in "'\\")
VALUES = st.text(PRINTABLE, max_size=40).filter(lambda text: "${" not in text)
SETTINGS = st.dictionaries(KEYS, VALUES, max_size=20)

FILE = """\
# settings of shop

A=1   # a remark
export B='two words'  # another

  # indented
C="3"
D=#no remark
"""


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("", "K="),
        ("plain", "K=plain"),
        ("https://a.b/c:1@d%20+x=y,z", "K=https://a.b/c:1@d%20+x=y,z"),
        ("two words", "K='two words'"),
        ("a$H$(id)`id`", "K='a$H$(id)`id`'"),
        ("#", "K='#'"),
        ('"', "K='\"'"),
        ("~", "K='~'"),
    ],
)
def test_values_are_written_in_the_common_dialect(value: str, line: str) -> None:
    assert render({"K": value}) == line + "\n"
    assert parse(line) == {"K": value}


@pytest.mark.parametrize("sign", ["'", "\\", "${HOME}", "\n", "\t", "ключ", "\x00", "\x7f"])
def test_values_that_some_reader_would_change_are_refused_without_showing_them(sign: str) -> None:
    for value in (f"hunter2{sign}", f"{sign}hunter2", f"hunter2{sign}hunter2"):
        with pytest.raises(UsageFailure) as caught:
            render({"PASSWORD": value})
        assert "PASSWORD" in caught.value.render()
        assert "hunter2" not in caught.value.render()


@pytest.mark.parametrize("key", ["", "1A", "A-B", "A B", "A=B", "A\n", "КЛЮЧ", "A.B"])
def test_keys_that_no_shell_takes_are_refused(key: str) -> None:
    with pytest.raises(UsageFailure):
        render({key: "x"})
    with pytest.raises(UsageFailure):
        set_values("", {key: "x"})


def test_a_file_has_a_header_and_comments() -> None:
    text = render(
        {"A": "1", "B": "2", "C": "3"}, header="Made by\n\nslipway", comments={"B": "Database", "C": "two\nlines"}
    )
    assert text == "# Made by\n#\n# slipway\nA=1\n\n# Database\nB=2\n\n# two\n# lines\nC=3\n"
    assert parse(text) == {"A": "1", "B": "2", "C": "3"}


def test_a_file_is_read_without_interpolation() -> None:
    assert parse(FILE + "E=${A}\nF='${A}'\n") == {
        "A": "1",
        "B": "two words",
        "C": "3",
        "D": "#no remark",
        "E": "${A}",
        "F": "${A}",
    }


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("A=1\nhunter2\n", "line 2:"),
        ("hunter2", "line 1:"),
        ("A=1\n\n\nB='hunter2\nC=2\n", "line 4:"),
        ("1A=hunter2", "line 1:"),
        ("# x\n: hunter2\nB\n", "lines 2, 3:"),
        ("A='x' hunter2\n", "line 1:"),
    ],
)
def test_lines_that_would_be_skipped_are_named_by_number_only(text: str, lines: str) -> None:
    with pytest.raises(Failure) as caught:
        parse(text)
    assert f".env: {lines}" in caught.value.render()
    assert "hunter2" not in caught.value.render()
    assert caught.value.code == ExitCode.FAILED


@pytest.mark.parametrize(
    ("before", "changes", "after"),
    [
        ("", {"A": "1"}, "A=1\n"),
        ("A=1", {"B": "2"}, "A=1\nB=2\n"),
        ("# only a comment", {"B": "x y"}, "# only a comment\nB='x y'\n"),
        ("A=1\nB=2\n", {"A": "3"}, "A=3\nB=2\n"),
        ("A=1\nB=2\nA=3\n", {"A": "4"}, "A=4\nB=2\nA=4\n"),
        ("A=1\r\nB=2\r\n", {"A": "3"}, "A=3\r\nB=2\r\n"),
        ("A='1 # no remark'  # remark\n", {"A": "2"}, "A=2  # remark\n"),
        ('A="1\n2"\nB=2\n', {"A": "2"}, "A=2\nB=2\n"),
        (FILE, {}, FILE),
        (FILE, {"B": "3 4", "A": "2"}, FILE.replace("A=1", "A=2").replace("export B='two words'", "B='3 4'")),
        (FILE, {"D": "x"}, FILE.replace("#no remark", "x")),
    ],
)
def test_changing_a_value_keeps_comments_and_order(before: str, changes: dict[str, str], after: str) -> None:
    assert set_values(before, changes) == after


def test_a_damaged_file_is_not_changed() -> None:
    with pytest.raises(Failure):
        set_values("A='1\n", {"B": "2"})


def test_missing_keys_are_those_of_the_example_in_its_order() -> None:
    assert missing("Z=\nA=1\nB=\n", "A=\n") == ("Z", "B")
    assert missing("", "A=1") == ()
    with pytest.raises(Failure, match=r"\.env\.example: line 1"):
        missing("oops", "A=1")


@given(SETTINGS)
def test_what_is_written_is_read_back(values: dict[str, str]) -> None:
    text = render(values, header="x", comments=dict.fromkeys(values, "y"))
    assert parse(text) == values == dotenv_values(stream=io.StringIO(text), interpolate=False)


@given(SETTINGS, SETTINGS)
def test_what_is_set_is_read_back(values: dict[str, str], changes: dict[str, str]) -> None:
    text = set_values(render(values), changes)
    assert parse(text) == {**values, **changes}
    assert set_values(text, changes) == text


@given(st.text("A=B'\"# \n\r\t$\\{}é", max_size=40))
def test_any_text_is_either_refused_or_read_as_python_dotenv_reads_it(text: str) -> None:
    try:
        values = parse(text)
    except Failure:
        return
    assert values == dotenv_values(stream=io.StringIO(text), interpolate=False)
    changed = set_values(text, {"A": "x y"})
    assert parse(changed) == {**values, "A": "x y"}


@pytest.mark.parametrize("shell", ["dash", "bash"])
@settings(max_examples=25)
@given(values=st.dictionaries(KEYS, VALUES, min_size=1, max_size=20))
def test_shells_read_the_same_values(shell: str, values: dict[str, str]) -> None:
    program = shutil.which(shell)
    assert program, f"{shell} is needed for this test"
    with TemporaryDirectory() as directory:
        (Path(directory) / "f").write_text(render(values))
        output = subprocess.run(
            (program, "-c", "set -a; . ./f; exec env -0"),
            cwd=directory,
            env={"PATH": "/usr/bin:/bin"},
            capture_output=True,
            check=True,
        ).stdout.decode()
    read = dict(line.split("=", 1) for line in output.split("\0") if line.startswith("K_"))
    assert read == values
