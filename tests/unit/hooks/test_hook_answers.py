"""Every answer is classified by what Lucca certainly did, whatever its body is."""

from __future__ import annotations

import dataclasses
import gzip
import html
import inspect
import io
import json
import os
import re
import socket
import ssl
import sys
import time
import tracemalloc
import zlib
from typing import Any
from urllib.parse import quote

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationParseError,
    MaxRetryError,
    NameResolutionError,
    ProxyError,
    SSLError,
)
from urllib3.response import HTTPResponse
from urllib3.util.ssl_match_hostname import CertificateError

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
from lucca_provider.hooks._answers import Asked, find_problem
from lucca_provider.hooks._body import Body, read_body
from lucca_provider.hooks._failures import MAX_CAUSES, _causes, explain_failure
from lucca_provider.hooks._tenant import RIGHTS_GUIDE, TESTING_GUIDE
from lucca_provider.hooks._words import MAX_SHOWN, Show

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
WRONG_VERSION = ssl.SSLError(1, "wrong version number")
WRONG_VERSION.reason = "WRONG_VERSION_NUMBER"
UNKNOWN_HOST = NameResolutionError("x", None, socket.gaierror(-2, "?"))  # type: ignore[arg-type]


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


ASKED = Asked("Closing purchase 12 at https://acme.test", False, 12, "1-2-3", lambda value: None, "lucca_acme")


def read(response: requests.Response, *, secret: str = KEY) -> Body:
    return read_body(response, show=Show(secret))


def error_of(response: requests.Response, *, secret: str = KEY) -> LuccaError | None:
    body = read(response, secret=secret)
    error = find_problem(response, body, ASKED, Show(secret))
    if error is None:
        return None
    # What was asked and what came of it stand at the end.
    assert re.search(rf" \({re.escape(ASKED.what)}: {response.status_code}\b[^\n]*\)$", error.message)
    assert str(error).isprintable()
    assert len(str(error)) < 4 * MAX_SHOWN
    assert error.status == response.status_code
    assert error.purchase_id == 12
    assert error.correlation_id == "1-2-3"
    assert error.web_page is body.is_html
    return error


def message_of(response: requests.Response) -> str:
    error = error_of(response)
    assert error is not None
    return error.message


def expected(status: int) -> type[LuccaError]:
    table = {
        401: LuccaAccessError,
        403: LuccaForbiddenError,
        404: LuccaNotFoundError,
        407: LuccaAccessError,
        429: LuccaThrottledError,
    }
    if status in table:
        return table[status]
    if 200 <= status < 300:
        return LuccaUnclearError
    if status < 200 or status == 408 or status >= 500:
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


EDGES = {199, 226, 299, 499, 504, 599, 999}
STATUSES = sorted({*range(100, 600, 50), *range(200, 210), *range(301, 309), *range(399, 430), *EDGES})
CLEAR = ("empty", "white space", "object", "list", "number", "null")


@pytest.mark.parametrize("name", BODIES)
def test_a_status_means_the_same_whatever_the_body_and_only_json_or_nothing_is_a_yes(name: str) -> None:
    body, kind = BODIES[name]
    for status in STATUSES:
        error = error_of(answer(status, body, Content_Type=kind))
        if status == 204 or (status in (200, 201) and name in CLEAR):
            assert error is None or (status == 204 and kind == "application/problem+json"), status
        else:
            assert type(error) is expected(status), status


@pytest.mark.parametrize("kind", ["text/html", "text/html; charset=utf-8", "application/json", "text/plain", ""])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("start", ["", " \r\n\t", "<?xml version='1.0'?>\n", "<!-- hello -->"])
def test_a_web_page_is_never_an_answer_of_the_api(kind: str, encoding: str, start: str) -> None:
    page = (start + HTML.decode()).encode(encoding)
    for status in {*range(100, 600, 50), 201, 302, 401, 403, 404, 407, 408, 409, 429}:
        error = error_of(answer(status, page, Content_Type=kind))
        assert error is not None
        assert type(error) is expected(status), status
        assert error.web_page
        assert "Sign in" not in str(error)
        assert error.title is error.detail is None


