"""deploy, rollback, plan, recover: read options, look, plan, run, print."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.tasks import task

from fabfile.commands.entry import HELP, hosts_and_project, prefix, print_json, whole_number
from fabfile.model.failure import Failure, UsageFailure
from fabfile.model.names import version_name

if TYPE_CHECKING:
    from fabfile.commands.console import Screen
    from fabfile.model.inventory import Host, Inventory, Project
    from fabfile.model.version import Version
    from fabfile.steps.facts import Facts, Record
    from fabfile.steps.step import Run, Step, Timing


@task(
    help={
        "project": HELP["project"],
        "version": "Name of the release (default: the tag at HEAD, else the first 8 characters of the commit).",
        "source": "Directory to deploy instead of the project's own.",
        "allow-dirty": "Deploy although the source has changes that are not committed.",
        "plan": "Print the steps, the facts they rest on and every changed file; change nothing.",
        "lock-wait": HELP["lock_wait"],
        "json_": HELP["json_"],
        "verbose": "Print every line of long steps.",
    }
)
def deploy(
    c: Any,
    project: str | None = None,
    version: str | None = None,
    source: str | None = None,
    allow_dirty: bool = False,
    plan: bool = False,
    lock_wait: str | None = None,
    json_: bool = False,
    verbose: bool = False,
) -> None:
    """Put a new release live without losing a request: fab -H prod deploy --project muscleup"""
    if version is not None:
        version_name(version)
    options = Options(lock_wait=whole_number("lock-wait", lock_wait), json=json_, verbose=verbose, plan=plan)
    inventory, chosen, hosts = hosts_and_project(c, project)
    place, release = _release(chosen, version, source, allow_dirty=allow_dirty)
    _each(hosts, lambda host: _deploy_to(inventory, chosen, host, hosts, options, place, release), json_=json_)


@task(
    help={
        "project": HELP["project"],
        "to": "Release to go back to (default: the newest good one from before the live one).",
        "plan": "Print the steps and change nothing.",
        "lock-wait": HELP["lock_wait"],
        "json_": HELP["json_"],
    }
)
def rollback(
    c: Any,
    project: str | None = None,
    to: str | None = None,
    plan: bool = False,
    lock_wait: str | None = None,
    json_: bool = False,
) -> None:
    """Make an earlier release live again, without build, upload or registry: fab -H prod rollback --project muscleup"""
    if to is not None:
        version_name(to)
    options = Options(lock_wait=whole_number("lock-wait", lock_wait), json=json_, plan=plan)
    inventory, chosen, hosts = hosts_and_project(c, project)
    _each(hosts, lambda host: _roll_back(inventory, chosen, host, hosts, options, to), json_=json_)


@task(
    help={
        "project": HELP["project"],
        "version": "Name of the release, as for deploy.",
        "source": "Directory to deploy, as for deploy.",
    }
)
def plan(c: Any, project: str | None = None, version: str | None = None, source: str | None = None) -> None:
    """Print what a deploy would do, the facts it rests on and every changed file; change nothing."""
    if version is not None:
        version_name(version)
    inventory, chosen, hosts = hosts_and_project(c, project)
    place, release = _release(chosen, version, source, allow_dirty=True)
    for host in hosts:
        _deploy_to(inventory, chosen, host, hosts, Options(plan=True), place, release)


@task(help={"project": HELP["project"], "lock-wait": HELP["lock_wait"], "json_": HELP["json_"]})
def recover(c: Any, project: str | None = None, lock_wait: str | None = None, json_: bool = False) -> None:
    """Finish or undo what an interrupted command left behind; the live release goes on serving."""
    options = Options(lock_wait=whole_number("lock-wait", lock_wait), json=json_)
    inventory, chosen, hosts = hosts_and_project(c, project)
    _each(hosts, lambda host: _recover(inventory, chosen, host, hosts, options), json_=json_)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for, whatever the command."""

    lock_wait: int = 0
    json: bool = False
    verbose: bool = False
    plan: bool = False


@dataclass(slots=True)
class Session:
    """An open connection that holds the project's lock, and what was seen under it."""

    run: Run
    screen: Screen
    timings: list[Timing]
    facts: Facts
    began: float


def _each(hosts: Sequence[Host], act: Callable[[Host], dict[str, object]], *, json_: bool) -> None:
    """Go through the hosts one after the other; the first failure ends it, and says where it is done already."""
    results: list[dict[str, object]] = []
    try:
        for host in hosts:
            results.append(act(host))
    except Failure as failure:
        if results:
            done = ", ".join(f"{result['host']}: {result.get('outcome', 'planned')}" for result in results)
            failure.tell(f"done before on {done}")
        raise
    finally:
        if json_:
            print_json(results)


# ---------------------------------------------------------------- one host each


