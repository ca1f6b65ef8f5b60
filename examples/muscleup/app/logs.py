"""Everything goes to stdout, one line per event, for `docker logs`."""

import logging
from typing import Any


class NotTheHealthCheck(logging.Filter):
    """Keeps the checks of every few seconds out of the access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is worth writing."""
        return not (isinstance(record.args, tuple) and len(record.args) > 2 and record.args[2] == "/health")


LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"quiet": {"()": NotTheHealthCheck}},
    "formatters": {"line": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "line"}},
    "loggers": {"uvicorn.access": {"filters": ["quiet"]}},
    "root": {"level": "INFO", "handlers": ["stdout"]},
}
