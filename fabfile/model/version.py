"""What a release is called: the name given, else the tag at HEAD, else the first characters of the commit."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fabfile.model.failure import UsageFailure
from fabfile.model.names import version_name

COMMIT_CHARACTERS = 8
VERSION_TAG = re.compile(r"v?(?P<numbers>\d+(?:\.\d+)+)(?P<rest>.*)")
GIT_SECONDS = 60
GIVE_ONE = "give the release a name: --version NAME"


@dataclass(frozen=True, slots=True)
class Version:
    """The name of a release and where its source stands in git, if it is in git at all."""

    name: str
    commit: str | None = None
    dirty: bool = False
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class _Checkout:
    """What git knows about a source directory."""

    commit: str
    subject: str
    dirty: bool
    tags: tuple[str, ...]


def resolve(source: Path, given: str | None, env: Mapping[str, str] = os.environ) -> Version:
    """Return the version of `source`; without git and without a given name there is none, and `UsageFailure` says so.

    Arguments:
        source: the project's directory; it may be a sub-directory of a repository, then only changes in it count.
        given: the name from the command line; it wins.
        env: the environment git runs in, without its GIT_* (inside a git hook they name another repository).
    """
    name = None if given is None else version_name(given)
    if not source.is_dir():
        raise UsageFailure(f"the source directory {source} does not exist", then="correct `source` or --source")
    checkout = _look(source, env)
    if isinstance(checkout, _Checkout):
        name = name or _best_tag(checkout.tags) or checkout.commit[:COMMIT_CHARACTERS]
        return Version(name, commit=checkout.commit, dirty=checkout.dirty, subject=checkout.subject)
    if name is None:
        raise UsageFailure(f"cannot tell the version of {source}: {checkout}", then=GIVE_ONE)
    return Version(name)


def _scrubbed(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment git runs in: inside a git hook GIT_* names another repository."""
    return {key: value for key, value in env.items() if not key.startswith("GIT_")} | {"GIT_OPTIONAL_LOCKS": "0"}


def ignored(source: Path, env: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return the paths below `source` that git ignores and does not track, whole directories ending in a slash.

    Files that are tracked although a pattern of `.gitignore` names them are not among them: they belong to the commit.
    """
    argv = ["git", "-C", str(source), "ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z"]
    try:
        done = subprocess.run(argv, env=_scrubbed(env), capture_output=True, check=False, timeout=GIT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(path.decode(errors="surrogateescape") for path in done.stdout.split(b"\0") if path)


def _look(source: Path, env: Mapping[str, str]) -> _Checkout | str:
    """Return what git knows about `source`, or why it knows nothing."""
    scrubbed = _scrubbed(env)

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ("git", "-c", "log.showSignature=false", *arguments),
            cwd=source,
            env=scrubbed,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )

    try:
        head = git("log", "-1", "--format=%H%n%s")
    except FileNotFoundError:
        return "git is not installed"
    if head.returncode != 0:
        return (head.stderr.strip().splitlines() or ["git failed"])[0]
    if git("check-ignore", "--quiet", ".").returncode == 0:
        return "git ignores this directory"
    commit, _, subject = head.stdout.rstrip("\n").partition("\n")
    status = git("status", "--porcelain", "--", ".")
    if status.returncode != 0:
        return (status.stderr.strip().splitlines() or ["git failed"])[0]
    tags = git("tag", "--points-at", "HEAD", "--sort=-creatordate").stdout.split()
    printable = "".join(character if character.isprintable() else " " for character in subject)
    return _Checkout(commit, printable, bool(status.stdout.strip()), tuple(tags))


def _best_tag(tags: tuple[str, ...]) -> str | None:
    """Return the highest version among tags (newest first) that can name a release, else the newest such tag."""
    usable = [tag for tag in tags if _is_version_name(tag)]
    versions = [tag for tag in usable if VERSION_TAG.fullmatch(tag)]
    return max(versions, key=_precedence) if versions else next(iter(usable), None)


def _precedence(tag: str) -> tuple[list[int], bool, list[tuple[int, str]]]:
    """Order v1.10.0 above v1.9.0, a release above its candidates, and rc.10 above rc.9."""
    match = VERSION_TAG.fullmatch(tag)
    numbers, rest = (match["numbers"], match["rest"]) if match else ("0", tag)
    parts = [(int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|\D+", rest)]
    return [int(number) for number in numbers.split(".")], not rest, parts


def _is_version_name(tag: str) -> bool:
    try:
        version_name(tag)
    except UsageFailure:
        return False
    return True
