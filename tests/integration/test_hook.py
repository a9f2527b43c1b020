"""LuccaHook on real sockets: what goes out, what is never repeated, and what every answer and failure becomes."""

from __future__ import annotations

import contextlib
import copy
import datetime
import gzip
import itertools
import json
import logging
import pickle
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from lucca_provider import __version__
from lucca_provider.checking import Rules
from lucca_provider.compat import AirflowNotFoundException
from lucca_provider.exceptions import (
    LuccaAccessError,
    LuccaConfigurationError,
    LuccaError,
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotFoundError,
    LuccaNotSentError,
    LuccaRefusedError,
    LuccaThrottledError,
    LuccaUnclearError,
)
from lucca_provider.get_provider_info import FIELD_BEHAVIOUR
from lucca_provider.hooks._tenant import FIELDS_GUIDE, RIGHTS_GUIDE, TESTING_GUIDE
from lucca_provider.hooks.client import POOL_SIZE
from lucca_provider.hooks.lucca import LuccaHook
from lucca_provider.inputs import InvalidInputError
from lucca_provider.limits import Clock, Pacer, Window
from lucca_provider.sandbox import Sandbox
from lucca_provider.tasks.checking import Arguments
from tests.integration.hook_tools import AUTHORIZATION, KEY, Connect, FastClock, close, failure_of
from tests.integration.scripted_server import DROP, HANG, RESET, Answer, ScriptedServer, drip, http, then_close

CLOSING = "/cleemy-procurement/api/purchases/12/closing"
HTML = b"<!DOCTYPE html><title>Sign in</title>"

pytestmark = pytest.mark.usefixtures("plain_surroundings")


