"""What Docker answers: parsers of its API's JSON, and images as commands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from fabfile.model.colour import Colour
from fabfile.remote.command import Command, script


@dataclass(frozen=True, slots=True)
class Container:
    """A container of one project, running or not."""

    id: str
    name: str
    state: str
    status: str
    labels: Mapping[str, str]

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self.state == "running"

    @property
    def healthy(self) -> bool:
        """Whether it runs and its health check, if it has one, passes."""
        return self.running and "unhealthy" not in self.status and "starting)" not in self.status

    @property
    def role(self) -> str:
        """What it is for: app, postgres, redis."""
        return self.labels.get("slipway.role", "")

    @property
    def colour(self) -> Colour | None:
        """The colour of an app container."""
        value = self.labels.get("slipway.colour", "")
        return Colour(value) if value in (Colour.BLUE, Colour.GREEN) else None

    @property
    def release(self) -> str:
        """The release of an app container."""
        return self.labels.get("slipway.release", "")

    @property
    def settings(self) -> str:
        """Fingerprint of the compose file and `.env` it was made with."""
        return self.labels.get("slipway.settings", "")

    @property
    def one_off(self) -> bool:
        """Whether it is a migration or another single command, not a replica."""
        return self.labels.get("com.docker.compose.oneoff") == "True"


def parse_containers(text: str) -> tuple[Container, ...]:
    """Return the containers in an answer of `/containers/json`."""
    return tuple(
        Container(
            id=entry["Id"],
            name=entry["Names"][0].lstrip("/"),
            state=entry["State"],
            status=entry["Status"],
            labels=entry.get("Labels") or {},
        )
        for entry in json.loads(text or "[]")
    )


def parse_tags(text: str) -> dict[str, str]:
    """Return image id by tag from an answer of `/images/json`."""
    return {
        tag.rpartition(":")[2]: entry["Id"] for entry in json.loads(text or "[]") for tag in entry.get("RepoTags") or ()
    }


def build(project: str, version: str, *, context: str, dockerfile: str, deadline: float) -> Command:
    """Return the command that builds a release's image on the server."""
    return script("build", project, version, context, dockerfile, deadline=deadline, stream=True)


def pull(project: str, version: str, image: str, *, deadline: float) -> Command:
    """Return the command that pulls an image and keeps it under the project's own tag."""
    return script("pull", project, version, image, deadline=deadline, stream=True)
