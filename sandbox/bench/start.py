"""`./inv bench.start`: what the command line costs before it does anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fabfile.model.failure import Failure
from sandbox.bench.figures import Figure

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 1.5  # times the import of Fabric itself
IMPORT = (sys.executable, "-c", "import fabric")
LIST = (str(ROOT / "fab"), "--list")


def run(*, runs: int, json_file: str) -> dict[str, Any]:
    """Measure `fab --list` against `python -c "import fabric"`, in turns, print and return the figures."""
    commands = {"import fabric": IMPORT, "fab --list": LIST}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        seconds(command)  # compiles, and fills the system's caches
    for _ in range(runs):
        for name, command in commands.items():
            taken[name].append(seconds(command))
    results = judged({name: tuple(values) for name, values in taken.items()})
    if json_file:
        Path(json_file).write_text(json.dumps(results, indent=2) + "\n")
    for name in commands:
        print(f"{name:<16} {results[name]['median']:.3f} s  ({results[name]['min']:.3f} - {results[name]['max']:.3f})")
    print(f"fab --list takes {results['ratio']:.2f} times as long as import fabric, at most {LIMIT} is promised")
    return results


def judged(taken: dict[str, tuple[float, ...]]) -> dict[str, Any]:
    """Return every figure, the ratio of the medians and whether it is within the limit."""
    ratio = Figure(taken["fab --list"]).median / Figure(taken["import fabric"]).median
    figures: dict[str, Any] = {name: Figure(values).json for name, values in taken.items()}
    return {**figures, "ratio": round(ratio, 3), "limit": LIMIT, "met": ratio <= LIMIT}


def seconds(argv: Sequence[str]) -> float:
    """Return how long a command takes; `Failure` when it fails."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    done = subprocess.run(argv, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        raise Failure(f"`{' '.join(argv)}` ended with exit code {done.returncode}", details=(done.stderr.decode(),))
    return time.perf_counter() - began
