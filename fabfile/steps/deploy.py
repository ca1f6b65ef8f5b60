"""The deploy, the rollback and the recovery, as lists of steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fabfile.model import retention
from fabfile.model.colour import Colour
from fabfile.model.failure import Failure
from fabfile.model.version import ignored
from fabfile.remote import rsync
from fabfile.remote.command import Answer, Command, script
from fabfile.services import compose, docker, nginx, postgres
from fabfile.steps.facts import Facts, Record, sections
from fabfile.steps.step import Action, Run, Step, sending

if TYPE_CHECKING:
    from fabfile.model.inventory import Host, Project

PROVE_SECONDS = 15
UPLOAD_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Target:
    """The release that is to become live, on one host.

    Arguments:
        source: local directory to upload; None when the release is on the server already.
        record: what `release.json` will say.
    """

    project: Project
    host: Host
    facts: Facts
    record: Record
    source: Path | None = None
    generation: str = field(default_factory=nginx.new_generation)
    settled_generation: str = field(default_factory=nginx.new_generation)

    @property
    def version(self) -> str:
        """The name of the release."""
        return self.record.version

    @property
    def colour(self) -> Colour:
        """The colour it gets: the one that is not live."""
        return self.facts.idle

    def addresses(self, colour: Colour) -> list[str]:
        """Return the app's addresses of a colour as nginx names them."""
        return [f"127.0.0.1:{port}" for port in self.ports(colour)]

    def ports(self, colour: Colour | None) -> list[int]:
        """Return the ports of as many replicas as the colour has or will have."""
        if colour is None:
            return []
        running = self.facts.app(colour) if colour != self.colour else ()
        return [self.facts.ports.app(colour, i) for i in range(len(running) or self.project.replicas)]

    @property
    def compose_text(self) -> str:
        """The compose file of the colour it gets."""
        return compose.app_file(
            self.project,
            self.facts.ports,
            version=self.version,
            colour=self.colour,
            env_text=self.facts.env_text,
        )

    @property
    def stands_by(self) -> bool:
        """Whether the idle colour runs this release already, healthy."""
        containers = self.facts.app(self.colour)
        return bool(containers) and all(c.healthy and c.release == self.version for c in containers)

    @property
    def is_watched(self) -> bool:
        """Whether the old colour stands by as nginx's backup after the switch."""
        return bool(self.project.deploy.watch_seconds) and self.facts.live.colour is not None

    def upstream(self, *, with_backup: bool) -> str:
        """Return the upstream file that makes this release live."""
        return nginx.upstream_file(
            self.project.name,
            colour=self.colour,
            release=self.version,
            generation=self.generation if with_backup or not self.is_watched else self.settled_generation,
            ports=self.ports(self.colour),
            backup_ports=self.ports(self.facts.live.colour) if with_backup else (),
        )

    def upstream_of_live(self, generation: str) -> str:
        """Return the upstream file of what is live now, without a backup."""
        live = self.facts.live
        return nginx.upstream_file(
            self.project.name,
            colour=live.colour,
            release=live.release,
            generation=generation,
            ports=self.ports(live.colour) or self.ports(self.colour),
        )


def new_release(project: Project, host: Host, facts: Facts, *, record: Record, source: Path | None) -> list[Step]:
    """Return the steps of a deploy of a new release, after lock and preflight."""
    target = Target(project, host, facts, record, source)
    return [
        *_decide(target),
        *_vouch(target, late=True),
        *(_upload(target) if source is not None else _render(target)),
        _image(target),
        *_data(target),
        *(_migrate(target) if project.migrate else ()),
        *_clear_idle(target),
        # Kept containers of the same name may have been made from what this release was before it was mended.
        *_go_live(target, what="deploy", again=False),
    ]