# What a closing may be answered with although the purchase is still open; a server can be set up to do each of these.
NO_YES = {
    "text": (b"OK", {}),
    "text that begins as JSON": (b"{}x", {}),
    "broken JSON": (b'{"id": 12', {}),
    "half a string": (b'"no', {}),
    "two values": (b"{} {}", {}),
    "not a number": (b"NaN", {}),
    "infinity": (b"[-Infinity]", {}),
    "latin-1": (b'{"title": "caf\xe9"}', {}),
    "UTF-16 cut in a letter": ('{"id": 12}'.encode("utf-16")[:-1], {}),
    "a null byte": (b"\x00", {}),
    "a byte order mark": (b"\xef\xbb\xbf", {}),
    "another byte order mark": (b"\xff\xfe", {}),
    "gzip that nobody declared": (gzip.compress(b"{}"), {}),
    "br": (b"\x8b\x00\x80{}\x03", {"Content_Encoding": "br"}),
    "gzip twice": (gzip.compress(gzip.compress(b"{}")), {"Content_Encoding": "gzip, gzip"}),
    "a problem": (json.dumps(PROBLEM).encode(), {}),
    "a problem's type": (b"{}", {"Content_Type": "application/problem+json; charset=utf-8"}),
    "a problem's type, in capitals": (b"{}", {"Content_Type": "Application/Problem+JSON"}),
    "a problem's type and nothing": (b"", {"Content_Type": "application/problem+json"}),
    "status 400": (b'{"status": 400}', {}),
    "status 500.0": (b'{"status": 500.0}', {}),
    "Status 409": (b'{"Status": 409}', {}),
    "error": (b'{"error": "no"}', {}),
    "Error": (b'{"Error": {"code": 5}}', {}),
    "error true": (b'{"error": true}', {}),
    "errors": (b'{"id": 12, "errors": {"date": ["too early"]}}', {}),
    "Errors": (b'{"Errors": ["no"]}', {}),
    "a problem's type of Lucca's own": (b"{}", {"Content_Type": "application/vnd.lucca.problem+json"}),
    "a problem's type, in XML": (b"", {"Content_Type": "application/problem+xml"}),
    "two types": (b"{}", {"Content_Type": "application/json, application/problem+json"}),
    "a problem without a status": (b'{"type": "https://x.test/a", "title": "Open documents", "detail": "F1"}', {}),
    "a problem of type": (b'{"id": 12, "type": "https://x.test/a", "title": "Open documents"}', {}),
    "a problem of type /": (b'{"id": 12, "type": "/errors/open", "title": "Open documents"}', {}),
    "a problem of type about:blank": (b'{"id": 12, "Type": "About:blank", "Title": "Conflict"}', {}),
    "a problem with a state": (b'{"state": "Ongoing", "title": "Open documents", "detail": "F1"}', {}),
    "a title": (b'{"title": "Open documents"}', {}),
    "a detail": (b'{"detail": "Open documents"}', {}),
    "a message": (b'{"message": "no"}', {}),
    "a Message": (b'{"Message": "An error has occurred.", "ExceptionMessage": "x"}', {}),
    "status in digits": (b'{"id": 12, "status": "409"}', {}),
    "status in digits with words": (b'{"id": 12, "status": " 409 Conflict"}', {}),
    "status in many digits": (b'{"status": "' + b"9" * 5000 + b'"}', {}),
    "statusCode": (b'{"statusCode": 409}', {}),
    "success false": (b'{"id": 12, "success": false}', {}),
    "Success in quotes": (b'{"Success": "False"}', {}),
    **{
        f"{name}: {said}": (f'{{"id": 12, "{name}": {said}}}'.encode(), {})
        for name, said in (
            *(("success", "0"), ("success", '"no"'), ("isSuccessful", "false"), ("IsSuccess", "false"), ("ok", "0")),
            *(("closed", "false"), ("isClosed", '"false"'), ("hasError", "true"), ("has_errors", "1")),
            *(("isError", "true"), ("failed", "true"), ("errorMessage", '"no"'), ("errorCode", "17")),
            *(("error_description", '"no"'), ("ExceptionType", '"x"'), ("fault", '{"a": 1}')),
            *(("validationErrors", '["x"]'), ("failures", '["x"]'), ("rejected", "[12]"), ("refusalReason", '"x"')),
            *(("status", '"error"'), ("status", '"Failed"'), ("httpStatus", "500"), ("HTTPStatusCode", "409")),
            *(("data", '{"status": 500}'), ("result", '{"success": false}'), ("data", '{"errors": ["x"]}')),
            *(("data", '[{"a": {"error": "x"}}]'),),
        )
    },
    "a member twice": (b'{"id": 12, "id": 12}', {}),
    "false": (b"false", {}),
    "text in quotes": (b'"Erreur interne"', {}),
    "a list of problems": (b'[{"status": 409, "errors": ["x"]}]', {}),
    "a list with one of them": (b'[{}, {"id": 1}, {"error": "of an item"}, {}]', {}),
    "a list in a list": (b'[[1, ["no"]]]', {}),
    "a list with false": (b"[false]", {}),
    "text declared as HTML": (b"Welcome", {"Content_Type": "Text/HTML"}),
}


