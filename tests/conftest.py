"""What all tests share."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

# `fab` puts the repository on the path, pytest does not.
sys.path.insert(0, str(Path(__file__).parent.parent))

# A busy machine is no failure.
settings.register_profile("slipway", deadline=None)
settings.load_profile("slipway")
