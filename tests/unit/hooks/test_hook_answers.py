"""Every answer is classified by what Lucca certainly did, whatever its body is."""

from __future__ import annotations

import gzip
import io
import json
import os
import time
import tracemalloc
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import ConnectTimeoutError, LocationParseError, MaxRetryError, ProxyError
from urllib3.response import HTTPResponse

from lucca_provider.exceptions import (
    LuccaAccessError,
    LuccaError,
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotFoundError,
    LuccaNotSentError,
    LuccaRefusedError,
    LuccaThrottledError,
)
from lucca_provider.hooks._answers import MAX_SHOWN, Body, check_answer, explain_failure, read_body

KEY = 'b5c1-4f7e/+"A&<'
PROBLEM = {
    "type": "https://example.org/closing",
    "title": "Cannot be closed",
    "status": 400,
    "detail": "2 invoices are open",
    "errors": {"date": ["too early", "on a Sunday"], "comment": ["too long"]},
}
HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>" + b"x" * 1000 + b"</body></html>"
DOUBT = "It may or may not have happened."


def answer(status: int, body: bytes = b"", **headers: str) -> requests.Response:
    """Make an answer as requests makes it of one that urllib3 read."""
    response = requests.Response()
    response.status_code = status
    response.headers["Content-Length"] = str(len(body))
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    if status in (204, 304):
        body = b""  # nothing is read of what follows their headers
    response.raw = HTTPResponse(
        io.BytesIO(body), headers=dict(response.headers), status=status, preload_content=False, decode_content=False
    )
    return response


def read(response: requests.Response, *, secret: str = KEY) -> Body:
    return read_body(response, secret=secret, deadline=10.0)


def error_of(response: requests.Response, *, secret: str = KEY) -> LuccaError | None:
    body = read(response, secret=secret)
    what = "Closing purchase 12 at https://acme.test"
    try:
        check_answer(response, body, what=what, doubt=DOUBT, purchase_id=12)
        return None
    except LuccaError as caught:
        error = caught
    message = str(error)
    assert message.startswith(f"{what}: Lucca answered {response.status_code}")
    assert message.isprintable()
    assert len(message) < 3 * MAX_SHOWN
    assert error.status == response.status_code
    assert error.purchase_id == 12
    assert error.__cause__ is error.__context__ is None
    return error


def expected(status: int) -> type[LuccaError]:
    table = {401: LuccaAccessError, 403: LuccaForbiddenError, 404: LuccaNotFoundError, 429: LuccaThrottledError}
    if status in table:
        return table[status]
    if status < 300 or status == 408 or status >= 500:
        return LuccaInDoubtError
    return LuccaAccessError if status < 400 else LuccaRefusedError


BODIES = {
    "empty": (b"", "application/json"),
    "problem": (json.dumps(PROBLEM).encode(), "application/problem+json"),
    "object": (b'{"a": 1}', "application/json"),
    "list": (b"[1, 2]", "application/json"),
    "string": (b'"no"', "application/json"),
    "number": (b"12", "application/json"),
    "null": (b"null", "application/json"),
    "deep": (b"[" * 100_000, "application/json"),
    "deep and closed": (b'{"errors":' * 100_000 + b"1" + b"}" * 100_000, "application/json"),
    "rather deep": (b'{"errors":' * 900 + b"1" + b"}" * 900, "application/json"),
    "a huge number": (b"1" * 60_000, "application/json"),
    "text": (b"Something went wrong", "text/plain"),
    "no type": (b"Something went wrong", ""),
    "invalid utf-8": (b"\xff\xfe\x00caf\xe9", "text/plain"),
    "control characters": (b"one\r\ntwo\x00\x1b[31m\x07\xe2\x80\xae", "text/plain"),
    "white space": (b" \r\n" * 2000, "text/plain"),
    "megabytes": (b"x" * 5_000_000, "text/plain"),
}


@pytest.mark.parametrize("name", BODIES)
def test_every_status_means_the_same_whatever_the_body(name: str) -> None:
    body, kind = BODIES[name]
    step = 1 if len(body) < 50_000 else 50
    for status in [*range(100, 600, step), 200, 401, 403, 404, 408, 429, 999]:
        error = error_of(answer(status, body, Content_Type=kind))
        if status in (200, 201, 204):
            # A problem is no yes, whatever its status.
            assert type(error) is (LuccaInDoubtError if kind == "application/problem+json" else type(None)), status
        else:
            assert type(error) is expected(status), status


