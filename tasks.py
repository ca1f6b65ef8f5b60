"""The words `./inv` knows: work on this machine. Work on servers is `./fab`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

import sandbox.bench.tasks
import sandbox.tasks
import sandbox.work

UV = "uv==0.13.9"


@task(help={"upgrade": "take the newest versions, not those that are pinned and still fit"})
def requirements(_: Context, upgrade: bool = False) -> None:
    """Write requirements.txt anew: all that pyproject.toml needs, pinned, with PyPI's hashes, for every platform."""
    # Only PyPI's own files have hashes that hold everywhere, whatever this machine is set to.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("UV_")}
    index = ["--default-index", "https://pypi.org/simple", "--no-emit-index-url", "--no-config"]
    kind = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-annotate"]
    result = ["--custom-compile-command", "./inv requirements", "--output-file", "requirements.txt", "--quiet"]
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--target", folder]
        subprocess.run([*pip, UV], check=True)
        compile_all = [
            f"{folder}/bin/uv",
            "pip",
            "compile",
            *index,
            *kind,
            *result,
            *(["--upgrade"] if upgrade else []),
        ]
        subprocess.run([*compile_all, "pyproject.toml"], check=True, env=environment)


namespace = Collection(requirements, sandbox.work.demo, sandbox.work.run_tests, sandbox.work.docs)
namespace.add_collection(Collection.from_module(sandbox.tasks), "sandbox")
namespace.add_collection(Collection.from_module(sandbox.bench.tasks), "bench")
