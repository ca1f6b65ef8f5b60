"""The fake host and a real server answer alike: the same assertions hold for both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from fabfile.commands.entry import inventory
from fabfile.model.failure import ExitCode, Failure, LockedFailure
from fabfile.model.secret import Secret
from fabfile.remote.command import Command, CommandFailure, DeadlineFailure, script
from fabfile.remote.lock import HOST_LOCK, Lock, project_lock
from fabfile.remote.server import Remote, Server
from fabfile.steps import preflight
from fabfile.steps.facts import observe
from tests.fake_host import FakeHost, World, make_host, make_project

ABSENT = "no-such-project"


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.e2e)])
def server(request: pytest.FixtureRequest) -> Iterator[Remote]:
    if request.param == "real":
        name = request.getfixturevalue("world").host
        known = inventory()
        with Server(known.host(name), known) as real:
            yield real
    else:
        fake = FakeHost(make_project(name=ABSENT))
        fake.world = World(ABSENT, number=None, directory=False, network=False, env="")
        yield fake


@pytest.mark.parametrize(
    ("command", "out"),
    [
        (Command(("echo", "a b", "$(id)", "'")), "a b $(id) '\n"),
        (Command(("cat",), stdin=b"line\nlast"), "line\nlast"),
        (Command(("cat",)), ""),
        (Command(("true",)), ""),
    ],
)
def test_a_command_answers_with_its_output(server: Remote, command: Command, out: str) -> None:
    answer = server.run(command)
    assert (answer.exit, answer.out, answer.err) == (0, out, "")


def test_an_exit_code_that_is_no_answer_is_a_failure(server: Remote) -> None:
    with pytest.raises(CommandFailure) as caught:
        server.run(Command(("ls", "/no/such/file"), label="look"))
    assert caught.value.answer.exit == 2
    assert caught.value.host == server.name
    assert caught.value.what == "`look` ended with exit code 2"
    assert "No such file or directory" in caught.value.details[0]
    assert caught.value.code == ExitCode.FAILED


def test_an_accepted_exit_code_is_an_answer(server: Remote) -> None:
    assert server.run(Command(("false",), accept=frozenset({0, 1}))).exit == 1


def test_a_command_that_takes_too_long_is_ended(server: Remote) -> None:
    with pytest.raises(DeadlineFailure, match="did not finish within 1 s"):
        server.run(Command(("sleep", "30"), deadline=1))


def test_lines_and_failures_hide_secrets_and_answers_do_not(server: Remote) -> None:
    lines: list[str] = []
    server.hide([Secret("hunter2-hunter2")])
    answer = server.run(Command(("echo", "x hunter2-hunter2")), lines.append)
    assert lines == ["x ***"]
    assert answer.out == "x hunter2-hunter2\n"
    with pytest.raises(CommandFailure) as caught:
        server.run(Command(("ls", "/hunter2-hunter2"), label="look"))
    assert "hunter2" not in str(caught.value)


def test_a_lock_is_held_once_names_its_holder_and_is_given_back(server: Remote) -> None:
    with Lock(server, HOST_LOCK, purpose="the first") as lock:
        lock.step("think")
        lock.journal({"step": "think", "event": "begin"})
        with pytest.raises(LockedFailure, match="the first") as caught, ExitStack() as stack:
            stack.enter_context(Lock(server, HOST_LOCK, purpose="the second"))
        assert caught.value.code == ExitCode.LOCKED
    with Lock(server, HOST_LOCK, purpose="the third"):
        pass


def test_the_lock_of_a_project_that_does_not_exist_names_the_cure(server: Remote) -> None:
    with pytest.raises(Failure) as caught, ExitStack() as stack:
        stack.enter_context(Lock(server, project_lock(f"/opt/projects/{ABSENT}"), purpose="deploy"))
    assert caught.value.then == f"fab -H {server.name} project.create --project {ABSENT}"


def test_the_facts_of_a_project_that_does_not_exist(server: Remote) -> None:
    facts = observe(server, ABSENT)
    assert (facts.live.colour, facts.live.release, facts.number) == (None, None, None)
    assert (facts.containers, facts.releases, facts.env_text, facts.has_directory) == ((), (), "", False)
    assert facts.free_disk_mb > 0
    (problem,) = preflight.problems(make_project(name=ABSENT), make_host(name=server.name), facts)
    assert problem.endswith(f"project.create --project {ABSENT}")


def test_the_ports_of_the_host_are_listed_to_the_end(server: Remote) -> None:
    assert "@@ listening" in server.run(script("ports")).out
    assert server.run(script("ports")).out.rstrip().endswith("@@ end")
