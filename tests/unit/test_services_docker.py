"""What Docker Engine 26 really answers, read."""

from __future__ import annotations

from pathlib import Path

import pytest

from fabfile.model.colour import Colour
from fabfile.services import docker
from fabfile.steps.facts import sections

CAPTURED = sections((Path(__file__).parents[1] / "captured" / "facts-after-a-rollback.txt").read_text())


def test_containers_of_both_colours() -> None:
    green, blue = docker.parse_containers(CAPTURED["containers"])
    assert green.name == "mini-green-app-green-1-1"
    assert (green.state, green.running, green.healthy) == ("exited", False, False)
    assert (green.role, green.colour, green.release, green.one_off) == ("app", Colour.GREEN, "v2", False)
    assert (blue.colour, blue.release, blue.running, blue.healthy) == (Colour.BLUE, "v1", True, True)
    assert len(blue.id) == 64
    assert blue.settings == "785d306a2179207f"


def test_nginx_is_no_app() -> None:
    (front,) = docker.parse_containers(CAPTURED["nginx"])
    assert (front.name, front.role, front.colour, front.release) == ("nginx-nginx-1", "nginx", None, "")


def test_images_by_tag() -> None:
    tags = docker.parse_tags(CAPTURED["images"])
    assert sorted(tags) == ["v1", "v2"]
    assert all(image.startswith("sha256:") for image in tags.values())


@pytest.mark.parametrize("text", ["", "[]"])
def test_nothing_is_no_containers(text: str) -> None:
    assert docker.parse_containers(text) == ()
    assert docker.parse_tags(text) == {}


def test_images_without_tags_and_containers_without_labels() -> None:
    assert docker.parse_tags('[{"Id": "sha256:1", "RepoTags": null}, {"Id": "sha256:2"}]') == {}
    (found,) = docker.parse_containers(
        '[{"Id": "1", "Names": ["/x"], "State": "created", "Status": "Created", "Labels": null}]'
    )
    assert (found.role, found.colour, found.one_off) == ("", None, False)


@pytest.mark.parametrize(
    ("state", "status", "healthy"),
    [
        ("running", "Up 3 minutes", True),
        ("running", "Up 3 minutes (healthy)", True),
        ("running", "Up 3 minutes (unhealthy)", False),
        ("running", "Up 2 seconds (health: starting)", False),
        ("restarting", "Restarting (1) 2 seconds ago", False),
        ("paused", "Up 3 minutes (Paused)", False),
        ("exited", "Exited (137) 2 seconds ago", False),
        ("created", "Created", False),
    ],
)
def test_a_container_is_healthy_when_it_runs_and_its_check_passes(state: str, status: str, healthy: bool) -> None:
    assert docker.Container("1", "x", state, status, {}).healthy == healthy


def test_a_migration_is_no_replica() -> None:
    assert docker.Container("1", "x", "running", "Up", {"com.docker.compose.oneoff": "True"}).one_off


def test_commands_that_make_images() -> None:
    build = docker.build("mini", "v2", context=".", dockerfile="Dockerfile.prod", deadline=1800)
    assert (str(build), build.deadline, build.stream) == ("build mini v2 . Dockerfile.prod", 1800, True)
    pull = docker.pull("mini", "v2", "registry.example/mini:2", deadline=60)
    assert str(pull) == "pull mini v2 registry.example/mini:2"
