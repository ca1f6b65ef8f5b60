"""`/health`: can this process do its work right now?"""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

from fastapi import APIRouter, Response

from app import db
from app.state import Shared

CHECK_SECONDS = 2.0

router = APIRouter()
logger = logging.getLogger(__name__)


@router.get("/health")
async def health(shared: Shared, response: Response) -> dict[str, Any]:
    """200 when PostgreSQL and Redis answer in time; else 503 and which one does not."""
    postgres, redis = await asyncio.gather(
        _check("postgres", db.ping(shared.engine)), _check("redis", shared.redis.ping())
    )
    if postgres == redis == "ok":
        return {"status": "ok", "release": shared.settings.release}
    response.status_code = 503
    return {"status": "failed", "release": shared.settings.release, "postgres": postgres, "redis": redis}


async def _check(name: str, answer: Awaitable[Any]) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await answer
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS:g} s"
    except Exception as error:
        # the text of an error can hold an address with a password: it goes to the log's reader only as a type
        logger.warning("%s: %s", name, type(error).__name__)
        return type(error).__name__
    return "ok"