def known_release(project: Project, host: Host, facts: Facts, *, record: Record, what: str) -> list[Step]:
    """Return the steps that make live what is on the server already: no upload, no build, no registry.

    Arguments:
        what: "rollback", or "deploy" for the same release with new settings.
    """
    target = Target(project, host, facts, record)
    again = _can_start_again(target)
    return [
        *_decide(target),
        *_vouch(target, late=True),
        *_render(target),
        *_data(target),
        # A standby that runs, or that serves as backup because the live release is down, is not stopped first.
        *(() if again and target.stands_by else _clear_idle(target)),
        *_go_live(target, what=what, again=again),
    ]


def recovery(project: Project, host: Host, facts: Facts) -> list[Step]:
    """Return the steps that finish or undo what an interrupted command left; an empty list when all is well.

    Raises `Failure` when the live release has no containers any more: that takes a deploy.
    """
    live = facts.live
    target = Target(project, host, facts, Record(""))
    steps: list[Step] = []
    if live.colour is not None and live.release is not None:
        if not facts.app(live.colour):
            raise Failure(
                f"{live.release} ({live.colour}) is live, but its containers are gone",
                host=host.name,
                visitors="errors, until it is deployed again",
                then=f"fab -H {host.name} deploy --project {project.name} --version {live.release}",
            )
        # First of all what is live has to run: nginx must not be sent to a colour that is down.
        dead = [c for c in facts.app(live.colour) if not c.running]
        steps += _start_live(project, facts, dead) if dead else []
    steps += [*_decide(target), *_vouch(target, late=False)]
    spare = facts.record(facts.app(facts.idle)[0].release) if facts.app(facts.idle) else None
    is_standby = project.deploy.standby == "hot" and spare is not None and spare.state == "good"
    steps += _settle(target) if is_standby else _clear_idle(target)
    # What was begun and never got live goes, with its containers; a failed release stays to be looked into.
    begun = {record.version for record in facts.releases if record.state == "unfinished"} - {live.release}
    stay = [container for container in facts.containers if container.release not in begun]
    return [*steps, *_tidy(project, facts, live=live.release, containers=stay)]


def comparison(project: Project, version: str, source: Path) -> rsync.Upload:
    """Return the upload that only finds out whether a source is what lies on the server as this release."""
    return rsync.Upload(
        source=source,
        target=f"{project.release_directory(version)}/source",
        exclude=project.exclude,
        ignored=ignored(source),
        compare=True,
    )


def is_settled(project: Project, facts: Facts, target_settings: str) -> bool:
    """Whether the live containers were made with these settings, in this number."""
    live = facts.app(facts.live.colour)
    return len(live) == project.replicas and all(c.settings == target_settings for c in live)


# ---------------------------------------------------------------- steps


def _decide(target: Target) -> list[Step]:
    """A switch that broke off between file and reload: make nginx do what the file says, before anything is stopped."""
    project, live = target.project, target.facts.live
    if not target.facts.undecided or live.colour is None:
        return []
    text = target.upstream_of_live(live.generation)
    command = nginx.switch(project.name, domain=project.domain, text=text, generation=live.generation)
    what = f"nginx has not taken over the upstream file, which says {live.colour}: reload it"
    return [Step("decide", what, sending(command, _last_line))]


def _vouch(target: Target, *, late: bool) -> list[Step]:
    """A release went live and its command broke off before it was recorded: prove it now, then record it.

    Arguments:
        late: whether a failure is a warning: what comes next replaces this release anyway.
    """
    project, facts = target.project, target.facts
    live = facts.live
    if live.colour is None or live.release is None:
        return []
    record = facts.record(live.release) or Record(live.release)
    if facts.current == live.release and record.state == "good":
        return []
    prove = _proof(project, target.addresses(live.colour))
    spare = facts.app(facts.idle)
    good = bool(spare) and all(c.running for c in spare) and _is_good(facts, spare[0].release)

    def do(run: Run) -> str:
        run.send(prove)
        run.send(script("record", project.name, record.version, record.ended("good", why="").json(), ""))
        return f"{live.release} answers and is recorded"

    def back(run: Run) -> str:
        text = nginx.upstream_file(
            project.name,
            colour=facts.idle,
            release=spare[0].release,
            generation=nginx.new_generation(),
            ports=[facts.ports.app(facts.idle, i) for i in range(len(spare))],
        )
        run.send(_switch_to(project, text))
        return f"{spare[0].release} ({facts.idle}) is live again"

    what = f"{live.release} went live without being recorded: prove that it answers, then record it"
    return [Step("vouch", what, do, undo=back if good and not late else None, late=late)]