@pytest.mark.parametrize("name", NO_YES)
def test_a_whole_success_that_is_no_clear_yes_is_unclear(name: str) -> None:
    body, headers = NO_YES[name]
    for status in (200, 201):
        assert type(error_of(answer(status, body, **headers))) is LuccaUnclearError


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \r\n",
        b"{}",
        b"[]",
        b"null",
        b"true",
        b'""',
        b"[1, [], null]",
        b'{"success": true}',
        b'{"success": null}',
        b'{"title": "", "detail": null, "message": 5}',
        b'{"id": 12, "message": "Closed"}',
        b'{"id": 12, "type": "OneTime", "title": "Chairs: 12 / red", "state": "Closed"}',
        b'{"id": 12, "type": "a: b", "title": "Chairs"}',
        b'{"id": 12, "type": null, "title": "Chairs"}',
        b'{"id": 12, "type": "https://x.test/"}',
        b'{"id": 12, "detail": "red"}',
        b'{"state": "Closed", "title": "Chairs"}',
        b'[{"id": 12, "title": "Chairs", "state": "Closed"}]',
        b'{"errors": []}',
        b'{"errorCount": 0, "hasErrors": false, "isError": "false", "failures": [], "fault": null}',
        b'{"success": true, "closed": "true", "closedAt": null, "isClosed": 1}',
        b'{"defaultCurrency": "EUR", "statusLabel": "Error", "supplier": {"title": "Chairs", "isActive": false}}',
        b'{"errors": {}, "error": null}',
        b'{"error": false}',
        b'{"error": ""}',
        b'{"id": 12, "type": "OneTime", "status": "Closed", "state": "Closed"}',
        b'{"status": "399"}',
        b'{"status": "2026-11-01"}',
        b'{"status": "500m"}',
        b'{"status": 200}',
        b'{"status": 399}',
        b'{"status": true}',
        '{"id": 12}'.encode("utf-16"),
    ],
)
def test_a_clear_yes(body: bytes) -> None:
    for kind in ("application/json", "application/json; charset=utf-8", "text/plain", "text/html", ""):
        for status in (200, 201, 204):
            assert error_of(answer(status, body, Content_Type=kind)) is None


@pytest.mark.parametrize("status", [202, 203, 205, 206, 207, 208, 226, 299])
def test_no_other_success_is_a_clear_yes(status: int) -> None:
    assert type(error_of(answer(status, b"{}"))) is LuccaUnclearError


def test_lucca_s_words_are_kept_where_a_success_says_that_it_failed() -> None:
    error = error_of(answer(200, json.dumps(PROBLEM).encode()))
    assert error is not None
    assert (error.title, error.detail, error.errors) == (PROBLEM["title"], PROBLEM["detail"], PROBLEM["errors"])


def test_what_is_wrong_with_the_json_of_a_yes_is_said() -> None:
    asked = dataclasses.replace(ASKED, check=lambda value: None if value == {"id": 12} else "It is another one.")
    for body, problem in (
        (b'{"id": 12}', None),
        (b'{"id": 13}', f"It is another one. {DOUBT} ({ASKED.what}: 200)"),
    ):
        response = answer(200, body)
        error = find_problem(response, read(response), asked, Show(KEY))
        assert (error and error.message) == problem
        assert error is None or type(error) is LuccaUnclearError


@pytest.mark.parametrize(
    "page", [b"<HTML lang=fr>", b"<html>", b"<body>", b"<head>", b"<!doctype HTML>", b"<!--x-->", b"<meta x>"]
)
def test_a_web_page_is_recognised_by_its_start(page: bytes) -> None:
    assert read(answer(200, page)).is_html
    assert not read(answer(200, b"See: " + page)).is_html


def test_a_web_page_is_said_to_be_one() -> None:
    said = f"Lucca's answer is not a clear yes. {DOUBT} ({ASKED.what}: 200, a web page)"
    assert message_of(answer(200, HTML)) == said


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (
            302,
            "Lucca redirected the request. Check Tenant (host) and API key (password) of the connection 'lucca_acme'. "
            f"Redirects are never followed {TESTING_GUIDE}.",
        ),
        (401, f"Lucca refused the API key. Correct API key (password) in the connection 'lucca_acme' {TESTING_GUIDE}."),
        (403, f"The API key's role lacks the right to do this. Grant it in Lucca {RIGHTS_GUIDE}."),
        (404, "Purchase 12 does not exist, or the API key may not see it."),
        (409, "Lucca refused this and gave no reason."),
        (407, f"A proxy wants credentials. Put them into the worker's proxy settings, HTTPS_PROXY {TESTING_GUIDE}."),
        (429, "The tenant's rate limit is used up. The request was not processed."),
        (500, f"Lucca gave no clear answer. {DOUBT}"),
        (202, f"Lucca's answer is not a clear yes. {DOUBT}"),
    ],
)
def test_an_answer_that_is_no_yes_is_said_with_what_to_do(status: int, advice: str) -> None:
    assert message_of(answer(status)) == f"{advice} (Closing purchase 12 at https://acme.test: {status})"