# -- the connection -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "connection",
    [
        "lucca://:b5c1-4f7e-KEY@acme.ilucca-test.net:8443/https?requests_per_minute=30&timeout=2.5",
        "lucca://:b5c1-4f7e-KEY@https%3A%2F%2Facme.ilucca-test.net%3A8443%2F?requests_per_minute=30&timeout=2.5",
        "lucca://https://:b5c1-4f7e-KEY@acme.ilucca-test.net:8443?requests_per_minute=30&timeout=2.5",
        "lucca://:lucca+application%3Db5c1-4f7e-KEY@acme.ilucca-test.net:8443?requests_per_minute=30&timeout=2.5".replace(
            "+", "%20"
        ),
        '{"conn_type": "lucca", "host": "acme.ilucca-test.net", "port": 8443, "password": "b5c1-4f7e-KEY",'
        ' "extra": {"requests_per_minute": 30, "timeout": 2.5}}',
        '{"conn_type": "lucca", "host": "https://acme.ilucca-test.net/", "port": "8443", "schema": "https",'
        ' "password": "lucca application=b5c1-4f7e-KEY", "extra": "{\\"requests_per_minute\\": \\"30\\", \\"timeout\\":'
        ' \\"2.5\\"}"}',
    ],
)
def test_uri_and_json_forms_of_a_connection(connection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", connection)
    hook = LuccaHook()
    assert hook.base_url == "https://acme.ilucca-test.net:8443"
    assert hook.environment == "test"
    assert hook.tenant.api_key == KEY
    assert (hook.tenant.requests_per_minute, hook.tenant.timeout) == (30, 2.5)


def test_the_default_connection_and_its_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", f"lucca://:{KEY}@acme.ilucca.net")
    hook = LuccaHook()
    assert hook.base_url == "https://acme.ilucca.net"
    assert hook.environment == "production"
    assert (hook.tenant.requests_per_minute, hook.tenant.timeout, hook.tenant.window_seconds) == (45, 10.0, 60.0)


@pytest.mark.parametrize(
    ("host", "password", "extra", "field"),
    [
        ("acme.ilucca.net/x", KEY, {}, "Tenant (host)"),
        ("acme.ilucca.net", "", {}, "API key (password)"),
        ("acme.ilucca.net", f"{KEY}\r\nX: y", {}, "API key (password)"),
        ("http://acme.ilucca.net", KEY, {}, "Schema (https or http)"),
        ("acme.ilucca.net:0", KEY, {}, "Port"),
        ("acme.ilucca.net", KEY, {"timeout": "soon"}, "Time-out in seconds (extra timeout)"),
        ("acme.ilucca.net", KEY, {"time_out": 5}, "Extra"),
    ],
)
def test_a_wrong_connection_is_told_before_anything_is_sent(
    host: str, password: str, extra: dict[str, Any], field: str, connect: Connect, connects: list[Any]
) -> None:
    hook = connect(host, password=password, **extra)
    for call in (hook.get_conn, hook.probe, lambda: hook.close_purchase(12), lambda: hook.base_url):
        error = failure_of(call)
        assert type(error) is LuccaConfigurationError
        assert str(error).startswith(f"Connection 'lucca_test': {field} ")
    assert hook.test_connection() == (False, str(error).removeprefix("Connection 'lucca_test': "))
    assert connects == []


@pytest.mark.parametrize("purchase_id", [0, -1, 2**31, True, 1.5, "x", None])
def test_a_wrong_purchase_id_is_told_before_anything_is_sent(
    purchase_id: Any, connect: Connect, connects: list[Any]
) -> None:
    hook = connect("acme.ilucca.net")
    for call in (hook.close_purchase, hook.get_purchase):
        with pytest.raises(ValueError, match=r"^purchase_id: "):
            call(purchase_id)
    assert connects == []


def test_a_wrong_date_or_comment_is_told_before_anything_is_sent(connect: Connect, connects: list[Any]) -> None:
    hook = connect("acme.ilucca.net")
    with pytest.raises(ValueError, match="calendar"):
        hook.close_purchase(12, closing_date="2026-02-30")
    with pytest.raises(ValueError, match=r"^comment: "):
        hook.close_purchase(12, comment=[5])  # type: ignore[arg-type]
    assert connects == []


def test_a_wrong_day_of_documents_is_told_before_anything_is_sent(connect: Connect, connects: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"^created_since: 'x' is not a date"):
        connect("acme.ilucca.net").list_booked_documents("x")
    assert connects == []


def test_a_connection_that_does_not_exist_is_airflows_own_error(airflow_db: None) -> None:
    with pytest.raises(AirflowNotFoundException, match="lucca_nowhere"):
        _ = LuccaHook("lucca_nowhere").tenant


# -- what goes out --------------------------------------------------------------------------------------------------


def test_each_request_carries_key_and_user_agent(connect: Connect) -> None:
    from airflow import __version__ as airflow_version

    with ScriptedServer(http(200, {"id": 12})) as server:
        hook = connect(server.url)
        hook.close_purchase(12)
        hook.get_purchase(12)
        hook.get_conn().get(f"{server.url}/other")
    assert [(request.method, request.target) for request in server.requests] == [
        ("POST", CLOSING),
        ("GET", "/cleemy-procurement/api/purchases/12"),
        ("GET", "/other"),
    ]
    for request in server.requests:
        assert request.headers["authorization"] == AUTHORIZATION
        assert request.headers["accept"] == "application/json"
        assert request.headers["user-agent"] == f"airflow-provider-lucca/{__version__} apache-airflow/{airflow_version}"


def test_a_closing_sends_what_was_given_and_nothing_else(connect: Connect) -> None:
    with ScriptedServer(http(200)) as server:
        hook = connect(server.url)
        hook.close_purchase(12)
        hook.close_purchase(12, comment="Clôturé")
        hook.close_purchase(12, comment="Clôturé", closing_date=datetime.date(2026, 1, 31))
    assert [json.loads(request.body) for request in server.requests] == [
        {},
        {"comment": "Clôturé"},
        {"comment": "Clôturé", "date": "2026-01-31"},
    ]
    assert {request.headers["content-type"] for request in server.requests} == {"application/json"}


def test_ipv6(connect: Connect) -> None:
    with ScriptedServer(host="::1") as server:
        connect("::1").get_conn().get(server.url)
        connect(server.url).close_purchase(12)
    assert len(server.requests) == 2


def test_no_cookie_is_kept(connect: Connect) -> None:
    with ScriptedServer(http(200, b"{}", Set_Cookie="session=someone-else; Path=/")) as server:
        hook = connect(server.url)
        for _ in range(2):
            hook.get_purchase(12)
    assert all("cookie" not in request.headers for request in server.requests)


def test_a_netrc_does_not_replace_the_key(connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1\nlogin jane\npassword hunter2\n")
    netrc.chmod(0o600)
    with ScriptedServer() as server:
        requests.get(server.url, timeout=5)
        connect(server.url).close_purchase(12)
        connect(server.url).get_conn().get(server.url)
    assert server.requests[0].headers["authorization"].startswith("Basic ")  # so the file does count elsewhere
    assert [request.headers["authorization"] for request in server.requests[1:]] == [AUTHORIZATION] * 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int, connect: Connect) -> None:
    with ScriptedServer() as elsewhere, ScriptedServer(http(status, Location=f"{elsewhere.url}/login")) as server:
        hook = connect(server.url)
        session = hook.get_conn()
        for call in (session.get, session.post, session.put, session.delete, session.options, session.head):
            assert call(server.url).status_code == status
            assert call(server.url, allow_redirects=True).status_code == status
        assert session.get(server.url, allow_redirects=False).next is None
        sent = len(server.requests)
        error = failure_of(lambda: hook.close_purchase(12))
        assert type(error) is LuccaAccessError
        assert error.status == status
        assert "Redirects are never followed" in str(error)
        assert len(server.requests) == sent + 1
    assert elsewhere.requests == []


def test_no_call_can_forget_the_time_out(connect: Connect) -> None:
    with ScriptedServer(HANG) as server:
        hook = connect(server.url, timeout=0.1)
        session = hook.get_conn()
        request = session.prepare_request(requests.Request("GET", server.url))
        started = time.monotonic()
        for call in (
            lambda: session.get(server.url),
            lambda: session.get(server.url, timeout=None),
            lambda: session.send(request),
        ):
            with pytest.raises(requests.ReadTimeout):
                call()
        assert type(failure_of(hook.probe)) is LuccaInDoubtError
        assert time.monotonic() - started < 30


def test_a_call_may_have_another_time_out(connect: Connect) -> None:
    with ScriptedServer(HANG) as server, pytest.raises(requests.ReadTimeout):
        connect(server.url, timeout=20).get_conn().get(server.url, timeout=0.1)


# -- TLS ------------------------------------------------------------------------------------------------------------


def test_an_untrusted_certificate_stops_everything_before_the_key_is_sent(certificate: str, connect: Connect) -> None:
    with ScriptedServer(certificate=certificate) as server:
        hook = connect(f"https://localhost:{server.port}")
        error = failure_of(lambda: hook.close_purchase(12))
        assert type(error) is LuccaAccessError
        assert "certificate is not trusted" in str(error)
        assert "Nothing was sent" in str(error)
        session = hook.get_conn()
        session.verify = False
        for call in (lambda: session.get(hook.base_url), lambda: session.get(hook.base_url, verify=False)):
            with pytest.raises(requests.exceptions.SSLError):
                call()
    assert server.connections == 3
    assert server.bytes_received == 0


@pytest.mark.parametrize("verify", [True, False])
def test_the_workers_own_ca_counts(
    verify: bool, certificate: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate)
    with ScriptedServer(certificate=certificate) as server:
        hook = connect(f"https://localhost:{server.port}")
        hook.get_conn().verify = verify
        hook.close_purchase(12)
    assert server.requests[0].headers["authorization"] == AUTHORIZATION


def test_a_certificate_of_another_host_is_refused(
    certificate: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate)
    with ScriptedServer(certificate=certificate) as server:
        assert type(failure_of(connect(server.url).probe)) is LuccaAccessError
    assert server.bytes_received == 0


def test_a_ca_file_that_is_not_there_is_told(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    error = failure_of(connect("https://localhost:1").probe)
    assert type(error) is LuccaAccessError
    assert "/nowhere/ca.pem" in str(error)
    assert "Nothing was sent" in str(error)


@pytest.mark.parametrize(
    "greeting", [b"", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"], ids=["hangs up", "speaks no TLS"]
)
def test_a_server_without_tls_was_certainly_not_sent_anything(greeting: bytes, connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(10_000)
                client.sendall(greeting)

        thread = threading.Thread(target=serve)
        thread.start()
        error = failure_of(connect(f"https://127.0.0.1:{listener.getsockname()[1]}").client.probe)
        thread.join()
    assert type(error) is LuccaNotSentError


def test_a_handshake_that_hangs_was_certainly_not_sent_anything(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        hook = connect(f"https://127.0.0.1:{listener.getsockname()[1]}", timeout=0.1)
        assert type(failure_of(lambda: hook.close_purchase(12))) is LuccaNotSentError


def test_a_handshake_that_failed_before_for_somebody_else_says_nothing_of_this_request(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ScriptedServer(DROP) as server:
        hook = connect(server.url)
        try:
            requests.get(f"https://127.0.0.1:{listener.getsockname()[1]}", timeout=0.1)
        except requests.RequestException:
            with pytest.raises(LuccaInDoubtError):
                hook.close_purchase(12)
    assert len(server.requests) == 1


# -- a POST is never sent twice -------------------------------------------------------------------------------------

IN_DOUBT: dict[str, Answer] = {
    "read time-out": HANG,
    "dropped after the request": DROP,
    "reset after the request": RESET,
    "dropped in the status line": then_close(b"HTTP/1.1 20"),
    "dropped in the headers": then_close(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "dropped after the headers": then_close(http(200, length=10)),
    "dropped in the body": then_close(http(200, b'{"id"', length=10)),
    "dropped in a chunk": then_close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}"),
    "dropped between chunks": then_close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"),
    "no sense in a chunk": then_close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n"),
    "no HTTP": then_close(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "too many headers": then_close(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n"),
    "202": http(202),
    "206": http(206, b"{}"),
    "408": http(408, Retry_After="0"),
    "500": http(500),
    "502 with a page": http(502, HTML, Content_Type="text/html"),
    "503": http(503, Retry_After="0"),
    "504": http(504, Retry_After="0"),
}


@pytest.mark.parametrize("name", IN_DOUBT)
def test_in_doubt_and_sent_exactly_once(name: str, connect: Connect, connects: list[Any]) -> None:
    with ScriptedServer(IN_DOUBT[name], http(200)) as server:
        timeout = 0.2 if name == "read time-out" else 5
        error = failure_of(lambda: connect(server.url, timeout=timeout).close_purchase(12))
        assert type(error) is (LuccaUnclearError if name in ("202", "206") else LuccaInDoubtError)
        assert error.purchase_id == 12
        assert "It may or may not have happened." in error.message
    assert len(server.requests) == len([event for event, _ in connects if event == "socket.connect"]) == 1


def test_a_reading_in_doubt_says_that_nothing_was_changed(connect: Connect) -> None:
    with ScriptedServer(http(500)) as server:
        error = failure_of(lambda: connect(server.url).get_purchase(12))
        assert type(error) is LuccaInDoubtError
        assert "Nothing was changed." in error.message


def test_the_state_of_another_purchase_does_not_pass_for_this_ones(connect: Connect) -> None:
    with ScriptedServer(http(200, {"id": 13, "state": "Closed"})) as server:
        error = failure_of(lambda: connect(server.url).get_purchase(12))
        assert type(error) is LuccaUnclearError
        assert "about another purchase" in str(error)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, LuccaRefusedError),
        (401, LuccaAccessError),
        (403, LuccaForbiddenError),
        (404, LuccaNotFoundError),
        (405, LuccaRefusedError),
        (409, LuccaRefusedError),
        (413, LuccaRefusedError),
        (422, LuccaRefusedError),
        (431, LuccaRefusedError),
    ],
)
def test_a_clear_no_is_final(status: int, kind: type[LuccaError], connect: Connect) -> None:
    problem = {"title": "No", "detail": f"because of {KEY}", "errors": {"date": ["too early"]}}
    with ScriptedServer(http(status, problem, Retry_After="0"), http(200)) as server:
        error = failure_of(lambda: connect(server.url).close_purchase(12))
    assert type(error) is kind
    assert (error.status, error.purchase_id, error.retry_after) == (status, 12, 0.0)
    assert (error.title, error.detail, error.errors) == ("No", "because of ***", {"date": ["too early"]})
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_clear_yes(status: int, connect: Connect) -> None:
    with ScriptedServer(http(status)) as server:
        connect(server.url).close_purchase(12)
    assert len(server.requests) == 1


def test_a_web_page_is_no_yes(connect: Connect) -> None:
    with ScriptedServer(http(200, HTML)) as server:
        error = failure_of(lambda: connect(server.url).close_purchase(12))
    assert type(error) is LuccaUnclearError
    assert error.web_page
    assert len(server.requests) == 1


# -- what is tried again --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "retry_after", ["0", "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_429_is_tried_again(retry_after: str, connect: Connect) -> None:
    with ScriptedServer(http(429, Retry_After=retry_after), http(200)) as server:
        connect(server.url).close_purchase(12)
    assert len(server.requests) == 2


def test_429_without_retry_after_is_tried_again(connect: Connect) -> None:
    with ScriptedServer(http(429), http(200)) as server:
        hook, clock = connect(server.url), FastClock()
        hook.pacer = Pacer(Window(45), clock)
        started = clock.now()
        hook.close_purchase(12)
        assert clock.now() - started == 10.0
    assert len(server.requests) == 2


@pytest.mark.parametrize("call", [lambda hook: hook.close_purchase(12), lambda hook: hook.get_purchase(12)])
@pytest.mark.parametrize(("retry_after", "requests"), [("600", 2), ("601", 1), ("100", 7), ("86400", 1)])
def test_a_call_waits_up_to_ten_minutes_for_a_429(
    retry_after: str, requests: int, call: Callable[[LuccaHook], object], connect: Connect
) -> None:
    with ScriptedServer(http(429, {"title": "Too many"}, Retry_After=retry_after)) as server:
        error = failure_of(lambda: call(connect(server.url)))
    assert type(error) is LuccaThrottledError
    assert (error.status, error.title, error.retry_after) == (429, "Too many", float(retry_after))
    assert len(server.requests) == requests


@pytest.mark.parametrize(
    ("retry_after", "seconds"), [("86400", 86400.0), ("9" * 9, 999_999_999.0), ("soon", None), ("-5", None)]
)
def test_the_client_does_not_wait_for_a_429_and_says_what_lucca_asked(
    retry_after: str, seconds: float | None, connect: Connect
) -> None:
    with ScriptedServer(http(429, Retry_After=retry_after)) as server:
        error = failure_of(lambda: close(connect(server.url)))
    assert error.retry_after == seconds
    assert len(server.requests) == 1


@pytest.mark.parametrize(("call", "times"), [(LuccaHook.close_purchase, 4), (close, 1), (LuccaHook.get_purchase, 4)])
def test_a_refused_connection_was_not_sent(
    call: Callable[..., object], times: int, refusing: str, connect: Connect, connects: list[Any]
) -> None:
    error = failure_of(lambda: call(connect(refusing), 12))
    assert type(error) is LuccaNotSentError
    assert error.purchase_id == 12
    assert "Nothing was sent" in str(error)
    assert len([event for event, _ in connects if event == "socket.connect"]) == times


def test_a_connection_that_is_refused_first_is_tried_again(connect: Connect, connects: list[Any]) -> None:
    with ScriptedServer(refuse=True) as server, ThreadPoolExecutor(1) as pool:
        result = pool.submit(connect(server.url, real_time=True).close_purchase, 12)
        while sum(event == "socket.connect" for event, _ in connects) < 2:
            time.sleep(0.01)
        server.listen()  # the third try comes two seconds after the second
        assert result.result(10) is None
    assert len(server.requests) == 1


@pytest.mark.parametrize(("call", "times"), [(LuccaHook.close_purchase, 4), (close, 1)])
def test_a_connect_time_out_was_not_sent(
    call: Callable[..., object], times: int, unresponsive: str, connect: Connect, connects: list[Any]
) -> None:
    error = failure_of(lambda: call(connect(unresponsive, timeout=0.1), 12))
    assert type(error) is LuccaNotSentError
    assert len([event for event, _ in connects if event == "socket.connect"]) == times


def test_an_unknown_name_was_not_sent(connect: Connect, connects: list[Any]) -> None:
    error = failure_of(lambda: close(connect("https://lucca.invalid")))
    assert type(error) is LuccaNotSentError
    assert [event for event, _ in connects] == ["socket.getaddrinfo"]


def test_a_name_that_cannot_be_looked_up_is_told(connect: Connect) -> None:
    hook = connect("https://acme.ilucca.net")
    with pytest.raises(requests.exceptions.InvalidURL):
        hook.get_conn().get("https://.ilucca.net")


# -- proxies --------------------------------------------------------------------------------------------------------


def test_a_proxy_that_refuses_connections_was_not_sent(
    refusing: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", refusing)
    assert type(failure_of(lambda: close(connect("https://acme.test")))) is LuccaNotSentError


@pytest.mark.parametrize("refusal", [http(407), http(403), http(502), DROP, RESET, then_close(b"HTTP/1.1 200")])
def test_a_proxy_that_refuses_to_tunnel_was_not_sent_the_request(
    refusal: Answer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(refusal) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        error = failure_of(lambda: close(connect("https://acme.test")))
    assert type(error) is LuccaNotSentError
    assert [request.method for request in proxy.requests] == ["CONNECT"]
    assert "authorization" not in proxy.requests[0].headers


def test_a_proxy_setting_that_makes_no_sense_is_told(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    for proxy in ("foo://127.0.0.1:1", "http://"):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        error = failure_of(connect("https://acme.test").probe)
        assert type(error) is LuccaAccessError
        assert "cannot be made" in str(error)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_nothing_for_this_machine_goes_to_a_proxy(name: str, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer() as server, ScriptedServer() as proxy:
        monkeypatch.setenv(name, proxy.url)
        hook = connect(server.url)
        hook.close_purchase(12)
        hook.get_conn().get(server.url, proxies={"http": proxy.url})
    assert len(server.requests) == 2
    assert proxy.connections == 0


@pytest.mark.parametrize("allowed", [True, "yes"])
def test_http_through_a_proxy_is_refused_before_anything_is_sent(
    allowed: object, connect: Connect, connects: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        hook = connect("http://acme.test", allow_insecure_http=allowed)
        for call in (hook.get_conn, hook.probe, lambda: hook.close_purchase(12)):
            error = failure_of(call)
            assert type(error) is LuccaConfigurationError
            assert str(error).startswith(
                "Connection 'lucca_test': Schema (https or http) 'http' would send the API key "
            )
            assert "NO_PROXY" in str(error)
        assert hook.test_connection() == (False, str(error).removeprefix("Connection 'lucca_test': "))
    assert connects == []


def test_http_through_a_proxy_that_is_set_later_is_refused_too(
    connect: Connect, connects: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = connect("http://acme.test", allow_insecure_http=True)
    hook.get_conn()
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    error = failure_of(lambda: hook.close_purchase(12))
    assert type(error) is LuccaAccessError
    assert "Nothing was sent" in str(error)
    assert connects == []


def test_the_key_goes_to_no_other_host_or_port(connect: Connect) -> None:
    with ScriptedServer() as server, ScriptedServer() as other:
        session = connect(server.url).get_conn()
        session.get(f"{server.url}/x")
        session.get(other.url)
        session.get(f"http://localhost:{server.port}")
    assert server.requests[0].headers["authorization"] == AUTHORIZATION
    assert ["authorization" in request.headers for request in [*server.requests[1:], *other.requests]] == [False, False]


# -- connections that are kept --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        http(200, b'{"id": 12}'),
        http(404, b'{"title": "no"}'),
        http(200, gzip.compress(b'{"id": 12}'), Content_Encoding="gzip"),
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"i\r\n7\r\nd": 12}\r\n0\r\n\r\n',
    ],
    ids=["plain", "error", "gzip", "chunked"],
)
def test_a_connection_is_used_again(answer: bytes, connect: Connect) -> None:
    with ScriptedServer(answer) as server:
        hook = connect(server.url)
        for _ in range(3):
            with contextlib.suppress(LuccaNotFoundError):
                hook.get_purchase(12)
    assert [request.connection for request in server.requests] == [0, 0, 0]


def test_a_kept_connection_that_the_server_closed_is_noticed_before_the_next_request(connect: Connect) -> None:
    with ScriptedServer(then_close(http(200, {"id": 12})), http(200, {"id": 12})) as server:
        hook = connect(server.url)
        hook.get_purchase(12)
        while not server.closed:
            time.sleep(0.01)
        hook.get_purchase(12)
    assert [request.connection for request in server.requests] == [0, 1]


@pytest.mark.parametrize("end", [DROP, RESET])
def test_a_connection_that_closes_on_a_post_leaves_it_in_doubt(end: Answer, connect: Connect) -> None:
    """The server may have read it or not: nobody can tell, so it is never repeated here."""
    with ScriptedServer(http(200), end, http(200)) as server:
        hook = connect(server.url)
        hook.close_purchase(12)
        assert type(failure_of(lambda: hook.close_purchase(13))) is LuccaInDoubtError
        hook.close_purchase(14)
    assert Counter(request.target.split("/")[4] for request in server.requests) == {"12": 1, "13": 1, "14": 1}


# -- slow and large -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(
    ("start", "byte"),
    [
        (b"Content-Length: 1000000\r\n\r\n", b"x"),
        (b"\r\n", b"x"),
        (b"Transfer-Encoding: chunked\r\n\r\nfffff\r\n", b"x"),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["length", "to the end", "one chunk", "chunks"],
)
def test_a_body_that_drips_does_not_hold_a_call(status: int, start: bytes, byte: bytes, connect: Connect) -> None:
    with ScriptedServer(drip(b"HTTP/1.1 %d Slow\r\n" % status + start, byte)) as server:
        started = time.monotonic()
        error = failure_of(lambda: connect(server.url, timeout=0.3).close_purchase(12))
        assert time.monotonic() - started < 30
        assert type(error) is (LuccaInDoubtError if status == 200 else LuccaRefusedError)


@pytest.mark.parametrize(
    ("start", "part"),
    [
        (b"HTTP/1.1 2", b"0"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"y"),
    ],
    ids=["status line", "header", "100 Continue", "size of a chunk", "extension of a chunk", "trailer"],
)
def test_no_part_of_an_answer_that_drips_holds_a_call(start: bytes, part: bytes, connect: Connect) -> None:
    for every in (0.02, 0.0):
        with ScriptedServer(drip(start, part * (1 if every else 1000), every)) as server:
            started = time.monotonic()
            error = failure_of(lambda: connect(server.url, timeout=0.3).close_purchase(12))
            assert time.monotonic() - started < 30
            assert type(error) is LuccaInDoubtError


def test_an_endless_answer_is_cut_off(connect: Connect) -> None:
    with ScriptedServer(then_close(http(500, b"x" * 20_000_000))) as server:
        error = failure_of(lambda: connect(server.url).close_purchase(12))
    assert error.detail == "x" * 300 + "…"


def test_a_page_of_megabytes_is_read(connect: Connect) -> None:
    items = [{"id": n, "state": "Ongoing", "title": "x" * 5000} for n in range(1, 1001)]
    with ScriptedServer(http(200, {"items": items, "next": "2"})) as server:
        page = connect(server.url).get_page("/purchases", {})
    assert page == {"items": items, "next": "2"}


# -- reading --------------------------------------------------------------------------------------------------------


def test_a_purchase_is_returned_as_lucca_says(connect: Connect) -> None:
    with ScriptedServer(http(200, {"id": 12, "title": "Été"})) as server:
        assert connect(server.url).get_purchase(12) == {"id": 12, "title": "Été"}


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"12", b"OK", b'{"id": 12'])
def test_what_is_no_purchase_is_not_taken_for_one(body: bytes, connect: Connect) -> None:
    with ScriptedServer(http(200, body)) as server:
        error = failure_of(lambda: connect(server.url).get_purchase(12))
    assert type(error) is LuccaUnclearError
    assert len(server.requests) == 4
    assert error.purchase_id == 12


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"12", b"OK", b'{"items": ['])
def test_what_is_no_page_is_not_taken_for_one(body: bytes, connect: Connect) -> None:
    with ScriptedServer(http(200, body)) as server:
        error = failure_of(lambda: connect(server.url).get_page("/purchases", {}))
    assert type(error) is LuccaUnclearError
    assert len(server.requests) == 4


# -- lists ----------------------------------------------------------------------------------------------------------

LISTS = {"purchases": LuccaHook.list_purchases, "booked-documents": LuccaHook.list_booked_documents}


@pytest.fixture
def connect_fast(connect: Connect) -> Connect:
    """Make a hook whose reads wait in no time."""

    def make(host: str, *, clock: Clock | None = None, **kwargs: Any) -> LuccaHook:
        hook = connect(host, **kwargs)
        hook.pacer = Pacer(Window(hook.tenant.requests_per_minute), clock or FastClock())
        return hook

    return make


def numbers(name: str, hook: LuccaHook) -> list[int]:
    return [item["id"] for item in LISTS[name](hook)]


@pytest.mark.parametrize(("ignores_limit", "requests"), [(False, 1), (True, 3)])
@pytest.mark.parametrize("tokens", [True, False])
def test_lists_are_read_to_their_end_however_they_are_paged(
    tokens: bool, ignores_limit: bool, requests: int, connect_fast: Connect
) -> None:
    with Sandbox(purchases=0, list_tokens=tokens, list_ignores_limit=ignores_limit) as lucca:
        for _ in range(300):
            lucca.add_purchase()
        hook = connect_fast(lucca.url, password=lucca.api_key)
        assert numbers("purchases", hook) == lucca.purchase_ids
        assert numbers("booked-documents", hook) == [document["id"] for document in lucca.documents]
        queries = [request.query for request in lucca.requests]
    assert len(queries) == 2 * requests
    assert all(query["limit"] == "1000" and query["fields.root"] == "next,count" for query in queries)


def test_a_thousand_items_come_with_one_request(connect_fast: Connect) -> None:
    with Sandbox(purchases=0) as lucca:
        for _ in range(1001):
            lucca.add_purchase(invoices=[])
        listed = connect_fast(lucca.url, password=lucca.api_key).list_purchases()
        assert [next(listed)["id"] for _ in range(1000)] == lucca.purchase_ids[:1000]
        assert len(lucca.requests) == 1
        assert [item["id"] for item in listed] == lucca.purchase_ids[1000:]
        assert len(lucca.requests) == 2


@pytest.mark.parametrize("name", LISTS)
def test_nothing_is_asked_for_before_the_first_item_is(name: str, connect_fast: Connect, connects: list[Any]) -> None:
    with ScriptedServer(http(200, {"items": [{"id": 1}], "next": "b"}), http(200, {"items": [{"id": 2}]})) as server:
        listed = LISTS[name](connect_fast(server.url))
        assert connects == []
        assert next(listed)["id"] == 1
        assert len(server.requests) == 1
        assert [item["id"] for item in listed] == [2]
    path = f"/cleemy-procurement/api/{name}?limit=1000&fields.root=next%2Ccount"
    assert [request.target for request in server.requests] == [path, f"{path}&page=b"]
    assert {request.method for request in server.requests} == {"GET"}


def test_pages_say_how_many_there_are(connect_fast: Connect) -> None:
    with Sandbox(purchases=150, list_ignores_limit=True) as lucca:
        hook = connect_fast(lucca.url, password=lucca.api_key)
        assert [(len(page.items), page.count) for page in hook.purchase_pages()] == [(100, 150), (50, 150)]
        first = next(hook.booked_document_pages())
        assert first.count == len(lucca.documents)


def test_query_parameters_go_along_with_every_page(connect_fast: Connect) -> None:
    pages = [http(200, {"items": [{"id": 1}], "next": "b"}), http(200, {"items": []})]
    with ScriptedServer(*pages, *pages) as server:
        hook = connect_fast(server.url)
        assert len(list(hook.list_purchases({"states": ["Ongoing", "Denied"], "mine": True, "not": None}))) == 1
        since = datetime.date(2026, 2, 1)
        assert len(list(hook.list_booked_documents(since, {"invoice.conformityStates": "ToReview"}))) == 1
    queries = [parse_qs(urlsplit(request.target).query) for request in server.requests]
    paging = {"limit": ["1000"], "fields.root": ["next,count"]}
    purchases = paging | {"states": ["Ongoing", "Denied"], "mine": ["true"]}
    documents = paging | {"invoice.conformityStates": ["ToReview"], "createdAt.from": ["2026-02-01"]}
    following = {"page": ["b"]}
    assert queries == [purchases, purchases | following, documents, documents | following]


def test_documents_are_those_that_were_created_since_a_day(connect_fast: Connect) -> None:
    with Sandbox(purchases=1) as lucca:
        old = lucca.add_document(createdAt="2026-01-31T23:59:59.0000000+00:00", conformityState="ToReview")
        new = lucca.add_document(createdAt="2026-02-01T00:00:00.0000000+00:00", conformityState="ToReview")
        hook = connect_fast(lucca.url, password=lucca.api_key)
        for since in ("2026-02-01", datetime.date(2026, 2, 1)):
            found = {item["id"] for item in hook.list_booked_documents(since)}
            assert new in found
            assert old not in found
        assert old in numbers("booked-documents", hook)


@pytest.mark.parametrize(
    "call",
    [
        lambda hook: hook.list_purchases({"page": 2}),
        lambda hook: hook.list_purchases("states=Ongoing"),
        lambda hook: hook.purchase_pages({"Limit": 10}),
        lambda hook: hook.list_booked_documents(query={"a": b"x"}),
        lambda hook: hook.list_booked_documents("1st of May"),
        lambda hook: hook.booked_document_pages("2026-02-30"),
    ],
)
def test_a_query_that_cannot_be_sent_is_told_before_anything_is(
    call: Callable[[LuccaHook], object], connect: Connect, connects: list[Any]
) -> None:
    with pytest.raises(InvalidInputError):
        call(connect("http://127.0.0.1:9"))
    assert connects == []


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(
    ("status", "kind", "requests"),
    [
        (400, LuccaRefusedError, 1),
        (403, LuccaForbiddenError, 1),
        (404, LuccaNotFoundError, 1),
        (401, LuccaAccessError, 1),
        (500, LuccaInDoubtError, 4),
    ],
)
def test_a_list_that_is_refused_is_no_empty_list(
    status: int, kind: type[LuccaError], requests: int, name: str, connect_fast: Connect
) -> None:
    with Sandbox(purchases=1, list_status=status) as lucca:
        hook = connect_fast(lucca.url, password=lucca.api_key)
        error = failure_of(lambda: numbers(name, hook))
        assert type(error) is kind
        assert error.status == status
        assert len(lucca.requests) == requests


@pytest.mark.parametrize("name", LISTS)
def test_a_token_that_leads_back_is_no_end_and_no_endless_loop(name: str, connect_fast: Connect) -> None:
    with Sandbox(purchases=0, list_ignores_limit=True, list_repeats_token=True) as lucca:
        for _ in range(250):
            lucca.add_purchase()
        hook = connect_fast(lucca.url, password=lucca.api_key)
        error = failure_of(lambda: numbers(name, hook))
        assert type(error) is LuccaInDoubtError
        assert "leads back to what came before" in str(error)
        assert len(lucca.requests) == 2


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("purchases", [1, 100, 101, 200])
def test_a_token_that_leads_back_does_no_harm_once_all_were_seen(
    purchases: int, name: str, connect_fast: Connect
) -> None:
    with Sandbox(purchases=0, list_ignores_limit=True, list_repeats_token=True) as lucca:
        for _ in range(purchases):
            lucca.add_purchase()
        assert len(set(numbers(name, connect_fast(lucca.url, password=lucca.api_key)))) == purchases
        assert len(lucca.requests) == 2


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{}", b'{"items": null}', b'{"items": [{"id": "1"}]}', b'{"items": [{"id": 1}']
)
def test_a_page_that_makes_no_sense_is_told_and_no_end(body: bytes, name: str, connect_fast: Connect) -> None:
    with ScriptedServer(http(200, {"items": [{"id": 1}], "next": "b"}), http(200, body)) as server:
        listed = LISTS[name](connect_fast(server.url))
        assert next(listed)["id"] == 1
        assert isinstance(failure_of(lambda: next(listed)), LuccaInDoubtError)
    # What is no list at all may be of the moment and is asked for again; a list of something else is not.
    assert len(server.requests) == (2 if body in (b"{}", b'{"items": null}', b'{"items": [{"id": "1"}]}') else 5)


@pytest.mark.parametrize(
    ("answer", "kind", "requests"),
    [
        (http(302, Location="/login"), LuccaAccessError, 1),
        (http(401), LuccaAccessError, 1),
        (http(404, HTML), LuccaNotFoundError, 1),
        (http(200, HTML), LuccaUnclearError, 4),
    ],
)
def test_a_page_that_is_none_of_luccas_ends_the_list(
    answer: Answer, kind: type[LuccaError], requests: int, connect_fast: Connect
) -> None:
    with ScriptedServer(answer) as server:
        assert type(failure_of(lambda: numbers("purchases", connect_fast(server.url)))) is kind
    assert len(server.requests) == requests


@pytest.mark.parametrize(
    "lost", [DROP, RESET, http(500), http(408), http(503, Retry_After="9"), http(429, Retry_After="9"), http(429)]
)
def test_a_page_whose_answer_is_lost_is_asked_for_again(lost: Answer, connect_fast: Connect) -> None:
    last = http(200, {"items": [{"id": 2}]})
    with ScriptedServer(http(200, {"items": [{"id": 1}], "next": "b"}), lost, lost, last) as server:
        assert numbers("purchases", connect_fast(server.url)) == [1, 2]
    assert [request.target.partition("&page=")[2] for request in server.requests] == ["", "b", "b", "b"]


def test_a_server_that_is_gone_ends_the_list(refusing: str, connect_fast: Connect, connects: list[Any]) -> None:
    assert type(failure_of(lambda: numbers("purchases", connect_fast(refusing)))) is LuccaNotSentError
    assert [event for event, _ in connects] == ["socket.getaddrinfo", "socket.connect"] * 4


def test_lists_of_one_hook_keep_to_the_limit_together(connect_fast: Connect) -> None:
    clock = FastClock()
    with Sandbox(purchases=0, limit=3, clock=clock.now, list_ignores_limit=True) as lucca:
        for _ in range(350):
            lucca.add_purchase()
        hook = connect_fast(lucca.url, password=lucca.api_key, clock=clock, requests_per_minute=3)
        assert len(numbers("purchases", hook)) == len(numbers("booked-documents", hook)) == 350
        assert [request.status for request in lucca.requests] == [200] * 8
        assert [request.at - lucca.requests[0].at for request in lucca.requests] == [0, 0, 0, 60, 60, 60, 120, 120]


def test_the_limit_is_that_of_the_connection(connect: Connect) -> None:
    with Sandbox(purchases=450, limit=2, window=0.2, list_ignores_limit=True) as lucca:
        hook = connect(lucca.url, password=lucca.api_key, requests_per_minute=2, window_seconds=0.2, real_time=True)
        assert numbers("purchases", hook) == lucca.purchase_ids
        assert [request.status for request in lucca.requests] == [200] * 5
        assert lucca.requests[4].at - lucca.requests[0].at >= 0.4


# -- the check ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quirks", [{}, {"list_tokens": False}, {"list_ignores_limit": True}])
def test_the_check_finds_what_the_tenant_would_do(quirks: dict[str, bool], connect_fast: Connect) -> None:
    with Sandbox(purchases=120, limit=0, **quirks) as lucca:
        hook = connect_fast(lucca.url, password=lucca.api_key)
        check = Arguments(lucca.purchase_ids, Rules(), None).check(hook)
        assert check["closable"] == lucca.closable_ids
        assert check["already_closed"] == lucca.closed_ids
        assert [blocked["id"] for blocked in check["blocked"]] == lucca.blocked_ids
        assert check["unknown"] == []
        assert {request.method for request in lucca.requests} == {"GET"}


def test_the_check_takes_nothing_for_closable_whose_older_documents_were_not_looked_for(connect_fast: Connect) -> None:
    with Sandbox(purchases=120, limit=0) as lucca:
        hook = connect_fast(lucca.url, password=lucca.api_key)
        assert Arguments(lucca.purchase_ids, Rules(), "2020-01-01").check(hook)["closable"] == lucca.closable_ids
        day = lucca.documents[len(lucca.documents) // 2]["createdAt"][:10]
        older = {
            document["purchase"]["id"]
            for document in lucca.documents
            if document["createdAt"] < day
            and not {"Discarded", "Removed", "Cancelled"} & {document["conformityState"], document["paymentState"]}
        }
        check = Arguments(lucca.purchase_ids, Rules(), day).check(hook)
        assert check["closable"] == [number for number in lucca.closable_ids if number not in older]
        assert {unknown["id"] for unknown in check["unknown"]} >= older & set(lucca.closable_ids)


@pytest.mark.parametrize("quirks", [{"list_status": 403}, {"list_status": 404}, {"list_repeats_token": True}])
def test_the_check_takes_nothing_for_closable_without_all_documents(
    quirks: dict[str, Any], connect_fast: Connect
) -> None:
    with Sandbox(purchases=250, limit=0, list_ignores_limit=True, **quirks) as lucca:
        ids = lucca.purchase_ids[:40]
        check = Arguments(ids, Rules(), None).check(connect_fast(lucca.url, password=lucca.api_key))
        assert check["closable"] == []
        assert check["already_closed"] == [number for number in ids if number in lucca.closed_ids]
        assert len(lucca.requests) <= 4 + len(ids)


@pytest.mark.parametrize("tokens", [True, False])
def test_a_check_of_1000_purchases_with_3000_documents_takes_at_most_10_requests(
    tokens: bool, connect_fast: Connect
) -> None:
    with Sandbox(purchases=0, limit=0, list_tokens=tokens) as lucca:
        paid = {"conformityState": "Confirmed", "paymentState": "Paid"}
        ids = [lucca.add_purchase(invoices=[paid] * 3) for _ in range(1000)]
        check = Arguments(ids, Rules(), None).check(connect_fast(lucca.url, password=lucca.api_key))
        assert check["closable"] == ids
        assert len(lucca.documents) == 3000
        assert len(lucca.requests) <= 10


# -- what is said ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "what", "purchase_id"),
    [
        (lambda hook: hook.close_purchase(12), "Closing purchase 12", 12),
        (lambda hook: hook.get_purchase(12), "Reading purchase 12", 12),
        (lambda hook: hook.get_page("/purchases", {}), "Listing purchases", None),
        (lambda hook: list(hook.list_purchases()), "Listing purchases", None),
        (lambda hook: list(hook.list_booked_documents()), "Listing booked documents", None),
        (lambda hook: hook.probe(), "Testing the connection", None),
    ],
)
def test_an_error_says_what_was_asked_where_and_of_which_purchase(
    call: Callable[[LuccaHook], object], what: str, purchase_id: int | None, connect: Connect
) -> None:
    with ScriptedServer(http(409, {"title": "Not now"})) as server:
        error = failure_of(lambda: call(connect(server.url)))
    said = f"Lucca refused this: Not now ({what} at {server.url}: 409)"
    assert error.message == said
    assert str(error) == f"{said} (lucca_correlation_id {server.requests[0].headers['x-correlation-id']})"
    assert (error.purchase_id, error.title, error.status) == (purchase_id, "Not now", 409)


def test_an_error_without_an_answer_says_what_was_asked_too(refusing: str, connect: Connect) -> None:
    error = failure_of(lambda: connect(refusing).get_purchase(12))
    assert error.message.startswith("No connection to Lucca. Check Tenant (host)")
    assert f" (Reading purchase 12 at {refusing}: " in error.message


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([], "Lucca's answer is not a JSON object."),
        ({"id": 13, "state": "Closed"}, "Lucca's answer is about another purchase."),
    ],
)
def test_a_purchase_that_is_none_or_another_one_is_named(value: object, problem: str, connect: Connect) -> None:
    with ScriptedServer(http(200, value)) as server:
        error = failure_of(lambda: connect(server.url).client.get_purchase(12))
    said = f"{problem} Nothing was changed. (Reading purchase 12 at {server.url}: 200)"
    assert (error.message, error.purchase_id, error.status) == (said, 12, 200)


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda hook: list(hook.list_purchases()), "Listing purchases"),
        (lambda hook: list(hook.list_booked_documents()), "Listing booked documents"),
    ],
)
def test_a_list_that_is_none_is_named(call: Callable[[LuccaHook], object], what: str, connect: Connect) -> None:
    with ScriptedServer(http(200, {"items": 5})) as server:
        error = failure_of(lambda: call(connect(server.url)))
    assert str(error).startswith(f"{what}: ")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (
            200,
            "Connected to {}. This does not show whether the API key may view or close purchases; it needs both "
            "rights.",
        ),
        (
            403,
            "The API key is valid, but its role has no right on Lucca Invoices (403). Give the role the rights to view "
            f"purchases and to manage invoices and payments of approved purchases {RIGHTS_GUIDE}.",
        ),
        (
            404,
            "Lucca Invoices does not answer there (404). Check that Tenant (host) is your tenant, such as "
            f"acme.ilucca.net, and that it has the Invoices module {TESTING_GUIDE}.",
        ),
    ],
)
def test_what_a_test_of_the_connection_found_is_said_with_what_to_do(
    status: int, message: str, connect: Connect
) -> None:
    with ScriptedServer(http(status, {})) as server:
        found = connect(server.url).test_connection()
    assert found == (status == 200, message.format(server.url))


