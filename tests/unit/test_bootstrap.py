"""Setting up a server, without one: captured facts in, checks and commands out."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from fabfile.model.failure import Failure
from fabfile.model.inventory import Host
from fabfile.model.ports import render_registry
from fabfile.remote.command import Answer, Command, OnLine
from fabfile.steps import bootstrap
from fabfile.steps.server import account, engine, front_door, system
from fabfile.steps.server.check import Check, as_root, as_user, version
from fabfile.steps.server.facts import Account, Place, Route, ServerFacts, Service, parse, parse_routes

CAPTURED = Path(__file__).parent / "test_bootstrap_captured"
HOST = Host.model_validate({"name": "prod", "hostname": "192.0.2.1", "images": {"nginx": "sandbox/nginx:1.30"}})
OUR_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBJxvqMnsRX21AvTfdAp+fo+GJ+9jINPR87mDsSK+7V2 ci@example"


def captured(name: str) -> ServerFacts:
    """Return the facts as `server_facts.sh` printed them on a real server, whose clock was right."""
    text = (CAPTURED / f"{name}.txt").read_text(encoding="utf-8")
    return replace(parse(text, our_time=0), clock_offset=0.0)


def complete(name: str = "complete_debian_13") -> ServerFacts:
    """Return the facts of a server that has what today's templates render."""
    facts = captured(name)
    texts = front_door.rendered(HOST, facts.nginx_version)
    texts |= {system.SSHD_FILE: system.sshd_file(), system.LOGROTATE_FILE: system.logrotate_file()}
    return replace(facts, digests={path: system.digest(text) for path, text in texts.items()})


def wrong(facts: ServerFacts, authorized: Iterable[str] = ()) -> dict[str, Check]:
    return {check.name: check for check in bootstrap.checks(HOST, facts, tuple(authorized)) if check.ok is False}


def one(facts: ServerFacts, name: str) -> Check:
    return next(check for check in bootstrap.checks(HOST, facts) if check.name == name)


def labels(check: Check) -> list[str]:
    return [command.label for command in check.cure or ()]


# --- whole servers


def test_a_bare_debian_13_is_given_what_it_lacks_in_this_order() -> None:
    due = [check for check in bootstrap.checks(HOST, captured("bare_debian_13")) if check.curable]
    assert [(check.name, labels(check)) for check in due] == [
        ("packages", ["bootstrap_packages rsync curl ca-certificates cron logrotate iproute2 gnupg"]),
        ("sshd", ["bootstrap_sshd"]),
        ("user deploy", ["bootstrap_user deploy /bin/bash yes"]),
        ("keys of deploy", ["bootstrap_keys deploy"]),
        (
            "directories",
            [
                "bootstrap_directories deploy 0755:/opt/deploy 0700:/opt/deploy/lock 0755:/opt/projects "
                "0755:/opt/nginx 0755:/opt/nginx/conf.d 0755:/opt/nginx/upstreams 0700:/opt/nginx/ssl "
                "0755:/opt/nginx/logs 0755:/opt/nginx/acme 0700:/opt/backups "
                "0700:/opt/backups/databases 0700:/opt/backups/configs"
            ],
        ),
        ("port registry", ["bootstrap_registry deploy"]),
        ("Docker settings", ["bootstrap_daemon"]),
    ]


def test_what_needs_something_else_first_waits_for_it_on_a_bare_server() -> None:
    waits = {check.name: check.after for check in bootstrap.checks(HOST, captured("bare_debian_13")) if check.after}
    assert waits == {
        "cron": "packages",
        "Docker Engine": "packages",
        "Docker service": "Docker Engine",
        "deploy in group docker": "Docker Engine",
        "ports 80 and 443": "packages",
        "nginx image": "Docker Engine",
        "nginx version": "Docker Engine",
        "nginx files": "Docker Engine",
        "nginx": "Docker Engine",
        "nginx configuration": "Docker Engine",
        "unknown hosts": "Docker Engine",
        "logrotate": "packages",
    }


def test_a_complete_server_needs_nothing() -> None:
    assert wrong(complete()) == {}
    assert all(check.ok for check in bootstrap.checks(HOST, complete()))


def test_the_user_who_deploys_sees_a_complete_server_without_root() -> None:
    facts = complete("complete_debian_13_seen_by_deploy")
    assert not facts.root
    assert wrong(facts) == {}


