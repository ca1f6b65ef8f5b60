"""What the environment says, read once and checked at the door."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

REQUIRED = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "CSRF_SECRET_KEY")


@dataclass(frozen=True)
class Settings:
    """The settings of one process; the names are those of `.env`."""

    database_url: str
    redis_url: str
    secret_key: str
    csrf_secret_key: str
    workers: int
    port: int
    environment: str
    allowed_origins: tuple[str, ...]
    rate_limit_per_minute: int
    access_token_expire_minutes: int
    db_pool_size: int
    release: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """The settings, or an end of the process with one line that names every key that is missing or wrong."""
        missing = [name for name in REQUIRED if not environment.get(name)]
        if missing:
            raise SystemExit(f"muscleup: missing in the environment: {', '.join(missing)}")
        origins = environment.get("ALLOWED_ORIGINS", "")
        return cls(
            database_url=environment["DATABASE_URL"],
            redis_url=environment["REDIS_URL"],
            secret_key=environment["SECRET_KEY"],
            csrf_secret_key=environment["CSRF_SECRET_KEY"],
            workers=_whole_number(environment, "WORKERS", default=1, most=64),
            port=_whole_number(environment, "PORT", default=8000, most=65535),
            environment=environment.get("ENVIRONMENT") or "production",
            allowed_origins=tuple(origin.strip() for origin in origins.split(",") if origin.strip()),
            rate_limit_per_minute=_whole_number(environment, "RATE_LIMIT_PER_MINUTE", default=10, most=1_000_000),
            access_token_expire_minutes=_whole_number(
                environment, "ACCESS_TOKEN_EXPIRE_MINUTES", default=30, most=525_600
            ),
            db_pool_size=_whole_number(environment, "DB_POOL_SIZE", default=5, most=100),
            release=environment.get("RELEASE") or environment.get("APP_VERSION") or "unknown",
        )


def _whole_number(environment: Mapping[str, str], name: str, *, default: int, most: int) -> int:
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
        raise SystemExit(f"muscleup: {name} must be a whole number from 1 to {most}, is {text!r}")
    return int(text)
