"""What must be true before a deploy touches anything: a pure function from facts to problems."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from fabfile.model import dotenv
from fabfile.model.failure import Failure
from fabfile.services import nginx
from fabfile.steps.facts import Facts

if TYPE_CHECKING:
    from fabfile.model.inventory import Host, Project

MINIMUM_FREE_INODES = 10_000
REMARK = re.compile(r"""^('[^']*'|"[^"]*"|[^\s'"]+) +#.*$""")


def problems(
    project: Project, host: Host, facts: Facts, *, example_text: str = "", back_to: str | None = None
) -> list[str]:
    """Return what stands in the way of a deploy, one sentence each; an empty list means go.

    Arguments:
        example_text: `.env.example` of the release that is to be deployed; its keys must be in `.env`.
        back_to: the release that a rollback goes to: what only a new release needs does not stop that.
    """
    found: list[str] = []
    if facts.number is None or not facts.has_directory:
        return [f"the project is not on this host yet: fab -H {host.name} project.create --project {project.name}"]
    if not facts.nginx_running:
        found.append(f"nginx does not run: fab -H {host.name} server.bootstrap")
    elif facts.nginx_test:
        found.append(nginx_problem(facts.nginx_test))
    if not facts.has_network:
        found.append(
            f"the network {project.network} is missing: fab -H {host.name} project.create --project {project.name}"
        )
    found += _traffic_problems(project, host, facts, back_to)
    if back_to is None:
        found += _room_problems(project, facts) + _env_problems(project, facts, example_text)
    return found + _port_problems(project, facts)


def _room_problems(project: Project, facts: Facts) -> list[str]:
    found = []
    if facts.free_disk_mb < project.deploy.min_free_disk_mb:
        found.append(
            f"only {facts.free_disk_mb} MB are free, {project.deploy.min_free_disk_mb} are required (min_free_disk_mb)"
        )
    # Some file systems (btrfs) have no fixed number of inodes and say 0.
    if 0 < facts.free_inodes < MINIMUM_FREE_INODES:
        found.append(f"only {facts.free_inodes} inodes are free")
    return found


def _traffic_problems(project: Project, host: Host, facts: Facts, back_to: str | None) -> list[str]:
    """Return what makes it unsafe to stop or start anything: nginx or the containers do not do what the file says."""
    found: list[str] = []
    fab = f"fab -H {host.name}"
    if facts.site_text and facts.site_text.strip() != nginx.site_file(project).strip():
        found.append(
            f"the nginx site is not what hosts.toml says (domain, health path): {fab} project.create "
            f"--project {project.name}"
        )
    idle_runs = any(c.running for c in facts.app(facts.idle))
    if idle_runs and facts.live.colour is not None and facts.nginx_running and not facts.in_force:
        found.append(f"nginx does not say which release it serves, and {facts.idle} runs too: try again")
    if idle_runs and facts.live.colour is not None and not any(c.running for c in facts.app(facts.live.colour)):
        serving = facts.app(facts.idle)[0].release
        if back_to != serving:
            found.append(
                f"{facts.live.release} ({facts.live.colour}) is live but down, {serving} serves in its place: first "
                f"{fab} recover --project {project.name}, or {fab} rollback --project {project.name} --to {serving}"
            )
    return found


def check(project: Project, host: Host, facts: Facts, *, example_text: str = "", back_to: str | None = None) -> None:
    """Raise `Failure` with every problem, if there is one."""
    found = problems(project, host, facts, example_text=example_text, back_to=back_to)
    if found:
        what = "deploy" if back_to is None else "rollback"
        raise Failure(
            f"not ready for a {what}, nothing was changed",
            host=host.name,
            details=tuple(found),
            visitors=visitors_see(facts),
            then=f"mend it, then: fab -H {host.name} {what} --project {project.name}",
        )


def visitors_see(facts: Facts) -> str:
    """Return what visitors of the site see now, according to the facts."""
    if facts.live.release is None:
        return "nothing is deployed yet"
    return f"{facts.live.release} ({facts.live.colour}) is live"


def example_file(source: Path | None, context: str) -> str:
    """Return the text of `.env.example` of a source, or an empty text."""
    if source is None:
        return ""
    for place in (source, source / context):
        if (place / ".env.example").is_file():
            return (place / ".env.example").read_text(encoding="utf-8")
    return ""


def nginx_problem(test: str) -> str:
    """Return one sentence for a failing `nginx -t`, naming the file that is at fault."""
    lines = [line for line in test.splitlines() if "[emerg]" in line or "[warn]" in line] or test.splitlines()[:1]
    named = re.search(r"in (/opt/nginx/\S+?):(\d+)", lines[0]) if lines else None
    where = f" ({named.group(1)}, line {named.group(2)})" if named else ""
    return f"nginx -t fails before anything was changed{where}: {lines[0] if lines else 'no message'}"


def _env_problems(project: Project, facts: Facts, example_text: str) -> list[str]:
    if not facts.env_text:
        return [f"{project.directory}/.env is missing: project.create makes one"]
    values = facts.env
    wanted = list(project.required) + list(project.secrets)
    if project.uses_postgres:
        wanted += ["POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"]
    if project.uses_redis:
        wanted += ["REDIS_PASSWORD"]
    if example_text:
        wanted += [key for key in dotenv.missing(example_text, facts.env_text) if key not in wanted]
    foreign = [key for key, value in values.items() if not _is_read_alike(key, value, facts.env_text)]
    if foreign:
        return [
            f"{project.directory}/.env: Compose would read other values than are written there, mend: "
            f"{', '.join(foreign)} (put the value in single quotes, without ' or \\ or ${{)"
        ]
    lacking = [key for key in dict.fromkeys(wanted) if not values.get(key)]
    # Keys of .env.example may be empty on purpose; those that hosts.toml names may not.
    lacking = [key for key in lacking if key not in values or key in project.required or key in project.secrets]
    if not lacking:
        return []
    return [f"{project.directory}/.env lacks: {', '.join(lacking)}"]


def _is_read_alike(key: str, value: str, env_text: str) -> bool:
    """Whether Compose reads a line of `.env`, perhaps edited by hand, as we do: `K=a$b` it would not."""
    written = re.findall(rf"^(?:export )?{re.escape(key)}=(.*)$", env_text, re.MULTILINE)
    # Without these both take an unquoted line as it is.
    if written and written[-1] == value and not re.search(r"""[$\\#\t]|^['"\s]|\s$""", value):
        return True
    if not dotenv.is_representable(value):
        return False
    alike = {dotenv.render({key: value}).strip().partition("=")[2], f"'{value}'"}
    if re.fullmatch(r"[\w./:@%+=, -]*", value):
        alike.add(f'"{value}"')
    # A remark behind a value is none of it, for both.
    return bool(written) and re.sub(REMARK, r"\1", written[-1].strip()) in alike


def _port_problems(project: Project, facts: Facts) -> list[str]:
    ports = {facts.ports.app(facts.idle, i) for i in range(project.replicas)}
    if any(c.running for c in facts.app(facts.idle)):
        return []
    taken = sorted(ports & facts.listening)
    return [f"port {port} is taken by something that is not ours" for port in taken]