@pytest.mark.parametrize("kind", ["text/html", "text/html; charset=utf-8", "application/json", "text/plain", ""])
@pytest.mark.parametrize(
    "start",
    [b"", b"\xef\xbb\xbf", b" \r\n\t", b"<?xml version='1.0'?>\n", b"<!-- hello -->"],
)
def test_a_web_page_is_never_an_answer_of_the_api(kind: str, start: bytes) -> None:
    for status in set(range(100, 600)) - {204, 304}:  # which have no body
        error = error_of(answer(status, start + HTML, Content_Type=kind))
        if status == 429:
            assert type(error) is LuccaThrottledError
        elif status == 408 or status >= 500:
            assert type(error) is LuccaInDoubtError, status
        else:
            assert type(error) is LuccaAccessError, status
        assert error is not None
        assert "Sign in" not in str(error)
        assert error.title is error.detail is None


@pytest.mark.parametrize(
    "page", [b"<HTML lang=fr>", b"<html>", b"<body>", b"<head>", b"<!doctype HTML>", b"<!--x-->", b"<meta x>"]
)
def test_a_web_page_is_recognised_by_its_start(page: bytes) -> None:
    assert read(answer(200, page)).is_html
    assert not read(answer(200, b"See: " + page)).is_html


def test_a_web_page_is_said_to_be_one() -> None:
    assert str(error_of(answer(200, HTML))) == (
        "Closing purchase 12 at https://acme.test: Lucca answered 200 with a web page. That is a web page, not the "
        "API; check the connection's Host and API key."
    )


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (302, "A redirect is never followed; check the connection's Host and API key."),
        (401, "The API key is wrong or was revoked; check the connection's Password."),
        (403, "The API key's role lacks a right for this; see its role in Lucca."),
        (404, "It does not exist, or the API key's role may not see it."),
        (409, "Lucca will not do this as things are."),
        (429, "The tenant's limit is used up; not processed."),
        (500, DOUBT),
        (202, f"That is not a clear yes. {DOUBT}"),
    ],
)
def test_an_answer_that_is_no_yes_is_said_with_what_to_do(status: int, advice: str) -> None:
    said = f"Closing purchase 12 at https://acme.test: Lucca answered {status}. {advice}"
    assert str(error_of(answer(status))) == said


def test_a_date_to_come_back_is_read_by_the_servers_own_clock() -> None:
    moments = {"Retry_After": "Sun, 06 Nov 1994 08:49:37 GMT", "Date": "Sun, 06 Nov 1994 08:49:07 GMT"}
    error = error_of(answer(503, **moments))
    assert error is not None
    assert error.retry_after == 30.0


def test_a_problem_is_no_clear_yes_whatever_else_its_type_says() -> None:
    headers = {"Content_Type": "application/problem+json; charset=utf-8"}
    assert type(error_of(answer(200, b"{}", **headers))) is LuccaInDoubtError


def test_what_is_no_json_has_no_value() -> None:
    assert read(answer(200, b"OK")).value is None


def test_problem_details_of_a_redirect_are_kept() -> None:
    assert read(answer(300, json.dumps(PROBLEM).encode())).title == PROBLEM["title"]


def test_text_is_shown_from_its_first_letter() -> None:
    assert read(answer(400, "\ufeffXerxes".encode())).detail == "Xerxes"


def test_text_that_is_declared_to_be_html_is_a_web_page() -> None:
    assert type(error_of(answer(200, b"Welcome", Content_Type="Text/HTML"))) is LuccaAccessError
    assert type(error_of(answer(200, b"{}", Content_Type="application/xhtml+xml"))) is LuccaAccessError


def test_an_empty_answer_is_no_web_page_whatever_its_type() -> None:
    assert error_of(answer(200, b" \r\n", Content_Type="text/html")) is None


def test_problem_details_are_kept_and_told() -> None:
    error = error_of(answer(400, json.dumps(PROBLEM).encode(), Content_Type="application/problem+json"))
    assert error is not None
    assert (error.title, error.detail, error.errors) == (PROBLEM["title"], PROBLEM["detail"], PROBLEM["errors"])
    assert str(error) == (
        "Closing purchase 12 at https://acme.test: Lucca answered 400 (Cannot be closed – 2 invoices are open) "
        "[date: too early, on a Sunday; comment: too long]. Lucca will not do this as things are."
    )


