"""The images a sandbox needs: official ones where a registry is in reach, else equal ones from Debian packages.

An image we build carries the digest of everything it was made from as a label: it is built once, and again only
when that changes.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import shlex
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fabfile.model.failure import Failure
from sandbox.engine import docker, succeeds
from sandbox.programs import Say, install, progress, run

FOLDER = Path(__file__).parent / "images"
LABEL = "slipway.recipe"
HOST_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
REGISTRY_SECONDS = 10
PULL_SECONDS = 900
BUILD_SECONDS = 900
PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host")

APT_KEEPS_NOTHING = """DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";"""

# Debian releases by the name of their official image.
BASES = {"debian:bookworm-slim": "bookworm", "debian:trixie-slim": "trixie"}


@dataclass(frozen=True)
class Recipe:
    """An image we build.

    Attributes:
        tag: its name.
        base: the image its Dockerfile starts from.
        sources: folders below `sandbox/images` that make up its build context.
    """

    tag: str
    base: str
    sources: tuple[str, ...]


SERVER = Recipe("sandbox/server", "debian:trixie-slim", ("server", "common"))
BARE = Recipe("sandbox/bare", "debian:trixie-slim", ("bare", "common"))

# What runs inside a server, by the word that `hosts.toml` uses for it.
BUILT = {
    "python": Recipe("python:3.11-slim", "debian:bookworm-slim", ("python",)),
    "postgres": Recipe("sandbox/postgres:15", "debian:bookworm-slim", ("postgres",)),
    "redis": Recipe("sandbox/redis:7", "debian:bookworm-slim", ("redis",)),
    "nginx": Recipe("sandbox/nginx:1.30", "debian:trixie-slim", ("nginx",)),
}
# The first of these that the registry has.
OFFICIAL = {
    "python": ("python:3.11-slim",),
    "postgres": ("postgres:15-alpine",),
    "redis": ("redis:7-alpine",),
    "nginx": ("nginx:1.30-alpine", "nginx:1.28-alpine"),
}


@dataclass(frozen=True)
class Image:
    """An image of the engine: its id, and the digest of its recipe if we built it."""

    id: str
    recipe: str | None


@dataclass(frozen=True)
class Stock:
    """The images that are there after `prepare`.

    Attributes:
        official: whether they come from a registry.
        services: what runs inside a server: tags by service; empty when that was not asked for.
    """

    official: bool
    services: Mapping[str, str]


def prepare(machine: Recipe, say: Say, *, with_services: bool) -> Stock:
    """Return the images' names once a server's own image and, if wanted, those that run inside it are there."""
    have = present(
        {*BASES, SERVER.tag, BARE.tag, *(recipe.tag for recipe in BUILT.values()), *sum(OFFICIAL.values(), ())}
    )
    official = registry_is_used(have, say)
    recipes = [machine, *(BUILT.values() if with_services and not official else ())]
    with ThreadPoolExecutor(max_workers=len(BASES) + len(BUILT) + 1) as pool:
        bases = {tag: pool.submit(base, tag, have, say, official=official) for tag in {one.base for one in recipes}}
        builds = [pool.submit(build, recipe, bases[recipe.base], have, say) for recipe in recipes]
        pulls: dict[str, Future[str]] = {}
        if with_services and official:
            pulls = {service: pool.submit(first_of, tags, have, say) for service, tags in OFFICIAL.items()}
        for job in builds:
            job.result()
        services = {service: job.result() for service, job in pulls.items()}
    if with_services and not official:
        services = {service: recipe.tag for service, recipe in BUILT.items()}
    return Stock(official, services)


def present(tags: Collection[str]) -> dict[str, Image]:
    """Return those of the images that the engine has, by tag."""
    # Its status is 1 as soon as one of them is missing.
    done = subprocess.run(["docker", "image", "inspect", *tags], capture_output=True, timeout=60, check=False)
    found: dict[str, Image] = {}
    for image in json.loads(done.stdout or b"[]"):
        labels = image["Config"].get("Labels") or {}
        for tag in image["RepoTags"] or []:
            found[tag.removesuffix(":latest")] = Image(image["Id"], labels.get(LABEL))
    return found


def registry_is_used(have: Mapping[str, Image], say: Say) -> bool:
    """Return whether images come from a registry: as before, else by trying one small pull."""
    tag = SERVER.base
    if tag in have:
        return have[tag].recipe is None
    with progress(say, f"looking for a container registry (docker pull {tag})"):
        near = succeeds("pull", "--quiet", tag, timeout=REGISTRY_SECONDS)
    if not near:
        say("no container registry in reach: building equal images from Debian packages")
    return near


