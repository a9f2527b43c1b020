"""The client on real sockets: what any answer becomes, and that none passes for the answer to another request."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import logging
import random
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lucca_provider.exceptions import (
    LuccaAccessError,
    LuccaError,
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotFoundError,
    LuccaNotSentError,
    LuccaRefusedError,
    LuccaThrottledError,
    LuccaUnclearError,
)
from lucca_provider.hooks._tenant import Tenant
from lucca_provider.hooks._wire import MAX_INTERIM
from lucca_provider.hooks.client import InvoicesClient
from tests.integration.hook_tools import KEY, Connect, close, failure_of
from tests.integration.scripted_server import (
    DROP,
    RESET,
    Answer,
    Received,
    ScriptedServer,
    Talk,
    http,
    then_close,
)

pytestmark = pytest.mark.usefixtures("plain_surroundings")

HTML = b"<!DOCTYPE html><title>Sign in</title>"
OK = http(200)


def head(status: int, *lines: str) -> bytes:
    """Write the head of an answer, of which nothing is added."""
    return "\r\n".join([f"HTTP/1.1 {status} Scripted", *lines, "", ""]).encode("latin-1")


PROCESSING = head(102)
CHUNKED = head(200, "Transfer-Encoding: chunked")
HINTS = head(103, "Link: </a.css>; rel=preload")

# What a server may send in answer to a closing, and what it is read as; None is a clear yes.
RAW: dict[str, tuple[Answer, type[LuccaError] | None]] = {
    "100 first": (head(100) + OK, None),
    "102 first": (PROCESSING + OK, None),
    "103 and 102 first": (HINTS + PROCESSING + HINTS + OK, None),
    "102 with a length": (head(102, "Content-Length: 5") + OK, None),
    "102, then a no": (PROCESSING + http(409), LuccaRefusedError),
    "102, then nothing": (then_close(PROCESSING), LuccaInDoubtError),
    "102 as often as is waited for": (PROCESSING * MAX_INTERIM + OK, None),
    "102 once too often": (PROCESSING * (MAX_INTERIM + 1) + OK, LuccaInDoubtError),
    "102 again and again": (then_close(PROCESSING * 30 + OK), LuccaInDoubtError),
    "101": (then_close(head(101, "Upgrade: websocket") + OK), LuccaInDoubtError),
    "099": (then_close(b"HTTP/1.1 099 Low\r\n\r\n"), LuccaInDoubtError),
    "600": (http(600), LuccaInDoubtError),
    "999": (http(999), LuccaInDoubtError),
    "1000": (then_close(b"HTTP/1.1 1000 High\r\nContent-Length: 0\r\n\r\n"), LuccaInDoubtError),
    "HTTP/1.0": (then_close(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"), None),
    "HTTP/1.0 that ends with its connection": (then_close(b"HTTP/1.0 200 OK\r\n\r\n"), LuccaInDoubtError),
    "HTTP/1.0 with an object": (then_close(b'HTTP/1.0 200 OK\r\n\r\n{"id": 12}'), None),
    "HTTP/2": (then_close(b"HTTP/2 200\r\n\r\n"), LuccaInDoubtError),
    "LF alone": (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", None),
    "a tunnel's words in the status line": (
        then_close(b"Tunnel connection failed: 407 Proxy Authentication Required\r\n\r\n"),
        LuccaInDoubtError,
    ),
    "a tunnel's words as the reason": (
        then_close(b"HTTP/1.1 200 Tunnel connection failed: 407\r\nContent-Length: 9\r\n\r\n"),
        LuccaInDoubtError,
    ),
    "a certificate's words in the status line": (then_close(b"certificate verify failed\r\n\r\n"), LuccaInDoubtError),
    "a certificate's words in a chunk": (
        then_close(head(200, "Transfer-Encoding: chunked") + b"certificate verify failed\r\n"),
        LuccaInDoubtError,
    ),
    "a certificate's words as the body": (http(200, b"certificate verify failed"), LuccaUnclearError),
    "a certificate's words as a broken gzip": (
        http(200, b"hostname 'a' doesn't match 'b'", Content_Encoding="gzip"),
        LuccaInDoubtError,
    ),
    "two lengths": (then_close(head(200, "Content-Length: 2", "Content-Length: 3") + b"{}"), LuccaInDoubtError),
    "the same length twice": (then_close(head(200, "Content-Length: 0", "Content-Length: 0")), None),
    "a negative length": (then_close(head(200, "Content-Length: -1")), LuccaInDoubtError),
    "a length that is none": (then_close(head(200, "Content-Length: none")), LuccaInDoubtError),
    "no length": (then_close(head(200)), LuccaInDoubtError),
    "no length, and said to close": (then_close(head(200, "Connection: close")), LuccaInDoubtError),
    "no length, and an object": (then_close(head(200, "Connection: close") + b"{}"), None),
    "no length, and half an object": (then_close(head(200, "Connection: close") + b'{"id"'), LuccaInDoubtError),
    "a length too long": (then_close(http(200, b"{}", length=3)), LuccaInDoubtError),
    "chunks": (head(200, "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n", None),
    "no chunks": (head(200, "Transfer-Encoding: chunked") + b"0\r\n\r\n", None),
    "chunks without the last": (
        then_close(head(200, "Transfer-Encoding: chunked") + b"2\r\n{}\r\n"),
        LuccaInDoubtError,
    ),
    "chunks with sizes in zeros": (CHUNKED + b"0002\r\n{}\r\n0000\r\n\r\n", None),
    "chunks with sizes in spaces": (CHUNKED + b"2  \r\n{}\r\n0\t\r\n\r\n", None),
    "chunks with extensions": (CHUNKED + b"2;a=b\r\n{}\r\n0 ;c\r\n\r\n", None),
    "chunks with headers after them": (CHUNKED + b"2\r\n{}\r\n0\r\nX: y\r\nZ: 0\r\n\r\n", None),
    "chunks with too many headers after them": (CHUNKED + b"0\r\n" + b"X: y\r\n" * 200 + b"\r\n", LuccaInDoubtError),
    "chunks with a header too long after them": (
        then_close(CHUNKED + b"0\r\nX: " + b"y" * 70_000 + b"\r\n\r\n"),
        LuccaInDoubtError,
    ),
    **{
        f"chunks that end with {end!r}": (then_close(CHUNKED + start + end), LuccaInDoubtError)
        for start in (b"", b"2\r\n{}\r\n")
        for end in (
            *(b"0000", b"0000\r", b"0", b"0\r", b"0\r\n", b"0\r\n\r", b"0\r\nX: y\r\n", b"0\r\nX", b"\r\n"),
            *(b"0x0\r\n\r\n", b"0_0\r\n\r\n", b"+0\r\n\r\n", b"-0\r\n\r\n", b" 0\r\n\r\n", b"0\n\r\n"),
        )
    },
    "a chunk longer than its size": (then_close(CHUNKED + b"2\r\n{} \r\n0\r\n\r\n"), LuccaInDoubtError),
    "chunks that are packed": (
        then_close(head(200, "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n"),
        LuccaInDoubtError,
    ),
    "more than its length": (http(200, b'{"status": 500}', length=0), LuccaInDoubtError),
    "more than its length, after an object": (http(200, b'{}{"status": 500}', length=2), LuccaInDoubtError),
    "more than nothing": (head(204) + b'{"status": 500}', LuccaInDoubtError),
    "more than its chunks": (CHUNKED + b'0\r\n\r\n{"status": 500}', LuccaInDoubtError),
    "an empty line after its end": (OK + b"\r\n", None),
    "a length and chunks": (
        head(200, "Content-Length: 2", "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n",
        LuccaInDoubtError,
    ),
    "a length in another notation": (head(200, "Content-Length: 1_0") + b'{"id": 12}', LuccaInDoubtError),
    **{
        f"{line} as the status line": (
            then_close(line.encode() + b"\r\nContent-Length: 0\r\n\r\n"),
            LuccaInDoubtError,
        )
        for line in ("HTTP/1.1 +200", "HTTP/1.1 2_00 OK", "HTTP/1.1x 200 OK", "HTTP/1.1  200 OK", "HTTP/1.1 0200 OK")
    },
    "a header without a colon": (then_close(head(200, "no colon", "Content-Length: 0")), LuccaInDoubtError),
    "a header without a colon, and a problem": (
        then_close(head(200, "no colon", "Content-Type: application/problem+json") + b"{}"),
        LuccaInDoubtError,
    ),
    "a first header that goes on": (head(200, " x", "Content-Length: 0"), LuccaInDoubtError),
    "a header without a colon, after the length": (head(200, "Content-Length: 0", "no colon"), LuccaInDoubtError),
    "409 with a header without a colon": (head(409, "Content-Length: 0", "no colon"), LuccaRefusedError),
    "two types": (
        http(200, b"{}", Content_Type="application/json\r\nContent-Type: application/problem+json"),
        LuccaUnclearError,
    ),
    "too many headers": (then_close(head(200, *["X: y"] * 200)), LuccaInDoubtError),
    "a header too long": (then_close(head(200, f"X: {'y' * 70_000}", "Content-Length: 0")), LuccaInDoubtError),
    "headers of any bytes": (head(200, "X: \xff\x00\x1b[31m", "Content-Length: 0"), None),
    "cookies of any bytes": (
        head(200, "Set-Cookie: \xff=\x00;Max-Age=x;Expires=y;Domain=.", "Content-Length: 0"),
        None,
    ),
    "no HTTP": (then_close(b"SSH-2.0-OpenSSH_9.6\r\n"), LuccaInDoubtError),
    "TLS": (then_close(b"\x15\x03\x01\x00\x02\x02\x50"), LuccaInDoubtError),
    "nothing": (DROP, LuccaInDoubtError),
    "an RST": (RESET, LuccaInDoubtError),
    "gzip": (http(200, gzip.compress(b"{}"), Content_Encoding="gzip"), None),
    "gzip cut": (http(200, gzip.compress(b"{}" + b" " * 99)[:-9], Content_Encoding="gzip"), LuccaInDoubtError),
    "JSON cut": (http(200, b'{"id": 12, "sta'), LuccaUnclearError),
    "text": (http(200, b"OK"), LuccaUnclearError),
    "packed in a way that was not asked for": (http(200, b"1", Content_Encoding="zstd"), LuccaUnclearError),
    "packed in a way that was not asked for, as if blank": (http(200, b" ", Content_Encoding="br"), LuccaUnclearError),
    "a member that is there twice": (http(200, b'{"status": 500, "status": 200}'), LuccaUnclearError),
    "another purchase": (http(200, {"id": 13, "state": "Closed"}), LuccaUnclearError),
    "the purchase, in another state": (http(200, {"id": 12, "state": "Processing"}), LuccaUnclearError),
    "the purchase, in another state, in an envelope": (
        http(200, {"data": {"id": 12, "state": "Ongoing"}}),
        LuccaUnclearError,
    ),
    "another purchase, in a list": (http(200, [1, {"id": 12}, {"id": 13, "state": "Closed"}]), LuccaUnclearError),
    "another purchase, in other capitals": (http(200, {"Id": 13, "State": "Closed"}), LuccaUnclearError),
    "another state, in other capitals": (http(200, {"Id": 12, "State": "Ongoing"}), LuccaUnclearError),
    "the purchase, closed": (http(200, {"id": 12, "state": "Closed"}), None),
    "the API key": (http(200, {"id": 12, "title": f"lucca application={KEY}"}), LuccaUnclearError),
    "the API key, escaped": (
        http(200, b'{"title": "%s"}' % "".join(f"\\u{ord(c):04x}" for c in KEY).encode()),
        LuccaUnclearError,
    ),
    "a web page": (http(200, HTML, Content_Type="text/html"), LuccaUnclearError),
    "a web page in UTF-16": (http(200, HTML.decode().encode("utf-16")), LuccaUnclearError),
    "a web page with 201": (http(201, HTML), LuccaUnclearError),
    "a web page with 204's status": (head(204) + b"", None),
    "a problem": (http(200, {"status": 400, "title": "No"}), LuccaUnclearError),
    "a problem by its type": (http(200, b"{}", Content_Type="application/problem+json"), LuccaUnclearError),
    "202": (http(202, b"{}"), LuccaUnclearError),
    "206": (http(206, b"{}"), LuccaUnclearError),
    "301": (http(301, Location="https://new.test/x"), LuccaAccessError),
    "401 with a web page": (http(401, HTML), LuccaAccessError),
    "403 with a web page": (http(403, HTML), LuccaForbiddenError),
    "404 with a web page": (http(404, HTML), LuccaNotFoundError),
    "407": (http(407, Proxy_Authenticate="Basic"), LuccaAccessError),
    "409 with a web page": (http(409, HTML), LuccaRefusedError),
    "409 that is not whole": (then_close(http(409, b'{"ti', length=99)), LuccaRefusedError),
    "429 with a web page": (http(429, HTML), LuccaThrottledError),
    "502 with a web page": (http(502, HTML), LuccaInDoubtError),
}


@pytest.mark.parametrize("name", RAW)
def test_an_answer_to_a_closing_is_read_as_what_it_certainly_says(name: str, connect: Connect) -> None:
    answer, kind = RAW[name]
    with ScriptedServer(answer, http(500)) as server:
        hook = connect(server.url, timeout=2)
        if kind is None:
            close(hook)
        else:
            error = failure_of(lambda: close(hook))
            assert type(error) is kind
            assert "Nothing was sent" not in str(error)
            assert error.web_page is ("web page" in name)
            assert error.correlation_id == server.requests[0].headers["x-correlation-id"]
    assert len(server.requests) == 1


WHOLE = {
    "nothing": OK,
    "204": http(204),
    "more headers": head(200, "Content-Length: 0", "Connection: keep-alive", "Server: x"),
    "an object": head(200, "Content-Length: 10") + b'{"id": 12}',
    "chunks": head(200, "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n",
    "no chunks": CHUNKED + b"0\r\n\r\n",
    "chunks with sizes in zeros": CHUNKED + b"0002\r\n{}\r\n0000\r\n\r\n",
    "102 first": PROCESSING + OK,
    "gzip": http(200, gzip.compress(b'{"id": 12}'), Content_Encoding="gzip"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_no_part_of_a_clear_yes_is_one(name: str, connect: Connect) -> None:
    whole = WHOLE[name]
    lengths = range(len(whole))
    cuts = iter(lengths)
    with ScriptedServer(respond=lambda request: then_close(whole[: next(cuts)])) as server:
        hook = connect(server.url)
        for length in lengths:
            assert type(failure_of(lambda: close(hook))) is LuccaInDoubtError, whole[:length]
    with ScriptedServer(then_close(whole)) as server:
        close(connect(server.url))


# -- one answer never passes for another -----------------------------------------------------------------------------


@pytest.mark.parametrize("first", [PROCESSING, HINTS, PROCESSING * 3, head(100), head(102, "Content-Length: 99")])
def test_an_answer_that_comes_late_is_never_taken_for_that_to_another_request(first: bytes, connect: Connect) -> None:
    """A 102, then a late 200 for the first purchase, while the second one is refused."""

    def late(talk: Talk) -> bool:
        talk.socket.sendall(first)
        talk.stopping.wait(0.1)
        talk.socket.sendall(OK)
        return True

    with ScriptedServer(late, http(409)) as server:
        hook = connect(server.url)
        close(hook, 1)
        assert type(failure_of(lambda: close(hook, 2))) is LuccaRefusedError
    assert len(server.requests) == 2


def test_what_follows_after_101_is_never_taken_for_an_answer(connect: Connect) -> None:
    with ScriptedServer(head(101) + OK, http(409)) as server:
        hook = connect(server.url)
        assert type(failure_of(lambda: close(hook, 1))) is LuccaInDoubtError
        assert type(failure_of(lambda: close(hook, 2))) is LuccaRefusedError
    assert [request.connection for request in server.requests] == [0, 1]


IN_DOUBT = [name for name, (answer, kind) in RAW.items() if kind and issubclass(kind, LuccaInDoubtError)]


@pytest.mark.parametrize("name", IN_DOUBT)
def test_a_connection_is_not_used_again_after_an_answer_in_doubt(name: str, connect: Connect) -> None:
    with ScriptedServer(RAW[name][0], OK) as server:
        hook = connect(server.url)
        with contextlib.suppress(LuccaInDoubtError):
            close(hook, 1)
        close(hook, 2)
    assert [request.connection for request in server.requests] == [0, 1]


def test_what_a_purchase_tells_of_refusals_and_errors_fails_no_reading(connect: Connect) -> None:
    purchase = {
        "id": 12,
        "state": "Denied",
        "rejectionReason": "x",
        "lastError": "x",
        "isClosed": False,
        "status": "Failed",
    }
    page = {"items": [{**purchase, "error": "x", "document": {"success": False, "status": 500}}]}
    with ScriptedServer(http(200, purchase), http(200, page)) as server:
        client = connect(server.url).client
        assert client.get_purchase(12) == purchase
        assert client.get_page("/purchases", {}) == page


def test_a_page_with_a_length_and_chunks_is_read_by_its_chunks(connect: Connect) -> None:
    page = head(200, "Content-Length: 2", "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n"
    with ScriptedServer(page) as server:
        assert connect(server.url).client.get_page("/purchases", {}) == {}


@pytest.mark.parametrize("state", [f"lucca application={KEY}", KEY, KEY.upper()])
def test_an_answer_that_repeats_the_key_is_not_used(state: str, connect: Connect) -> None:
    with ScriptedServer(http(200, {"id": 12, "state": state})) as server:
        error = failure_of(lambda: connect(server.url).client.get_purchase(12))
    assert type(error) is LuccaUnclearError
    assert KEY.lower() not in f"{error!r} {error} {vars(error)}".lower()


@pytest.mark.parametrize("answer", [http(200, [1]), http(200, {"id": 13}), http(200, b"OK"), http(500)])
def test_nor_after_a_reading_in_doubt(answer: Answer, connect: Connect) -> None:
    with ScriptedServer(answer, http(200, {"id": 12})) as server:
        client = connect(server.url).client
        with pytest.raises(LuccaInDoubtError):
            client.get_purchase(12)
        client.get_purchase(12)
    assert [request.connection for request in server.requests] == [0, 1]


CLEAR = [http(200, {"id": 1}), http(404), http(409, {"title": "no"}), http(429), http(401), http(302)]


@pytest.mark.parametrize("answer", CLEAR)
def test_a_connection_is_used_again_after_a_reading_that_is_clear(answer: Answer, connect: Connect) -> None:
    with ScriptedServer(answer) as server:
        client = connect(server.url).client
        for _ in range(3):
            with contextlib.suppress(LuccaError):
                client.get_purchase(1)
    assert [request.connection for request in server.requests] == [0, 0, 0]


@pytest.mark.parametrize("answer", [*CLEAR, http(204)])
def test_each_closing_has_a_connection_of_its_own(answer: Answer, connect: Connect) -> None:
    with ScriptedServer(http(200, {"id": 1}), answer) as server:
        client = connect(server.url).client
        client.get_purchase(1)
        for _ in range(3):
            with contextlib.suppress(LuccaError):
                client.close_purchase(1, comment=None, closing_date=None)
    assert [request.connection for request in server.requests] == [0, 1, 2, 3]


def test_what_comes_after_an_answer_is_never_taken_for_that_to_another_request(connect: Connect) -> None:
    """A server, or something before it, that answers twice, the second time while the next request is on its way."""

    def twice(talk: Talk) -> bool:
        talk.socket.sendall(OK)
        talk.stopping.wait(0.2)
        talk.socket.sendall(OK)
        return True

    with ScriptedServer(twice, http(422, {"title": "Locked"})) as server:
        hook = connect(server.url)
        close(hook, 1)
        assert type(failure_of(lambda: close(hook, 2))) is LuccaRefusedError


@pytest.mark.parametrize("status", [200, 409, 500])
def test_a_header_that_cannot_be_read_is_not_logged(
    status: int, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with ScriptedServer(head(status, "Content-Length: 0", f"lucca application={KEY}", "X: y")) as server:
        hook = connect(server.url)
        failure_of(lambda: close(hook))
        # Without the client, too.
        assert hook.get_conn().get(server.url).status_code == status
    assert KEY not in caplog.text
    assert "Failed to parse headers" not in caplog.text


# -- the probe --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [{"items": []}, {}, []])
def test_a_host_that_answers_in_json_is_one(value: object, connect: Connect) -> None:
    with ScriptedServer(http(200, value)) as server:
        connect(server.url).client.probe()


@pytest.mark.parametrize(
    "answer", [OK, http(204), http(200, HTML), http(200, b"OK"), http(200, b"12"), http(200, b"null")]
)
def test_a_host_that_only_says_yes_is_not_proven(answer: Answer, connect: Connect) -> None:
    with ScriptedServer(answer) as server:
        assert type(failure_of(connect(server.url).client.probe)) is LuccaUnclearError


def test_a_page_of_a_list_is_returned_as_it_is(connect: Connect) -> None:
    page = {"items": "none", "next": 5}
    with ScriptedServer(http(200, page)) as server:
        assert connect(server.url).client.get_page("/purchases", {"a": ["1", "2"], "b": "c d"}) == page
    assert server.requests[0].target == "/cleemy-procurement/api/purchases?a=1&a=2&b=c+d"


# -- what Lucca's servers say beside the body -------------------------------------------------------------------------


def test_each_request_has_an_id_of_its_own_that_tells_nothing(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with ScriptedServer(OK) as server:
        hook = connect(server.url)
        for _ in range(3):
            random.seed(5)
            close(hook)
        hook.get_conn().get(server.url)
    ids = [request.headers["x-correlation-id"] for request in server.requests]
    assert len(set(ids)) == 4
    for number in ids:
        assert str(uuid.UUID(number)) == number
        assert uuid.UUID(number).version == 4
    for number in ids[:3]:
        assert f"lucca_correlation_id={number}" in caplog.text


def test_the_ids_of_a_failure_are_in_its_error(connect: Connect, refusing: str) -> None:
    with ScriptedServer(http(409, X_Correlation_ID="theirs", CF_RAY="8f-CDG")) as server:
        error = failure_of(lambda: close(connect(server.url)))
    ours = server.requests[0].headers["x-correlation-id"]
    assert str(error).endswith(f" (lucca_correlation_id {ours}, X-Correlation-ID theirs, CF-RAY 8f-CDG)")
    assert re.search(r"\(lucca_correlation_id [0-9a-f-]{36}\)$", str(failure_of(lambda: close(connect(refusing)))))


def test_a_deprecation_is_warned_of_once_with_its_date(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    told = {"Deprecation": "@1688169599", "Sunset": "Wed, 31 Mar 2027 23:59:59 GMT"}
    other = {"Sunset": "Tue, 01 Dec 2026 00:00:00 GMT"}
    with ScriptedServer(OK, http(200, **told), http(409, **told), http(200, **told), http(200, **other)) as server:
        hook = connect(server.url)
        for number in range(1, 7):
            with contextlib.suppress(LuccaRefusedError):
                close(hook, number)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert warnings[1].startswith("Lucca says that a call is deprecated and goes away on 2026-12-01.")
    assert warnings[0].startswith("Lucca says that a call is deprecated since 2023-06-30 and goes away on 2027-03-31.")
    assert f"(Closing purchase 2 at {server.url}, " in warnings[0]


# -- any answers ------------------------------------------------------------------------------------------------------

PURCHASES = 4
TRIES = 3
YES_BODIES = [b"", b" \r\n", b"{}", b"[]", b"null", b'{"id": 1, "state": "Closed", "status": "x"}', b'{"errors": []}']
NO_BODIES = [
    b"OK",
    HTML,
    HTML.decode().encode("utf-16"),
    b'{"errors": ["no"]}',
    b'{"error": {"a": 1}}',
    b'{"status": 409}',
    b'{"type": "https://x.test/a", "title": "Open documents", "detail": "F1"}',
    b'[{"status": 409}]',
    b'{"status": "409"}',
    b'{"Message": "An error has occurred."}',
    b'{"success": false}',
    b"false",
    b'"no"',
    b'{"id": 1',
    b"\xff\xfe",
    b"NaN",
]
NO_STATUSES = [101, 202, 203, 206, 301, 302, 400, 401, 403, 404, 407, 408, 409, 429, 500, 502, 503, 504, 999]


@dataclass
class Reply:
    """
    How the server answers one closing.

    :param raw: what it sends, and then hangs up if it ``ends``
    :param takes_effect: whether the purchase is closed by it
    """

    raw: bytes
    ends: bool
    takes_effect: bool


@st.composite
def framed(draw: st.DrawFn, status: int, body: bytes) -> bytes:
    """Write an answer that is whole, in one of the ways in which that can be done."""
    lines = draw(st.lists(st.sampled_from(["X-A: b", "Set-Cookie: a=b", "Date: x", "Retry-After: 0"]), max_size=2))
    lines.append(f"Content-Type: {draw(st.sampled_from(['application/json', 'text/html', 'x']))}")
    if draw(st.booleans()):
        packed = gzip.compress(body)
        lines.append("Content-Encoding: gzip")
    else:
        packed = body
    interim = draw(st.sampled_from([b"", b"", PROCESSING, HINTS + head(100)]))
    if status == 204:
        return interim + head(204, *lines[:-1])
    if draw(st.booleans()):
        size = draw(st.integers(1, 9))
        parts = [packed[start : start + size] for start in range(0, len(packed), size)]
        zeros = b"0" * draw(st.integers(0, 4))
        chunks = b"".join(b"%s%x\r\n%s\r\n" % (zeros, len(part), part) for part in parts)
        return interim + head(status, *lines, "Transfer-Encoding: chunked") + chunks + zeros + b"0\r\n\r\n"
    return interim + head(status, *lines, f"Content-Length: {len(packed)}") + packed


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    """Make a clear yes that is true, or anything else, by which the purchase is closed or not."""
    kind = draw(st.sampled_from(["yes", "body", "status", "problem", "cut", "bytes", "nothing"]))
    status, body = draw(st.sampled_from([200, 201, 204])), draw(st.sampled_from(YES_BODIES))
    effect = draw(st.booleans())
    if kind == "yes":
        return Reply(draw(framed(status, body)), draw(st.booleans()), takes_effect=True)
    if kind == "body":
        return Reply(draw(framed(draw(st.sampled_from([200, 201])), draw(st.sampled_from(NO_BODIES)))), False, effect)
    if kind == "status":
        status = draw(st.sampled_from(NO_STATUSES))
        # A clear no is true as well: a server that lies cannot be understood.
        effect = effect and not (300 <= status < 500 and status != 408)
        return Reply(draw(framed(status, draw(st.sampled_from(YES_BODIES + NO_BODIES)))), status == 101, effect)
    if kind == "problem":
        content_type = draw(st.sampled_from(["", "application/vnd.lucca.", "application/json, "])) + "problem+json"
        return Reply(http(200, b"{}", Content_Type=content_type), False, effect)
    if kind == "cut":
        whole = draw(framed(draw(st.sampled_from([200, 201])), draw(st.sampled_from(YES_BODIES))))
        missing = draw(st.integers(1, 12) | st.integers(1, len(whole)))
        return Reply(whole[:-missing], True, effect)
    if kind == "bytes":
        return Reply(draw(st.sampled_from([b"", b"HTTP/1.1 200 OK", b"HTTP/1.1 "])) + draw(st.binary()), True, effect)
    return Reply(b"", True, effect)


@dataclass
class FuzzedTenant:
    """Holds the truth about its purchases, and answers as it is told."""

    plan: dict[int, list[Reply]]
    closed: set[int] = field(default_factory=set)
    closings: list[int] = field(default_factory=list)
    needless: list[int] = field(default_factory=list)

    def respond(self, request: Received) -> Answer:
        purchase_id = int(request.target.split("/")[4])
        if request.method == "GET":
            state = "Closed" if purchase_id in self.closed else "Ongoing"
            return http(200, {"id": purchase_id, "state": state})
        self.closings.append(purchase_id)
        if purchase_id in self.closed:
            self.needless.append(purchase_id)
        reply = self.plan[purchase_id].pop(0) if self.plan[purchase_id] else Reply(OK, False, True)
        if reply.takes_effect:
            self.closed.add(purchase_id)
        return then_close(reply.raw) if reply.ends else reply.raw


def close_safely(client: InvoicesClient, tenant: FuzzedTenant, purchase_id: int) -> str:
    """Close a purchase as the errors allow: again only what was not sent, or what a reading shows as open."""
    for _ in range(TRIES):
        sent = len(tenant.closings)
        try:
            client.close_purchase(purchase_id, comment=None, closing_date=None)
        except LuccaInDoubtError:
            if client.get_purchase(purchase_id)["state"] == "Closed":
                return "closed"
        except LuccaNotSentError:
            return "not sent" if len(tenant.closings) == sent else "sent, although it was said not to be"
        except LuccaError:
            return "refused"
        else:
            return "closed"
    return "unresolved"


@contextlib.contextmanager
def client_of(server: ScriptedServer) -> Iterator[InvoicesClient]:
    extra = json.dumps({"timeout": 2})
    connection: Any = SimpleNamespace(
        conn_id="fuzz", host="127.0.0.1", port=server.port, schema="http", password=KEY, extra=extra
    )
    client = InvoicesClient(Tenant.from_connection(connection), user_agent="test")
    try:
        yield client
    finally:
        client.session.close()


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(replies(), max_size=TRIES), min_size=PURCHASES, max_size=PURCHASES))
def test_no_answers_make_an_open_purchase_closed_or_close_one_twice(plans: list[list[Reply]]) -> None:
    tenant = FuzzedTenant({number: list(plan) for number, plan in enumerate(plans, start=1)})
    with ScriptedServer(respond=tenant.respond) as server, client_of(server) as client:
        outcomes = {number: close_safely(client, tenant, number) for number in tenant.plan}
    assert {number for number, outcome in outcomes.items() if outcome == "closed"} <= tenant.closed
    assert {number for number, outcome in outcomes.items() if outcome == "refused"} & tenant.closed == set()
    assert set(outcomes.values()) <= {"closed", "refused", "unresolved"}
    assert tenant.needless == []
    assert all(len(list(group)) <= TRIES for _, group in itertools.groupby(tenant.closings))
