"""Facts: what a real host printed, read; and half of it, refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.model.colour import Colour
from fabfile.model.failure import Failure
from fabfile.steps.facts import EPOCH, Record, observe, parse, parse_time, secret_parts, sections
from tests.fake_host import PASSWORD, FakeHost

CAPTURED = Path(__file__).parents[1] / "captured"
ROLLED_BACK = (CAPTURED / "facts-after-a-rollback.txt").read_text()
NOT_CREATED = (CAPTURED / "facts-of-a-project-that-was-not-created.txt").read_text()
states = st.sampled_from(["good", "bad", "unfinished"])
texts = st.text()


def test_the_facts_of_a_real_host_after_two_deploys_and_a_rollback() -> None:
    facts = parse("mini", ROLLED_BACK)
    assert (facts.live.colour, facts.live.release, facts.live.generation) == (Colour.BLUE, "v1", "28fd838b0b5cc762")
    assert facts.idle == Colour.GREEN
    assert facts.engine == "26.1.5+dfsg1"
    assert facts.now == 1795431701
    assert [c.release for c in facts.app(Colour.BLUE)] == ["v1"]
    assert [c.running for c in facts.app(Colour.GREEN)] == [False]
    assert facts.service("postgres") is None
    assert (facts.nginx_running, facts.nginx_test) == (True, "")
    assert sorted(facts.tags) == ["v1", "v2"]
    assert (facts.has_network, facts.has_directory) == (True, True)
    assert (facts.number, facts.ports.app(Colour.GREEN, 0)) == (1, 8002)
    assert facts.site_text.startswith("# mini: mini.localhost")
    assert facts.env == {"BACKEND_EXTERNAL_PORT": "8001", "SECRET_KEY": "replaced-value-of-a-secret"}
    assert facts.env_text.endswith("secret\n")
    assert [secret.reveal() for secret in facts.secrets] == ["replaced-value-of-a-secret"]
    assert (facts.current, facts.leftovers, facts.holder, facts.data_text) == ("v1", (), "", "")
    assert [(r.version, r.state, r.who) for r in facts.releases] == [
        ("v1", "good", "ann@laptop"), ("v2", "good", "ann@laptop"),
    ]  # fmt: skip
    assert (facts.free_disk_mb, facts.free_inodes) == (76148, 16281579)
    assert facts.listening == {22, 80, 8001}
    assert [entry["outcome"] for entry in facts.history] == ["failed", "failed", "failed", "good", "good", "good"]
    record = facts.record("v2")
    assert record is not None
    assert record.created == "2026-11-23T10:57:48+00:00"
    assert facts.record("v3") is None
    assert facts.record(None) is None


def test_the_facts_of_a_real_host_without_the_project() -> None:
    facts = parse("muscleup", NOT_CREATED)
    assert (facts.live.colour, facts.live.release, facts.idle) == (None, None, Colour.BLUE)
    assert (facts.number, facts.has_directory, facts.has_network) == (None, False, False)
    assert (facts.containers, facts.tags, facts.releases, facts.env_text) == ((), {}, (), "")
    assert facts.nginx_running
    with pytest.raises(Failure, match="muscleup is not registered"):
        _ = facts.ports


@given(st.integers(0, len(ROLLED_BACK.rstrip()) - 1))
def test_facts_that_were_cut_short_are_no_facts(length: int) -> None:
    with pytest.raises(Failure):
        parse("mini", ROLLED_BACK[:length])


def test_a_host_whose_docker_does_not_answer_says_so() -> None:
    fake = FakeHost()
    fake.world.engine = "curl: (7) Failed to connect to localhost port 80: Connection refused"
    with pytest.raises(Failure, match="Docker does not answer") as caught:
        fake.facts()
    assert "Connection refused" in caught.value.details[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (name, text)
        for name in ("containers", "images", "networks", "nginx", "time", "registry")
        for text in ("", "curl: (28) timed out", '{"message": "server error"}', '[{"Id"', "null")
        if (name, text) != ("registry", "")  # a host without projects
    ],
)
def test_an_answer_that_is_none_is_a_failure_and_no_crash(name: str, text: str) -> None:
    part = {**sections(FakeHost().world.facts_text()), name: text}
    with pytest.raises(Failure):
        parse("mini", "".join(f"@@ {key}\n{value}\n" for key, value in part.items()))


def test_a_warning_of_nginx_is_a_problem() -> None:
    fake = FakeHost()
    assert fake.facts().nginx_test == ""
    fake.world.nginx_test = 'nginx: [warn] conflicting server name "a.b"\nexit 0'
    assert "conflicting" in fake.facts().nginx_test
    fake.world.nginx_test = "nginx: [emerg] unknown directive\nexit 1"
    assert "emerg" in fake.facts().nginx_test


@pytest.mark.parametrize(
    ("in_force", "running", "undecided"),
    [(None, True, False), ("0123456789abcdef", True, True), ("", True, False), (None, False, False)],
)
def test_a_switch_is_undecided_while_nginx_works_with_another_generation_than_the_file_has(
    in_force: str | None, running: bool, undecided: bool
) -> None:
    fake = FakeHost()
    fake.deployed("v1")
    fake.world.in_force, fake.world.nginx_running = in_force, running
    facts = fake.facts()
    assert facts.undecided == undecided
    assert facts.in_force == (in_force if in_force is not None else facts.live.generation if running else "")


@pytest.mark.parametrize("text", ["", "upstream mini {\n    server 127.0.0.1:8001;\n}\n", "# slipway: project=mini\n"])
def test_a_project_whose_upstream_file_says_nothing_is_no_project_without_a_live_release(text: str) -> None:
    fake = FakeHost()
    fake.deployed("v1")
    fake.world.upstream = text
    with pytest.raises(Failure, match=r"/opt/nginx/upstreams/mini\.conf does not say what is live") as caught:
        fake.facts()
    assert caught.value.details == (text.strip("\n") or "it is empty or missing",)
    assert caught.value.then is not None
    fake.world.number = None
    assert fake.facts().live.release is None


def test_looking_hides_the_secrets_of_the_host_from_then_on() -> None:
    fake = FakeHost()
    assert fake.hidden(PASSWORD) == PASSWORD
    observe(fake, "mini")
    assert fake.hidden(f"postgres://mini:{PASSWORD}@postgres") == "postgres://mini:***@postgres"


@pytest.mark.parametrize(
    ("key", "value", "secret"),
    [
        ("POSTGRES_PASSWORD", "correct-horse", True),
        ("DATABASE_URL", "postgresql://a:b@c/d", True),
        ("AZURE_OPENAI_API_KEY", "0123456789abcdef", True),
        ("ANYTHING_ELSE", "long enough to hide", True),
        ("POSTGRES_USER", "muscleup_prod", False),
        ("POSTGRES_DB", "muscleup_production", False),
        ("BACKEND_EXTERNAL_PORT", "8001", False),
        ("ENVIRONMENT", "production", False),
        ("DEBUG", "false", False),
        ("EMPTY", "", False),
    ],
)
def test_what_counts_as_secret(key: str, value: str, secret: bool) -> None:
    assert bool(secret_parts(key, value)) == secret


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("DATABASE_URL", "postgresql://ann:p%40ss-word@db/x", ("p%40ss-word", "p@ss-word")),
        ("REDIS_URL", "redis://:correct-horse@redis:6379/0", ("correct-horse",)),
        ("CORS_ORIGINS", "https://ann:correct-horse@shop.example", ("correct-horse",)),
        ("SMTP", "smtp://a:b@c", ("b",)),
    ],
)
def test_the_password_in_an_address_is_hidden_on_its_own_too(key: str, value: str, parts: tuple[str, ...]) -> None:
    assert set(secret_parts(key, value)) == {value, *parts}


def test_an_address_without_a_password_is_hidden_whole_or_not_at_all() -> None:
    assert secret_parts("CORS_ORIGINS", "https://shop.example:8443") == ()
    assert secret_parts("WEBHOOK", "https://hooks.example/T0/B0") == ("https://hooks.example/T0/B0",)


def test_a_password_that_is_in_an_address_only_is_hidden_wherever_it_shows() -> None:
    fake = FakeHost()
    fake.world.env = "REDIS_URL=redis://:correct%2Fhorse@redis:6379/0\n"
    observe(fake, "mini")
    assert fake.hidden("auth correct/horse failed, correct%2Fhorse") == "auth *** failed, ***"


def test_migrations_are_no_replicas_and_replicas_are_in_order() -> None:
    fake = FakeHost()
    for replica in ("10", "2", "1"):
        fake.world.add_container(f"c{replica}", role="app", colour="blue", replica=replica)
    fake.world.add_container("once", role="app", colour="blue", replica="1")
    fake.world.containers["once"]["Labels"]["com.docker.compose.oneoff"] = "True"
    assert [c.id for c in fake.facts().app(Colour.BLUE)] == ["c1", "c2", "c10"]


# --- Records


@given(st.builds(Record, st.just("v1"), states, texts, st.none() | texts, st.none() | texts, st.booleans(), texts))
def test_a_record_is_read_back_as_it_was_written(record: Record) -> None:
    assert "\n" not in record.json()
    fake = FakeHost()
    fake.world.releases["v1"] = record.json()
    assert fake.facts().releases == (record,)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"state'])
def test_a_damaged_record_is_an_unfinished_release(text: str) -> None:
    fake = FakeHost()
    fake.world.releases["v1"] = text
    assert fake.facts().releases == (Record("v1"),)
    assert fake.facts().releases[0].state == "unfinished"


def test_keys_of_a_later_version_are_passed_over_and_the_directory_names_the_release() -> None:
    fake = FakeHost()
    fake.world.releases["v1"] = '{"version": "other", "state": "good", "signature": "x"}'
    assert fake.facts().releases == (Record("v1", "good"),)


def test_values_of_another_type_than_they_should_have_are_left_out_of_a_record() -> None:
    fake = FakeHost()
    fake.world.releases["v1"] = (
        '{"state": "good", "created": 5, "commit": null, "subject": ["x"], "dirty": true, "who": null, "why": {}}'
    )
    assert fake.facts().releases == (Record("v1", "good", dirty=True),)
    assert fake.facts().releases[0].as_release.state == "good"


@pytest.mark.parametrize("text", ['{"dirty": "yes"}', '{"created": true}', '{"state": false}', '{"state": "fine"}'])
def test_a_record_never_gets_a_value_that_the_rest_cannot_use(text: str) -> None:
    fake = FakeHost()
    fake.world.releases["v1"] = text
    (record,) = fake.facts().releases
    assert (record.state, record.created, record.dirty) == ("unfinished", "", False)
    assert record.as_release.state == "unfinished"


def test_a_record_that_ended_keeps_the_rest() -> None:
    record = Record("v1", created="2026-11-20T10:00:00+00:00", who="ann@laptop")
    ended = record.ended("bad", why="exit code 3")
    assert (ended.state, ended.why, ended.who) == ("bad", "exit code 3", "ann@laptop")
    assert record.state == "unfinished"


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-45"])
def test_a_time_that_is_none_is_the_oldest(text: str) -> None:
    assert parse_time(text) == EPOCH
    assert parse_time("2026-11-20T10:00:00Z") > EPOCH


def test_sections_begin_with_their_name() -> None:
    assert sections("lost\n@@ a\n\none\n\ntwo\n\n@@ b\n@@ c\n") == {"a": "one\n\ntwo", "b": "", "c": ""}
