"""The connection to one server: pinned host key, deadlines, one round trip a command."""

from __future__ import annotations

import base64
import codecs
import contextlib
import io
import os
import select
import shlex
import socket
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fabfile.model.failure import ExitCode, Failure, UnreachableFailure, UsageFailure
from fabfile.model.secret import Secret, redact
from fabfile.remote.command import Answer, Command, CommandFailure, DeadlineFailure, OnLine

if TYPE_CHECKING:
    import paramiko
    from fabric import Connection

    from fabfile.model.inventory import Host, Inventory

DEAD_PEER_SECONDS = 20  # unacknowledged data for this long means that the peer is gone
KILL_GRACE_SECONDS = 5
WITH_INPUT = 'input=$1; shift; printf %s "$input" | "$@"'


class ConnectionLost(Failure):
    """The connection broke while a command ran: what it did is unknown until somebody looks again."""

    exit_code = ExitCode.UNREACHABLE


class Remote(Protocol):
    """What commands and steps need of a server; a fake one in tests records instead of sending."""

    @property
    def name(self) -> str:
        """The name of the host in `hosts.toml`."""

    def run(self, command: Command, on_line: OnLine | None = None) -> Answer:
        """Run a command and return what it answered."""

    def open_channel(self, command: Command) -> paramiko.Channel:
        """Start a command and return the channel to it."""

    def hide(self, secrets: Iterable[Secret]) -> None:
        """From now on hide these values."""

    def hidden(self, text: str) -> str:
        """Return the text with every known secret replaced."""

    def guard(self, busy_file: str | None) -> None:
        """From now on hold a shared lock on this file while a command runs."""


