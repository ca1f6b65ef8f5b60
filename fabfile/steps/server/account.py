"""The user who deploys: account, keys, membership of docker; the directories and the port registry that are theirs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fabfile.model.failure import Failure
from fabfile.model.ports import parse_registry, render_registry
from fabfile.remote.command import script
from fabfile.steps.server import engine
from fabfile.steps.server.check import Check, hidden, waiting
from fabfile.steps.server.facts import DIRECTORIES, Place

if TYPE_CHECKING:
    from fabfile.model.inventory import Host
    from fabfile.steps.server.facts import ServerFacts

SHELL = "/bin/bash"
# Commands arrive as POSIX shell text: other shells would read them differently.
SHELLS = frozenset(f"{place}/{name}" for place in ("/bin", "/usr/bin") for name in ("bash", "dash", "ksh", "sh", "zsh"))
KEY = re.compile(r"(?:^|\s)((?:ssh-|ecdsa-sha2-|sk-)\S+)\s+(AAAA[0-9A-Za-z+/]+=*)(?:\s|$)")
REGISTRY_FILE = "/opt/projects/.port-registry.json"
REGISTRY_MODE = "644"


def user(host: Host, facts: ServerFacts) -> Check:
    """Return whether the user who deploys exists and can log in by key only."""
    name, wanted = f"user {host.user}", f"exists, shell {SHELL}, no password"
    account = facts.account
    # Whoever has no other user may need the password for sudo or the console.
    lock = host.user not in ("root", host.admin)
    wrong = []
    if account is None:
        wrong = ["does not exist"]
    else:
        if account.shell not in SHELLS:
            wrong.append(f"has the shell {account.shell}")
        if lock and facts.password_locked is False:
            wrong.append("can log in with a password")
    shell = account.shell if account and account.shell in SHELLS else SHELL
    return Check(
        name,
        not wrong,
        " and ".join(wrong) or f"exists, shell {shell}" + (", no password" if facts.password_locked else ""),
        wanted,
        cure=(script("bootstrap_user", host.user, shell, "yes" if lock else "no"),),
        does="makes the user, or makes it so",
    )


def key_of(line: str) -> tuple[str, str] | None:
    """Return type and key of a line of authorized_keys; None when it opens no shell for us."""
    found = KEY.search(line)
    if not found or line.lstrip().startswith("#") or "command=" in line[: found.start(1)]:
        return None
    return found.group(1), found.group(2)


def keys(host: Host, facts: ServerFacts, authorized: Sequence[str]) -> Check:
    """Return whether our key opens the account of the user who deploys.

    Arguments:
        authorized: lines of authorized_keys that have to be there; without any those of the user who logged in.
    """
    name, wanted = f"keys of {host.user}", "our public key, ~/.ssh 0700, authorized_keys 0600"
    if not facts.root and facts.viewer != host.user:
        return hidden(name, wanted=wanted, user=facts.viewer)
    lines = [line for line in authorized or facts.login_keys if key_of(line)]
    present = {key_of(line) for line in facts.keys}
    missing = list(dict.fromkeys(line.strip() for line in lines if key_of(line) not in present))
    if not lines and not any(present):
        return Check(
            name, False, "no key, and none known that could be added", wanted,
            by_hand=f"append your public key to ~{host.user}/.ssh/authorized_keys on the server",
        )  # fmt: skip
    wrong = [f"{len(missing)} of {len(lines)} keys missing"] if missing else []
    wrong += _ssh_modes(host.user, facts)
    return Check(
        name,
        not wrong,
        ", ".join(wrong) or f"{len([key for key in present if key])} known",
        wanted,
        cure=(script("bootstrap_keys", host.user, stdin="".join(f"{line}\n" for line in missing).encode()),),
        does="adds what is missing; keys that are there stay",
    )


def _ssh_modes(name: str, facts: ServerFacts) -> list[str]:
    if facts.account is None:
        return []
    home = facts.account.home
    wrong = []
    for path, mode in ((f"{home}/.ssh", "700"), (f"{home}/.ssh/authorized_keys", "600")):
        place = facts.ssh_places.get(path)
        if place is None or (place.mode, place.owner) != (mode, name):
            wrong.append(f"{path} is {f'{place.mode} {place.owner}' if place else 'missing'}")
    place = facts.ssh_places.get(home)
    if place and int(place.mode, 8) & 0o022:
        wrong.append(f"{home} can be written to by others, sshd refuses its keys")
    return wrong


def group(host: Host, facts: ServerFacts) -> Check:
    """Return whether the user who deploys may use Docker."""
    name, wanted = f"{host.user} in group docker", "member, which is as much as being root"
    if not facts.engine:
        return waiting(name, wanted=wanted, after=engine.ENGINE)
    right = "docker" in facts.groups or host.user == "root"
    command = script("bootstrap_group", host.user, "docker")
    return Check(name, right, "member" if right else "not a member", wanted, cure=(command,), does="adds the user")


def directories(host: Host, facts: ServerFacts) -> Check:
    """Return whether the directories are there with their owner and modes."""
    wrong = {}
    for path, mode in DIRECTORIES.items():
        place = facts.directories.get(path)
        if place is None:
            wrong[path] = "missing"
        elif place.kind != "directory":
            return Check(
                "directories", False, f"{path} is a {place.kind}", "a directory",
                by_hand=f"see what {path} is, and move it away",
            )  # fmt: skip
        elif (place.mode, place.owner) != (mode, host.user):
            wrong[path] = f"is {place.mode} {place.owner}, not {mode} {host.user}"
    entries = (f"0{DIRECTORIES[path]}:{path}" for path in wrong)
    return Check(
        "directories",
        not wrong,
        _listed([f"{path} {what}" for path, what in wrong.items()]) or f"{len(DIRECTORIES)} with owner and modes",
        f"{', '.join(DIRECTORIES)} of {host.user}",
        cure=(script("bootstrap_directories", host.user, *entries),),
        does="makes what is missing and sets owner and mode; what lies in them is not touched",
    )


def _listed(items: Sequence[str]) -> str:
    more = f" and {len(items) - 3} more" if len(items) > 3 else ""
    return ", ".join(items[:3]) + more


def registry(host: Host, facts: ServerFacts) -> Check:
    """Return whether the port registry is there and can be read."""
    name, wanted = "port registry", f"{REGISTRY_FILE}, readable, of {host.user}"
    numbers: dict[str, int] = {}
    if facts.registry is not None:
        try:
            numbers = parse_registry(facts.registry)
        except Failure as failure:
            return Check(name, False, failure.what, wanted, by_hand=failure.then or "")
    place = facts.files.get(REGISTRY_FILE)
    right = place == Place(REGISTRY_MODE, host.user)
    found = f"{place.mode} {place.owner}" if place else "missing"
    return Check(
        name,
        right,
        f"{len(numbers)} projects" if right else found,
        wanted,
        cure=(script("bootstrap_registry", host.user, stdin=render_registry({}).encode()),),
        does="sets owner and mode" if place else "makes an empty one",
    )


def checks(host: Host, facts: ServerFacts, authorized: Sequence[str]) -> Iterator[Check]:
    """Yield what the user who deploys needs."""
    yield user(host, facts)
    yield keys(host, facts, authorized)
    yield directories(host, facts)
    yield registry(host, facts)