def base(tag: str, have: Mapping[str, Image], say: Say, *, official: bool) -> str:
    """Return the id of a Debian image, pulled or made by mmdebstrap."""
    if official:
        if tag not in have:
            pull(tag, say)
        return docker("image", "inspect", "--format", "{{.Id}}", tag).strip()
    options = bootstrap_options(HOST_CERTIFICATES)
    certificates = HOST_CERTIFICATES.read_bytes() if HOST_CERTIFICATES.exists() else b""
    recipe = hashlib.sha256("\n".join([BASES[tag], *options]).encode() + certificates).hexdigest()
    if tag in have and have[tag].recipe == recipe:
        return have[tag].id
    install({"mmdebstrap": ["mmdebstrap", "debian-archive-keyring"]}, say)
    with progress(say, f"making {tag} from Debian packages"), tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "root.tar")
        run(["mmdebstrap", *options, BASES[tag], str(archive), *mirrors(BASES[tag])], timeout=BUILD_SECONDS)
        changes = ('CMD ["bash"]', f"LABEL {LABEL}={recipe}")
        flags = [word for change in changes for word in ("--change", change)]
        return docker("import", *flags, str(archive), tag, timeout=BUILD_SECONDS).strip()


def mirrors(release: str) -> list[str]:
    """Return the package sources of a Debian release."""
    return [
        f"deb http://deb.debian.org/debian {release} main",
        f"deb http://deb.debian.org/debian {release}-updates main",
        f"deb http://deb.debian.org/debian-security {release}-security main",
    ]


def bootstrap_options(certificates: Path) -> list[str]:
    """Return how mmdebstrap makes what the official slim images are.

    Arguments:
        certificates: this machine's certificate authorities, which images trust too: a company's proxy is only known
            to this machine.
    """
    left_out = ("doc/*", "info/*", "locale/*", "man/*")
    hooks = [
        # as in the official image: a package's service does not start while an image is being built,
        r"""printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d" && chmod 0755 "$1/usr/sbin/policy-rc.d" """,
        # and apt keeps neither packages nor its index of them (100 MB in every layer that installs something)
        rf"""printf '%s\n' {shlex.quote(APT_KEEPS_NOTHING)} >"$1/etc/apt/apt.conf.d/docker-clean" """,
        'rm -f "$1"/var/cache/apt/*.bin',
    ]
    if certificates.exists():
        source = shlex.quote(str(certificates))
        hooks += [
            f'install -D -m 0644 {source} "$1/etc/ssl/certs/ca-certificates.crt"',
            # from here it survives the installation of the package ca-certificates, which writes the file above anew
            f'install -D -m 0644 {source} "$1/usr/local/share/ca-certificates/this-machine.crt"',
        ]
    return [
        "--quiet",
        "--variant=minbase",
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude=/usr/share/{pattern}" for pattern in left_out),
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--dpkgopt=path-include=/usr/share/locale/locale.alias",
        *(f"--customize-hook={hook.strip()}" for hook in hooks),
    ]


def build(recipe: Recipe, base_id: Future[str], have: Mapping[str, Image], say: Say) -> None:
    """Leave an image that is what its recipe says now."""
    context = build_context(recipe)
    digest = hashlib.sha256(context + base_id.result().encode()).hexdigest()
    if recipe.tag in have and have[recipe.tag].recipe == digest:
        return
    with progress(say, f"building {recipe.tag}"):
        flags = ["--network", "host", "--label", f"{LABEL}={digest}", "--tag", recipe.tag]
        docker("build", "--quiet", *flags, "-", stdin=context, timeout=BUILD_SECONDS)
        if recipe.tag in have:
            # The one it supersedes, unless a container or another name still needs it.
            succeeds("image", "prune", "--force", "--filter", f"label={LABEL}={have[recipe.tag].recipe}")


def build_context(recipe: Recipe) -> bytes:
    """Return the build context as a tar archive that is the same bytes for the same content."""
    files = {
        path.name: (path.read_bytes(), 0o755 if path.suffix == ".sh" else 0o644)
        for source in recipe.sources
        for path in sorted((FOLDER / source).iterdir())
        if path.is_file()
    }
    if recipe is BUILT["python"]:
        settings = run([sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"])
        files["pip.conf"] = (pip_conf(settings).encode(), 0o644)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def pip_conf(settings: str) -> str:
    """Return a pip.conf with this machine's package indexes, so that builds inside a server use them too.

    Arguments:
        settings: what `pip config list` printed; its lines from the environment come first, and win.
    """
    kept: dict[str, str] = {}
    for line in settings.splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2]
        if name in PIP_SETTINGS:
            # Directories of this machine mean nothing in there.
            words = [word for word in ast.literal_eval(value).split() if "://" not in word or word.startswith("http")]
            kept.setdefault(name, " ".join(words))
    return "\n".join(["[global]", *(f"{name} = {value}" for name, value in kept.items() if value)]) + "\n"


def first_of(tags: Collection[str], have: Mapping[str, Image], say: Say) -> str:
    """Return the first of the images that is there or that the registry has."""
    for tag in tags:
        if tag in have:
            return tag
    failures: list[Failure] = []
    for tag in tags:
        try:
            pull(tag, say)
        except Failure as failure:
            failures.append(failure)
        else:
            return tag
    raise failures[0]


def pull(tag: str, say: Say) -> None:
    """Fetch an image from its registry."""
    with progress(say, f"pulling {tag}"):
        docker("pull", "--quiet", tag, timeout=PULL_SECONDS)
