"""Makes hooks for the tests that talk on sockets."""

from __future__ import annotations

import datetime
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lucca_provider.hooks.lucca import LuccaHook
from lucca_provider.limits import Clock
from tests.integration.hook_tools import KEY, Connect, FastClock
from tests.integration.mail_server import Mailbox, serve_mails

_connects: list[Any] = []


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.getaddrinfo"):
        _connects.append((event, args[-1] if event == "socket.connect" else args[:2]))


sys.addaudithook(_watch)


@pytest.fixture
def connects() -> list[Any]:
    """Return what is appended to whenever this process opens a connection or looks up a name."""
    _connects.clear()
    return _connects


@pytest.fixture
def plain_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take away what the machine's own settings would change about requests."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """Make a hook that waits in no time, through a connection as Airflow reads it from its environment."""
    hooks = []

    def make(host: str, *, password: str = KEY, real_time: bool = False, **extra: Any) -> LuccaHook:
        monkeypatch.setattr("lucca_provider.limits.pacer.Clock", Clock if real_time else FastClock)
        connection = {"conn_type": "lucca", "host": host, "password": password, "extra": {"timeout": 5, **extra}}
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_TEST", json.dumps(connection))
        hooks.append(LuccaHook("lucca_test"))
        return hooks[-1]

    yield make
    for hook in hooks:
        if "client" in vars(hook):
            hook.get_conn().close()


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    """Serve mails, and make that Airflow's connection for mails."""
    mailbox = Mailbox()
    with serve_mails(mailbox) as connection:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", connection)
        yield mailbox


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the path of a key with a certificate for this machine that nobody else vouches for."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + signed.public_bytes(encoding))
    return str(path)


@pytest.fixture
def refusing() -> Iterator[str]:
    """Return an address that refuses connections."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def unresponsive() -> Iterator[str]:
    """Return an address where no connection is ever accepted or refused."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"
        for client in waiting:
            client.close()