@pytest.mark.parametrize(
    ("body", "title", "detail", "errors"),
    [
        ({"Message": "no"}, "no", None, {}),
        ({"message": "no"}, "no", None, {}),
        ({"Title": "no", "Detail": "because"}, "no", "because", {}),
        ({"error": "invalid", "error_description": "because"}, "invalid", "because", {}),
        ({"title": "", "message": "no"}, "no", None, {}),
        ({"title": 5, "detail": ["x"]}, None, None, {}),
        ({"title": " a \n b "}, "a b", None, {}),
        ({"errors": "no"}, None, None, {"errors": ["no"]}),
        ({"errors": ["no", "never"]}, None, None, {"errors": ["no", "never"]}),
        ({"errors": {"date": "no"}}, None, None, {"date": ["no"]}),
        ({"errors": {"date": [1, None, "", {"a": 1}]}}, None, None, {"date": ["1", "{'a': 1}"]}),
        ({"errors": {"date": []}}, None, None, {}),
        ({"errors": {"date": json.loads("[" * 90 + "]" * 90)}}, None, None, {"date": ["[[[[[[[...]]]]]]]"]}),
        ({"errors": None}, None, None, {}),
        ({"errors": []}, None, None, {}),
        ({}, None, None, {}),
        ([1], None, "[1]", {}),
        ("no", None, '"no"', {}),
    ],
)
def test_other_json_is_read_as_far_as_it_goes(body: Any, title: Any, detail: Any, errors: Any) -> None:
    error = error_of(answer(400, json.dumps(body).encode()))
    assert error is not None
    assert (error.title, error.detail, error.errors) == (title, detail, errors)


def test_long_details_are_cut_short() -> None:
    long = "é" * 1000
    error = error_of(answer(400, json.dumps({"title": long, "detail": long, "errors": {long: [long]}}).encode()))
    assert error is not None
    assert error.title == error.detail == "é" * MAX_SHOWN + "…"
    assert error.errors == {"é" * MAX_SHOWN + "…": ["é" * MAX_SHOWN + "…"]}


def test_details_of_just_the_length_that_is_shown_are_not_cut() -> None:
    error = error_of(answer(400, json.dumps({"title": "é" * MAX_SHOWN}).encode()))
    assert error is not None
    assert error.title == "é" * MAX_SHOWN


def test_many_errors_are_cut_short() -> None:
    error = error_of(answer(400, json.dumps({"errors": {f"{n}": ["m"] * 50 for n in range(100)}}).encode()))
    assert error is not None
    assert len(error.errors) == 20
    assert {len(messages) for messages in error.errors.values()} == {20}


def test_an_error_of_any_size_costs_little_memory_and_time() -> None:
    page = answer(500, b"x" * 100_000_000)
    tracemalloc.start()
    started = time.monotonic()
    body = read(page)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not body.complete
    assert time.monotonic() - started < 2
    assert peak < 5_000_000


def test_a_gzip_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(200_000_000), compresslevel=9)
    for status in (200, 500):
        page = answer(status, bomb, Content_Encoding="gzip")
        tracemalloc.start()
        body = read(page)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert not body.complete
        assert peak < 250_000_000
        assert type(error_of(answer(status, bomb, Content_Encoding="gzip"))) is LuccaInDoubtError


def test_packed_answers_are_unpacked() -> None:
    packed = gzip.compress(json.dumps(PROBLEM).encode())
    error = error_of(answer(400, packed, Content_Encoding="gzip"))
    assert error is not None
    assert error.title == "Cannot be closed"
    assert read(answer(200, gzip.compress(b'{"id": 12}'), Content_Encoding="gzip")).value == {"id": 12}


def test_an_answer_that_cannot_be_unpacked_is_no_clear_yes() -> None:
    assert type(error_of(answer(200, b"not gzip at all", Content_Encoding="gzip"))) is LuccaInDoubtError
    assert type(error_of(answer(404, b"not gzip at all", Content_Encoding="gzip"))) is LuccaNotFoundError


class OldResponse(HTTPResponse):
    """An answer of urllib3 before 2.2."""

    @property
    def read1(self) -> Any:  # type: ignore[override]
        raise AttributeError


def test_an_answer_of_an_older_urllib3_is_read_too() -> None:
    response = answer(200)
    response.raw = OldResponse(io.BytesIO(b'{"id": 12}'), preload_content=False)
    assert read(response).value == {"id": 12}


def test_a_good_answer_is_returned_as_it_is() -> None:
    value = {"id": 12, "title": f"echo {KEY}", "state": "Ongoing"}
    body = read(answer(200, json.dumps(value).encode()))
    assert body.value == value
    assert body.title is body.detail is None
    assert read(answer(200, b'\xef\xbb\xbf{"id": 1}'), secret="1").value == {"id": 1}


@pytest.mark.parametrize("retry_after", ["7", "Sun, 06 Nov 1994 08:49:37 GMT", "soon", None])
@pytest.mark.parametrize("status", [429, 503, 413])
def test_retry_after_goes_along(status: int, retry_after: str | None) -> None:
    headers = {} if retry_after is None else {"Retry_After": retry_after}
    error = error_of(answer(status, **headers))
    assert error is not None
    wait = {"7": 7.0, "Sun, 06 Nov 1994 08:49:37 GMT": 0.0}.get(retry_after or "")
    assert error.retry_after == wait