def _is_good(facts: Facts, version: str) -> bool:
    record = facts.record(version)
    return record is not None and record.state == "good"


def _settle(target: Target) -> list[Step]:
    """An interrupted command may have left the idle colour as backup: what is started there next must not be one."""
    facts, project = target.facts, target.project
    if " backup;" not in facts.upstream_text or facts.live.colour is None:
        return []
    text = target.upstream_of_live(nginx.new_generation())
    return [Step("settle", f"{facts.idle} is no backup any more", sending(_switch_to(project, text), _last_line))]


def _clear_idle(target: Target) -> list[Step]:
    """An interrupted command may have left the idle colour running, even serving its last requests."""
    facts, project = target.facts, target.project
    if not any(c.running for c in facts.app(facts.idle)):
        return _settle(target)
    deploy = project.deploy
    ports = [facts.ports.app(facts.idle, i) for i in range(len(facts.app(facts.idle)))]
    drain = nginx.drain(ports, seconds=deploy.drain_seconds)
    stop = compose.stop(project.name, facts.idle, grace_seconds=deploy.grace_seconds)
    return [
        *_settle(target),
        Step(f"drain {facts.idle}", f"{facts.idle} is not live but runs: let it finish its requests",
             sending(drain, _last_line)),
        Step(f"stop {facts.idle}", f"stop {facts.idle}, keeping its containers", sending(stop, _last_line)),
    ]  # fmt: skip


def _switch_to(project: Project, text: str) -> Command:
    generation = nginx.parse_upstream(text).generation
    return nginx.switch(project.name, domain=project.domain, text=text, generation=generation)


def _proof(project: Project, addresses: Sequence[str]) -> Command:
    return nginx.prove(
        project.domain,
        project.health.path,
        count=project.deploy.prove_requests,
        # Many answers may be asked for; each takes a few milliseconds of its own.
        seconds=PROVE_SECONDS + project.deploy.prove_requests // 10,
        addresses=addresses,
    )


def _upload(target: Target) -> list[Step]:
    project, version = target.project, target.version
    assert target.source is not None  # noqa: S101 - the caller has looked
    known = [name for name in (version, target.facts.current) if target.facts.record(name)]
    what = rsync.Upload(
        source=target.source,
        target=f"{project.release_directory(version)}.partial",
        # Up to here a release is the same tree; rsync looks through both in this order.
        link_dest=tuple(f"{project.release_directory(name)}/source" for name in dict.fromkeys(known)),
        exclude=project.exclude,
        ignored=ignored(target.source),
        deadline=UPLOAD_SECONDS,
    )

    def do(run: Run) -> str:
        statistics = rsync.upload(run.server, what)
        run.send(_place(target))
        return str(statistics)

    return [Step("upload", f"rsync {target.source} to {project.release_directory(version)}/source", do)]


def _render(target: Target) -> list[Step]:
    where = f"{target.project.release_directory(target.version)}/compose.{target.colour}.yml"
    return [Step("render", f"write {where}", sending(_place(target)))]


def _place(target: Target) -> Command:
    # A release that was good stays so while it is started again; a new one has to prove itself.
    return script(
        "place", target.project.name, target.version, str(target.colour), target.record.json(),
        stdin=target.compose_text.encode(), public=True,
    )  # fmt: skip


