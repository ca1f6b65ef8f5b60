"""What a connection decides before anything is sent."""

from __future__ import annotations

import base64
from functools import cache

import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from fabfile.model.failure import ExitCode, UsageFailure
from fabfile.model.inventory import Inventory
from fabfile.model.secret import Secret
from fabfile.remote.command import Command
from fabfile.remote.server import Server, fingerprint, private_key
from tests.fake_host import make_host

NOWHERE = Inventory("hosts.toml", {}, {}, {})


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def key_text(kind: str, passphrase: bytes = b"") -> str:
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    if kind.startswith("rsa"):
        key = rsa_key()
    elif kind == "ecdsa":
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    locked = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    style = serialization.PrivateFormat.TraditionalOpenSSL if kind == "rsa-pem" else serialization.PrivateFormat.OpenSSH
    return key.private_bytes(serialization.Encoding.PEM, style, locked).decode()


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa", "rsa-pem"])
@pytest.mark.parametrize("change", [str, str.strip, lambda text: text.replace("\n", "\r\n"), lambda t: f"\n\n{t}\n\n"])
def test_a_private_key_is_read_from_an_environment_variable(kind: str, change: object) -> None:
    assert callable(change)
    assert private_key(change(key_text(kind)), "SSH_KEY").can_sign()


def check_refused(text: str) -> None:
    with pytest.raises(UsageFailure) as caught:
        private_key(text, "SSH_KEY")
    assert caught.value.code == ExitCode.USAGE
    assert caught.value.what.startswith("SSH_KEY does not hold a usable private key")
    chain: BaseException | None = caught.value
    shown = ""
    while chain is not None:
        shown += f"{chain} {chain.args}"
        chain = chain.__cause__
    assert not any(line in shown for line in text.splitlines() if len(line) > 30)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter2hunter2hunter2hunter2hunter2hunter2",
        "-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nnotbase64notbase64notbase64notbase64!\n-----END OPENSSH PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-----END RSA PRIVATE KEY-----",
        "ключ" * 20,
    ],
)
def test_the_text_of_a_key_that_cannot_be_read_is_never_shown(text: str) -> None:
    check_refused(text)


def test_a_key_with_a_passphrase_is_refused_and_never_shown() -> None:
    check_refused(key_text("ed25519", b"secret"))


@settings(max_examples=40)
@given(st.data())
def test_a_damaged_key_is_refused_and_never_shown(data: st.DataObject) -> None:
    whole = key_text(data.draw(st.sampled_from(["ed25519", "ecdsa"])))
    blob = bytearray(base64.b64decode("".join(whole.splitlines()[1:-1])))
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    blob = blob[: data.draw(st.integers(1, len(blob)))]
    lines = [base64.b64encode(blob).decode()[i : i + 70] for i in range(0, len(blob) * 4 // 3 + 4, 70)]
    text = "\n".join((whole.splitlines()[0], *lines, whole.splitlines()[-1]))
    try:
        private_key(text, "SSH_KEY")
    except UsageFailure:
        check_refused(text)


def test_a_fingerprint_is_printed_as_ssh_keygen_does() -> None:
    key = private_key(key_text("ed25519"), "SSH_KEY")
    assert fingerprint(key).startswith("SHA256:")
    assert "=" not in fingerprint(key)


@pytest.mark.parametrize(
    ("changes", "environ", "what"),
    [
        ({"identity_env": "SSH_KEY"}, {}, "SSH_KEY is empty"),
        ({"identity_env": "SSH_KEY"}, {"SSH_KEY": "  \n"}, "SSH_KEY is empty"),
        ({"identity_env": "SSH_KEY"}, {"SSH_KEY": "x"}, "SSH_KEY does not hold a usable private key"),
        ({"identity_file": "/no/such/key"}, {}, "identity_file /no/such/key does not exist"),
        ({"known_hosts": "/no/such/file"}, {}, "known_hosts file /no/such/file does not exist"),
        ({"gateway": "bastion"}, {}, "there is no host 'bastion'"),
    ],
)
def test_mistakes_are_found_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], environ: dict[str, str], what: str
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("connected")

    monkeypatch.setattr("socket.socket.connect", forbidden)
    monkeypatch.setattr("paramiko.SSHClient.connect", forbidden)
    with pytest.raises(UsageFailure, match=what):
        Server(make_host(**changes), NOWHERE, environ=environ).open()


@pytest.mark.parametrize(("port", "place"), [(22, "203.0.113.10"), (2222, "[203.0.113.10]:2222")])
def test_only_the_pinned_key_is_trusted(monkeypatch: pytest.MonkeyPatch, port: int, place: str) -> None:
    blob = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(range(32))).decode()
    seen: dict[str, object] = {}

    def connect(client: paramiko.SSHClient, *_: object, **__: object) -> None:
        seen["policy"] = type(client._policy)  # type: ignore[attr-defined]
        seen["keys"] = {name: list(keys) for name, keys in client.get_host_keys().items()}
        seen["system"] = len(client._system_host_keys)  # type: ignore[attr-defined]
        raise paramiko.SSHException("stop here")

    monkeypatch.setattr("paramiko.SSHClient.connect", connect)
    host = make_host(host_key=f"ssh-ed25519 {blob}", port=port)
    with pytest.raises(Exception, match="stop here"):
        Server(host, NOWHERE, environ={}).open()
    assert seen == {"policy": paramiko.RejectPolicy, "keys": {place: ["ssh-ed25519"]}, "system": 0}


def test_a_command_has_a_deadline_on_the_server_and_holds_the_busy_file() -> None:
    server = Server(make_host(), NOWHERE, environ={})
    command = Command(("cat", "a b"), deadline=30)
    assert server._guarded(command) == "timeout -k 5 30 cat 'a b'"
    server.guard("/opt/projects/mini/.deploy/busy")
    assert server._guarded(command) == "flock --shared /opt/projects/mini/.deploy/busy timeout -k 5 30 cat 'a b'"


def test_secrets_that_were_hidden_once_stay_hidden() -> None:
    server = Server(make_host(), NOWHERE, environ={})
    server.hide([Secret("hunter2-hunter2")])
    server.hide([Secret("correct-horse")])
    assert server.hidden("hunter2-hunter2 and correct-horse") == "*** and ***"
