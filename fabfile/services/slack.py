"""Messages to Slack or anything that takes its webhooks. A dead Slack never changes how a deploy ends."""

from __future__ import annotations

from fabfile.model.secret import Secret

DEADLINE_SECONDS = 5.0


def message(*, project: str, host: str, headline: str, lines: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the body of a message: a bold headline, then one line each."""
    return {"text": "\n".join((f"*{project}* on {host}: {headline}", *lines))}


def post(webhook: Secret, body: dict[str, str], channel: str | None = None) -> str:
    """Send a message; return "" when it arrived, otherwise why it did not."""
    import httpx  # noqa: PLC0415 - costs 0.1 s; only projects with Slack need it

    try:
        answer = httpx.post(
            webhook.reveal(), json={**body, **({"channel": channel} if channel else {})}, timeout=DEADLINE_SECONDS
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"Slack cannot be reached: {type(error).__name__}"
    return "" if answer.is_success else f"Slack answered {answer.status_code}"