def _image(target: Target) -> Step:
    project, version, deadline = target.project, target.version, target.project.deploy.build_timeout
    if project.image:
        command = docker.pull(project.name, version, project.image, deadline=deadline)
        what = f"pull {project.image}"
    else:
        command = docker.build(
            project.name, version, context=project.build_context, dockerfile=project.dockerfile, deadline=deadline
        )
        what = f"build {project.image_tag(version)} on the server from {project.dockerfile}"

    def do(run: Run) -> str:
        answer = run.send(command)
        image = _last_line(answer).partition(" ")[2]
        run.found["image"] = image
        return f"{project.image_tag(version)} {image.removeprefix('sha256:')[:12]}"

    return Step("image", what, do)


def _data(target: Target) -> list[Step]:
    project, facts = target.project, target.facts
    absent = [name for name in project.services if not _is_up(facts, name)]
    if not absent:
        return []
    text = compose.data_file(project, target.host, facts.ports)
    return [Step("data", f"bring up {' and '.join(absent)}", sending(compose.data_up(project.name, text)))]


def _is_up(facts: Facts, service: str) -> bool:
    container = facts.service(service)
    return container is not None and container.healthy


def _migrate(target: Target) -> list[Step]:
    project, version = target.project, target.version
    migrate = compose.migrate(
        project.name,
        version=version,
        colour=target.colour,
        argv=project.migrate,
        deadline=project.deploy.migrate_timeout,
    )
    steps = [Step("migrate", f"{' '.join(project.migrate)} (once, in the new image)", sending(migrate))]
    return [_dump(target), *steps] if project.uses_postgres else steps


def _dump(target: Target) -> Step:
    project = target.project
    stamp = datetime.fromtimestamp(target.facts.now, UTC).strftime("%Y%m%dT%H%M%SZ")
    name = f"{stamp}-before-{target.version}.dump"
    command = postgres.dump(
        project.name,
        container=f"{project.compose_name('data')}-postgres-1",
        user=target.facts.env.get("POSTGRES_USER", project.postgres_user),
        database=target.facts.env.get("POSTGRES_DB", project.postgres_database),
        name=name,
        release=target.version,
        deadline=project.deploy.dump_timeout,
    )

    def do(run: Run) -> str:
        size = int(_last_line(run.send(command)) or 0)
        run.found["dump"] = name
        return f"{name}, {size / 1024:,.0f} KiB, read back whole"

    return Step("dump", f"dump {project.postgres_database} before the migration, and read it back", do)


def _go_live(target: Target, *, what: str, again: bool) -> list[Step]:
    """From the start of the idle colour to the end: the same for a deploy and a rollback.

    Arguments:
        again: start the idle colour's kept containers; those that run already, as a hot standby does, go on.
    """
    project, facts, colour = target.project, target.facts, target.colour
    old = facts.live.colour
    steps = [
        _start(target, again=again),
        _gate(target, again=again),
        _switch(target, again=again),
        Step("prove", f"{target.version} answers {project.deploy.prove_requests} times through the front door",
             sending(_proof(project, target.addresses(colour)), _last_line)),
        *(_watch(target) if target.is_watched else ()),
        *(_retire(target, old) if old is not None else ()),
    ]  # fmt: skip
    return [
        *steps,
        _record(project, facts, target.record, history=what),
        # The idle colour's containers of before are gone by then: only those of the old colour count.
        *_tidy(project, facts, live=target.version, containers=facts.app(old), uploaded=target.version),
    ]


def _can_start_again(target: Target) -> bool:
    """Whether the idle colour's stopped containers are just what is wanted: then they need not be made anew."""
    containers = target.facts.app(target.colour)
    return len(containers) == target.project.replicas and all(
        c.release == target.version and c.settings == compose.settings_of(target.compose_text) for c in containers
    )


def _start(target: Target, *, again: bool) -> Step:
    project, colour = target.project, target.colour
    where = ", ".join(target.addresses(colour))
    deploy = project.deploy

    def undo(run: Run) -> str:
        if run.found.get("switched"):
            # It has served: let it finish what it was given.
            run.send(nginx.drain(target.ports(colour), seconds=deploy.drain_seconds))
        return _last_line(run.send(compose.stop(project.name, colour, grace_seconds=deploy.grace_seconds)))

    return Step(
        f"start {colour}",
        f"{'start the kept containers of' if again else 'start'} {target.version} as {colour} on {where}",
        sending(
            compose.start(
                project.name,
                version=target.version,
                colour=colour,
                again=again,
                containers=tuple(c.id for c in target.facts.app(colour)),
            )
        ),
        # A standby ran before, perhaps as the only one that serves: it goes on.
        undo=None if again and target.stands_by else undo,
    )


