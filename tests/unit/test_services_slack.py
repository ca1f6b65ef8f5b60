"""Messages to Slack."""

from __future__ import annotations

import json

import httpx
import pytest

from fabfile.model.secret import Secret
from fabfile.services import slack

HOOK = Secret("https://hooks.slack.example/services/T0/B0/hidden-part")


def test_a_message_has_a_bold_headline_and_a_line_each() -> None:
    body = slack.message(project="mini", host="prod", headline="v2 is live", lines=("by ann", "4 s"))
    assert body == {"text": "*mini* on prod: v2 is live\nby ann\n4 s"}


def answering(monkeypatch: pytest.MonkeyPatch, status: int) -> list[dict[str, str]]:
    """Let httpx answer with this status, and return the bodies that it was given."""
    bodies: list[dict[str, str]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        if not status:
            raise httpx.ConnectTimeout("hidden-part", request=request)
        return httpx.Response(status)

    client = httpx.Client(transport=httpx.MockTransport(handle))
    monkeypatch.setattr("httpx.post", client.post)
    return bodies


def test_a_message_that_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = answering(monkeypatch, 200)
    assert slack.post(HOOK, {"text": "hello"}) == ""
    assert slack.post(HOOK, {"text": "hello"}, "#deploys") == ""
    assert bodies == [{"text": "hello"}, {"text": "hello", "channel": "#deploys"}]


@pytest.mark.parametrize(
    ("status", "why"), [(404, "Slack answered 404"), (0, "Slack cannot be reached: ConnectTimeout")]
)
def test_a_dead_slack_is_a_sentence_without_the_address(monkeypatch: pytest.MonkeyPatch, status: int, why: str) -> None:
    answering(monkeypatch, status)
    assert slack.post(HOOK, {"text": "hello"}) == why


def test_an_address_that_is_none_is_a_sentence_too() -> None:
    assert slack.post(Secret("https://xn--a-é.example/hidden"), {}) == "Slack cannot be reached: InvalidURL"