def test_a_wrong_connection_is_what_its_test_says(connect: Connect) -> None:
    works, message = connect("").test_connection()
    assert not works
    what = "Tenant (host) is empty; give the tenant, such as acme.ilucca.net."
    assert message == f"{what} Nothing was sent {FIELDS_GUIDE}."


def test_the_form_of_older_airflows_has_the_same_behaviour() -> None:
    behaviour = LuccaHook.get_ui_field_behaviour()
    assert set(behaviour) == {"hidden_fields", "relabeling", "placeholders"}
    # But for Extra, without which the button of Airflow 2.11 does nothing.
    assert {*behaviour["hidden_fields"], "extra"} == set(FIELD_BEHAVIOUR["hidden-fields"])


# -- test_connection ------------------------------------------------------------------------------------------------


def test_a_connection_that_works(connect: Connect) -> None:
    with ScriptedServer(http(200, {"items": []})) as server:
        works, message = connect(server.url).test_connection()
    assert works
    assert message.startswith(f"Connected to {server.url}.")
    (request,) = server.requests
    assert (request.method, request.target) == ("GET", "/cleemy-procurement/api/natures?limit=1")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (http(401), ["401", "Lucca refused the API key. Correct API key (password)"]),
        (http(403), ["key is valid", "no right on Lucca Invoices (403)", "rights to view purchases"]),
        (http(403, HTML), ["Lucca Invoices does not answer there (403)", "Tenant (host)"]),
        (http(404), ["(404)", "Check that Tenant (host) is your tenant", "Invoices module"]),
        (http(404, HTML), ["Lucca Invoices does not answer there (404)", "Tenant (host)"]),
        (http(302, Location="/login"), ["302", "redirect", "Tenant (host) and API key (password)"]),
        (http(302, Location="https://new.test/x?token=5"), ["'new.test'", "has the tenant been renamed?"]),
        (http(200, HTML), ["web page", "Lucca Invoices does not answer there", "Tenant (host)"]),
        (http(200, b"OK"), ["cannot be read", "Lucca Invoices does not answer there", "Tenant (host)"]),
        (http(200, b""), ["neither a JSON object nor a list", "Lucca Invoices does not answer there"]),
        (http(407), ["407", "A proxy wants credentials", "the worker's proxy settings"]),
        (http(429, Retry_After="0"), ["429", "limit is used up"]),
        (http(500), ["500", "Nothing was changed."]),
        (DROP, ["no answer", "Nothing was changed."]),
    ],
)
def test_a_connection_that_does_not_work_says_why(answer: Answer, words: list[str], connect: Connect) -> None:
    with ScriptedServer(answer) as server:
        works, message = connect(server.url).test_connection()
    assert len(server.requests) == 1  # nobody waits before a form
    assert not works
    assert [word for word in words if word not in message] == []
    assert KEY not in message
    assert message.count(server.url) <= 2
    # Two tests of the same say the same.
    assert server.requests[0].headers["x-correlation-id"] not in message