# -- the key --------------------------------------------------------------------------------------------------------


def _escaped(text: str, form: str) -> str:
    return "".join(form.format(ord(c), c) for c in text)


ECHOES = {
    "plain": KEY,
    "upper case": KEY.upper(),
    "JSON": json.dumps(KEY)[1:-1],
    "JSON with slashes": json.dumps(KEY)[1:-1].replace("/", "\\/"),
    "JSON of .NET": KEY.replace('"', "\\u0022").replace("+", "\\u002B").replace("&", "\\u0026").replace("<", "\\u003C"),
    "address": requests.compat.quote(KEY, safe=""),
    "HTML numbers": _escaped(KEY, "&#{0};"),
    "HTML hex": _escaped(KEY, "&#x{0:X};"),
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_a_key_that_the_server_repeats_is_blotted_out(echo: str) -> None:
    for status in (400, 401, 429, 500):
        text = f"Key lucca application={echo} is unknown"
        error = error_of(answer(status, text.encode()))
        assert error is not None
        assert error.detail == "Key lucca application=*** is unknown"
        assert "b5c1" not in str(error).lower()


def test_a_key_is_blotted_out_of_all_problem_details() -> None:
    say = f"no {KEY}!"
    problem = {"title": say, "detail": say, "errors": {say: [say, {"deeper": say}], "n": [say]}}
    error = error_of(answer(403, json.dumps(problem).encode()))
    assert error is not None
    assert error.title == error.detail == "no ***!"
    assert error.errors == {"no ***!": ["no ***!", "{'deeper': 'no ***!'}"], "n": ["no ***!"]}
    assert "b5c1" not in f"{error} {error!r} {vars(error)}"


def test_a_word_that_ends_as_the_key_begins_is_left_as_it_is() -> None:
    error = error_of(answer(400, json.dumps({"title": f"Grab {KEY[:3]}"}).encode()))
    assert error is not None
    assert error.title == f"Grab {KEY[:3]}"


def test_a_key_at_the_end_of_what_is_shown_is_blotted_out_too() -> None:
    for before in range(MAX_SHOWN - len(KEY) - 2, MAX_SHOWN + 1):
        error = error_of(answer(400, b"x" * before + KEY.encode() + b"x" * 100))
        assert error is not None
        assert "b5" not in str(error)


@pytest.mark.parametrize("length", range(1, len(KEY)))
def test_a_key_that_was_cut_off_in_the_middle_is_blotted_out_too(length: int) -> None:
    response = answer(400, b"Key: " + KEY[:length].encode(), Content_Length="500")
    response.raw = HTTPResponse(
        io.BytesIO(b"Key: " + KEY[:length].encode()),
        headers={"Content-Length": "500"},
        status=400,
        preload_content=False,
        enforce_content_length=True,
        request_method="POST",
    )
    error = error_of(response)
    assert error is not None
    assert error.detail == "Key:"


@pytest.mark.parametrize(
    ("status", "headers", "complete"),
    [
        (204, {}, True),
        (200, {}, False),
        (205, {}, False),
        (200, {"Transfer_Encoding": "chunked"}, True),
        (200, {"Connection": "Close"}, True),
        (200, {"Connection": "keep-alive"}, False),
    ],
)
def test_an_answer_says_how_it_ends_or_may_have_broken_off(
    status: int, headers: dict[str, str], complete: bool
) -> None:
    response = answer(status, **headers)
    del response.headers["Content-Length"]
    assert read(response).complete is complete


@pytest.mark.parametrize(("length", "complete"), [(1000, True), (1001, False)])
def test_a_body_without_a_length_is_read_up_to_a_limit(
    length: int, complete: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lucca_provider.hooks._answers.MAX_BODY", 1000)
    response = answer(200, Connection="close")
    response.raw = HTTPResponse(io.BytesIO(b" " * length), preload_content=False)
    assert read(response).complete is complete


def test_a_body_shorter_than_it_said_is_no_clear_yes_whatever_urllib3_thinks_of_it() -> None:
    for said, kind in (("5", LuccaInDoubtError), ("2", type(None))):
        response = answer(200, Content_Length=said)
        response.raw = HTTPResponse(
            io.BytesIO(b"{}"), headers={"Content-Length": said}, preload_content=False, enforce_content_length=False
        )
        assert type(error_of(response)) is kind


# -- no answer ------------------------------------------------------------------------------------------------------


def explain(failure: Any) -> LuccaError:
    error = explain_failure(failure, around=None, what="Closing purchase 12", doubt=DOUBT, secret=KEY, purchase_id=12)
    assert error.purchase_id == 12
    assert error.status is None
    assert str(error).isprintable()
    return error


def _wrapped(kind: type[Exception], reason: Exception) -> Exception:
    return kind(MaxRetryError(None, "/", reason))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (_wrapped(requests.ConnectTimeout, ConnectTimeoutError("timed out")), LuccaNotSentError),
        (_wrapped(requests.exceptions.ProxyError, ProxyError("x", ConnectTimeoutError("no"))), LuccaNotSentError),
        (
            _wrapped(requests.exceptions.ProxyError, ProxyError("x", OSError("Tunnel connection failed: 407"))),
            LuccaNotSentError,
        ),
        # What urllib3 1.26 says of a proxy that hung up after it took the request.
        (
            _wrapped(requests.exceptions.ProxyError, ProxyError("x", ConnectionResetError("reset"))),
            LuccaInDoubtError,
        ),
        (requests.ReadTimeout("timed out"), LuccaInDoubtError),
        (requests.ConnectionError("broken"), LuccaInDoubtError),
        (requests.ConnectionError(), LuccaInDoubtError),
        (_wrapped(requests.ConnectionError, None), LuccaInDoubtError),  # type: ignore[arg-type]
        (requests.exceptions.SSLError("hostname '127.0.0.1' doesn't match 'localhost'"), LuccaAccessError),
        (requests.exceptions.InvalidURL("no"), LuccaAccessError),
        (requests.exceptions.InvalidProxyURL("no"), LuccaAccessError),
        (requests.exceptions.InvalidHeader("no"), LuccaAccessError),
        (LocationParseError("no"), LuccaAccessError),
        (OSError("Could not find a suitable TLS CA certificate bundle"), LuccaAccessError),
    ],
)
def test_a_failure_is_taken_for_not_sent_only_where_that_is_certain(failure: Exception, kind: type[LuccaError]) -> None:
    error = explain(failure)
    assert type(error) is kind
    assert ("Nothing was sent" in str(error)) is (kind is not LuccaInDoubtError)


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (
            requests.exceptions.SSLError("certificate verify failed"),
            "the server's certificate is not trusted (SSLError: certificate verify failed). Nothing was sent; check "
            "the connection's Host and the worker's CA certificates.",
        ),
        (
            requests.exceptions.InvalidURL("no"),
            "the request cannot be made (InvalidURL: no). Nothing was sent; check the connection's Host and the "
            "worker's proxy and CA settings.",
        ),
        (
            _wrapped(requests.ConnectTimeout, ConnectTimeoutError("timed out")),
            "no connection (ConnectTimeout: timed out). Nothing was sent; check the connection's Host and the network.",
        ),
        (requests.ReadTimeout("timed out"), f"no answer (ReadTimeout: timed out). {DOUBT}"),
        (requests.ConnectionError(), f"no answer (ConnectionError:). {DOUBT}"),
    ],
)
def test_a_failure_is_said_with_its_cause_and_what_to_do(failure: Exception, message: str) -> None:
    assert str(explain(failure)) == f"Closing purchase 12: {message}"