def _gate(target: Target, *, again: bool) -> Step:
    return _gate_of(
        target.project,
        target.colour,
        target.ports(target.colour),
        again=again,
        what=f"{target.version} did not get healthy",
    )


def _gate_of(project: Project, colour: Colour, ports: Sequence[int], *, again: bool, what: str) -> Step:
    seconds = project.health.deadline
    command = script(
        "gate", project.name, str(colour), "again" if again else "fresh", str(seconds), project.health.path,
        project.domain, *map(str, ports),
        deadline=seconds + 60, accept=frozenset({0, 21}), stream=True,
    )  # fmt: skip

    def do(run: Run) -> str:
        answer = run.send(command)
        if answer.exit:
            raise _unhealthy(run, answer, what)
        return _last_line(answer)

    return Step("gate", f"every replica answers {project.health.path} within {seconds} s", do)


def _unhealthy(run: Run, answer: Answer, what: str) -> Failure:
    part = sections(answer.out)
    lines = [part.get("reason", "no reason was given")]
    for name, text in part.items():
        if name.startswith("log "):
            lines += [f"--- last lines of {name[4:]}", *text.splitlines()[-30:]]
    shown = tuple(run.server.hidden(line) for line in lines)
    return Failure(f"{what}: {shown[0]}", details=shown[1:])


def _switch(target: Target, *, again: bool) -> Step:
    project, old = target.project, target.facts.live
    old_is_down = not any(c.running for c in target.facts.app(old.colour))
    forward = _switch_to(project, target.upstream(with_backup=target.is_watched))

    def do(run: Run) -> str:
        run.found["switched"] = "perhaps"
        return _last_line(run.send(forward))

    def back(run: Run) -> str:
        run.send(_switch_to(project, target.upstream_of_live(nginx.new_generation())))
        return f"{old.release} ({old.colour}) is live again" if old.release else "nothing is live"

    return Step(
        "switch",
        f"point nginx from {old.colour or 'nothing'} to {target.colour}: from here visitors see {target.version}",
        do,
        # From a standby that serves there is no way back to a release that is down.
        undo=None if again and target.stands_by and old_is_down else back,
    )


def _watch(target: Target) -> list[Step]:
    project, seconds = target.project, target.project.deploy.watch_seconds
    command = nginx.watch(
        project.name,
        target.colour,
        seconds=seconds,
        domain=project.domain,
        path=project.health.path,
        addresses=target.addresses(target.colour),
    )

    def do(run: Run) -> str:
        answer = run.send(command)
        if answer.exit:
            raise _unhealthy(run, answer, f"{target.version} failed while it was watched")
        return _last_line(answer)

    settle = _switch_to(project, target.upstream(with_backup=False))
    return [
        Step("watch", f"look at {target.version} for {seconds} s, the old release stands by as backup", do),
        Step("settle", "the old release is no backup any more", sending(settle, _last_line), late=True),
    ]


def _retire(target: Target, old: Colour) -> list[Step]:
    """Past the point of no return: let the old colour finish and stop it."""
    project = target.project
    deploy = project.deploy

    drain = nginx.drain(target.ports(old), seconds=deploy.drain_seconds)
    what = f"until no connection to {old} is left, at most {deploy.drain_seconds} s"
    steps = [Step("drain", what, sending(drain, _last_line), late=True)]
    if deploy.standby == "cold":
        stop = compose.stop(project.name, old, grace_seconds=deploy.grace_seconds)
        steps.append(Step(f"stop {old}", f"stop {old}, keeping its containers for a rollback",
                          sending(stop, _last_line), late=True))  # fmt: skip
    return steps


