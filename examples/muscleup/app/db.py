"""The PostgreSQL connections."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


def create_engine(url: str, *, pool_size: int) -> AsyncEngine:
    """A pool that connects when first used, so that a start does not wait for the database."""
    return create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,  # workers x replicas x two colours share the server's max_connections
        pool_timeout=10,
        pool_pre_ping=True,  # the database may have been restarted; the app is not
        connect_args={
            "timeout": 5,
            # No statement outlives its transaction: PgBouncer gives every transaction whichever server connection is
            # free, and a migration made for the next release must not meet this one's cached plans.
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": str,  # the empty name: unnamed, so that none pile up in the server
        },
    )


async def ping(engine: AsyncEngine) -> None:
    """Return when the database answers, raise when it does not."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
