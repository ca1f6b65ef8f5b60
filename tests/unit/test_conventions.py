"""Conventions of the code, held by tests."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from invoke.tasks import Task

import fabfile

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "fabfile"
MODULES = sorted(PACKAGE.rglob("*.py"))
WORDS = sorted(fabfile.namespace.task_names)
HELP_OF = {word: dict(fabfile.namespace[word].help) for word in WORDS}

# What each layer may import of ours besides itself; `remote.command` holds values, not a connection.
MAY_IMPORT = {
    "model": (),
    "remote": ("fabfile.model",),
    "services": ("fabfile.model", "fabfile.remote.command"),
    "steps": ("fabfile.model", "fabfile.services", "fabfile.remote"),
    # What people start: it turns mistakes on the command line into failures, and knows no word itself.
    "main.py": ("fabfile.model",),
    "commands": ("fabfile.model", "fabfile.services", "fabfile.remote", "fabfile.steps"),
}


def imports(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)
            yield from (f"{node.module}.{name.name}" for name in node.names)


def allowed(name: str, layers: tuple[str, ...]) -> bool:
    return any(name == layer or name.startswith(f"{layer}.") or layer.startswith(f"{name}.") for layer in layers)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    layer = path.relative_to(PACKAGE).parts[0]
    if layer == "__init__.py":
        return
    ours = [name for name in imports(path) if name.split(".")[0] in ("fabfile", "sandbox", "tests", "tasks")]
    layers = (f"fabfile.{layer}", *MAY_IMPORT[layer])
    assert [name for name in ours if not allowed(name, layers)] == []


def test_no_module_hides_one_of_the_standard_library() -> None:
    names = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()} - {"__init__"}
    assert names & sys.stdlib_module_names == set()


def test_no_module_of_ours_is_called_utils() -> None:
    names = {path.stem for path in MODULES}
    assert names & {"utils", "util", "helpers", "misc", "common"} == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_shell_text_is_made_in_one_place_only(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        assert called not in ("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"), path
        assert not any(word.arg == "shell" for word in node.keywords), f"{path}: shell="
        # A command is a tuple of words, never a text put together.
        if called in ("Command", "script") and node.args:
            for argument in node.args:
                assert not isinstance(argument, ast.BinOp), f"{path}:{node.lineno}"
        if called.endswith((".exec_command", ".sudo", ".local")):
            assert path == PACKAGE / "remote" / "server.py", path
        if called in ("shlex.join", "shlex.quote"):
            assert path.parent == PACKAGE / "remote", f"{path}: quoting belongs into remote/"


def options(word: str) -> dict[str, str | None]:
    """Return the help of each option of a word by its flag."""
    task = fabfile.namespace[word]
    assert isinstance(task, Task)
    # Invoke takes the texts out of the task the first time that it asks for the arguments.
    found = {}
    for argument in Task(task.body, help=dict(HELP_OF[word])).get_arguments():
        flag = str(argument.name).rstrip("_").replace("_", "-")
        assert argument.kind in (str, bool), f"{word}: --{flag}: Invoke's conversion dies with a traceback"
        found[flag] = argument.help
    return found


@pytest.mark.parametrize("word", WORDS)
def test_every_word_and_every_option_has_help(word: str) -> None:
    assert len((fabfile.namespace[word].__doc__ or "").splitlines()[0]) in range(10, 120)
    for flag, text in options(word).items():
        assert text, f"{word}: --{flag} has no help"
        assert text.endswith("."), f"{word}: --{flag}"


@pytest.mark.parametrize("word", ["status", "health", "releases", "project.list", "project.show", "server.doctor"])
def test_words_that_only_read_have_json(word: str) -> None:
    assert "json" in options(word)


def test_the_list_of_words_needs_no_network_and_nothing_slow() -> None:
    program = (
        "import sys, socket\n"
        "def forbidden(*_): raise AssertionError('connected')\n"
        "socket.socket.connect = forbidden\n"
        "from fabric.main import program\n"
        "try: program.run(['fab', '--list'])\n"
        "finally: print(*{'pydantic', 'jinja2', 'rich', 'httpx', 'dotenv'} & set(sys.modules), file=sys.stderr)\n"
    )
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "SLIPWAY_HOSTS": "/nonexistent"}
    done = subprocess.run(
        (sys.executable, "-c", program), cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")
    for word in WORDS:
        assert word in done.stdout


def test_usage_errors_of_the_real_program_are_a_sentence_and_code_2() -> None:
    environ = {**os.environ, "SLIPWAY_HOSTS": "/nonexistent/hosts.toml"}
    fab = Path(sys.executable).with_name("fab")
    done = subprocess.run(
        (fab, "deploy", "--project", "$(id)"), cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: '$(id)' is no project name")
    assert done.stdout == ""


def test_every_captured_output_is_free_of_secrets() -> None:
    for path in (ROOT / "tests" / "captured").iterdir():
        for line in path.read_text().splitlines():
            key, _, value = line.partition("=")
            if key.endswith(("PASSWORD", "_KEY", "_URL", "TOKEN")):
                assert value.startswith("replaced"), path