def test_facts_that_were_cut_off_are_no_facts() -> None:
    text = (CAPTURED / "complete_debian_13.txt").read_text(encoding="utf-8")
    with pytest.raises(Failure, match="incomplete"):
        parse(text[: len(text) // 2], our_time=0)


def test_docker_that_does_not_answer_is_quoted_and_not_taken_for_running() -> None:
    refused = (
        '{"ID":"","Containers":0,"ServerErrors":["Cannot connect to the Docker daemon at unix:///var/run/docker.sock."]}\n'
        "errors pretty printing info\n"
    )
    lines = (CAPTURED / "complete_debian_13.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    text = "".join(refused if line.startswith('{"ID"') else line for line in lines)
    facts = parse(text, our_time=0)
    assert facts.info == {}
    assert facts.info_error == "Cannot connect to the Docker daemon at unix:///var/run/docker.sock."


# --- parsers


def test_facts_of_a_real_server_are_understood() -> None:
    facts = captured("complete_debian_13")
    assert (facts.os_id, facts.os_version, facts.os_codename, facts.architecture) == ("debian", "13", "trixie", "amd64")
    assert facts.zone == "Etc/UTC"
    assert facts.packages["docker.io"].startswith("26.1.5")
    assert "docker-ce" not in facts.packages
    assert facts.service("cron") == Service(running=True, enabled=True)
    assert facts.account is not None
    assert facts.account.home == "/home/deploy"
    assert facts.password_locked is True
    assert "docker" in facts.groups
    assert facts.directories["/opt/nginx/ssl"] == Place("700", "deploy", "deploy", "directory")
    assert facts.nginx_version == (1, 30, 6)
    assert facts.container is not None
    assert facts.container.mounts == {("/opt/nginx", "/opt/nginx")}
    assert facts.default_server == front_door.EMPTY_REPLY
    assert {listener.port for listener in facts.listeners} == {80}
    assert facts.sshd == {"clientaliveinterval": "15", "clientalivecountmax": "4", "maxsessions": "20"}


def test_routes_are_read_from_the_kernels_own_table() -> None:
    text = (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        "br-1\t000114AC\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert [(str(route.network), route.interface) for route in parse_routes(text)] == [
        ("172.17.0.0/16", "docker0"),
        ("172.20.1.0/24", "br-1"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Docker version 26.1.5+dfsg1, build 411e817", (26, 1, 5)),
        ("5:28.3.3-1~debian.12~bookworm", (28, 3, 3)),
        ("2.26.1-4", (2, 26, 1)),
        ("v5.0.0", (5, 0, 0)),
        ("28.2.2-0ubuntu1~24.04.1", (28, 2, 2)),
        ("", ()),
    ],
)
def test_versions_are_read_as_docker_and_debian_write_them(text: str, expected: tuple[int, ...]) -> None:
    assert version(text) == expected


# --- operating system


@pytest.mark.parametrize(
    ("name", "release", "architecture", "known"),
    [
        ("debian", "12", "amd64", True),
        ("debian", "13", "arm64", True),
        ("ubuntu", "22.04", "amd64", True),
        ("ubuntu", "26.04", "amd64", True),
        ("debian", "11", "amd64", False),
        ("ubuntu", "20.04", "amd64", False),
        ("fedora", "43", "amd64", False),
        ("debian", "13", "i386", False),
    ],
)
def test_only_known_releases_are_set_up(name: str, release: str, architecture: str, known: bool) -> None:
    facts = replace(complete(), os_id=name, os_version=release, architecture=architecture)
    assert one(facts, "operating system").ok is known


def test_a_clock_that_is_wrong_is_told_and_stops_nothing() -> None:
    check = wrong(replace(complete(), clock_offset=-3600.0))["clock"]
    assert check.warning
    assert check.found.startswith("3600 s behind")


def test_settings_of_sshd_are_left_to_people_where_no_drop_in_is_read() -> None:
    check = wrong(replace(complete(), sshd_include=False))["sshd"]
    assert check.warning
    assert check.cure is None
    assert "Include" in check.by_hand


def test_another_file_that_overrides_our_settings_of_sshd_is_told() -> None:
    check = wrong(replace(complete(), sshd={"clientaliveinterval": "0", "maxsessions": "20"}))["sshd"]
    assert check.found == "in force: clientaliveinterval 0"
    assert check.cure is None


# --- Docker

NO_DOCKER = {"engine": "", "compose": "", "buildx": "", "info": {}, "client": "", "lists": 40}
OFFERED_BY_UBUNTU = {
    "docker.io": "28.2.2-0ubuntu1~24.04.1",
    "docker-compose-v2": "2.37.1+ds1-0ubuntu2~24.04.1",
    "docker-buildx": "0.21.3-0ubuntu1~24.04.1",
}


def without_docker(**changes: Any) -> ServerFacts:
    return replace(complete(), **{**NO_DOCKER, **changes})


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (
            without_docker(candidates={"docker.io": "26.1.5", "docker-compose": "2.26.1-4", "docker-buildx": "0.13.1"}),
            ["bootstrap_packages docker.io docker-compose docker-buildx docker-cli iptables"],
        ),
        (
            without_docker(os_id="ubuntu", os_version="24.04", os_codename="noble", candidates=OFFERED_BY_UBUNTU),
            ["bootstrap_packages docker.io docker-compose-v2 docker-buildx iptables"],
        ),
        (
            without_docker(
                os_id="ubuntu",
                os_version="24.04",
                os_codename="noble",
                candidates={**OFFERED_BY_UBUNTU, "docker.io": "24.0.7-0ubuntu4"},
            ),
            [
                f"bootstrap_docker_repository ubuntu noble {engine.KEY_FINGERPRINT}",
                "bootstrap_packages docker-ce docker-ce-cli containerd.io docker-compose-plugin docker-buildx-plugin",
            ],
        ),
        (
            without_docker(os_version="12", os_codename="bookworm", candidates={"docker.io": "20.10.24+dfsg1-1"}),
            [
                f"bootstrap_docker_repository debian bookworm {engine.KEY_FINGERPRINT}",
                "bootstrap_packages docker-ce docker-ce-cli containerd.io docker-compose-plugin docker-buildx-plugin",
            ],
        ),
        (
            replace(complete(), compose="", packages={**complete().packages, "docker-ce": "5:28.3.3-1"}, lists=40),
            ["bootstrap_packages docker-compose-plugin docker-buildx-plugin"],
        ),
        (replace(complete(), buildx="", lists=40), ["bootstrap_packages docker-compose docker-buildx"]),
    ],
    ids=[
        "debian 13",
        "ubuntu 24.04",
        "ubuntu with old packages",
        "debian 12",
        "docker-ce without compose",
        "no buildx",
    ],
)
def test_docker_comes_from_where_the_release_has_a_usable_one(facts: ServerFacts, expected: list[str]) -> None:
    assert labels(wrong(facts)["Docker Engine"]) == expected


def test_docker_ce_that_is_there_is_enough() -> None:
    facts = replace(complete(), engine="Docker version 28.3.3, build 980b856", compose="v2.39.1")
    assert one(facts, "Docker Engine").ok


def test_an_old_engine_with_containers_on_it_is_left_to_people() -> None:
    facts = replace(complete(), engine="Docker version 20.10.24+dfsg1, build 297e128", lists=40)
    check = wrong(facts)["Docker Engine"]
    assert check.cure is None
    assert "1 containers run on it" in check.found


def test_a_missing_package_list_is_fetched_before_docker_is_looked_for() -> None:
    facts = without_docker(lists=0)
    assert labels(wrong(facts)["packages"]) == ["bootstrap_packages"]
    assert wrong(facts)["Docker Engine"].after == "packages"


def sent(check: Check) -> dict[str, Any]:
    assert check.cure is not None
    document: dict[str, Any] = json.loads(check.cure[0].stdin)
    return document


def test_foreign_settings_of_docker_stay() -> None:
    theirs = {"registry-mirrors": ["https://mirror.example"], "log-opts": {"max-size": "1m"}, "debug": True}
    document = sent(wrong(replace(complete(), daemon_text=json.dumps(theirs)))["Docker settings"])
    assert document == {
        "registry-mirrors": ["https://mirror.example"],
        "debug": True,
        "log-opts": {"max-size": "1m", "max-file": "5"},
        "log-driver": "json-file",
        "userland-proxy": False,
        "live-restore": True,
        "default-address-pools": [{"base": "172.30.0.0/16", "size": 24}],
    }


def test_another_log_driver_and_other_address_pools_are_somebodys_choice() -> None:
    theirs = {"log-driver": "journald", "default-address-pools": [{"base": "10.99.0.0/16", "size": 24}]}
    document = sent(wrong(replace(complete(), daemon_text=json.dumps(theirs)))["Docker settings"])
    assert document == {**theirs, "userland-proxy": False, "live-restore": True}


def test_address_pools_that_would_take_the_projects_networks_are_replaced() -> None:
    theirs = {"default-address-pools": [{"base": "172.16.0.0/12", "size": 24}]}
    document = sent(wrong(replace(complete(), daemon_text=json.dumps(theirs)))["Docker settings"])
    assert document["default-address-pools"] == [{"base": "172.30.0.0/16", "size": 24}]


def test_the_address_pool_avoids_networks_that_the_server_reaches_otherwise() -> None:
    routes = (
        Route(ipaddress.IPv4Network("172.30.5.0/24"), "tun0"),
        Route(ipaddress.IPv4Network("172.29.0.0/24"), "br-12ab"),
    )
    assert engine.free_pool(replace(complete(), routes=routes)) == "172.29.0.0/16"


def test_a_swarm_does_not_get_live_restore_and_is_told_so() -> None:
    info = {**complete().info, "Swarm": {"LocalNodeState": "active"}, "LiveRestoreEnabled": False}
    bare = replace(complete(), info=info, daemon_text=None)
    document = sent(wrong(bare)["Docker settings"])
    assert "live-restore" not in document
    assert "stop and start again" in wrong(bare)["Docker settings"].does
    assert "a swarm does not allow it" in one(replace(bare, daemon_text=json.dumps(document)), "Docker settings").found


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1,}', "null"])
def test_a_damaged_settings_file_is_left_to_people(text: str) -> None:
    check = wrong(replace(complete(), daemon_text=text))["Docker settings"]
    assert check.cure is None
    assert check.by_hand