def test_a_key_in_a_failure_is_blotted_out() -> None:
    assert KEY not in str(explain(requests.ConnectionError(f"broken {KEY}")))


def test_objects_in_a_failure_are_left_out() -> None:
    text = f"<urllib3.connection.HTTPSConnection object at 0x{id(os):x}>: Failed to connect"
    assert "(ConnectionError: Failed to connect)" in str(explain(requests.ConnectionError(text)))


@given(st.binary(max_size=300), st.sampled_from([200, 302, 400, 401, 404, 429, 500]), st.booleans())
def test_no_body_breaks_anything(body: bytes, status: int, is_json: bool) -> None:
    error = error_of(answer(status, body, Content_Type="application/json" if is_json else "text/plain"))
    assert (error is None) <= (status == 200)


NAMES = st.text(max_size=5) | st.sampled_from(["errors", "title", "detail"])
JSON: st.SearchStrategy[Any] = st.deferred(
    lambda: (
        st.none()
        | st.booleans()
        | st.floats()
        | st.text(max_size=20)
        | st.lists(JSON, max_size=3)
        | st.dictionaries(NAMES, JSON, max_size=3)
    )
)


@given(JSON)
def test_no_json_breaks_anything(value: Any) -> None:
    assert type(error_of(answer(422, json.dumps(value).encode()))) is LuccaRefusedError