class Server:
    """An open connection to a host of `hosts.toml`. Use it as a context manager.

    Arguments:
        host: the host as configured.
        inventory: where a gateway is looked up.
        user: log in as this user instead of the configured one (bootstrap logs in as `admin`).
        environ: environment that may hold a private key (`identity_env`).

    Raises `UnreachableFailure` when the host cannot be reached, the login is refused, or the host key is not
    the pinned one; nothing has been sent then.
    """

    def __init__(
        self, host: Host, inventory: Inventory, *, user: str | None = None, environ: dict[str, str] | None = None
    ) -> None:
        self.host, self.inventory, self.user = host, inventory, user or host.user
        self._environ = dict(os.environ) if environ is None else environ
        self._secrets: set[Secret] = set()
        self._busy_file: str | None = None
        self._connections: list[Connection] = []
        self._pool: ThreadPoolExecutor | None = None
        self._spare: Future[paramiko.Channel] | None = None

    @property
    def name(self) -> str:
        """The name of the host in `hosts.toml`."""
        return self.host.name

    # ---------------------------------------------------------------- opening

    def __enter__(self) -> Server:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Connect, check the pinned host key, log in."""
        self._connection = self._connect(self.host, self.user)
        transport = self._connection.transport
        assert transport is not None  # noqa: S101 - an open connection has one
        self._transport: paramiko.Transport = transport
        self._tune(transport)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="channel")
        self._prepare()

    def close(self) -> None:
        """Close the connection; locks held through it are freed by the server's kernel."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        for connection in reversed(self._connections):
            with contextlib.suppress(Exception):
                connection.close()

    def _connect(self, host: Host, user: str) -> Connection:
        import paramiko  # noqa: PLC0415 - costs 0.15 s; `fab --list` does not need it
        from fabric import Config, Connection  # noqa: PLC0415

        gateway = None
        if host.gateway:
            beyond = self.inventory.host(host.gateway)
            gateway = self._connect(beyond, beyond.user)
        connection = Connection(
            host.hostname,
            user=user,
            port=host.port,
            gateway=gateway,
            connect_timeout=host.connect_timeout,
            config=Config(lazy=True, overrides={"load_ssh_configs": False}),
            connect_kwargs=self._credentials(host),
        )
        connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        self._pin(connection.client, host)
        try:
            connection.open()
        except paramiko.BadHostKeyException as error:
            raise UnreachableFailure(
                "the host key is not the pinned one; nothing was sent",
                host=host.name,
                details=(
                    f"pinned:   {error.expected_key.get_name()} {fingerprint(error.expected_key)}",
                    f"answered: {error.key.get_name()} {fingerprint(error.key)}",
                ),
                then="compare the answered fingerprint with the server's console (ssh-keygen -lf "
                "/etc/ssh/ssh_host_ed25519_key.pub); if it is right, change host_key in hosts.toml",
            ) from None
        except paramiko.AuthenticationException as error:
            raise UnreachableFailure(
                f"login as {user} was refused ({error})",
                host=host.name,
                then=f"check `user`, `identity_file` or `identity_env` of hosts.{host.name} in hosts.toml"
                + ("" if user == host.admin else f"; is the server set up? fab -H {host.name} server.bootstrap"),
            ) from None
        except paramiko.SSHException as error:
            if "not found in known_hosts" in str(error):
                raise UnreachableFailure(
                    "no host key is pinned for it; nothing was sent",
                    host=host.name,
                    then=f"read the key on the server's console: cat /etc/ssh/ssh_host_ed25519_key.pub, "
                    f'and store it as host_key = "ssh-ed25519 ..." under [hosts.{host.name}] in hosts.toml',
                ) from None
            raise self._unreachable(host, error) from None
        except (OSError, EOFError) as error:
            raise self._unreachable(host, error) from None
        self._connections.append(connection)
        return connection

    def _unreachable(self, host: Host, error: Exception) -> UnreachableFailure:
        reason = str(error).strip() or type(error).__name__
        return UnreachableFailure(
            f"no connection to {host.hostname} port {host.port}: {reason}",
            host=host.name,
            then=f"check that the server is up and that hostname and port of hosts.{host.name} are right",
        )

    def _credentials(self, host: Host) -> dict[str, object]:
        if host.identity_env:
            text = self._environ.get(host.identity_env, "")
            if not text.strip():
                raise UsageFailure(
                    f"the environment variable {host.identity_env} is empty; it must hold the private key",
                    host=host.name,
                )
            return {"pkey": private_key(text, host.identity_env), "allow_agent": False, "look_for_keys": False}
        if host.identity_file:
            path = Path(host.identity_file).expanduser()
            if not path.is_file():
                raise UsageFailure(f"identity_file {host.identity_file} does not exist", host=host.name)
            return {"key_filename": str(path), "allow_agent": True, "look_for_keys": False}
        return {"allow_agent": True, "look_for_keys": True}

    def _pin(self, client: paramiko.SSHClient, host: Host) -> None:
        import paramiko  # noqa: PLC0415

        place = host.hostname if host.port == 22 else f"[{host.hostname}]:{host.port}"
        for line in host.host_key:
            kind, _, rest = line.partition(" ")
            try:
                blob = base64.b64decode(rest.split()[0], validate=True)
                key = paramiko.PKey.from_type_string(kind, blob)
            except Exception:
                raise UsageFailure(
                    f"hosts.toml: hosts.{host.name}.host_key: must be a public key as in "
                    f'/etc/ssh/ssh_host_ed25519_key.pub ("ssh-ed25519 AAAA..."), is {line[:30]!r}...'
                ) from None
            client.get_host_keys().add(place, kind, key)
        if host.known_hosts:
            if not host.known_hosts.is_file():
                raise UsageFailure(f"known_hosts file {host.known_hosts} does not exist", host=host.name)
            client.load_host_keys(str(host.known_hosts))

    def login_key(self) -> str:
        """Return the public half of the configured key as a line of authorized_keys; empty when an agent has it."""
        credentials = self._credentials(self.host)
        if "pkey" in credentials:
            key = credentials["pkey"]
            return f"{key.get_name()} {key.get_base64()}"  # type: ignore[attr-defined]
        public = Path(f"{credentials['key_filename']}.pub") if "key_filename" in credentials else None
        return public.read_text(encoding="utf-8").strip() if public is not None and public.is_file() else ""

    def _tune(self, transport: paramiko.Transport) -> None:
        transport.set_keepalive(15)
        sock = transport.sock
        if isinstance(sock, socket.socket):
            # Nagle's algorithm meeting delayed acknowledgement costs 40 ms a command.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_PEER_SECONDS * 1000)

    # ---------------------------------------------------------------- secrets and guards

    def hide(self, secrets: Iterable[Secret]) -> None:
        """From now on replace these values by `***` in everything that people see."""
        self._secrets.update(secrets)

    def hidden(self, text: str) -> str:
        """Return the text with every known secret replaced."""
        return redact(text, self._secrets)

    def guard(self, busy_file: str | None) -> None:
        """From now on every command holds a shared lock on this file while it runs on the server.

        Whoever takes the project's lock after us first waits until our last command has really ended,
        even when we died and it did not (sshd sends no signal to commands without a terminal).
        """
        self._busy_file = busy_file

    # ---------------------------------------------------------------- running

    def run(self, command: Command, on_line: OnLine | None = None) -> Answer:
        """Run a command, without terminal and within its deadline, and return what it answered.

        Raises `CommandFailure` for an exit code that is no answer, `DeadlineFailure` when it took too long and
        `ConnectionLost` when its outcome is unknown.
        """
        began = time.monotonic()
        channel = self.open_channel(command)
        try:
            out, err = self._exchange(channel, command, began + command.deadline + 2 * KILL_GRACE_SECONDS, on_line)
        except (OSError, EOFError):
            raise self._lost(command) from None
        finally:
            with contextlib.suppress(OSError, EOFError):
                channel.close()
        exit_code = channel.exit_status
        if exit_code < 0:
            raise self._lost(command)
        answer = Answer(exit_code, out, err, time.monotonic() - began)
        if exit_code in (124, 137) and exit_code not in command.accept and answer.seconds >= command.deadline:
            raise self._late(command)
        if exit_code not in command.accept:
            shown = replace(answer, out=self.hidden(out), err=self.hidden(err))
            raise CommandFailure(command, shown, host=self.name)
        return answer

    def open_channel(self, command: Command) -> paramiko.Channel:
        """Start a command and return its channel, for talking to it while it runs."""
        import paramiko  # noqa: PLC0415

        try:
            spare, self._spare = self._spare, None
            channel = spare.result() if spare is not None else self._transport.open_session(timeout=30)
            _execute(self._transport, channel, self._guarded(command))
        except (paramiko.SSHException, OSError, EOFError):
            raise self._lost(command) from None
        self._prepare()
        return channel

    def _guarded(self, command: Command) -> str:
        words = ("timeout", "-k", str(KILL_GRACE_SECONDS), str(max(1, round(command.deadline))), *command.argv)
        if command.is_inline:
            words = ("sh", "-c", WITH_INPUT, "with-input", command.stdin.decode(), *words)
        if self._busy_file:
            words = ("flock", "--shared", self._busy_file, *words)
        return shlex.join(words)

    def _prepare(self) -> None:
        """Open the next channel while this one works: a command then costs one round trip, not two."""
        if self._pool is not None:
            with contextlib.suppress(RuntimeError):
                self._spare = self._pool.submit(self._transport.open_session, timeout=30)

    def _exchange(
        self, channel: paramiko.Channel, command: Command, deadline: float, on_line: OnLine | None
    ) -> tuple[str, str]:
        sender = None
        if command.stdin and not command.is_inline:
            sender = threading.Thread(target=_send, args=(channel, command.stdin), daemon=True)
            sender.start()
        else:
            channel.shutdown_write()
        out, err = _Collector(on_line, self.hidden), _Collector(on_line, self.hidden)
        while True:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise self._late(command)
            progressed = False
            while channel.recv_ready():
                out.feed(channel.recv(65536))
                progressed = True
            while channel.recv_stderr_ready():
                err.feed(channel.recv_stderr(65536))
                progressed = True
            if progressed:
                continue
            if channel.exit_status_ready() and channel.eof_received:
                if channel.recv_ready() or channel.recv_stderr_ready():
                    continue
                break
            if channel.closed or not self._transport.is_active():
                break
            with contextlib.suppress(ValueError, OSError):
                select.select([channel], [], [], min(remaining, 0.25))
        return out.finish(), err.finish()

    def _late(self, command: Command) -> DeadlineFailure:
        return DeadlineFailure(f"`{command}` did not finish within {command.deadline:.0f} s", host=self.name)

    def _lost(self, command: Command) -> ConnectionLost:
        return ConnectionLost(
            f"the connection broke while `{command}` ran; what it did is not known yet",
            host=self.name,
        )


