"""`./fab`: Fabric's program, with usage mistakes as exit code 2 like all others."""

from __future__ import annotations

import re

from fabric import Executor, __version__
from fabric.config import Config
from fabric.main import Fab
from invoke.exceptions import ParseError

from fabfile.model.failure import UsageFailure


class Program(Fab):  # type: ignore[misc]  # Fabric has no types
    """Fabric's `fab`, except that a wrong command line ends with one sentence and exit code 2, not 1."""

    def parse_core(self, argv: list[str] | None) -> None:
        """Read the options before the task."""
        try:
            super().parse_core(argv)
        except ParseError as error:
            raise _usage(error) from None

    def parse_tasks(self) -> None:
        """Read the tasks and their options."""
        try:
            super().parse_tasks()
        except ParseError as error:
            raise _usage(error) from None


def _usage(error: ParseError) -> UsageFailure:
    # Invoke's own name of an option is not what people type.
    text = re.sub(r"<Argument: ([\w-]+)[^>]*>", r"--\1", str(error))
    return UsageFailure(text, then="./fab --list, or ./fab --help COMMAND")


program = Program(name="fab", binary="fab", executor_class=Executor, config_class=Config, version=__version__)

if __name__ == "__main__":
    program.run()
