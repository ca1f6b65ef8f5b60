"""`./inv` and `./fab`: what starts everything on a machine with nothing but Python."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def executable(file: Path, script: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def run(
    command: str, *arguments: str, cwd: Path, path: str = "/usr/bin:/bin", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [command, *arguments],
        cwd=cwd,
        env={"PATH": path, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone whose environment is up to date and says what it was asked to run."""
    clone = tmp_path / "a clone"
    clone.mkdir()
    for name in ("inv", "fab"):
        shutil.copy(ROOT / name, clone / name, follow_symlinks=False)
    executable(clone / ".venv/bin/inv", 'echo inv "$PWD" "$@"')
    executable(clone / ".venv/bin/python", '[ "$1 $2" = "-m fabfile.main" ] || exit 1; shift 2; echo fab "$PWD" "$@"')
    (clone / "requirements.txt").write_text("a==1\n")
    checksum = subprocess.run(["cksum"], input=b"a==1\n", capture_output=True, check=True).stdout.decode().strip()
    (clone / ".venv/stamp").write_text(f"{checksum} {clone.resolve()}")
    return clone


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH with what the wrapper calls, and no Python."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("cksum", "id", "cat"):
        (tools / name).symlink_to(str(shutil.which(name)))
    return tools


@pytest.mark.parametrize("name", ["inv", "fab"])
def test_a_wrapper_runs_its_own_program_in_the_clone_from_anywhere(name: str, clone: Path, tmp_path: Path) -> None:
    done = run(str(clone / name), "deploy", "two words", cwd=tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, f"{name} {clone} deploy two words\n", "")


def test_a_wrapper_works_by_its_relative_path(clone: Path, tmp_path: Path) -> None:
    # With CDPATH set, a shell prints where `cd` went, or goes somewhere else.
    done = run("./a clone/inv", cwd=tmp_path, CDPATH="/")

    assert (done.returncode, done.stdout) == (0, f"inv {clone}\n")


def test_an_environment_that_is_up_to_date_needs_no_python(clone: Path, tools: Path, tmp_path: Path) -> None:
    assert run(str(clone / "inv"), cwd=tmp_path, path=str(tools)).returncode == 0


def test_changed_requirements_make_the_environment_again(clone: Path, tools: Path, tmp_path: Path) -> None:
    executable(
        tools / "python3",
        'case "$2" in *realpath*) echo /real/python3 ;; esac',
    )
    (clone / "requirements.txt").write_text("a==2\n")

    done = run(str(clone / "inv"), cwd=tmp_path, path=str(tools))

    assert "making .venv from requirements.txt with /real/python3" in done.stderr


def test_a_failed_installation_is_neither_used_nor_taken_for_complete(clone: Path, tools: Path, tmp_path: Path) -> None:
    executable(tools / "real", "exit 1")
    executable(tools / "python3", f"echo '{tools / 'real'}'")
    (clone / ".venv/stamp").unlink()

    done = run(str(clone / "inv"), cwd=tmp_path, path=str(tools))

    assert (done.returncode, done.stdout) == (1, "")
    assert not (clone / ".venv/stamp").exists()


def test_without_python_one_sentence_names_the_way_to_get_it(clone: Path, tools: Path, tmp_path: Path) -> None:
    (clone / ".venv/stamp").unlink()

    done = run(str(clone / "inv"), cwd=tmp_path, path=str(tools))

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "inv: Python 3.11 or newer with its module venv is needed: install it with this system's package manager "
        "(macOS: brew install python)"
    ]


def test_a_plain_user_on_debian_is_told_the_command(clone: Path, tools: Path, tmp_path: Path) -> None:
    (clone / ".venv/stamp").unlink()
    (tools / "id").unlink()
    executable(tools / "id", "echo 1000")
    executable(tools / "apt-get", "echo must not run; exit 1")

    done = run(str(clone / "fab"), cwd=tmp_path, path=str(tools))

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "fab: Python 3.11 or newer with its module venv is needed: "
        "sudo apt-get install -y --no-install-recommends python3 python3-venv"
    ]


def test_root_on_debian_gets_python_without_being_asked_where_nobody_can_answer(
    clone: Path, tools: Path, tmp_path: Path
) -> None:
    (clone / ".venv/stamp").unlink()
    (tools / "id").unlink()
    executable(tools / "id", "echo 0")
    executable(tools / "apt-get", f'echo "$@" >>"{tools}/calls"')

    done = run(str(clone / "inv"), cwd=tmp_path, path=str(tools))

    calls = (tools / "calls").read_text().splitlines()
    assert calls[0] == "update -qq"
    assert calls[1] == "install -y --no-install-recommends python3 python3-venv -qq"
    assert done.returncode == 1


def test_requirements_name_no_place_to_get_them_from() -> None:
    assert "://" not in (ROOT / "requirements.txt").read_text()


def test_every_requirement_is_pinned_with_hashes() -> None:
    blocks = [
        block
        for block in (ROOT / "requirements.txt").read_text().replace("\\\n", " ").splitlines()
        if not block.startswith("#")
    ]

    assert blocks
    assert all("==" in block and "--hash=sha256:" in block for block in blocks)
