"""What is refused before anything is connected: exit code 2 and one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.transcript.conftest import Ended, Fabulous, Prepare

HOSTILE = ["../x", "a;b", "$(id)", "`id`", "x" * 300, "", "магазин", "-rf", "a b", "a\nb", "a/b", "\x1b[2J", "'"]
HOSTILE_HOSTS = ["../x", "a;b", "$(id)", "x" * 300, "магазин", "a b", "ann@prod", "prod:2222", "ann@prod:22", "Prod"]


@pytest.fixture
def offline(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make any attempt to connect fail the test."""

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("connected")

    prepare()
    monkeypatch.setattr("fabfile.remote.server.Server", forbidden)
    monkeypatch.setattr("socket.socket.connect", forbidden)


def assert_refused(ended: Ended) -> None:
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err
    assert all(line.isprintable() and len(line) < 300 for line in ended.err.splitlines())


OPTIONS = [
    ("deploy", "version"),
    ("rollback", "to"),
    ("rollback", "project"),
    ("plan", "version"),
    ("recover", "project"),
    ("status", "project"),
    ("health", "project"),
    ("releases", "project"),
    ("project.create", "project"),
    ("project.show", "project"),
]


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("word", "option", "text"),
    [("deploy", "project", text) for text in HOSTILE]
    + [(word, option, text) for word, option in OPTIONS for text in ("../x", "$(id)", "")],
)
def test_hostile_names_are_refused_before_any_connection(fab: Fabulous, word: str, option: str, text: str) -> None:
    assert_refused(fab("-H", "prod", word, f"--{option}={text}"))


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("text", HOSTILE_HOSTS)
def test_hosts_that_hosts_toml_does_not_name_are_refused(fab: Fabulous, text: str) -> None:
    assert_refused(fab("-H", text, "deploy", "--version", "v1"))
    assert_refused(fab("-H", text, "project.list"))


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("word", "number"),
    [("deploy", number) for number in ("three", "-1", "1.5", "1e3", "99999999", "", "$(id)")]
    + [(word, "three") for word in ("rollback", "recover", "project.create")],
)
def test_an_option_that_is_no_number_is_one_sentence(fab: Fabulous, word: str, number: str) -> None:
    ended = fab(word, f"--lock-wait={number}")
    assert_refused(ended)
    assert len(ended.err.splitlines()) == 1
    assert "--lock-wait" in ended.err


@pytest.mark.usefixtures("offline")
def test_an_unknown_project_or_host_is_refused_with_a_suggestion(fab: Fabulous) -> None:
    ended = fab("deploy", "--project", "mimi", "--version", "v1")
    assert_refused(ended)
    assert "did you mean mini?" in ended.err
    ended = fab("-H", "prot", "deploy", "--version", "v1")
    assert_refused(ended)
    assert "did you mean prod?" in ended.err


@pytest.mark.usefixtures("offline")
def test_mistakes_in_hosts_toml_are_a_line_each(fab: Fabulous, tmp_path: Path) -> None:
    with (tmp_path / "hosts.toml").open("a") as file:
        file.write('replicas = 40\nhelth = "x"\n[projects.shop]\ndomain = "a;b"\nsource = "x"\n')
    ended = fab("status")
    assert_refused(ended)
    assert len([line for line in ended.err.splitlines() if line.startswith("  hosts.toml: projects.")]) == 3


@pytest.mark.usefixtures("offline")
def test_without_project_several_are_listed(fab: Fabulous, tmp_path: Path) -> None:
    with (tmp_path / "hosts.toml").open("a") as file:
        file.write('[projects.shop]\ndomain = "shop.example"\nsource = "x"\n')
    ended = fab("-H", "prod", "status")
    assert_refused(ended)
    assert "mini, shop" in ended.err


@pytest.mark.usefixtures("offline")
def test_a_source_whose_version_nobody_can_tell_is_refused(fab: Fabulous, tmp_path: Path) -> None:
    assert_refused(fab("deploy"))
    assert_refused(fab("deploy", "--version", "v1", "--source", str(tmp_path / "absent")))