def test_what_to_do_after_a_wrong_key_is_read_without_scrolling() -> None:
    assert "Correct API key (password) in the connection 'lucca_acme'" in message_of(answer(401, b"x" * 300))[:100]


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        ({"title": "Open", "detail": "F1 is not paid."}, "Lucca refused this: F1 is not paid. ({}: 409 Open)"),
        ({"title": "Open"}, "Lucca refused this: Open ({}: 409)"),
        ({"errors": {"date": ["too late"]}}, "Lucca refused this: [date: too late] ({}: 409)"),
        (
            {"title": "Open", "detail": "F1.", "errors": {"date": ["too late"]}},
            "Lucca refused this: F1. [date: too late] ({}: 409 Open)",
        ),
    ],
)
def test_a_refusal_says_the_reason_first_and_once(problem: dict[str, Any], said: str) -> None:
    assert message_of(answer(409, json.dumps(problem).encode())) == said.format(ASKED.what)


def test_it_is_said_who_gave_the_reason() -> None:
    assert "The proxy said: no" in message_of(answer(407, b"no"))
    assert "Lucca said: no" in message_of(answer(503, b"no"))


@pytest.mark.parametrize(("purchase_id", "about"), [(12, "Purchase 12 "), (None, "Tenant (host)")])
def test_what_does_not_exist_is_named(purchase_id: int | None, about: str) -> None:
    response = answer(404)
    error = find_problem(response, read(response), dataclasses.replace(ASKED, purchase_id=purchase_id), Show(KEY))
    assert about in str(error)[:100]


@pytest.mark.parametrize(
    ("status", "reads", "outage"),
    [
        (500, True, True),
        (500, False, False),
        (202, True, False),
        (429, True, True),
        (429, False, True),
        (409, True, False),
    ],
)
def test_an_outage_is_what_may_be_asked_again_later(status: int, reads: bool, outage: bool) -> None:
    response = answer(status)
    error = find_problem(response, read(response), dataclasses.replace(ASKED, reads=reads), Show(KEY))
    assert error is not None
    assert error.outage is outage


@pytest.mark.parametrize(
    ("failure", "began", "reads", "outage"),
    [
        (requests.ReadTimeout("timed out"), True, True, True),
        (requests.ReadTimeout("timed out"), True, False, False),
        (requests.ConnectionError("refused"), False, False, True),
        (requests.ConnectionError(socket.gaierror(-2, "Name or service not known")), False, True, False),
        (requests.ConnectionError(socket.gaierror(socket.EAI_AGAIN, "Temporary failure")), False, True, True),
        (requests.ConnectionError(MaxRetryError(None, "/", UNKNOWN_HOST)), False, True, False),  # type: ignore[arg-type]
        (requests.exceptions.SSLError(SSLError(WRONG_VERSION)), False, True, False),
        (ValueError("no address"), False, True, False),
    ],
)
def test_no_answer_is_an_outage_where_nothing_can_have_happened(
    failure: Exception, began: bool, reads: bool, outage: bool
) -> None:
    asked = dataclasses.replace(ASKED, reads=reads)
    assert explain_failure(failure, asked, Show(KEY), began=began).outage is outage


def test_a_date_to_come_back_is_read_by_the_servers_own_clock() -> None:
    moments = {"Retry_After": "Sun, 06 Nov 1994 08:49:37 GMT", "Date": "Sun, 06 Nov 1994 08:49:07 GMT"}
    error = error_of(answer(503, **moments))
    assert error is not None
    assert error.retry_after == 30.0


def test_what_is_no_json_has_no_value() -> None:
    assert read(answer(200, b"OK")).value is None


def test_problem_details_of_a_redirect_are_kept() -> None:
    assert read(answer(300, json.dumps(PROBLEM).encode())).title == PROBLEM["title"]


def test_text_is_shown_from_its_first_letter() -> None:
    assert read(answer(400, "\ufeffXerxes".encode())).detail == "Xerxes"


def test_text_that_is_declared_to_be_html_is_a_web_page_and_json_is_not() -> None:
    for kind in ("Text/HTML", "application/xhtml+xml; charset=utf-8"):
        assert read(answer(404, b"Welcome", Content_Type=kind)).is_html
        assert not read(answer(404, b"{}", Content_Type=kind)).is_html


@pytest.mark.parametrize(
    ("location", "words"),
    [
        (
            "https://new.ilucca.net/login?token=secret",
            "It leads to the host 'new.ilucca.net': has the tenant been renamed?",
        ),
        ("//jane:hunter2@new.test:8443/secret", "It leads to the host 'new.test': has the tenant been renamed?"),
        ("https://" + "a" * 500 + "/secret", "It leads to the host '" + "a" * 100 + "…': has the tenant been renamed?"),
        (f"https://{KEY[:9]}+x.test", None),
        ("https://a\tb\x1b[31m.test/", None),
        ("/login?secret", "Check Tenant (host) and API key (password) of the connection 'lucca_acme'."),
        ("https://[secret", "Check Tenant (host) and API key (password) of the connection 'lucca_acme'."),
        ("", "Check Tenant (host) and API key (password) of the connection 'lucca_acme'."),
    ],
)
def test_of_a_redirect_the_host_alone_is_named(location: str, words: str | None) -> None:
    message = message_of(answer(308, Location=location))
    assert words is None or words in message
    assert "secret" not in message
    assert "hunter2" not in message


