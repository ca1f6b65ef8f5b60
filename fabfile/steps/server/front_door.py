"""nginx, the front door of all projects: its ports, image, files, container, and what it says to strangers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fabfile.remote.command import Command, script
from fabfile.services.templates import render
from fabfile.steps.server import engine
from fabfile.steps.server.check import Check, as_user, dotted, hidden, waiting
from fabfile.steps.server.facts import NginxContainer, Place, nginx_image
from fabfile.steps.server.system import digest

if TYPE_CHECKING:
    from fabfile.model.inventory import Host
    from fabfile.steps.server.facts import ServerFacts

KEEPALIVE_MIN_TIMEOUT = (1, 27, 4)  # the first nginx with that directive
FILE_MODE = "644"
EMPTY_REPLY = 52  # curl's exit code when the connection is closed without an answer

PORTS, IMAGE, FILES, NGINX = "ports 80 and 443", "nginx image", "nginx files", "nginx"
CONFIGURATION_FILE, COMPOSE_FILE = "/opt/nginx/nginx.conf", "/opt/nginx/compose.yml"
CONTAINER = "nginx-nginx-1"


def ports(facts: ServerFacts) -> Check:
    """Return whether the ports of the front door are free or nginx's own."""
    wanted = "free, or nginx's"
    if "iproute2" not in facts.packages:
        return waiting(PORTS, wanted=wanted, after="packages")
    foreign = [f"{name} (a container) has port {port}" for port, name in facts.published if name != CONTAINER]
    unseen = False
    for listener in facts.listeners:
        strangers = {pid: name for pid, name in listener.processes.items() if pid not in facts.nginx_processes}
        foreign += [f"{name} (process {pid}) listens on port {listener.port}" for pid, name in strangers.items()]
        unseen |= not listener.processes and not (facts.container and facts.container.running)
    if unseen and not foreign:
        if not facts.root:
            return hidden(PORTS, wanted=wanted, user=facts.viewer)
        foreign = ["something that cannot be named listens on them"]
    foreign = list(dict.fromkeys(foreign))
    return Check(
        PORTS,
        not foreign,
        ", ".join(foreign) or ("nginx's" if facts.listeners else "free"),
        wanted,
        by_hand="move its sites behind this nginx, then stop it (a service: systemctl disable --now NAME)",
    )


def image(host: Host, facts: ServerFacts) -> Check:
    """Return whether nginx's image is there."""
    tag = nginx_image(host)
    need = engine.need(facts, IMAGE, wanted=tag)
    if need:
        return need
    command = script("bootstrap_pull", tag, deadline=900, stream=True)
    found = tag if facts.image_id else f"{tag} is not there"
    return Check(IMAGE, bool(facts.image_id), found, tag, cure=(command,), does=f"pulls {tag}")


def nginx_version(host: Host, facts: ServerFacts) -> Check:
    """Return whether nginx is new enough to reload without losing keep-alive clients."""
    name, wanted = "nginx version", f"{dotted(KEEPALIVE_MIN_TIMEOUT)} or newer"
    if not facts.nginx_version:
        return engine.need(facts, name, wanted=wanted) or waiting(name, wanted=wanted, after=IMAGE)
    new = facts.nginx_version >= KEEPALIVE_MIN_TIMEOUT
    lost = "" if new else ": each reload may reset some keep-alive clients"
    return Check(
        name,
        new,
        f"{dotted(facts.nginx_version)}{lost}",
        wanted,
        by_hand=f"set images.nginx of hosts.{host.name} in hosts.toml to a newer image",
        warning=True,
    )


def rendered(host: Host, version: tuple[int, ...]) -> dict[str, str]:
    """Return nginx's own files by path, in the order in which they are written: nginx.conf after what it includes."""
    return {
        "/opt/nginx/conf.d/proxy.inc": render("nginx/conf.d/proxy.inc"),
        CONFIGURATION_FILE: render("nginx/nginx.conf", keepalive_min_timeout=version >= KEEPALIVE_MIN_TIMEOUT),
        COMPOSE_FILE: render("nginx/compose.yml", image=nginx_image(host)),
    }


