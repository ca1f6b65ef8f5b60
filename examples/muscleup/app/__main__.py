"""`python -m app`: check the settings, then become uvicorn's supervisor."""

import signal
import sys

from app.logs import LOGGING
from app.settings import Settings


def main() -> None:
    """Serve until SIGTERM or SIGINT; the exit status is 0 after an orderly end."""
    # uvicorn raises the signal again when it is done, which would end a single worker with status 143. And process 1
    # of a container ignores a signal nobody handles, which matters until uvicorn has installed its own handlers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = Settings.from_environment()

    import uvicorn  # noqa: PLC0415 - a quarter of a second that a missing setting need not wait for

    uvicorn.run(
        "app.main:app",
        host="0.0.0.0",  # noqa: S104 - inside the container; only 127.0.0.1 is published
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        log_config=LOGGING,
        # longer than nginx's upstream keepalive_timeout (60 s): else nginx sends a POST into a connection being closed
        timeout_keep_alive=75,
        timeout_graceful_shutdown=30,
        # only nginx, over the published loopback port, can reach the container
        proxy_headers=True,
        forwarded_allow_ips="*",
        headers=[("X-Release", settings.release)],
    )


if __name__ == "__main__":
    main()