def _deploy_to(
    inventory: Inventory,
    project: Project,
    host: Host,
    hosts: Sequence[Host],
    options: Options,
    source: Path | None,
    release: Version,
) -> dict[str, object]:
    from fabfile.steps import deploy as sequence
    from fabfile.steps import preflight

    example = preflight.example_file(source, project.context)
    with _session(inventory, project, host, hosts, options, f"deploy {release.name}") as session:
        facts, screen = session.facts, session.screen
        with _step(session, "preflight", "look before anything is touched") as detail:
            preflight.check(project, host, facts, example_text=example)
            detail.append(f"{preflight.visitors_see(facts)}, {facts.free_disk_mb // 1024} GB free")
        record = _new_record(release, facts)
        steps = _deploy_steps(project, host, facts, record, source, session)
        if options.plan:
            _print_plan(session, project, host, steps, record)
            return {"host": host.name, "plan": [step.name for step in steps]}
        if not steps:
            screen.result(f"{release.name} is already live on {host.name}: nothing to do")
            return _result(session, host, project, release.name, "unchanged")
        known = facts.record(record.version)
        before = known if known and known.state == "good" else record
        _perform(session, project, host, steps, what=f"deploy {release.name}", version=record.version,
                 on_failure=lambda why, live: _mark(session, before if live else before.ended("bad", why=why),
                                                    "deploy", why))  # fmt: skip
        screen.result(_live_line(project, host, record.version, session))
        return _result(session, host, project, record.version, "deployed")
    raise AssertionError(sequence)  # pragma: no cover - the with block returns or raises


def _deploy_steps(
    project: Project,
    host: Host,
    facts: Facts,
    record: Record,
    source: Path | None,
    session: Session,
) -> list[Step]:
    """Choose between nothing, finishing, new settings and a new release."""
    from fabfile.services import compose
    from fabfile.steps import deploy as sequence

    known = facts.record(record.version)
    if facts.live.release != record.version or facts.live.colour is None:
        return sequence.new_release(project, host, facts, record=record, source=source)
    if source is not None:
        _refuse_other_source(session, project, host, record.version, source)
    wanted = compose.app_file(
        project, facts.ports, version=record.version, colour=facts.live.colour, env_text=facts.env_text
    )
    if sequence.is_settled(project, facts, compose.settings_of(wanted)):
        return sequence.recovery(project, host, facts)
    session.screen.note(
        f"{record.version} is live; its settings (.env, hosts.toml) have changed since: the same release again"
    )
    return sequence.known_release(project, host, facts, record=known or record, what="deploy")


def _refuse_other_source(session: Session, project: Project, host: Host, version: str, source: Path) -> None:
    """A live release is never changed in place: another source needs another name."""
    from fabfile.remote import rsync
    from fabfile.steps.deploy import comparison

    with _step(session, "compare", "is the source what is live?") as detail:
        found = rsync.upload(session.run.server, comparison(project, version, source))
        detail.append(f"{found.differing} files differ" if found.differing else "the same")
    if found.differing:
        raise UsageFailure(
            f"{version} is live, and this source is not what was deployed under that name",
            host=host.name,
            visitors=f"{version} ({session.facts.live.colour}) is live",
            then="give the release another name: --version NAME",
        )


def _roll_back(
    inventory: Inventory,
    project: Project,
    host: Host,
    hosts: Sequence[Host],
    options: Options,
    to: str | None,
) -> dict[str, object]:
    from fabfile.steps import deploy as sequence
    from fabfile.steps import preflight

    with _session(inventory, project, host, hosts, options, f"rollback {to or ''}".strip()) as session:
        facts, screen = session.facts, session.screen
        with _step(session, "preflight", "look before anything is touched") as detail:
            record = _rollback_record(project, host, facts, to, screen)
            preflight.check(project, host, facts, back_to=record.version)
            detail.append(f"{facts.live.release} ({facts.live.colour}) is live, going to {record.version}")
        steps = sequence.known_release(project, host, facts, record=record, what="rollback")
        if options.plan:
            _print_plan(session, project, host, steps, record)
            return {"host": host.name, "plan": [step.name for step in steps]}
        _perform(session, project, host, steps, what=f"rollback to {record.version}", version=record.version,
                 on_failure=lambda why, _: _mark(session, record, "rollback", why))  # fmt: skip
        screen.result(_live_line(project, host, record.version, session))
        left = facts.record(facts.live.release)
        if project.migrate:
            dump = f"; the dump from before its migration is {left.dump}" if left and left.dump else ""
            screen.result(f"the database schema did not move: it is still that of {facts.live.release}{dump}")
        return _result(session, host, project, record.version, "rolled back")
    raise AssertionError  # pragma: no cover


