"""What all tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.e2e.world import World

# `fab` puts the repository on the path, pytest does not.
sys.path.insert(0, str(Path(__file__).parent.parent))

# A busy machine is no failure.
# Fifty examples find what a hundred find, in half the time; the first two rings are run all day.
settings.register_profile("slipway", deadline=None, max_examples=50)
settings.load_profile("slipway")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One sandbox for all end-to-end tests; a missing Docker is an error here, never a skip."""
    from sandbox import server  # noqa: PLC0415 - the first two rings need no sandbox
    from tests.e2e.world import ROOT, World  # noqa: PLC0415

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
