"""Runs fab and kills it with SIGKILL at the begin or end of a step: python killed_fab.py STEP begin|end fab-words..."""

from __future__ import annotations

import os
import signal
import sys

from fabfile.main import program
from fabfile.steps import step


def main(wanted: str, event: str, words: list[str]) -> None:
    """Run fab; die when the step whose name begins with `wanted` begins or ends."""

    def kill(name: str, what: str) -> None:
        if name.split(maxsplit=1)[0] == wanted and what == event:
            os.kill(os.getpid(), signal.SIGKILL)

    step.observers.append(kill)
    program.run(["fab", *words])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
