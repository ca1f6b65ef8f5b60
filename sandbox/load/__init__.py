"""A load generator that is precise about failures: what a visitor would have seen, counted request by request.

    with Load(base="http://127.0.0.1:8080", host="muscleup.localhost", get=("/",), post="/api/v1/notes") as load:
        with load.window("deploy v2"):
            ...
    report = load.stop()
    assert report.failed == 0

The same from a shell: `python -m sandbox.load --base http://127.0.0.1:8080 --get / --seconds 10`.
"""

from sandbox.load.process import Load, LoadError, Progress
from sandbox.load.report import Report

__all__ = ["Load", "LoadError", "Progress", "Report"]