def _execute(transport: paramiko.Transport, channel: paramiko.Channel, line: str) -> None:
    """Ask for a command without waiting until sshd agrees: what goes to its standard input can follow at once.

    A refusal closes the channel; the command then ends without exit code, as when the connection breaks. paramiko's
    own `exec_command` waits, which from afar doubles the time of every command that reads something.
    """
    from paramiko import Message  # noqa: PLC0415
    from paramiko.common import cMSG_CHANNEL_REQUEST  # noqa: PLC0415

    request = Message()
    request.add_byte(cMSG_CHANNEL_REQUEST)
    request.add_int(channel.remote_chanid)
    request.add_string("exec")
    request.add_boolean(True)  # sshd is to answer, for a refusal must not look like a command that says nothing
    request.add_string(line)
    transport._send_user_message(request)  # type: ignore[attr-defined]  # nothing public sends a request


def _send(channel: paramiko.Channel, data: bytes) -> None:
    with contextlib.suppress(OSError, EOFError):
        channel.sendall(data)
        channel.shutdown_write()


class _Collector:
    """Gathers output, decodes it and passes whole lines on while they arrive."""

    def __init__(self, on_line: OnLine | None, hidden: OnLineFilter) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._on_line, self._hidden = on_line, hidden
        self._text: list[str] = []
        self._rest = ""

    def feed(self, data: bytes) -> None:
        """Take a piece of output."""
        piece = self._decoder.decode(data)
        self._text.append(piece)
        if self._on_line is not None:
            *lines, self._rest = (self._rest + piece).split("\n")
            for line in lines:
                self._on_line(self._hidden(line.rstrip("\r")))

    def finish(self) -> str:
        """Return everything, after passing on an unfinished last line."""
        if self._on_line is not None and self._rest:
            self._on_line(self._hidden(self._rest))
        return "".join(self._text)


class OnLineFilter(Protocol):
    """Returns the text as people may see it."""

    def __call__(self, text: str) -> str:  # noqa: D102 - the class says it
        ...


def fingerprint(key: paramiko.PKey) -> str:
    """Return the SHA256 fingerprint as `ssh-keygen -l` prints it."""
    return str(key.fingerprint)


def private_key(text: str, where: str) -> paramiko.PKey:
    """Return the private key in this text, without ever writing it to a file.

    Raises `UsageFailure` naming `where` (the variable), never the text.
    """
    import paramiko  # noqa: PLC0415

    text = text.strip().replace("\r\n", "\n") + "\n"
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        with contextlib.suppress(paramiko.SSHException, ValueError, IndexError):
            return kind.from_private_key(io.StringIO(text))
    raise UsageFailure(
        f"{where} does not hold a usable private key (OpenSSH or PEM format, Ed25519, ECDSA or RSA, without passphrase)"
    )
