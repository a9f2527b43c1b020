"""HTTP on a socket, by Python's own server: each connection has a thread, and an answer may be left out."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .messages import Answer, Incoming

__all__ = ["Listener"]

_LOOK_SECONDS = 0.02
"""How often the listening thread looks whether it is to end."""

_STOP_SECONDS = 1.0
"""How long a client that does not read its answer may hold up the end."""


class Listener(socketserver.ThreadingTCPServer):
    """
    Listens on an address as soon as it is made, and answers from :meth:`start` to :meth:`stop`.

    :param host: address to listen on, IPv4 or IPv6
    :param port: TCP port; 0 takes a free one
    :param answer: returns the answer to a request, or ``None`` to close the connection without one; called by
        several threads at once
    :raises OSError: if the address can't be had
    """

    allow_reuse_address = True
    request_queue_size = 512

    def __init__(self, host: str, port: int, answer: Callable[[Incoming], Answer | None]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.answer = answer
        self._connections: dict[Any, threading.Thread] = {}
        self._thread = threading.Thread(
            target=self.serve_forever, args=(_LOOK_SECONDS,), name="lucca-sandbox", daemon=True
        )
        super().__init__((host, port), _Handler)

    @property
    def port(self) -> int:
        """The port, also where a free one was taken."""
        number: int = self.socket.getsockname()[1]
        return number

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer the requests that have arrived, close all connections, and wait for the threads to end."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        # The end of its requests ends a connection's thread. Should it still be sending, the connection is cut.
        for end in (socket.SHUT_RD, socket.SHUT_RDWR):
            connections = list(self._connections.items())
            for connection, _ in connections:
                with contextlib.suppress(OSError):  # it has just been closed
                    connection.shutdown(end)
            for _, thread in connections:
                thread.join(_STOP_SECONDS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """
        Start the thread of a connection. The server of the standard library keeps no list of these that are daemons.

        :param request: its socket
        :param client_address: who connected
        """
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self._connections[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        """
        Close a connection.

        :param request: its socket
        """
        super().shutdown_request(request)
        self._connections.pop(request, None)


class _Handler(BaseHTTPRequestHandler):
    """Reads the requests of one connection, and writes their answers."""

    server: Listener
    server_version = "LuccaSandbox"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    # Otherwise each answer waits 40 ms for the client's acknowledgement of its headers.
    disable_nagle_algorithm = True

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # nobody is left to answer
            super().handle()

    def _answer(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal():
            self.send_error(400, "Content-Length is not a number")
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):  # the client has left
            self.close_connection = True
            return
        answer = self.server.answer(self._incoming(body))
        if answer is None:
            self.close_connection = True
            return
        self._send(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer

    def _incoming(self, body: bytes) -> Incoming:
        target = urlsplit(self.path)
        return Incoming(
            method=self.command,
            path=unquote(target.path),
            query=parse_qs(target.query, keep_blank_values=True),
            headers=[(name.lower(), value.strip()) for name, value in self.headers.items()],
            body=body,
        )

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        if answer.media_type is not None:
            self.send_header("Content-Type", answer.media_type)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the record has it all."""
