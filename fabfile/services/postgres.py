"""PostgreSQL: the dump before a migration."""

from __future__ import annotations

from fabfile.remote.command import Command, script


def dump(
    project: str, *, container: str, user: str, database: str, name: str, release: str, deadline: float
) -> Command:
    """Return the command that dumps a database from the server's own image and reads the dump back whole."""
    return script("dump", project, container, user, database, name, release, deadline=deadline)
