"""A server on a real socket that answers as a test scripts it, byte by byte, and keeps what it received."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

__all__ = ["DROP", "HANG", "RESET", "Answer", "Received", "ScriptedServer", "Talk", "drip", "http", "then_close"]


@dataclass(frozen=True)
class Received:
    """
    A request as it arrived.

    :param headers: names in lower case
    :param connection: number of the connection that it came on, from 0
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass
class Talk:
    """A connection that an answer goes out on."""

    socket: socket.socket
    stopping: threading.Event


Answer = bytes | Callable[[Talk], bool]
"""Bytes to send as they are, or what sends them and says whether the connection stays open."""


def http(status: int, body: bytes | object = b"", *, length: int | None = None, **headers: str) -> bytes:
    """
    Write an answer.

    :param body: bytes, or what to write as JSON
    :param length: ``Content-Length`` if it is to be a lie
    """
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers = {"Content_Type": "application/json", **headers}
    lines = [f"HTTP/1.1 {status} Scripted", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def then_close(data: bytes) -> Answer:
    """Send and hang up, without having said so."""

    def send(talk: Talk) -> bool:
        talk.socket.sendall(data)
        return False

    return send


DROP = then_close(b"")
"""Hang up on the request."""


def RESET(talk: Talk) -> bool:
    """Break the connection off with an RST."""
    talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def HANG(talk: Talk) -> bool:
    """Never answer."""
    talk.stopping.wait(30)
    return False


def drip(start: bytes, byte: bytes, every: float = 0.02) -> Answer:
    """Send a start, then a byte again and again, in intervals of so many seconds."""

    def send(talk: Talk) -> bool:
        talk.socket.sendall(start)
        with contextlib.suppress(OSError):
            while not talk.stopping.wait(every):
                talk.socket.sendall(byte)
        return False

    return send


class ScriptedServer:
    """
    Answers requests in the order in which they come, the last answer again and again.

    :param answers: one for each request
    :param certificate: path of a PEM file with key and certificate, to speak TLS
    :param refuse: refuse connections until :meth:`listen` is called
    :param respond: says how to answer a request, in the place of ``answers``
    """

    def __init__(
        self,
        *answers: Answer,
        certificate: str | None = None,
        host: str = "127.0.0.1",
        refuse: bool = False,
        respond: Callable[[Received], Answer] | None = None,
    ) -> None:
        self._respond = respond
        self._answers = list(answers) or [http(200)]
        self._certificate = certificate
        self._listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._listener.bind((host, 0))
        self._refuse = refuse
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.closed = 0
        self.bytes_received = 0
        self.requests: list[Received] = []

    @property
    def url(self) -> str:
        """Address, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._certificate else 'http'}://{host}:{self.port}"

    def __enter__(self) -> ScriptedServer:
        if not self._refuse:
            self.listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for open_socket in self._sockets:
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def listen(self) -> None:
        """Accept connections from now on."""
        self._listener.listen(128)
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, connection, self.connections)
            self.connections += 1

    def _serve(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), connection:
            self._sockets.append(connection)
            if self._certificate:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(self._certificate)
                connection = context.wrap_socket(connection, server_side=True)
                self._sockets.append(connection)
            with connection, connection.makefile("rb") as incoming:
                while (received := self._receive(incoming, number)) and self._answer(received, connection):
                    pass
        self.closed += 1

    def _receive(self, incoming: object, number: int) -> Received | None:
        lines = []
        while (line := incoming.readline().decode("latin-1")) not in ("\r\n", ""):  # type: ignore[attr-defined]
            self.bytes_received += len(line)
            lines.append(line.rstrip("\r\n"))
        if not lines:
            return None
        method, target, _ = lines[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines[1:])}
        body = incoming.read(int(headers.get("content-length", 0)))  # type: ignore[attr-defined]
        return Received(method, target, headers, body, number)

    def _answer(self, received: Received, connection: socket.socket) -> bool:
        with self._lock:
            self.requests.append(received)
            if self._respond:
                answer = self._respond(received)
            else:
                answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if callable(answer):
            return answer(Talk(connection, self._stopping))
        connection.sendall(answer)
        return True
