"""A mail server on this machine that keeps what it gets, and Airflow's connection to it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller


@dataclass
class Mailbox:
    """
    What a mail server has got.

    :param mails: all mails, oldest first
    """

    mails: list[EmailMessage] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Keep a mail; aiosmtpd calls this."""
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))  # type: ignore[arg-type]
        return "250 OK"


@contextmanager
def serve_mails(mailbox: Mailbox) -> Iterator[str]:
    """Run a mail server, and return Airflow's connection to it, as JSON."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    # A name, since it would ask the network for its own otherwise; and time to start, on a busy machine.
    server = Controller(mailbox, hostname="127.0.0.1", port=port, server_hostname="mail.acme.example", ready_timeout=60)
    server.start()
    try:
        yield mail_connection(port)
    finally:
        server.stop()


def mail_connection(port: int) -> str:
    """Return Airflow's connection to a mail server of this machine, as JSON."""
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@acme.example"}
    return json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": json.dumps(extra)})


def text_of(mail: EmailMessage) -> str:
    """Return the text of a mail, which is HTML."""
    body = mail.get_body(("html",))
    assert body is not None
    return str(body.get_content())