def _start_live(project: Project, facts: Facts, dead: Sequence[docker.Container]) -> list[Step]:
    """The live release is down: nobody else can serve, so start it and wait until it does."""
    colour, ids = facts.live.colour, tuple(c.id for c in dead)
    assert colour is not None  # noqa: S101 - the caller has looked
    ports = [facts.ports.app(colour, i) for i in range(len(facts.app(colour)))]
    return [
        Step(
            f"start {colour}",
            f"{colour} is live, but {len(ids)} of its containers do not run",
            sending(script("restart", project.name, *ids, deadline=120)),
        ),
        _gate_of(project, colour, ports, again=True, what=f"{facts.live.release} did not get healthy"),
    ]


def _record(project: Project, facts: Facts, record: Record, *, history: str) -> Step:
    def do(run: Run) -> str:
        changes = {key: run.found[key] for key in ("image", "dump") if run.found.get(key)}
        done = record.ended("good", why="", **changes)
        run.send(script("record", project.name, record.version, done.json(), history_line(facts, record, history)))
        return ""

    return Step("record", f"current -> {record.version}, history", do, late=True)


def history_line(facts: Facts, record: Record, what: str, outcome: str = "good", why: str = "") -> str:
    """Return the line of `history.jsonl` for the end of a deploy or rollback; empty when there is none to write."""
    if not what:
        return ""
    return json.dumps(
        {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "what": what,
            "release": record.version,
            "from": facts.live.release,
            "outcome": outcome,
            "who": record.who,
            "why": why,
        }
    )


def verdicts(
    project: Project, facts: Facts, *, live: str | None, containers: Sequence[docker.Container]
) -> list[retention.Verdict]:
    """Return which releases stay once `live` is the live one, with reasons.

    Arguments:
        containers: those that will be there then; their releases stay.
    """
    found = [r.as_release for r in facts.releases if r.version != live]
    if live is not None:
        found.append(retention.Release(live, datetime.fromtimestamp(facts.now, UTC), "good"))
    previous = facts.live.release if facts.live.release != live else None
    if previous is None:
        target, _ = retention.rollback_target(found, live)
        previous = target.name if target else None
    used = {c.release for c in containers if c.release}
    return retention.releases(found, keep=project.deploy.keep_releases, current=live, previous=previous, running=used)


def _tidy(
    project: Project,
    facts: Facts,
    *,
    live: str | None,
    containers: Sequence[docker.Container],
    uploaded: str | None = None,
) -> list[Step]:
    """Remove by explicit list what retention does not keep; no step when there is nothing."""
    judged = verdicts(project, facts, live=live, containers=containers)
    drop = [verdict.release.name for verdict in judged if not verdict.keep]
    kept = {verdict.release.name for verdict in judged if verdict.keep}
    images = [tag for tag in facts.tags if tag not in kept]
    leftovers = [name for name in facts.leftovers if name != f"{uploaded}.partial"]
    gone = {c.id for c in facts.containers if c.role == "app" and c.release in drop} - {c.id for c in containers}
    # Those of the idle colour have made way for the new release by then.
    names = [f"container:{id_}" for id_ in sorted(gone)] if uploaded is None else []
    names += [*(f"release:{name}" for name in drop), *(f"image:{tag}" for tag in images)]
    names += [f"partial:{name}" for name in leftovers]
    if not names:
        return []
    what = f"keep {', '.join(sorted(kept)) or 'nothing'}; remove {', '.join(dict.fromkeys(drop + images + leftovers))}"
    return [Step("tidy", what, sending(script("tidy", project.name, *names, deadline=300)), late=True)]


def _last_line(answer: Answer) -> str:
    lines = answer.out.strip().splitlines()
    return lines[-1] if lines else ""


__all__ = [
    "Action",
    "Target",
    "history_line",
    "is_settled",
    "known_release",
    "new_release",
    "recovery",
    "verdicts",
]
