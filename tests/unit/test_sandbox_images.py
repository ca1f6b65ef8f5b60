"""The images of the sandbox: what they are made from, and when they are made again."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from sandbox import images

RECIPES = [images.SERVER, images.BARE, *images.BUILT.values()]


@pytest.fixture(autouse=True)
def pip_has_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "run", lambda argv: "")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.tag)
def test_a_dockerfile_starts_from_the_base_its_recipe_names(recipe: images.Recipe) -> None:
    dockerfile = (images.FOLDER / recipe.sources[0] / "Dockerfile").read_text()

    assert [line.split()[1] for line in dockerfile.splitlines() if line.startswith("FROM ")] == [recipe.base]
    assert recipe.base in images.BASES


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.tag)
def test_everything_a_dockerfile_copies_is_in_its_build_context(recipe: images.Recipe) -> None:
    with tarfile.open(fileobj=io.BytesIO(images.build_context(recipe))) as archive:
        names = set(archive.getnames())
        dockerfile = archive.extractfile("Dockerfile")
        assert dockerfile is not None
        copied = [line.split()[1] for line in dockerfile.read().decode().splitlines() if line.startswith("COPY ")]

    assert set(copied) <= names


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.tag)
def test_the_same_sources_are_the_same_build_context_so_nothing_is_built_twice(recipe: images.Recipe) -> None:
    assert images.build_context(recipe) == images.build_context(recipe)


def test_scripts_are_executable_in_a_build_context_whatever_the_checkout_made_of_them() -> None:
    with tarfile.open(fileobj=io.BytesIO(images.build_context(images.BUILT["postgres"]))) as archive:
        assert archive.getmember("docker-entrypoint.sh").mode == 0o755


def test_builds_inside_a_server_use_this_machines_package_index() -> None:
    settings = "\n".join(
        [
            ":env:.index-url='https://user:word@packages.example/simple'",
            "global.extra-index-url='file:///opt/simple https://more.example/simple'",
            "global.find-links='/opt/wheels'",
            "global.index-url='https://overruled.example/simple'",
            "global.trusted-host='\\none.example\\ntwo.example'",
        ]
    )

    assert images.pip_conf(settings).splitlines() == [
        "[global]",
        "index-url = https://user:word@packages.example/simple",
        "extra-index-url = https://more.example/simple",
        "trusted-host = one.example two.example",
    ]


def test_directories_of_this_machine_stay_out_of_images() -> None:
    assert images.pip_conf("global.extra-index-url='file:///opt/simple'\nglobal.cert='/etc/x'\n") == "[global]\n"


def test_images_trust_the_certificate_authorities_of_this_machine(tmp_path: Path) -> None:
    bundle = tmp_path / "it's here.crt"
    assert not any("certificates" in option for option in images.bootstrap_options(bundle))

    bundle.write_text("certificates")

    hooks = [option for option in images.bootstrap_options(bundle) if "ca-certificates" in option]
    assert len(hooks) == 2
    assert all("it'\"'\"'s here.crt" in hook for hook in hooks)


def test_the_way_images_were_made_first_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "succeeds", lambda *argv, timeout: pytest.fail("tried the registry again"))

    assert images.registry_is_used({"debian:trixie-slim": images.Image("sha256:1", None)}, print)
    assert not images.registry_is_used({"debian:trixie-slim": images.Image("sha256:1", "0a1b")}, print)
