"""The documentation speaks of commands and settings that exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from invoke.collection import Collection
from invoke.parser.context import ParserContext

import fabfile
import tasks
from fabfile.model.inventory import load
from fabfile.model.reference import reference

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]
HEADER = "# hosts.toml\n\nMade from the code by `./inv docs`; the commented example is `hosts.toml` itself.\n\n"
GLOBAL_OPTIONS = {"-H": 1, "--list": 0, "--help": 1}


def commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for found in re.finditer(r"\./(fab|inv) [^`\n]*", page.read_text()):
            line = re.split(r"\s{2,}|\s#|\s\(", found.group())[0].rstrip(" .,:;")
            if "..." not in line and "*" not in line:
                yield f"{page.name}: {line}", line


def words_of(collection: Collection) -> dict[str, ParserContext]:
    return {context.name: context for context in collection.to_contexts() if context.name}


@pytest.mark.parametrize("line", [pytest.param(line, id=name) for name, line in commands()])
def test_a_command_of_the_documentation_exists_with_its_options(line: str) -> None:
    program, *words = shlex.split(line.replace("[", "").replace("]", ""))
    known = words_of(fabfile.namespace if program == "./fab" else tasks.namespace)
    while words and words[0] in GLOBAL_OPTIONS:
        words = words[1 + GLOBAL_OPTIONS[words[0]] :]
    if not words:
        return
    assert words[0] in known, f"there is no {words[0]}"
    flags = known[words[0]].flags
    for word in words[1:]:
        if word.startswith("-"):
            assert word.partition("=")[0] in flags, f"{words[0]} has no option {word}"


def test_the_reference_of_hosts_toml_is_what_the_code_says() -> None:
    assert (ROOT / "docs" / "hosts.md").read_text() == HEADER + reference(), "run ./inv docs"


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_example_of_the_readme_is_a_valid_hosts_toml(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    start = text.index("       [hosts.prod]")
    block = text[start : text.index("\n\n2. Make", start)]
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJi"
    (tmp_path / "hosts.toml").write_text(block.replace("ssh-ed25519 AAAA...", key))
    inventory = load(tmp_path / "hosts.toml", {})
    assert inventory.project(None).name == "shop"
    assert inventory.host("prod").hostname == "203.0.113.10"