def test_settings_written_by_an_interrupted_run_are_put_in_force() -> None:
    assert wrong(replace(complete(), daemon_restart_due=True))["Docker settings"].cure
    assert wrong(replace(complete(), info={**complete().info, "LiveRestoreEnabled": False}))["Docker settings"].cure


def test_docker_that_is_not_running_is_started() -> None:
    facts = replace(complete(), info={}, info_error="no answer", services={"docker": Service(False, True)})
    check = wrong(facts)["Docker service"]
    assert labels(check) == ["bootstrap_service docker"]
    assert "no answer" in check.found


@pytest.mark.parametrize(
    ("network", "interface", "expected"),
    [
        ("172.20.3.0/24", "br-0a1b", None),
        ("172.20.0.0/16", "br-0a1b", False),
        ("172.16.0.0/12", "tun0", True),
        ("10.0.0.0/8", "tun0", None),
    ],
)
def test_the_projects_addresses_are_kept_free(network: str, interface: str, expected: bool | None) -> None:
    facts = replace(complete(), routes=(Route(ipaddress.IPv4Network(network), interface),))
    check = wrong(facts).get("project networks")
    assert (check.warning if check else None) is expected


# --- the user who deploys


def test_keys_are_added_and_never_removed() -> None:
    check = wrong(complete(), [OUR_KEY])["keys of deploy"]
    assert check.cure is not None
    assert check.cure[0].stdin == f"{OUR_KEY}\n".encode()


