"""The remote shell that rsync starts (`rsync -e`): passes bytes between rsync and the connection that is already open.

Run as a program: `python -I -S rsync_shell.py SOCKET HOST COMMAND...`; standard library only, starts in 15 ms.
"""

import contextlib
import os
import socket
import sys
import threading


def main(arguments: list[str]) -> int:
    """Connect to the socket, say which command is wanted, then pass bytes both ways until the far end is done."""
    path, _host, *command = arguments
    line = socket.socket(socket.AF_UNIX)
    line.connect(path)
    line.sendall(" ".join(command).encode() + b"\0")

    def upward() -> None:
        with contextlib.suppress(OSError):
            while data := os.read(0, 65536):
                line.sendall(data)
            line.shutdown(socket.SHUT_WR)

    threading.Thread(target=upward, daemon=True).start()
    while data := line.recv(65536):
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # the thread may still wait for standard input
