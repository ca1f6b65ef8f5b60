"""What the requests of one worker share."""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import HTTPConnection

from app.settings import Settings
from app.shutdown import Shutdown


@dataclass(frozen=True)
class State:
    """Made at start, closed at the end."""

    settings: Settings
    engine: AsyncEngine
    redis: Redis
    shutdown: Shutdown


async def _state(connection: HTTPConnection) -> State:
    return cast(State, connection.app.state.shared)


Shared = Annotated[State, Depends(_state)]