def test_a_key_with_another_comment_is_the_same_key() -> None:
    facts = replace(complete(), keys=(OUR_KEY.replace("ci@example", "somebody else"),))
    assert "keys of deploy" not in wrong(facts, [OUR_KEY])


def test_keys_that_only_tell_people_to_log_in_as_another_user_are_not_copied() -> None:
    cloud = f"no-port-forwarding,command=\"echo 'Please login as the user ubuntu'\" {OUR_KEY}"
    assert account.key_of(cloud) is None
    assert account.key_of(f'from="192.0.2.0/24" {OUR_KEY}') == account.key_of(OUR_KEY)
    assert account.key_of(f"# {OUR_KEY}") is None
    check = wrong(replace(complete(), keys=(), login_keys=(cloud,)))["keys of deploy"]
    assert check.cure is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"account": None}, "does not exist"),
        ({"password_locked": False}, "can log in with a password"),
        ({"account": Account("deploy", "/home/deploy", "/usr/sbin/nologin")}, "has the shell /usr/sbin/nologin"),
    ],
)
def test_the_user_is_made_as_it_should_be(changes: dict[str, Any], expected: str) -> None:
    check = wrong(replace(complete(), **changes))["user deploy"]
    assert check.found == expected
    assert labels(check) == ["bootstrap_user deploy /bin/bash yes"]