def test_the_ids_of_an_answer_are_shown_for_a_support_ticket() -> None:
    error = error_of(answer(500, X_Correlation_ID="abc", CF_RAY="8f-CDG"))
    assert error is not None
    assert (error.server_correlation_id, error.cf_ray) == ("abc", "8f-CDG")
    assert str(error).endswith("500) (lucca_correlation_id 1-2-3, X-Correlation-ID abc, CF-RAY 8f-CDG)")


def test_an_id_that_the_server_only_repeats_is_shown_once() -> None:
    assert str(error_of(answer(409, X_Correlation_ID="1-2-3"))).count("1-2-3") == 1


def test_ids_are_short_on_one_line_and_without_the_key() -> None:
    error = error_of(answer(409, X_Correlation_ID="a\x1b[31m\x85" + "x" * 9000, CF_RAY=f"{'x' * 95}{KEY}"))
    assert error is not None
    assert error.server_correlation_id == "a [31m " + "x" * 93 + "…"
    assert error.cf_ray == "x" * 95 + "***"


def test_an_empty_answer_is_no_web_page_whatever_its_type() -> None:
    assert error_of(answer(200, b" \r\n", Content_Type="text/html")) is None


def test_problem_details_are_kept_and_told() -> None:
    error = error_of(answer(400, json.dumps(PROBLEM).encode(), Content_Type="application/problem+json"))
    assert error is not None
    assert (error.title, error.detail, error.errors) == (PROBLEM["title"], PROBLEM["detail"], PROBLEM["errors"])
    assert error.message == (
        "Lucca refused this: 2 invoices are open [date: too early, on a Sunday; comment: too long] "
        "(Closing purchase 12 at https://acme.test: 400 Cannot be closed)"
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
        ({"errors": {"date": json.loads("[" * 90 + "]" * 90)}}, None, None, {"date": ["[" * 89 + "]" * 89]}),
        ({"Errors": {"date": ["no"]}}, None, None, {"date": ["no"]}),
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


def test_an_error_of_any_size_costs_little_memory() -> None:
    page = answer(500, b"x" * 100_000_000)
    tracemalloc.start()
    body = read(page)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not body.complete
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


@pytest.mark.parametrize("encoding", ["gzip", "GZip", "x-gzip", "deflate"])
@pytest.mark.parametrize("body", [b"", b"{}", b'{"id": 12, "title": "' + bytes(range(97, 123)) * 50 + b'"}'])
def test_only_a_packed_answer_that_is_whole_is_a_clear_yes(encoding: str, body: bytes) -> None:
    packed = zlib.compress(body) if encoding == "deflate" else gzip.compress(body)
    assert error_of(answer(200, packed, Content_Encoding=encoding)) is None
    for length in range(1, len(packed)):
        assert type(error_of(answer(200, packed[:length], Content_Encoding=encoding))) is LuccaInDoubtError, length
    assert type(error_of(answer(200, packed + b"x", Content_Encoding=encoding))) is LuccaInDoubtError
    damaged = packed[:-5] + bytes([packed[-5] ^ 1]) + packed[-4:]
    assert type(error_of(answer(200, damaged, Content_Encoding=encoding))) is LuccaInDoubtError


def test_nothing_is_a_clear_yes_although_it_is_said_to_be_packed() -> None:
    assert error_of(answer(200, b"", Content_Encoding="gzip")) is None


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
    "address": quote(KEY, safe=""),
    "HTML numbers": _escaped(KEY, "&#{0};"),
    "HTML hex": _escaped(KEY, "&#x{0:X};"),
    "HTML names": html.escape(KEY),
    "HTML names, twice": html.escape(html.escape(KEY)),
    "address, twice": quote(quote(KEY, safe=""), safe=""),
    "address, thrice": quote(quote(quote(KEY, safe=""), safe=""), safe=""),
    "JSON, twice": json.dumps(json.dumps(KEY)[1:-1])[1:-1],
    "JSON, thrice": json.dumps(json.dumps(json.dumps(KEY)[1:-1])[1:-1])[1:-1],
    "Python": _escaped(KEY, "\\x{0:02x}"),
    "address in HTML in JSON": json.dumps(html.escape(quote(KEY, safe="")))[1:-1],
    "HTML in an address": quote(html.escape(KEY), safe=""),
    "HTML control characters between": "&#1;".join(KEY),
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_a_key_that_the_server_repeats_is_blotted_out(echo: str) -> None:
    for status in (400, 401, 429, 500):
        text = f"Key lucca application={echo} is unknown"
        error = error_of(answer(status, text.encode()))
        assert error is not None
        assert error.detail == "Key lucca application=*** is unknown"
        assert "b5c1" not in str(error).lower()


ODD_KEY = "a+b/c==\"'<&>%41\\x7e\\~9d8f7e6c5b4a3210"


@pytest.mark.parametrize(
    "echo", [ODD_KEY, html.escape(ODD_KEY), quote(quote(ODD_KEY)), json.dumps(json.dumps({"k": ODD_KEY}))]
)
def test_a_key_that_looks_like_escapes_is_blotted_out(echo: str) -> None:
    error = error_of(answer(409, json.dumps({"detail": f"bad {echo}"}).encode()), secret=ODD_KEY)
    assert error is not None
    assert error.detail is not None
    assert "***" in error.detail
    assert parts_of(ODD_KEY, str(error), length=4) == []


def parts_of(key: str, text: str, *, length: int) -> list[str]:
    parts = [key[at : at + length].lower() for at in range(len(key) - length + 1)]
    return [part for part in parts if part in text.lower()]


UUID_KEY = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"bad key {UUID_KEY[:24]}…", "bad key ***…"),
        (f"bad key {UUID_KEY[:8]}…{UUID_KEY[-8:]}!", "bad key ***…***!"),
        (f"bad key …{UUID_KEY[9:30].upper()}…", "bad key …***…"),
        (f"{UUID_KEY}{UUID_KEY}", "******"),
        (f"bad key {UUID_KEY[:7]}…", f"bad key {UUID_KEY[:7]}…"),
        (f"bad key {UUID_KEY[:4]}", "bad key"),
        (f"bad key {UUID_KEY[:3]}", f"bad key {UUID_KEY[:3]}"),
        (f"\u0130 {UUID_KEY.upper()}", "\u0130 ***"),
    ],
)
def test_a_part_of_the_key_that_the_server_shows_is_blotted_out(text: str, shown: str) -> None:
    for body in (text.encode(), json.dumps({"detail": text}).encode()):
        error = error_of(answer(401, body), secret=UUID_KEY)
        assert error is not None
        assert error.detail == shown


