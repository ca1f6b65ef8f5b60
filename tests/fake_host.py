"""A host that exists only in memory: it answers our scripts from a small world and writes down what it was asked."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from fabfile.model.colour import Colour
from fabfile.model.failure import Failure
from fabfile.model.inventory import Host, Inventory, Project
from fabfile.model.ports import Ports, parse_registry, render_registry
from fabfile.model.secret import Secret, redact
from fabfile.remote.command import Answer, Command, CommandFailure, DeadlineFailure, OnLine
from fabfile.remote.rsync import Upload, UploadStatistics
from fabfile.remote.server import ConnectionLost
from fabfile.services import compose, nginx
from fabfile.steps.facts import Facts, Record, parse

if TYPE_CHECKING:
    import paramiko

NOW = 1_795_431_701  # 2026-11-23T11:01:41Z
PASSWORD = "pw-4f1c9a7e2b8d6035"
SECRET_KEY = "sk-93b0e4d7c1a85f26"
FOLDER = Path(__file__).parent
# Texts that are new in each run stand in a transcript by their kind.
GENERATION = re.compile(r"\b[0-9a-f]{16}\b")
LONG = 40

Handler = Callable[[list[str], bytes], Answer]
Trouble = Callable[[Command], Answer]


def make_project(**changes: object) -> Project:
    """Return a project as `hosts.toml` would give it; without changes one replica and no services."""
    values = {"name": "mini", "domain": "mini.localhost", "source": ".", **changes}
    return Project.model_validate(values, context={"folder": FOLDER})


def make_host(**changes: object) -> Host:
    """Return a host as `hosts.toml` would give it."""
    return Host.model_validate({"name": "prod", "hostname": "203.0.113.10", **changes}, context={"folder": FOLDER})


@dataclass
class World:
    """What lies on the host for one project; scripts read and change it.

    Arguments:
        in_force: the generation that nginx works with when that is not the one of the upstream file.
        still_busy: for how many seconds the last command of a client that died goes on.
        differing: how many files of a live release a source differs in.
    """

    project: str = "mini"
    number: int | None = 1
    others: dict[str, int] = field(default_factory=dict)
    engine: str = '{"Version": "26.1.5+dfsg1", "ApiVersion": "1.45"}'
    upstream: str = ""
    in_force: str | None = None
    site: str = ""
    env: str = f"POSTGRES_USER=mini\nPOSTGRES_PASSWORD={PASSWORD}\nPOSTGRES_DB=mini\nSECRET_KEY={SECRET_KEY}\n"
    data: str = ""
    current: str = ""
    containers: dict[str, dict[str, Any]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    releases: dict[str, str] = field(default_factory=dict)
    compose: dict[tuple[str, str], str] = field(default_factory=dict)
    leftovers: set[str] = field(default_factory=set)
    directory: bool = True
    network: bool = True
    nginx_running: bool = True
    nginx_test: str = "nginx: configuration file /opt/nginx/nginx.conf test is successful\nexit 0"
    free_kib: int = 50_000_000
    free_inodes: int = 5_000_000
    listening: set[int] = field(default_factory=lambda: {22, 80})
    holders: dict[str, str] = field(default_factory=dict)
    still_busy: int = 0
    differing: int = 0
    journal: list[dict[str, Any]] = field(default_factory=list)
    history: list[str] = field(default_factory=list)

    @property
    def live(self) -> nginx.Live:
        """What visitors see."""
        return nginx.parse_upstream(self.upstream)

    @property
    def generation_in_force(self) -> str:
        """The generation that nginx answers with; nothing when it does not run."""
        if not self.nginx_running:
            return ""
        return self.live.generation if self.in_force is None else self.in_force

    def running(self, colour: str | None) -> list[str]:
        """Return the ids of the running app containers of a colour."""
        return [
            name
            for name, c in self.containers.items()
            if c["State"] == "running" and c["Labels"].get("slipway.colour") == colour
        ]

    def add_container(self, name: str, *, running: bool = True, **labels: str) -> None:
        """Put a container into the world; labels without the prefix `slipway.`."""
        self.containers[name] = {
            "Id": name,
            "Names": [f"/{self.project}-{name}"],
            "Labels": {"slipway.project": self.project, **{f"slipway.{key}": value for key, value in labels.items()}},
        }
        self.set_running(name, running)

    def set_running(self, name: str, running: bool) -> None:
        """Start or stop a container."""
        status = "Up 3 minutes (healthy)" if running else "Exited (0) 3 minutes ago"
        self.containers[name] |= {"State": "running" if running else "exited", "Status": status}

    def facts_text(self) -> str:
        """Return what `facts.sh` prints in this world."""
        front = [{"Id": "n", "Names": ["/nginx-nginx-1"], "State": "running", "Status": "Up", "Labels": {}}]
        parts = {
            "time": str(NOW),
            "engine": self.engine,
            "containers": json.dumps(list(self.containers.values())),
            "nginx": json.dumps(front if self.nginx_running else []),
            "images": json.dumps([{"Id": i, "RepoTags": [f"{self.project}:{t}"]} for t, i in self.tags.items()]),
            "networks": json.dumps([{"Name": f"{self.project}_internal"}] if self.network else []),
            "upstream": self.upstream,
            "site": self.site,
            "in-force": self.generation_in_force,
            "registry": self.registry,
            "env": self.env,
            "data": self.data,
            "current": self.current,
            "partial": "\n".join(sorted(self.leftovers)),
            "releases": "\n".join(f"{version} {text}" for version, text in self.releases.items()),
            "disk": f"overlay 99999999 1 {self.free_kib} 1% /\noverlay 99999999 1 {self.free_inodes} 1% /",
            "listening": "\n".join(map(str, sorted(self.listening))),
            "directory": "present" if self.directory else "",
            "holder": self.holders.get(f"/opt/projects/{self.project}/.deploy", ""),
            "history": "\n".join(self.history),
            "nginx-test": self.nginx_test,
            "end": "",
        }
        return "".join(f"\n@@ {name}\n{text}\n" for name, text in parts.items())

    @property
    def registry(self) -> str:
        """The port registry."""
        numbers = {**self.others, **({self.project: self.number} if self.number else {})}
        return render_registry(numbers) if numbers else ""


class FakeHost:
    """Does what a `Server` does, in memory.

    Arguments:
        project: the project whose world it has.

    `transcript` has a line for every command; `sent` has every text that left this machine but for standard input.
    """

    def __init__(self, project: Project | None = None, *, host: Host | None = None) -> None:
        self.project, self.host = project or make_project(), host or make_host()
        self.world = World(self.project.name, site=nginx.site_file(self.project))
        self.world.upstream = nginx.upstream_file(
            self.project.name,
            colour=None,
            release=None,
            generation=nginx.new_generation(),
            ports=[Ports(1).app(Colour.BLUE, 0)],
        )
        self.user = self.host.user
        self.transcript: list[str] = []
        self.sent: list[str] = []
        self.busy_file: str | None = None
        self.connected = False
        self.before: dict[str, Callable[[], object]] = {}
        self._troubles: dict[str, Trouble] = {}
        self._secrets: set[Secret] = set()

    # ---------------------------------------------------------------- as a Server

    @property
    def name(self) -> str:
        """The name of the host in `hosts.toml`."""
        return self.host.name

    def __enter__(self) -> FakeHost:
        self.connected = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connected = False

    def run(self, command: Command, on_line: OnLine | None = None) -> Answer:
        """Answer a command from the world, or with the trouble that was asked for."""
        self._write_down(command)
        for key in self._matching(self.before, command):
            self.before.pop(key)()
        trouble = next(iter(self._matching(self._troubles, command)), None)
        answer = self._troubles.pop(trouble)(command) if trouble else self.answer(command)
        for line in (answer.out + answer.err).splitlines():
            if on_line is not None:
                on_line(self.hidden(line))
        if answer.exit not in command.accept:
            shown = Answer(answer.exit, self.hidden(answer.out), self.hidden(answer.err))
            raise CommandFailure(command, shown, host=self.name)
        return answer

    def open_channel(self, command: Command) -> paramiko.Channel:
        """Start the command that holds a lock."""
        self._write_down(command)
        return cast("paramiko.Channel", FakeChannel(self, *command.argv[4:]))

    def hide(self, secrets: Iterable[Secret]) -> None:
        """From now on hide these values."""
        self._secrets.update(secrets)

    def hidden(self, text: str) -> str:
        """Return the text with every known secret replaced."""
        return redact(text, self._secrets)

    def guard(self, busy_file: str | None) -> None:
        """Note which file commands lock while they run."""
        self.busy_file = busy_file

    # ---------------------------------------------------------------- for tests

    def connect(self, host: Host, _inventory: Inventory, **_: object) -> FakeHost:
        """Stand in for the class `Server`: the same world whatever the host is called."""
        self.host, self.user = host, host.user
        return self

    def upload(self, what: Upload, on_line: OnLine | None = None) -> UploadStatistics:
        """Stand in for `rsync.upload`: the directory is there afterwards."""
        words = [f"--exclude=/{path}" for path in what.ignored]
        words += ["--dry-run"] if what.compare else []
        words += [f"--link-dest={directory}" for directory in what.link_dest]
        self.transcript.append(" ".join(("rsync", *words, what.target)))
        for key in self._matching(self.before, Command(("rsync",), label="rsync")):
            self.before.pop(key)()
        if not what.compare:
            self.world.leftovers.add(Path(what.target).name)
        if "rsync" in self._troubles:
            answer = self._troubles.pop("rsync")(Command(("rsync",), label="rsync --server"))
            raise Failure(f"rsync ended with exit code {answer.exit}", host=self.name)
        if what.compare:
            return UploadStatistics(files=3, sent=0, bytes_sent=128, differing=self.world.differing)
        return UploadStatistics(files=3, sent=1, bytes_sent=2048)

    def fail(self, label: str, *, exit_code: int = 1, out: str = "", err: str = "") -> None:
        """Let the next command of this label (or its beginning) end with this exit code, having done nothing."""
        self._troubles[label] = lambda _: Answer(exit_code, out, err)

    def lose(self, label: str, *, done: bool) -> None:
        """Let the connection break at this command, before or after it had its effect."""

        def trouble(command: Command) -> Answer:
            if done:
                self.answer(command)
            raise ConnectionLost(
                f"the connection broke while `{command}` ran; what it did is not known yet", host=self.name
            )

        self._troubles[label] = trouble

    def lose_between_file_and_reload(self) -> None:
        """Let the connection break at a switch that has written the file and not told nginx."""

        def trouble(command: Command) -> Answer:
            self.world.in_force = self.world.generation_in_force
            self.world.upstream = command.stdin.decode()
            raise ConnectionLost(
                f"the connection broke while `{command}` ran; what it did is not known yet", host=self.name
            )

        self._troubles["switch"] = trouble

    def stall(self, label: str) -> None:
        """Let this command not finish in time."""

        def trouble(command: Command) -> Answer:
            raise DeadlineFailure(f"`{command}` did not finish within {command.deadline:.0f} s", host=self.name)

        self._troubles[label] = trouble

    def facts(self) -> Facts:
        """Return the facts of the world as it is."""
        return parse(self.project.name, self.world.facts_text())

    def deployed(self, version: str, *, created: str = "2026-11-20T10:00:00+00:00", state: str = "good") -> None:
        """Put a release live without any step, as it is after a deploy; the colour before is stopped."""
        world, facts = self.world, self.facts()
        colour = facts.idle
        self.uploaded(version, created=created, state=state)
        text = compose.app_file(self.project, facts.ports, version=version, colour=colour, env_text=facts.env_text)
        world.compose[version, str(colour)] = text
        self._make_containers(version, str(colour))
        for name in world.running(str(colour.other)):
            world.set_running(name, False)
        world.upstream = nginx.upstream_file(
            self.project.name,
            colour=colour,
            release=version,
            generation=nginx.new_generation(),
            ports=[facts.ports.app(colour, i) for i in range(self.project.replicas)],
        )
        if state == "good":
            world.current = version
        for role in self.project.services:
            world.add_container(f"{role}-1", role=role)

    def uploaded(self, version: str, *, created: str = "2026-11-20T10:00:00+00:00", state: str = "good") -> None:
        """Put a release and its image on the host without starting it."""
        record = Record(version, created=created, who="ann@laptop", dump=f"before-{version}.dump").ended(
            "good" if state == "good" else "bad" if state == "bad" else "unfinished"
        )
        self.world.releases[version] = record.json()
        self.world.tags[version] = f"sha256:{version}"

    # ---------------------------------------------------------------- answers

    def answer(self, command: Command) -> Answer:
        """Return what the world answers, after it has changed accordingly."""
        if command.argv[:2] != ("sh", "-c"):
            return self._program(command)
        name, *arguments = command.argv[3:]
        handler: Handler = getattr(self, f"_{name}")
        return handler(arguments, command.stdin)

    def _program(self, command: Command) -> Answer:
        """Answer for the few small programs that tests of the connection itself use."""
        program, *arguments = command.argv
        if program == "sleep":
            raise DeadlineFailure(f"`{command}` did not finish within {command.deadline:.0f} s", host=self.name)
        if program == "ls":
            return Answer(2, "", f"ls: cannot access '{arguments[-1]}': No such file or directory\n")
        out = {"echo": " ".join(arguments) + "\n", "cat": command.stdin.decode()}.get(program, "")
        return Answer(1 if program == "false" else 0, out)

    def _facts(self, _: list[str], __: bytes) -> Answer:
        return Answer(0, self.world.facts_text())

    def _place(self, arguments: list[str], stdin: bytes) -> Answer:
        _, version, colour, record = arguments
        self.world.leftovers.discard(f"{version}.partial")
        self.world.compose[version, colour] = stdin.decode()
        self.world.releases[version] = record or self.world.releases[version]
        return Answer(0)

    def _build(self, arguments: list[str], _: bytes) -> Answer:
        self.world.tags[arguments[1]] = f"sha256:{arguments[1]}"
        return Answer(0, f"#1 building\nimage sha256:{arguments[1]}\n")

    _pull = _build

    def _data(self, _: list[str], stdin: bytes) -> Answer:
        self.world.data = stdin.decode()
        for role in re.findall(r"slipway\.role: (\w+)", self.world.data):
            self.world.add_container(f"{role}-1", role=role)
        return Answer(0)

    def _dump(self, _: list[str], __: bytes) -> Answer:
        return Answer(0, "20480\n")

    def _migrate(self, _: list[str], __: bytes) -> Answer:
        return Answer(0)

    def _start(self, arguments: list[str], __: bytes) -> Answer:
        _, version, colour, mode, *ids = arguments
        if self.world.live.colour == colour:
            return Answer(20, "", f"{colour} is live: it is never started over\n")
        if mode == "again":
            for name in ids:
                self.world.set_running(name, True)
        else:
            for name in ids:
                del self.world.containers[name]
            self._make_containers(version, colour)
        return Answer(0)

    def _make_containers(self, version: str, colour: str) -> None:
        text = self.world.compose[version, colour]
        for replica in re.findall(r'slipway\.replica: "(\d+)"', text):
            self.world.add_container(
                f"{colour}-{replica}",
                role="app",
                colour=colour,
                release=version,
                replica=replica,
                settings=compose.settings_of(text),
            )

    def _gate(self, arguments: list[str], _: bytes) -> Answer:
        replicas = len(arguments[6:])
        return Answer(0, f"{replicas} of {replicas} replicas healthy\n")

    def _switch(self, arguments: list[str], stdin: bytes) -> Answer:
        self.world.upstream, self.world.in_force = stdin.decode(), None
        return Answer(0, "confirmed by 3 fresh connections\n")

    def _prove(self, arguments: list[str], _: bytes) -> Answer:
        return Answer(0, f"{arguments[2]} answers in a row\n")

    def _watch(self, arguments: list[str], _: bytes) -> Answer:
        return Answer(0, f"9 answers, all from {arguments[1]}\n")

    def _drain(self, _: list[str], __: bytes) -> Answer:
        return Answer(0, "no connection left\n")

    def _stop(self, arguments: list[str], _: bytes) -> Answer:
        colour = arguments[1]
        if self.world.live.colour == colour:
            return Answer(20, "", f"{colour} is live: it is not stopped\n")
        running = self.world.running(colour)
        for name in running:
            self.world.set_running(name, False)
        return Answer(0, "stopped\n" if running else "already stopped\n")

    def _restart(self, arguments: list[str], _: bytes) -> Answer:
        for name in arguments[1:]:
            self.world.set_running(name, True)
        return Answer(0)

    def _record(self, arguments: list[str], stdin: bytes) -> Answer:
        self.world.current = arguments[1]
        return self._mark(arguments, stdin)

    def _mark(self, arguments: list[str], __: bytes) -> Answer:
        _, version, record, history = arguments
        if version in self.world.releases and record:
            self.world.releases[version] = record
        self.world.history += [history] if history else []
        return Answer(0)

    def _tidy(self, arguments: list[str], __: bytes) -> Answer:
        for word in arguments[1:]:
            what, _, which = word.partition(":")
            if which == self.world.current:
                continue
            match what:
                case "release":
                    del self.world.releases[which]
                case "image":
                    del self.world.tags[which]
                case "partial":
                    self.world.leftovers.remove(which)
        return Answer(0)

    def _ports(self, _: list[str], __: bytes) -> Answer:
        listening = "\n".join(map(str, sorted(self.world.listening)))
        return Answer(0, f"{self.world.registry}\n@@ listening\n{listening}\n@@ end\n")

    def _register(self, _: list[str], stdin: bytes) -> Answer:
        numbers = parse_registry(stdin.decode())
        self.world.number = numbers.pop(self.project.name, None)
        self.world.others = numbers
        return Answer(0)

    def _create(self, arguments: list[str], stdin: bytes) -> Answer:
        world = self.world
        site = base64.b64decode(arguments[3]).decode()
        had_env, had_site = bool(world.env), world.site == site
        world.env = world.env or stdin.decode()
        world.upstream = world.upstream or base64.b64decode(arguments[2]).decode()
        world.site = site
        world.directory = world.network = True
        said = {".env": had_env, "nginx site": had_site}
        return Answer(0, "".join(f"{'already' if had else 'made'}: {what}\n" for what, had in said.items()))

    def _health(self, arguments: list[str], _: bytes) -> Answer:
        front = "200" if self.world.running(self.world.live.colour) else "502"
        return Answer(0, f"front door {front}\n" + "".join(f"port {port} 200\n" for port in arguments[2:]))

    # ---------------------------------------------------------------- the transcript

    def _write_down(self, command: Command) -> None:
        self.sent.append(command.line)
        words = command.argv[3:] if command.argv[:2] == ("sh", "-c") else command.argv
        self.transcript.append(" ".join(_short(word) for word in words))

    @staticmethod
    def _matching(table: Iterable[str], command: Command) -> list[str]:
        return [key for key in table if f"{command} ".startswith(f"{key} ")]


def _short(word: str) -> str:
    """Return a word as it stands in a transcript."""
    if word.startswith("{"):
        value = json.loads(word)
        return f"<{value.get('state') or value.get('outcome') or 'holder'}>"
    if not word:
        return "''"
    return "<base64>" if len(word) > LONG else GENERATION.sub("<generation>", word)


class FakeChannel:
    """The channel to the process that holds a lock."""

    def __init__(self, host: FakeHost, directory: str, _wait: str, busy: str, record: str) -> None:
        self._host, self._directory, self._busy, self._record = host, directory, int(busy), record
        self._code, said = self._take()
        self._said = said.encode()
        self.closed = False

    def _take(self) -> tuple[int, str]:
        world = self._host.world
        if self._directory.startswith("/opt/projects/") and not (
            world.directory and self._directory == f"/opt/projects/{world.project}/.deploy"
        ):
            return 13, ""
        if holder := world.holders.get(self._directory):
            return 11, f"{holder}\n"
        world.holders[self._directory] = self._record
        if world.still_busy >= self._busy:
            # As on a server: the record stays, the lock does not.
            return 12, "busy\n" * (self._busy - 1)
        return -1, "busy\n" * world.still_busy + "held\n"

    def settimeout(self, _: float) -> None:
        """Nothing here waits."""

    def recv(self, size: int) -> bytes:
        """Return the next line that the process says."""
        size = min(size, self._said.find(b"\n") + 1 or size)
        said, self._said = self._said[:size], self._said[size:]
        return said

    def recv_stderr(self, _: int) -> bytes:
        """Return nothing: it has no complaints."""
        return b""

    def recv_exit_status(self) -> int:
        """Return how it ended."""
        return self._code

    def sendall(self, data: bytes) -> None:
        """Keep the holder's record and the journal."""
        text = data.decode()
        self._host.sent.append(text)
        kind, _, value = text.partition(" ")
        if kind == "R":
            self._host.world.holders[self._directory] = value.strip()
        else:
            self._host.world.journal.append(json.loads(value))

    def shutdown_write(self) -> None:
        """Give the lock back."""
        self._host.world.holders.pop(self._directory, None)
        self._code = 0

    def exit_status_ready(self) -> bool:
        """Whether it has ended."""
        return self._code >= 0

    def close(self) -> None:
        """Close it."""
        self.closed = True
