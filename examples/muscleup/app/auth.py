"""Guest sessions: CSRF token, signed access token, and a limit on how often a client may ask."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Request
from pydantic import BaseModel, Field

from app.state import Shared

router = APIRouter(prefix="/auth")


class Guest(BaseModel):
    """Who wants a session."""

    name: str = Field(min_length=1, max_length=100)


@router.get("/csrf")
async def csrf(shared: Shared) -> dict[str, str]:
    """A token to send back as `X-CSRF-Token`."""
    nonce = secrets.token_urlsafe(16)
    return {"token": f"{nonce}.{_signature(shared.settings.csrf_secret_key, nonce)}"}


@router.post("/login")
async def login(
    shared: Shared, request: Request, guest: Guest, x_csrf_token: Annotated[str, Header()] = ""
) -> dict[str, str]:
    """An access token, at most RATE_LIMIT_PER_MINUTE times a minute for one client."""
    await _count_against_limit(shared, request.client.host if request.client else "unknown")
    nonce, _, signature = x_csrf_token.rpartition(".")
    if not hmac.compare_digest(signature.encode(), _signature(shared.settings.csrf_secret_key, nonce).encode()):
        raise HTTPException(403, "the X-CSRF-Token is missing or not ours")
    claims = {"sub": guest.name, "exp": int(time.time()) + 60 * shared.settings.access_token_expire_minutes}
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()
    return {"access_token": f"{payload}.{_signature(shared.settings.secret_key, payload)}"}


async def _count_against_limit(shared: Shared, client: str) -> None:
    key = f"login:{client}:{int(time.time()) // 60}"
    async with shared.redis.pipeline(transaction=True) as pipeline:
        pipeline.incr(key)
        pipeline.expire(key, 120)
        attempts, _ = await pipeline.execute()
    if attempts > shared.settings.rate_limit_per_minute:
        raise HTTPException(429, "too many attempts; try again in a minute", headers={"retry-after": "60"})


def _signature(key: str, text: str) -> str:
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()
