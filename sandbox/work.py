"""What `./inv demo` and `./inv test` do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from invoke.context import Context
from invoke.tasks import task

from fabfile.model.failure import Failure

ROOT = Path(__file__).resolve().parents[1]


@task(help={"name": "which sandbox to use", "json_": "file to write the figures to, as JSON"})
def demo(_: Context, name: str = "sandbox", json_: str = "") -> None:
    """Watch it all on a throwaway server: deploy under load, roll back, refuse a broken release."""
    from sandbox import demo as show  # noqa: PLC0415 - `./inv --list` need not load it

    show.run(name=name, json_file=json_)


@task(name="test", help={"fast": "only what needs no Docker: lint, types, the first two rings of tests"})
def run_tests(_: Context, fast: bool = False) -> None:
    """Run lint, types and all tests; the third ring on a throwaway server with a real Docker Engine."""
    _run("ruff", "check", ".")
    _run("ruff", "format", "--check", ".")
    types = _start("mypy")  # beside the tests: both need a core for a while
    _run("pytest", "-m", "not e2e", "tests/unit", "tests/transcript")
    _finish(types, "mypy")
    if not fast:
        from sandbox import engine  # noqa: PLC0415

        engine.ensure(print)
        _run("pytest", "examples/minimal/tests")
        _run("pytest", "-m", "e2e", "tests/transcript", "tests/e2e", "-v", "--durations=15")


def _run(program: str, *words: str) -> None:
    """Run a program of the environment; its failure ends the whole."""
    _finish(_start(program, *words), program)


def _start(program: str, *words: str) -> subprocess.Popen[bytes]:
    print(f"$ {program} {' '.join(words)}", flush=True)
    path = Path(sys.executable).with_name(program)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.Popen([str(path), *words], cwd=ROOT, env=environment)


def _finish(process: subprocess.Popen[bytes], program: str) -> None:
    if process.wait():
        raise Failure(f"{program} ended with exit code {process.returncode}")


@task
def docs(_: Context) -> None:
    """Write docs/hosts.md from the code."""
    from fabfile.model.reference import reference  # noqa: PLC0415

    text = "# hosts.toml\n\nMade from the code by `./inv docs`; the commented example is `hosts.toml` itself.\n\n"
    (ROOT / "docs" / "hosts.md").write_text(text + reference())