def files(host: Host, facts: ServerFacts) -> Check:
    """Return whether nginx's own files are as rendered."""
    wanted = "nginx.conf, conf.d/proxy.inc and compose.yml as rendered"
    if not facts.nginx_version:
        return engine.need(facts, FILES, wanted=wanted) or waiting(FILES, wanted=wanted, after=IMAGE)
    texts = rendered(host, facts.nginx_version)
    place = Place(FILE_MODE, host.user)
    wrong = [path for path in texts if facts.digests.get(path) != digest(texts[path]) or facts.files.get(path) != place]
    found = ", ".join(f"{path} {'differs' if path in facts.digests else 'is missing'}" for path in wrong)
    return Check(
        FILES,
        not wrong,
        found or "as rendered",
        wanted,
        cure=tuple(_replace(host, path, texts[path]) for path in wrong),
        does="writes them; nginx reloads only once `nginx -t` accepts them, otherwise the old ones come back",
    )


def _replace(host: Host, path: str, text: str) -> Command:
    if path == COMPOSE_FILE:
        command = script("bootstrap_compose_file", stdin=text.encode())
    else:
        command = script("bootstrap_nginx_file", nginx_image(host), path, stdin=text.encode(), deadline=120)
    return as_user(command, host.user)


def container(host: Host, facts: ServerFacts) -> Check:
    """Return whether nginx runs, as its compose file says."""
    wanted = f"{CONTAINER} running from {nginx_image(host)} on the host's network"
    need = engine.need(facts, NGINX, wanted=wanted)
    if need:
        return need
    if not facts.nginx_version:
        return waiting(NGINX, wanted=wanted, after=IMAGE)
    if ports(facts).ok is False:
        return waiting(NGINX, wanted=wanted, after=PORTS)
    found = facts.container
    wrong = _differences(found, nginx_image(host)) if found else [f"there is no {CONTAINER}"]
    anew = bool(found and found.running and wrong)
    return Check(
        NGINX,
        not wrong,
        ", ".join(wrong) or f"running from {nginx_image(host)}",
        wanted,
        cure=(as_user(script("bootstrap_nginx_up", deadline=180), host.user),),
        does="starts it anew: for some seconds visitors get no answer" if anew else "starts it",
    )


def _differences(found: NginxContainer, tag: str) -> list[str]:
    facts = {
        "is not running": found.running,
        f"runs from {found.image}": found.image == tag,
        f"is on the network {found.network_mode}": found.network_mode == "host",
        "does not see /opt/nginx": ("/opt/nginx", "/opt/nginx") in found.mounts,
        "does not use /opt/nginx/nginx.conf": CONFIGURATION_FILE in found.command,
        "does not start at boot": found.restart_policy in ("unless-stopped", "always"),
    }
    return [f"{CONTAINER} {difference}" for difference, right in facts.items() if not right]


def configuration(facts: ServerFacts) -> Check:
    """Return whether `nginx -t` is content with all files there are, those of projects included."""
    name, wanted = "nginx configuration", "`nginx -t` is content"
    if not facts.container or not facts.container.running:
        return engine.need(facts, name, wanted=wanted) or waiting(name, wanted=wanted, after=NGINX)
    complaints = [line for line in facts.nginx_test.splitlines() if "[emerg]" in line or "[warn]" in line]
    return Check(
        name,
        not facts.nginx_test,
        " ".join(complaints or facts.nginx_test.splitlines()[:1]) or "`nginx -t` is content",
        wanted,
        by_hand="repair or remove the file that it names: with it no project can be deployed",
    )


def strangers(facts: ServerFacts) -> Check:
    """Return whether requests for unknown hosts get no answer."""
    name, wanted = "unknown hosts", "requests for them are not answered"
    if not facts.container or not facts.container.running or facts.default_server is None:
        return engine.need(facts, name, wanted=wanted) or waiting(name, wanted=wanted, after=NGINX)
    right = facts.default_server == EMPTY_REPLY
    return Check(
        name,
        right,
        "not answered"
        if right
        else f"something answers them (curl ends with {facts.default_server}, not {EMPTY_REPLY})",
        wanted,
        by_hand="find the file in /opt/nginx/conf.d with a second `default_server`, or see docker logs nginx-nginx-1",
    )


def checks(host: Host, facts: ServerFacts) -> Iterator[Check]:
    """Yield what the front door needs."""
    yield ports(facts)
    yield image(host, facts)
    yield nginx_version(host, facts)
    yield files(host, facts)
    yield container(host, facts)
    yield configuration(facts)
    yield strangers(facts)
