"""What is recorded about sandboxes, and what the inventory gets to read."""

from __future__ import annotations

import re
import socket
import tomllib
from pathlib import Path

import pytest

from fabfile.model.failure import Failure, UsageFailure
from sandbox import inventory
from sandbox.inventory import Host, Sandbox

FIRST = Host("test", "slipway-0-test", "slipway-0-test-docker", 22022, 28080, 28443, "ssh-ed25519 AAAA")
SECOND = Host("test-2", "slipway-0-test-2", "slipway-0-test-2-docker", 22023, 28081, 28444, "ssh-ed25519 BBBB")


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    monkeypatch.setattr(inventory, "FOLDER", tmp_path)
    sandbox = Sandbox("test", False, (FIRST, SECOND), {"nginx": "sandbox/nginx:1.30"})
    sandbox.folder.mkdir()
    return sandbox


def test_a_recorded_sandbox_reads_back_the_same(sandbox: Sandbox) -> None:
    inventory.save(sandbox)

    assert inventory.load("test") == sandbox
    assert inventory.load_all() == [sandbox]
    assert inventory.load("other") is None


def test_only_its_owner_can_read_what_is_recorded(sandbox: Sandbox) -> None:
    inventory.save(sandbox)

    assert (sandbox.folder / "state.json").stat().st_mode & 0o777 == 0o600


def test_a_damaged_record_says_how_to_start_over(sandbox: Sandbox) -> None:
    (sandbox.folder / "state.json").write_text('{"name": "test"')

    with pytest.raises(Failure, match=re.escape("sandbox.down --purge --name test")):
        inventory.load("test")


def test_the_inventory_lists_the_servers_that_run_and_no_others(sandbox: Sandbox) -> None:
    hosts = tomllib.loads(inventory.hosts_toml([sandbox], ["slipway-0-test-2"]))["hosts"]

    assert hosts == {
        "test-2": {
            "hostname": "127.0.0.1",
            "port": 22023,
            "user": "deploy",
            "admin": "root",
            "identity_file": str(sandbox.identity_file),
            "host_key": "ssh-ed25519 BBBB",
            "images": {"nginx": "sandbox/nginx:1.30"},
            "sandbox": True,
        }
    }


def test_official_images_need_no_mention(sandbox: Sandbox) -> None:
    plain = Sandbox("test", False, (FIRST,))

    assert "images" not in tomllib.loads(inventory.hosts_toml([plain], ["slipway-0-test"]))["hosts"]["test"]


@pytest.mark.parametrize("path", ['/home/a "b"/c', "/home/a\\b", "/home/Жанна/🚀"])
def test_any_path_survives_the_inventory(path: str) -> None:
    assert tomllib.loads(f"path = {inventory.quote(path)}") == {"path": path}


def test_every_host_is_known_by_its_own_key_on_its_own_port() -> None:
    assert inventory.known_hosts([FIRST, SECOND]) == (
        "[127.0.0.1]:22022 ssh-ed25519 AAAA\n[127.0.0.1]:22023 ssh-ed25519 BBBB\n"
    )


def test_hosts_are_called_after_their_sandbox() -> None:
    assert [inventory.host_name("test", number) for number in (1, 2, 3)] == ["test", "test-2", "test-3"]


@pytest.mark.parametrize("name", ["sandbox", "a", "my-test", "v2x"])
def test_a_plain_word_names_a_sandbox(name: str) -> None:
    assert inventory.checked(name) == name


@pytest.mark.parametrize("name", ["", "../x", "a;b", "$(id)", "A", "тест", "test-2", "-a", "a" * 300, "a\n"])
def test_hostile_or_ambiguous_names_are_refused(name: str) -> None:
    with pytest.raises(UsageFailure):
        inventory.checked(name)


def test_ports_of_sandboxes_that_are_down_are_not_given_away() -> None:
    first = inventory.free_ports([])
    second = inventory.free_ports(first.values())

    assert set(first) == {"ssh", "http", "https"}
    assert not set(first.values()) & set(second.values())


def test_a_port_somebody_listens_on_is_not_free() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert not inventory.is_free(port)
    assert inventory.is_free(port)


def test_asking_for_a_host_that_is_not_there_names_those_that_are(sandbox: Sandbox) -> None:
    assert sandbox.host("test-2") == SECOND
    with pytest.raises(UsageFailure, match="only test, test-2"):
        sandbox.host("test-3")