@pytest.mark.parametrize("echo", [UUID_KEY.replace("-", ""), UUID_KEY.replace("-", "").upper()])
def test_a_key_without_its_dashes_is_blotted_out(echo: str) -> None:
    error = error_of(answer(401, f"Key {echo} is unknown".encode()), secret=UUID_KEY)
    assert error is not None
    assert error.detail == "Key *** is unknown"


@pytest.mark.parametrize("between", [" ", "\n", "\u200b", "\xad", "\x00", "\u2011", ".", "_"])
def test_a_key_with_something_between_its_letters_is_blotted_out(between: str) -> None:
    for size in (1, 4, 7):
        echo = between.join(UUID_KEY[at : at + size] for at in range(0, len(UUID_KEY), size))
        error = error_of(answer(401, f"Key {echo} is unknown".encode()), secret=UUID_KEY)
        assert error is not None
        assert error.detail == "Key *** is unknown"


def test_a_key_in_wide_letters_is_blotted_out() -> None:
    wide = "".join(chr(ord(c) + 0xFEE0) for c in UUID_KEY)
    error = error_of(answer(401, f"Key {wide} is unknown".encode()), secret=UUID_KEY)
    assert error is not None
    assert error.detail == "Key *** is unknown"


@pytest.mark.parametrize("form", ["{1}", "%{0:02x}", "&#{0};", "\\u{0:04x}", "%25{0:02X}"])
def test_a_part_of_the_key_at_an_end_that_nobody_knows_is_blotted_out(form: str) -> None:
    for length in range(1, len(UUID_KEY)):
        said = _escaped(UUID_KEY[:length], form)
        for missing in range(min(3, len(said))):
            response = answer(500, f"Key: {said[: len(said) - missing]}".encode())
            del response.headers["Content-Length"]
            error = error_of(response, secret=UUID_KEY)
            assert error is not None
            assert error.detail in ("Key:", "Key: ***"), (length, missing)


def test_a_long_text_is_searched_as_far_as_it_may_be_shown() -> None:
    started = time.monotonic()
    many = [f"{KEY} " * 600 + "&amp;" * 2000] * 20
    error = error_of(answer(400, json.dumps({"errors": {"a": many[:1]}}).encode()))
    assert error is not None
    assert error.errors["a"] == [("*** " * 600)[:MAX_SHOWN] + "…"]
    error = error_of(answer(200, json.dumps({"errors": {"a": many, "b": many}}).encode()))
    assert error is not None
    assert "b5c1" not in str(error.errors)
    for char in "\\%&":
        assert error_of(answer(500, (char * 20_000 + "zz").encode())) is not None
    assert time.monotonic() - started < 30


