"""Compose files of a project and the commands that use them.

Three Compose projects a project: `<p>-data`, `<p>-blue` and `<p>-green`. Service names carry the colour, so that no
DNS alias on the shared network belongs to both.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from fabfile.model.colour import Colour
from fabfile.remote.command import Command, script
from fabfile.services.templates import render

if TYPE_CHECKING:
    from fabfile.model.inventory import Host, Project
    from fabfile.model.ports import Ports


def service(colour: Colour, replica: int) -> str:
    """Return the Compose service name of a replica (counted from 0)."""
    return f"app-{colour}-{replica + 1}"


def app_file(project: Project, ports: Ports, *, version: str, colour: Colour, env_text: str) -> str:
    """Return the compose file of one colour.

    It carries a fingerprint of itself and of `.env`: containers whose label differs were made with other settings.
    """

    def rendered(settings: str) -> str:
        return render(
            "projects/compose.app.yml",
            project=project,
            version=version,
            colour=str(colour),
            image=project.image_tag(version),
            env_file=f"{project.directory}/.env",
            settings=settings,
            replicas=[
                {"service": service(colour, i), "port": ports.app(colour, i), "number": i + 1}
                for i in range(project.replicas)
            ],
        )

    return rendered(fingerprint(rendered("") + env_text))


def settings_of(text: str) -> str:
    """Return the fingerprint that an app compose file carries."""
    for line in text.splitlines():
        key, _, value = line.strip().partition(": ")
        if key == "slipway.settings":
            return value.strip('"')
    return ""


def fingerprint(text: str) -> str:
    """Return a short, stable fingerprint of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def data_file(project: Project, host: Host, ports: Ports) -> str:
    """Return the compose file of the data services."""
    return render(
        "projects/compose.data.yml",
        project=project,
        ports=ports,
        postgres_image=host.images.postgres or project.postgres.image,
        redis_image=host.images.redis or project.redis.image,
    )


def data_up(project: str, text: str) -> Command:
    """Return the command that brings up absent data services and leaves running ones alone."""
    return script("data", project, stdin=text.encode(), deadline=300, stream=True)


def start(project: str, *, version: str, colour: Colour, again: bool, containers: tuple[str, ...]) -> Command:
    """Return the command that starts a colour: its stopped containers again, or new ones."""
    return script("start", project, version, str(colour), "again" if again else "fresh", *containers, deadline=180)


def stop(project: str, colour: Colour, *, grace_seconds: int) -> Command:
    """Return the command that stops a colour unless it is live; containers stay."""
    return script("stop", project, str(colour), str(grace_seconds), deadline=grace_seconds + 60)


def migrate(project: str, *, version: str, colour: Colour, argv: tuple[str, ...], deadline: float) -> Command:
    """Return the command that runs a migration once in the new image."""
    return script("migrate", project, version, str(colour), service(colour, 0), *argv, deadline=deadline, stream=True)
