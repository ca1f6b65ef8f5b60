"""The application that uvicorn serves."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, FastAPI, Query
from redis.asyncio import Redis
from starlette.middleware.cors import CORSMiddleware

from app import auth, db, health, live, workouts
from app.settings import Settings
from app.shutdown import Shutdown
from app.state import Shared, State

GREETING = Path(__file__).with_name("greeting.txt")

logger = logging.getLogger(__name__)
settings = Settings.from_environment()
api = APIRouter(prefix="/api/v1")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Hold the pools from start to end; the end comes when the last request has been answered."""
    engine = db.create_engine(settings.database_url, pool_size=settings.db_pool_size)
    redis = Redis.from_url(settings.redis_url, socket_connect_timeout=2, socket_timeout=2, max_connections=50)
    shutdown = Shutdown()
    app.state.shared = State(settings=settings, engine=engine, redis=redis, shutdown=shutdown)
    try:
        with shutdown.listening():
            logger.info("release %s is up, environment %s", settings.release, settings.environment)
            yield
    finally:
        await engine.dispose()
        await redis.aclose()
        logger.info("release %s is down", settings.release)


@api.get("/version")
async def version(shared: Shared) -> dict[str, str]:
    """Which release answers."""
    return {"release": shared.settings.release}


@api.get("/greeting")
async def greeting(shared: Shared) -> dict[str, str]:
    """A text that comes with the code, so that two releases can be told apart."""
    return {"greeting": GREETING.read_text(encoding="utf-8").strip(), "release": shared.settings.release}


@api.get("/slow")
async def slow(shared: Shared, seconds: Annotated[float, Query(ge=0, le=300)] = 10) -> dict[str, float | str]:
    """An answer that takes its time."""
    await asyncio.sleep(seconds)
    return {"slept": seconds, "release": shared.settings.release}


@api.get("/cached")
async def cached(shared: Shared) -> dict[str, int | str]:
    """How often this was asked, counted in Redis across workers and releases."""
    return {"count": await shared.redis.incr("cached"), "release": shared.settings.release}


def create_app() -> FastAPI:
    """The application; its documentation pages are not shown in production."""
    app = FastAPI(
        title="MuscleUp",
        version=settings.release,
        lifespan=lifespan,
        openapi_url=None if settings.environment == "production" else "/openapi.json",
    )
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.allowed_origins,
        allow_credentials=True,
        allow_methods=["*"],
        allow_headers=["*"],
    )
    for router in (workouts.router, live.router, auth.router):
        api.include_router(router)
    app.include_router(api)
    app.include_router(health.router)
    return app


app = create_app()
