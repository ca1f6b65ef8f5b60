"""One sandbox for all end-to-end tests; a missing Docker is an error here, never a skip."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fabfile.commands.entry import ROOT
from sandbox import server
from tests.e2e.world import World


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    # While working on a test: a sandbox that is up and bootstrapped already, with projects of other names.
    reused = os.environ.get("SLIPWAY_TEST_SANDBOX")
    sandbox = server.up(name=reused or "test", hosts=1, fresh=not reused)
    folder = tmp_path_factory.mktemp("world")
    (folder / ".sandbox").symlink_to(ROOT / ".sandbox")
    found = World(sandbox, folder)
    found.write()
    if not reused:
        found.fab("server.bootstrap")
    yield found
    if not reused:
        server.down("test", print, purge=False)
