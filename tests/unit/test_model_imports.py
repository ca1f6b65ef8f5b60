from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIGHT = ("colour", "dotenv", "names", "ports", "retention", "secret", "version")


@pytest.mark.parametrize("module", LIGHT)
def test_small_modules_do_not_load_what_is_slow_to_import(module: str) -> None:
    program = f"import sys, fabfile.model.{module}; print(*{{'pydantic', 'dotenv', 'fabric'}} & set(sys.modules))"
    output = subprocess.run((sys.executable, "-c", program), cwd=ROOT, capture_output=True, check=True, text=True)
    assert output.stdout.strip() == ""
