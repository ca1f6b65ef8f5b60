"""A new project on a host: number and ports, directories, network, `.env`, data services, nginx site.

Every part looks first: running it twice changes nothing.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import quote

from fabfile.model import dotenv
from fabfile.model.colour import Colour
from fabfile.model.failure import Failure
from fabfile.model.ports import Ports, next_number, parse_registry, render_registry
from fabfile.model.secret import generate
from fabfile.remote.command import Command, script
from fabfile.remote.lock import HOST_LOCK, Lock
from fabfile.services import compose, nginx
from fabfile.services.templates import render
from fabfile.steps.facts import sections
from fabfile.steps.step import Run, Step, sending

if TYPE_CHECKING:
    from fabfile.model.inventory import Host, Project


def steps(project: Project, host: Host, *, lock_wait: int) -> list[Step]:
    """Return the steps of `project.create`."""
    return [
        Step("number", "take a number and its ports from the registry", lambda run: _register(run, project, lock_wait)),
        Step("project", "directories, .env, network and nginx site", lambda run: _create(run, project)),
        *([Step("data", f"bring up {' and '.join(project.services)}", lambda run: _data(run, project, host))]
          if project.services else []),
    ]  # fmt: skip


def env_text(project: Project, ports: Ports) -> str:
    """Return a new `.env` with generated secrets, in the dialect that every reader understands alike."""
    values = dict(project.settings)
    values.update({name: generate().reveal() for name in project.secrets})
    if project.uses_postgres:
        password = generate().reveal()
        user, database = project.postgres_user, project.postgres_database
        values.update(POSTGRES_USER=user, POSTGRES_PASSWORD=password, POSTGRES_DB=database)
        values["DATABASE_URL"] = (
            f"postgresql+asyncpg://{quote(user, safe='')}:{quote(password, safe='')}@postgres:5432/{database}"
        )
    if project.uses_redis:
        password = generate().reveal()
        values.update(REDIS_PASSWORD=password, REDIS_URL=f"redis://:{quote(password, safe='')}@redis:6379/0")
    # Each value as it is written in the file; what cannot be written is refused here.
    written = {key: dotenv.render({key: value}).strip().partition("=")[2] for key, value in values.items()}
    text = render("projects/env", project=project, ports=ports, app_port=ports.app(Colour.BLUE, 0), values=written)
    read_back = dotenv.parse(text)
    if any(read_back.get(key) != value for key, value in values.items()):
        raise Failure("the rendered .env does not read back as written")  # a bug in the template, found before it harms
    return text


def _register(run: Run, project: Project, lock_wait: int) -> str:
    """Take the number under the host's lock: two at once get different ones."""
    with Lock(run.server, HOST_LOCK, purpose=f"project.create {project.name}", wait_seconds=max(lock_wait, 60)):
        text = run.send(script("ports")).out
        registry_text, _, rest = text.partition("@@ listening")
        numbers = parse_registry(registry_text) if registry_text.strip() else {}
        if project.name in numbers:
            run.found["number"] = str(numbers[project.name])
            return f"already number {numbers[project.name]}"
        busy = {int(port) for port in sections(f"@@ listening{rest}")["listening"].split() if port.isdigit()}
        number, reasons = next_number(numbers, busy)
        for reason in reasons:
            run.reporter.note(reason)
        run.send(script("register", stdin=render_registry({**numbers, project.name: number}).encode()))
    run.found["number"] = str(number)
    ports = Ports(number)
    return f"number {number}: app {ports.app(Colour.BLUE, 0)}/{ports.app(Colour.GREEN, 0)}, network {ports.subnet}"


def _create(run: Run, project: Project) -> str:
    ports = Ports(int(run.found["number"]))
    answer = run.send(create_command(project, ports))
    lines = answer.out.splitlines()
    made = [line.removeprefix("made: ") for line in lines if line.startswith("made: ")]
    return f"made {', '.join(made)}" if made else "already there"


def create_command(project: Project, ports: Ports) -> Command:
    """Return the command that makes what is missing of a project."""
    upstream = nginx.upstream_file(
        project.name,
        colour=None,
        release=None,
        generation=nginx.new_generation(),
        ports=[ports.app(Colour.BLUE, 0)],
    )
    return script(
        "create",
        project.name,
        ports.subnet,
        base64.b64encode(upstream.encode()).decode(),
        base64.b64encode(nginx.site_file(project).encode()).decode(),
        stdin=env_text(project, ports).encode(),
        deadline=120,
    )


def _data(run: Run, project: Project, host: Host) -> str:
    text = compose.data_file(project, host, Ports(int(run.found["number"])))
    sending(compose.data_up(project.name, text))(run)
    return f"{' and '.join(project.services)} healthy"