def test_the_sandboxs_connection_from_another_machine_is_one_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox(purchases=1, host="0.0.0.0") as lucca:  # noqa: S104 - as Airflow in a container needs it
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri)
        works, message = LuccaHook().test_connection()
    assert works, message


def test_a_connection_to_nowhere_says_so(refusing: str, connect: Connect) -> None:
    works, message = connect(refusing).test_connection()
    assert not works
    assert message.startswith("No connection to Lucca. Check Tenant (host) of the connection, and the network.")


def test_https_to_a_server_that_speaks_http_says_which_field_to_set(connect: Connect) -> None:
    with Sandbox(purchases=1) as lucca:
        works, message = connect(lucca.url.replace("http:", "https:")).test_connection()
    assert not works
    assert "set Schema (https or http) to http" in message[:100]


def test_airflow_finds_the_hook_and_tests_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow.models.connection import Connection

    with Sandbox(purchases=1) as lucca:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri)
        connection = Connection(conn_id="lucca_default", uri=lucca.connection_uri)
        works, message = connection.test_connection()
        assert isinstance(connection.get_hook(), LuccaHook)
    assert works, message
    assert message.startswith(f"Connected to {lucca.url}")


def test_the_sandbox_takes_what_the_hook_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox(purchases=3, states={"closable": 1}) as lucca:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri)
        hook = LuccaHook()
        first, second, _ = lucca.purchase_ids
        hook.close_purchase(first)
        hook.close_purchase(second, comment="Clôturé", closing_date=datetime.date(2026, 1, 31))
        assert hook.get_purchase(first)["state"] == "Closed"
        assert sorted(lucca.closed_ids) == sorted([first, second])
        assert [item["state"] for item in hook.list_purchases()].count("Closed") == 2
        hook.get_conn().close()