def test_a_key_is_blotted_out_of_all_problem_details() -> None:
    say = f"no {KEY}!"
    problem = {"title": say, "detail": say, "errors": {say: [say, {"deeper": say}], "n": [say]}}
    error = error_of(answer(403, json.dumps(problem).encode()))
    assert error is not None
    assert error.title == error.detail == "no ***!"
    assert error.errors == {"no ***!": ["no ***!", "{'deeper': 'no ***!'}"], "n": ["no ***!"]}
    assert "b5c1" not in f"{error} {error!r} {vars(error)}"


@pytest.mark.parametrize("length", [8, 36, 200, 400])
def test_a_key_is_blotted_out_before_anything_is_shortened(length: int) -> None:
    key = ("3f2a9c1e-7b44-4d0f-9a56-1b2c3d4e5f60" * 12)[:length]
    for before in range(0, 320, 19):
        say = "z" * before + key + "z" * 40
        nested: Any = {"a": [{"b": say}, say], say: say}
        for errors in (nested, [nested], {"date": nested}, {"date": [nested, [nested]]}, {say: nested}, say):
            error = error_of(answer(400, json.dumps({"title": say, "errors": errors}).encode()), secret=key)
            assert error is not None
            shown = f"{error} {error.errors} {error.title}"
            assert not [part for part in range(len(key) - 7) if key[part : part + 8] in shown]


@pytest.mark.parametrize(("start", "end"), [(b'{"errors": ', b"}"), (b'{"errors": {"date": [', b"]}}")])
def test_what_is_nested_too_deep_to_be_read_is_a_refusal_all_the_same(start: bytes, end: bytes) -> None:
    limit = sys.getrecursionlimit()
    # Each depth up to the limit and beyond: reading JSON and writing it out need not end at the same one.
    sys.setrecursionlimit(len(inspect.stack()) + 120)
    try:
        errors = [error_of(answer(400, start + b"[" * depth + b"]" * depth + end)) for depth in range(1, 140)]
    finally:
        sys.setrecursionlimit(limit)
    assert {type(error) for error in errors} == {LuccaRefusedError}


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
        (200, {"Transfer_Encoding": "Chunked"}, True),
        (200, {"Transfer_Encoding": "gzip, chunked"}, False),
        (200, {"Transfer_Encoding": "identity"}, False),
        (200, {"Content_Length": "0"}, True),
        (200, {"Content_Length": ""}, False),
        (200, {"Content_Length": "zero"}, False),
        (200, {"Content_Length": "-1"}, False),
        (200, {"Connection": "Close"}, False),
        (200, {"Connection": "keep-alive"}, False),
    ],
)
def test_an_answer_says_how_it_ends_or_may_have_broken_off(
    status: int, headers: dict[str, str], complete: bool
) -> None:
    response = answer(status)
    del response.headers["Content-Length"]
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    assert read(response).complete is complete


@pytest.mark.parametrize(
    ("body", "complete"), [(b"{}", True), (b"[]", True), (b"12", False), (b"", False), (b"OK", False), (b"[1", False)]
)
def test_what_ends_with_its_connection_is_whole_only_if_it_says_so_itself(body: bytes, complete: bool) -> None:
    response = answer(200, body, Connection="close")
    del response.headers["Content-Length"]
    assert read(response).complete is complete


def test_a_success_with_headers_that_cannot_be_read_is_not_whole() -> None:
    for body in (b"", b"{}"):
        response = answer(200, body)
        assert not read_body(response, show=Show(KEY), headers_whole=False).complete