def _rollback_record(project: Project, host: Host, facts: Facts, to: str | None, screen: Screen) -> Record:
    """Return the release to go back to, saying why newer ones were passed over."""
    from fabfile.model import retention

    if facts.live.release is None:
        raise Failure("nothing is live, there is nothing to roll back from", host=host.name)
    if to is None:
        target, reasons = retention.rollback_target([r.as_release for r in facts.releases], facts.live.release)
        for reason in reasons:
            screen.note(f"passed over {reason}")
        if target is None:
            raise Failure(
                "there is no earlier good release to go back to",
                host=host.name,
                visitors=f"{facts.live.release} ({facts.live.colour}) is live",
                then=f"see what there is: fab -H {host.name} releases --project {project.name}",
            )
        to = target.name
    record = facts.record(to)
    if to == facts.live.release:
        raise UsageFailure(f"{to} is live already", host=host.name)
    if record is None or to not in facts.tags:
        what = "has no image on the host any more" if record else "is not on the host"
        raise UsageFailure(
            f"{to} {what}",
            host=host.name,
            details=tuple(f"{r.version}: {r.state}" for r in facts.releases),
            then=f"fab -H {host.name} rollback --project {project.name} --to VERSION",
        )
    if record.state != "good":
        raise UsageFailure(
            f"{to} was never good ({record.why or record.state})",
            host=host.name,
            then=f"deploy it instead: fab -H {host.name} deploy --project {project.name} --version {to}",
        )
    return replace(record, who=_who())


def _recover(
    inventory: Inventory, project: Project, host: Host, hosts: Sequence[Host], options: Options
) -> dict[str, object]:
    from fabfile.steps import deploy as sequence

    with _session(inventory, project, host, hosts, options, "recover") as session:
        steps = sequence.recovery(project, host, session.facts)
        live = session.facts.live.release or ""
        if not steps:
            session.screen.result(f"nothing to recover on {host.name}: {live or 'nothing'} is live, all is in order")
            return _result(session, host, project, live, "unchanged")
        _perform(session, project, host, steps, what="recover", version=live, on_failure=lambda *_: None)
        session.screen.result(_live_line(project, host, live, session))
        return _result(session, host, project, live, "recovered")
    raise AssertionError  # pragma: no cover


# ---------------------------------------------------------------- what they share


@contextlib.contextmanager
def _session(
    inventory: Inventory, project: Project, host: Host, hosts: Sequence[Host], options: Options, purpose: str
) -> Iterator[Session]:
    """Connect, take the project's lock, and look."""
    from fabfile.commands.console import Screen
    from fabfile.remote.lock import Lock, project_lock
    from fabfile.remote.server import Server
    from fabfile.steps.facts import observe
    from fabfile.steps.step import Run, interruptible, timed

    began = time.monotonic()
    screen = Screen(prefix=prefix(host, hosts), quiet=options.json, verbose=options.verbose)
    screen.title(f"{purpose} · {project.name} on {host.name}" + (" (plan, nothing is changed)" if options.plan else ""))
    timings: list[Timing] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(interruptible())
        server = Server(host, inventory)
        run = Run(server, screen)
        # Connecting is mostly waiting: the time to import what comes later.
        threading.Thread(target=_import_the_rest, daemon=True).start()
        with timed(run, "connect", f"{host.user}@{host.hostname}", timings) as detail:
            stack.enter_context(server)
            detail.append(f"{server.user}@{host.hostname}")
        if not options.plan:
            with timed(run, "lock", "one deploy at a time", timings):
                run.lock = stack.enter_context(
                    Lock(
                        server,
                        project_lock(project.directory),
                        purpose=purpose,
                        wait_seconds=options.lock_wait,
                        on_wait=lambda holder: screen.note(f"waiting for {holder}"),
                    )
                )
        yield Session(run, screen, timings, observe(server, project.name), began)


def _import_the_rest() -> None:
    """Import what every deploy and rollback needs once it is connected."""
    from fabfile.services import templates
    from fabfile.steps import deploy, preflight  # noqa: F401

    templates.prepare("projects/compose.app.yml", "nginx/upstreams/project.conf")


@contextlib.contextmanager
def _step(session: Session, name: str, what: str) -> Iterator[list[str]]:
    from fabfile.steps.step import timed

    with timed(session.run, name, what, session.timings) as detail:
        yield detail