def test_the_password_of_the_only_user_is_not_taken_away() -> None:
    host = HOST.model_copy(update={"admin": "deploy"})
    assert account.user(host, replace(complete(), password_locked=False)).ok


def test_a_file_where_a_directory_should_be_is_left_to_people() -> None:
    there = {**complete().directories, "/opt/backups": Place("644", "root", "root", "regular file")}
    check = wrong(replace(complete(), directories=there))["directories"]
    assert check.cure is None
    assert check.found == "/opt/backups is a regular file"


def test_only_directories_that_differ_are_touched() -> None:
    there = {**complete().directories, "/opt/nginx/ssl": Place("755", "deploy", "deploy", "directory")}
    check = wrong(replace(complete(), directories=there))["directories"]
    assert labels(check) == ["bootstrap_directories deploy 0700:/opt/nginx/ssl"]


def test_a_damaged_port_registry_is_never_replaced() -> None:
    check = wrong(replace(complete(), registry="{"))["port registry"]
    assert check.cure is None
    assert "damaged" in check.found


def test_a_port_registry_with_projects_is_right() -> None:
    assert one(replace(complete(), registry=render_registry({"shop": 1})), "port registry").found == "1 projects"


# --- the front door


def listening(name: str, pid: int) -> ServerFacts:
    text = (CAPTURED / "complete_debian_13.txt").read_text(encoding="utf-8")
    line = f'LISTEN 0 511 *:443 *:* users:(("{name}",pid={pid},fd=6))\n'
    head, tail = text.split("\n@@ published")
    facts = replace(parse(f"{head}{line}\n@@ published{tail}", our_time=0), clock_offset=0.0)
    return replace(facts, digests=complete().digests)


def test_a_foreign_web_server_is_named_and_not_stopped() -> None:
    check = wrong(listening("apache2", 4711))["ports 80 and 443"]
    assert check.found == "apache2 (process 4711) listens on port 443"
    assert check.cure is None


def test_nginx_is_not_started_against_a_foreign_web_server() -> None:
    facts = replace(listening("apache2", 4711), container=None)
    assert wrong(facts)["nginx"].after == "ports 80 and 443"


def test_a_container_that_publishes_the_ports_is_named() -> None:
    facts = replace(complete(), published=((80, "traefik"),))
    assert wrong(facts)["ports 80 and 443"].found == "traefik (a container) has port 80"


def test_an_old_nginx_gets_no_directive_it_does_not_know_and_a_warning() -> None:
    assert "keepalive_min_timeout 10s;" in front_door.rendered(HOST, (1, 27, 4))[front_door.CONFIGURATION_FILE]
    assert "keepalive_min_timeout" not in front_door.rendered(HOST, (1, 26, 3))[front_door.CONFIGURATION_FILE]
    assert wrong(replace(complete(), nginx_version=(1, 26, 3)))["nginx version"].warning


def test_only_the_files_that_differ_are_written_as_the_user_who_deploys() -> None:
    facts = replace(complete(), digests={**complete().digests, front_door.CONFIGURATION_FILE: "0" * 64})
    check = wrong(facts)["nginx files"]
    assert labels(check) == ["bootstrap_nginx_file sandbox/nginx:1.30 /opt/nginx/nginx.conf"]
    assert check.cure is not None
    assert check.cure[0].argv[:4] == ("runuser", "-u", "deploy", "--")


def test_another_image_means_a_new_container_and_says_what_visitors_see() -> None:
    facts = complete()
    assert facts.container is not None
    check = wrong(replace(facts, container=replace(facts.container, image="nginx:1.26")))["nginx"]
    assert check.found == "nginx-nginx-1 runs from nginx:1.26"
    assert "visitors get no answer" in check.does