@pytest.mark.parametrize(("length", "complete"), [(1000, True), (1001, False)])
def test_a_body_is_read_up_to_a_limit(length: int, complete: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lucca_provider.hooks._body.MAX_BODY", 1000)
    assert read(answer(200, b" " * length)).complete is complete
    assert read(answer(200, gzip.compress(b" " * length), Content_Encoding="gzip")).complete is complete


# -- no answer ------------------------------------------------------------------------------------------------------


def explain(failure: Any, *, began: bool = False) -> LuccaError:
    error = explain_failure(failure, ASKED, Show(KEY), began=began)
    assert error.purchase_id == 12
    assert error.correlation_id == "1-2-3"
    assert error.status is None
    assert str(error).isprintable()
    return error


def _wrapped(kind: type[Exception], reason: Exception) -> Exception:
    return kind(MaxRetryError(None, "/", reason))  # type: ignore[arg-type]


UNTRUSTED = ssl.SSLCertVerificationError(1, "certificate verify failed")
FAILURES = [
    (_wrapped(requests.ConnectTimeout, ConnectTimeoutError("timed out")), LuccaNotSentError),
    (_wrapped(requests.exceptions.ProxyError, ProxyError("x", ConnectTimeoutError("no"))), LuccaNotSentError),
    (_wrapped(requests.exceptions.ProxyError, ProxyError("x", OSError("Tunnel: 407"))), LuccaNotSentError),
    (_wrapped(requests.exceptions.ProxyError, ProxyError("x", ConnectionResetError("reset"))), LuccaNotSentError),
    (requests.ReadTimeout("timed out"), LuccaNotSentError),
    (requests.ConnectionError(), LuccaNotSentError),
    (_wrapped(requests.exceptions.SSLError, SSLError(UNTRUSTED)), LuccaAccessError),
    (_wrapped(requests.exceptions.ProxyError, ProxyError("x", SSLError(UNTRUSTED))), LuccaAccessError),
    (_wrapped(requests.exceptions.SSLError, SSLError(CertificateError("no match"))), LuccaAccessError),
    # What a server may write decides nothing.
    (requests.ConnectionError("certificate verify failed"), LuccaNotSentError),
    (requests.ConnectionError("hostname 'a' doesn't match 'b'"), LuccaNotSentError),
    (requests.exceptions.InvalidURL("no"), LuccaAccessError),
    (requests.exceptions.InvalidProxyURL("no"), LuccaAccessError),
    (requests.exceptions.InvalidHeader("two lengths"), LuccaAccessError),
    (LocationParseError("no"), LuccaAccessError),
    (OSError("Could not find a suitable TLS CA certificate bundle"), LuccaAccessError),
    (ValueError("no"), LuccaAccessError),
]


@pytest.mark.parametrize(("failure", "kind"), FAILURES)
def test_a_failure_means_not_sent_only_if_nothing_began_to_go_out(failure: Exception, kind: type[LuccaError]) -> None:
    error = explain(failure)
    assert type(error) is kind
    assert "Nothing was sent" in str(error)
    error = explain(failure, began=True)
    assert type(error) is LuccaInDoubtError
    assert "Nothing was sent" not in str(error)


@pytest.mark.parametrize(
    ("failure", "began", "message"),
    [
        (
            requests.exceptions.SSLError(UNTRUSTED),
            False,
            "The server's certificate is not trusted. Check Tenant (host) of the connection 'lucca_acme' and the "
            f"worker's CA certificates. Nothing was sent {TESTING_GUIDE}. ({{}}: SSLError: certificate verify failed)",
        ),
        (
            requests.exceptions.InvalidURL("no"),
            False,
            "The request cannot be made. Check Tenant (host) of the connection 'lucca_acme' and the worker's proxy and "
            f"CA settings. Nothing was sent {TESTING_GUIDE}. ({{}}: InvalidURL: no)",
        ),
        (
            _wrapped(requests.ConnectTimeout, ConnectTimeoutError("timed out")),
            False,
            "No connection to Lucca. Check Tenant (host) of the connection 'lucca_acme', and the network. Nothing was "
            f"sent {TESTING_GUIDE}. ({{}}: ConnectTimeout: timed out)",
        ),
        (
            _wrapped(requests.ConnectionError, UNKNOWN_HOST),
            False,
            "The host name was not found. Check Tenant (host) of the connection 'lucca_acme', and the network. Nothing "
            f"was sent {TESTING_GUIDE}. ({{}}: ConnectionError: None: Failed to resolve 'x' ([Errno -2] ?))",
        ),
        (
            requests.exceptions.SSLError(SSLError(WRONG_VERSION)),
            False,
            "The server speaks http, not https. For a test server, set Schema (https or http) to http in the "
            f"connection 'lucca_acme'. Nothing was sent {TESTING_GUIDE}. ({{}}: SSLError: wrong version number)",
        ),
        (requests.ReadTimeout("timed out"), True, f"Lucca gave no answer. {DOUBT} ({{}}: ReadTimeout: timed out)"),
        (requests.ConnectionError(), True, f"Lucca gave no answer. {DOUBT} ({{}}: ConnectionError:)"),
    ],
)
def test_a_failure_is_said_with_its_cause_and_what_to_do(failure: Exception, began: bool, message: str) -> None:
    assert explain(failure, began=began).message == message.format(ASKED.what)


def test_failures_that_hold_each_other_end() -> None:
    first, second = requests.ConnectionError(), requests.ConnectionError()
    first.args, second.args = (second,), (first,)
    with pytest.raises(RecursionError):
        str(first)
    assert [next(_causes(first)) is first, len(list(_causes(first)))] == [True, MAX_CAUSES]


def test_a_key_in_a_failure_is_blotted_out() -> None:
    assert KEY not in str(explain(requests.ConnectionError(f"broken {KEY}")))


def test_objects_in_a_failure_are_left_out() -> None:
    text = f"<urllib3.connection.HTTPSConnection object at 0x{id(os):x}>: Failed to connect"
    assert ": ConnectionError: Failed to connect)" in str(explain(requests.ConnectionError(text)))


@given(st.binary(max_size=300), st.sampled_from([200, 302, 400, 401, 404, 429, 500]), st.booleans())
def test_no_body_breaks_anything(body: bytes, status: int, is_json: bool) -> None:
    error = error_of(answer(status, body, Content_Type="application/json" if is_json else "text/plain"))
    assert (error is None) <= (status == 200)
    if error is None and body.strip():
        json.loads(body)


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
