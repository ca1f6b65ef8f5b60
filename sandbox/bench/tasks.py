"""What `./inv bench.*` does."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from fabfile.model.failure import UsageFailure


@task(
    help={
        "json_": "file to write the figures to, as JSON",
        "runs": "how often each figure is taken",
        "name": "which sandbox to measure on",
    }
)
def deploy(_: Context, json_: str = "", runs: str = "5", name: str = "bench") -> None:
    """Time deploys and rollbacks on a throwaway server, near and far, against what was promised."""
    from sandbox.bench import deploy as bench  # noqa: PLC0415 - `./inv --list` need not load it

    bench.run(name=name, runs=_count(runs), json_file=json_)


@task(help={"json_": "file to write the figures to, as JSON", "runs": "how often each figure is taken"})
def start(_: Context, json_: str = "", runs: str = "10") -> None:
    """Time `fab --list` against the import of Fabric alone."""
    from sandbox.bench import start as bench  # noqa: PLC0415

    bench.run(runs=_count(runs), json_file=json_)


def _count(runs: str) -> int:
    if not (runs.isdecimal() and 1 <= int(runs) <= 100):
        raise UsageFailure(f"--runs must be 1 to 100, is {runs}")
    return int(runs)
