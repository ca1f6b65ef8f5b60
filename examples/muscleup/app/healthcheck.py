"""`python -I -S healthcheck.py`: exit 0 when /health answers 200. Imports one module, for it runs every few seconds."""

import os
import socket
import sys


def main() -> int:
    """0 for healthy, 1 for anything else, after printing what was answered."""
    try:
        with socket.create_connection(("127.0.0.1", int(os.environ.get("PORT") or 8000)), timeout=5) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
    except OSError as error:
        print(error)
        return 1
    print(answer.partition(b"\r\n\r\n")[2].decode(errors="replace")[:500])
    return 0 if answer.split(b" ", 2)[1:2] == [b"200"] else 1


sys.exit(main())