def test_a_projects_file_that_nginx_refuses_is_named() -> None:
    test = 'nginx: [emerg] unknown directive "x" in /opt/nginx/conf.d/shop.conf:1\nexit 1'
    check = wrong(replace(complete(), nginx_test=test))["nginx configuration"]
    assert "/opt/nginx/conf.d/shop.conf:1" in check.found


def test_an_answer_to_unknown_hosts_is_wrong() -> None:
    assert "curl ends with 0" in wrong(replace(complete(), default_server=0))["unknown hosts"].found


# --- commands and the run


def test_root_and_other_users_are_reached_in_one_place() -> None:
    command = Command(("true", "a b"), stdin=b"x", label="true")
    assert as_user(command, "deploy").argv == ("runuser", "-u", "deploy", "--", "true", "a b")
    wrapped = as_root(command)
    assert wrapped.argv[0:2] == ("sh", "-c")
    assert wrapped.argv[3:] == ("bootstrap_as_root", "true", "a b")
    assert (wrapped.stdin, wrapped.label) == (b"x", "true")


@dataclass
class Notes:
    """A reporter that remembers."""

    notes: list[str] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)

    def begin(self, name: str, what: str) -> None:
        self.begun.append(name)

    def line(self, text: str) -> None: ...

    def end(self, name: str, detail: str, seconds: float, outcome: str) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)


class Replayed:
    """A server that answers with facts captured one after the other, and takes every cure."""

    name = "prod"

    def __init__(self, *names: str) -> None:
        self._texts = [(CAPTURED / f"{name}.txt").read_text(encoding="utf-8") for name in names]
        self.sent: list[str] = []

    def run(self, command: Command, on_line: OnLine | None = None) -> Answer:
        if command.label.startswith("server_facts"):
            return Answer(0, self._texts.pop(0) if len(self._texts) > 1 else self._texts[0])
        self.sent.append(command.label.split()[0])
        return Answer(0)

    def open_channel(self, command: Command) -> Any: ...

    def hide(self, secrets: Iterable[Any]) -> None: ...

    def hidden(self, text: str) -> str:
        return text

    def guard(self, busy_file: str | None) -> None: ...


@pytest.fixture
def matching_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files count as right by what the captured server had, whatever today's templates render."""
    digests = captured("complete_debian_13").digests
    by_text = {
        system.digest(text): digests[path]
        for path, text in {
            **front_door.rendered(HOST, (1, 30, 6)),
            system.SSHD_FILE: system.sshd_file(),
            system.LOGROTATE_FILE: system.logrotate_file(),
        }.items()
    }
    digest = system.digest
    for module in (system, front_door):
        monkeypatch.setattr(module, "digest", lambda text: by_text.get(digest(text), digest(text)))


@pytest.mark.usefixtures("matching_templates")
def test_a_second_run_changes_nothing_and_says_so() -> None:
    server, notes = Replayed("complete_debian_13"), Notes()
    outcomes = bootstrap.bring_up(server, HOST, notes)
    assert server.sent == []
    assert not any(outcome.changed for outcome in outcomes)
    assert "Docker Engine: already right (Docker 26.1.5, Compose 2.26.1, buildx)" in notes.notes


@pytest.mark.usefixtures("matching_templates")
def test_a_bare_server_is_cured_and_looked_at_again() -> None:
    server, notes = Replayed("bare_debian_13", "complete_debian_13"), Notes()
    outcomes = bootstrap.bring_up(server, HOST, notes)
    assert server.sent[0] == "bootstrap_packages"
    assert [outcome.check.name for outcome in outcomes if outcome.changed] == notes.begun
    row = next(outcome.row() for outcome in outcomes if outcome.check.name == "packages")
    assert row["changed"] is True
    assert row["ok"] is True


def test_what_is_still_wrong_after_its_cure_is_a_failure_that_names_it() -> None:
    with pytest.raises(Failure) as failure:
        bootstrap.bring_up(Replayed("bare_debian_13"), HOST, Notes())
    assert "user deploy: does not exist" in str(failure.value)
    assert failure.value.code == 1


def test_an_unknown_system_is_refused_before_anything_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(system.SUPPORTED, "debian", ("12",))
    server = Replayed("bare_debian_13")
    with pytest.raises(Failure, match=r"not supported.*nothing was changed"):
        bootstrap.bring_up(server, HOST, Notes())
    assert server.sent == []