# -- threads --------------------------------------------------------------------------------------------------------


def test_one_session_serves_many_threads(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    with ScriptedServer(http(200, {})) as server:
        hook = connect(server.url)
        with caplog.at_level(logging.DEBUG), ThreadPoolExecutor(POOL_SIZE) as pool:
            list(pool.map(hook.close_purchase, range(1, 401)))
    assert Counter(int(request.target.split("/")[4]) for request in server.requests) == Counter(range(1, 401))
    assert {request.headers["authorization"] for request in server.requests} == {AUTHORIZATION}
    assert "pool is full" not in caplog.text


# -- the key --------------------------------------------------------------------------------------------------------


def test_the_key_appears_in_no_log(connect: Connect, caplog: pytest.LogCaptureFixture, refusing: str) -> None:
    with caplog.at_level(logging.DEBUG), ScriptedServer(http(429, KEY.encode(), Retry_After="0"), DROP) as server:
        failure_of(lambda: connect(server.url, password=AUTHORIZATION).close_purchase(12))
        failure_of(connect(refusing).probe)
    assert "/closing" in caplog.text
    assert KEY not in caplog.text


def test_the_key_appears_in_no_repr_or_pickle_of_the_hook(connect: Connect) -> None:
    with ScriptedServer(http(200)) as server:
        hook = connect(server.url)
        for used in (False, True):
            for text in (repr(hook), str(hook), repr(pickle.dumps(hook))):
                assert KEY not in text
            if not used:
                hook.close_purchase(12)
        assert KEY not in f"{hook.get_conn()!r} {hook.tenant!r}"
        again = pickle.loads(pickle.dumps(hook))  # noqa: S301 - of this test's own making
        again.close_purchase(12)
        again.get_conn().close()
        copy.copy(hook).get_conn().close()
    assert len(server.requests) == 2


def test_a_hook_that_has_read_lists_is_pickled_too(connect: Connect) -> None:
    hook = connect("acme.ilucca.net")
    assert hook.pacer is hook.pacer
    assert pickle.loads(pickle.dumps(hook)).pacer is not hook.pacer  # noqa: S301 - of this test's own making


def test_airflow_masks_the_key_also_without_what_it_was_pasted_with(connect: Connect) -> None:
    from tests.airflow_names import redact

    key = f"a-key-of-this-run-only-{time.time_ns()}"  # what was masked once stays so
    assert key in str(redact(f"The key is {key}."))
    assert connect("acme.ilucca.net", password=f"lucca application={key}").tenant.api_key == key
    assert key not in str(redact(f"The key is {key}."))


def test_a_paced_read_is_repeated_by_the_pacer_alone_which_counts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox(purchases=3, limit=1, window=1.5) as lucca:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri)
        lucca.fail_next("throttle", method="GET", times=2)
        assert len(list(LuccaHook().list_purchases())) == 3
        moments = [request.at for request in lucca.requests]
        assert len(moments) == 3
        assert min(b - a for a, b in itertools.pairwise(moments)) >= 1.5