def _perform(
    session: Session,
    project: Project,
    host: Host,
    steps: Sequence[Step],
    *,
    what: str,
    version: str,
    on_failure: Callable[[str, bool], None],
) -> None:
    """Run the steps; a failure is completed by what visitors see now and what to type next.

    Arguments:
        on_failure: notes it on the server; called with the reason and whether the version is live all the same.
    """
    from fabfile.remote.server import ConnectionLost
    from fabfile.steps.preflight import visitors_see
    from fabfile.steps.step import run_all

    try:
        run_all(steps, session.run, session.timings)
    except ConnectionLost as lost:
        raise ConnectionLost(
            lost.what,
            host=host.name,
            details=lost.details,
            visitors="the site goes on: either the old or the new release is live",
            then=f"fab -H {host.name} recover --project {project.name} (or simply the same command again)",
        ) from None
    except Failure as failure:
        now = _observed(session, project)
        live = now is not None and now.live.release == version
        with contextlib.suppress(Failure):
            on_failure(failure.what, live)
        visitors = visitors_see(now) if now else "unknown: the host does not answer"
        _tell(session, project, host, f"{what} failed: {failure.what}", visitors)
        done = [t for t in session.timings if not t.name.startswith("undo ")]
        failed = next((t for t in reversed(done) if t.outcome == "failed"), done[-1]).name
        raise Failure(
            f"{what} failed at step {failed!r}: {failure.what}",
            host=host.name,
            details=failure.details,
            visitors=visitors,
            then=failure.then
            or (
                f"fab -H {host.name} recover --project {project.name}"
                if live
                else f"mend it and deploy again; the log of the release: "
                f"fab -H {host.name} releases --project {project.name}"
            ),
        ) from None
    _tell(session, project, host, f"{what} done: {version} is live", "")


def _observed(session: Session, project: Project) -> Facts | None:
    """Return the facts, looked up anew; None when the host does not answer."""
    from fabfile.steps.facts import observe

    try:
        return observe(session.run.server, project.name)
    except Failure:
        return None


def _mark(session: Session, record: Record, what: str, why: str) -> None:
    """Note on the server how a release failed; a good release that failed to start again stays good."""
    from fabfile.remote.command import script
    from fabfile.steps.deploy import history_line

    why = session.run.server.hidden(why)
    history = history_line(session.facts, record, what, outcome="failed", why=why)
    session.run.send(script("mark", session.facts.project, record.version, record.json(), history))


def _tell(session: Session, project: Project, host: Host, headline: str, more: str) -> None:
    """Tell Slack; whatever happens there is a remark here."""
    if project.slack.webhook is None:
        return
    from fabfile.services import slack

    seconds = time.monotonic() - session.began
    lines = tuple(line for line in (more, f"by {_who()}, {seconds:.0f} s") if line)
    body = slack.message(
        project=project.name, host=host.name, headline=session.run.server.hidden(headline), lines=lines
    )
    with contextlib.suppress(Failure), _step(session, "notify", "tell Slack") as detail:
        detail.append(slack.post(project.slack.webhook, body, project.slack.channel) or "sent")


def _release(
    project: Project, version: str | None, source: str | None, *, allow_dirty: bool
) -> tuple[Path | None, Version]:
    """Return the directory to upload (none for a registry image) and the release's version."""
    from fabfile.model.version import Version, resolve

    if project.image and source is None:
        # What is deployed is the image, whatever directory this is typed in.
        name, _, digest = project.image.partition("@sha256:")
        tag = name.rpartition("/")[2].partition(":")[2]
        return None, Version(version_name(version or tag or digest[:12] or "latest"))
    place = Path(source).expanduser().resolve() if source else project.source
    release = resolve(place, version)
    if release.dirty and not allow_dirty:
        raise UsageFailure(
            f"{place} has changes that are not committed",
            then="commit them, or add --allow-dirty",
        )
    if release.dirty and version is None:
        # The commit's name belongs to what is committed; this is something else each time.
        release = replace(release, name=f"{release.name[:40]}-dirty-{datetime.now(UTC):%Y%m%d%H%M%S}")
    return (None if project.image else place), release


def _new_record(release: Version, facts: Facts) -> Record:
    from fabfile.steps.facts import Record

    return Record(
        version=release.name,
        created=datetime.fromtimestamp(facts.now, UTC).isoformat(),
        commit=release.commit,
        subject=release.subject,
        dirty=release.dirty,
        who=_who(),
    )


def _who() -> str:
    from fabfile.remote.lock import identity

    return identity()


def _live_line(project: Project, host: Host, version: str, session: Session) -> str:
    return f"{version} is live on {host.name}: http://{project.domain}  ({time.monotonic() - session.began:.1f} s)"


def _result(session: Session, host: Host, project: Project, version: str, outcome: str) -> dict[str, object]:
    return {
        "host": host.name,
        "project": project.name,
        "release": version,
        "outcome": outcome,
        "seconds": round(time.monotonic() - session.began, 3),
        "steps": {t.name: t.seconds for t in session.timings},
    }


def _print_plan(session: Session, project: Project, host: Host, steps: Sequence[Step], record: Record) -> None:
    """Print the steps, the facts they rest on and a diff of every rendered file."""
    from fabfile.commands.plan import print_plan

    print_plan(session.screen, project, host, session.facts, steps, record)
