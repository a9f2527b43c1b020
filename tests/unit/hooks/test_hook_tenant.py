"""A connection is read strictly: what is wrong is said with connection id and field, and never with the key."""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
import uuid
from types import SimpleNamespace
from typing import Any

import pytest

from lucca_provider.exceptions import LuccaConfigurationError
from lucca_provider.hooks._tenant import FIELDS_GUIDE, Tenant
from tests.airflow_names import Connection

KEY = "b5c1-4f7e-KEY"


def read(
    host: str | None = "acme.ilucca.net", *, extra: Any = None, password: str | None = KEY, **fields: Any
) -> Tenant:
    text = extra if extra is None or isinstance(extra, str) else json.dumps(extra)
    return Tenant.from_connection(
        Connection(conn_id="lucca_acme", conn_type="lucca", host=host, password=password, extra=text, **fields)
    )


END = f" Nothing was sent {FIELDS_GUIDE}."


def refuse(*args: Any, **fields: Any) -> str:
    """Return what is said of a connection before what every such error ends with."""
    with pytest.raises(LuccaConfigurationError, match=r"^Connection 'lucca_acme': [^\n]+\.$") as caught:
        read(*args, **fields)
    assert caught.value.status is None
    assert str(caught.value).endswith(END)
    return str(caught.value).removesuffix(END)


@pytest.mark.parametrize(
    ("host", "fields", "base_url"),
    [
        ("acme.ilucca.net", {}, "https://acme.ilucca.net"),
        ("ACME.iLucca.NET", {}, "https://acme.ilucca.net"),
        ("https://acme.ilucca.net", {}, "https://acme.ilucca.net"),
        ("https://acme.ilucca.net/", {}, "https://acme.ilucca.net"),
        ("HTTPS://acme.ilucca.net/", {"schema": "https"}, "https://acme.ilucca.net"),
        ("acme.ilucca.net/", {"schema": " HTTPS "}, "https://acme.ilucca.net"),
        ("acme.ilucca.net", {"port": 8443}, "https://acme.ilucca.net:8443"),
        ("acme.ilucca.net", {"port": 443}, "https://acme.ilucca.net"),
        ("acme.ilucca.net:8443", {}, "https://acme.ilucca.net:8443"),
        ("https://acme.ilucca.net:8443/", {"port": 8443}, "https://acme.ilucca.net:8443"),
        ("acme.ilucca.net:443", {}, "https://acme.ilucca.net"),
        ("my-application.ilucca.net", {}, "https://my-application.ilucca.net"),
        ("lucca_proxy", {}, "https://lucca_proxy"),
        ("192.0.2.7", {}, "https://192.0.2.7"),
        ("2001:db8::7", {}, "https://[2001:db8::7]"),
        ("[2001:db8::7]", {"port": 8443}, "https://[2001:db8::7]:8443"),
        ("https://[2001:DB8::7]:8443/", {}, "https://[2001:db8::7]:8443"),
        ("localhost", {"schema": "http"}, "http://localhost"),
        ("LocalHost:80", {"schema": "http"}, "http://localhost"),
        ("localhost", {"schema": "http", "port": 443}, "http://localhost:443"),
        ("127.0.0.1", {"schema": "HTTP", "port": 8080}, "http://127.0.0.1:8080"),
        ("127.8.9.10", {"schema": "http"}, "http://127.8.9.10"),
        ("http://127.0.0.1:8080/", {}, "http://127.0.0.1:8080"),
        ("::1", {"schema": "http", "port": 8080}, "http://[::1]:8080"),
        ("a" * 63 + ".net", {}, "https://" + "a" * 63 + ".net"),
    ],
)
def test_a_host_as_people_paste_it(host: str, fields: dict[str, Any], base_url: str) -> None:
    assert read(host, **fields).base_url == base_url


@pytest.mark.parametrize(
    ("host", "problem"),
    [
        (None, "is empty"),
        ("", "is empty"),
        ("   ", "white space"),
        (" acme.ilucca.net", "white space"),
        ("acme.ilucca.net\n", "white space"),
        ("acme .ilucca.net", "white space"),
        ("acme\u00a0.ilucca.net", "white space"),
        ("acme\x00.ilucca.net", "white space"),
        ("acme\u200b.ilucca.net", "not a host name"),
        ("société.ilucca.net", "not a host name"),
        ("acme..net", "not a host name"),
        (".acme.net", "not a host name"),
        (":443", "not a host name"),
        ("acme.net.", "not a host name"),
        ("-acme.net", "not a host name"),
        ("acme-.net", "not a host name"),
        ("a" * 64 + ".net", "not a host name"),
        (".".join(["a" * 60] * 5), "not a host name"),
        ("*.ilucca.net", "not a host name"),
        ("acme.ilucca.net%2Fx", "not a host name"),
        ("acme\\evil.net", "not a host name"),
        ("fe80::1%eth0", "not a host name"),
        ("[fe80::1%eth0]", "not a host name"),
        ("[acme.ilucca.net]", "not a host name"),
        ("[::1", "not a host name"),
        ("2001:db8::7::1", "not a host name"),
        ("acme.ilucca.net:", None),
        ("acme.ilucca.net:https", "not a host name"),
        ("acme.ilucca.net:99999", "not a host name"),
        ("//acme.ilucca.net", "a path"),
        ("acme.ilucca.net/invoices", "a path"),
        ("https://acme.ilucca.net/cleemy-procurement/api", "a path"),
        ("acme.ilucca.net//", "a path"),
        ("acme.ilucca.net?", "a query"),
        ("acme.ilucca.net/?x=1", "a query"),
        ("acme.ilucca.net#", "a fragment"),
        ("acme.ilucca.net#top", "a fragment"),
        ("jane@acme.ilucca.net", "user info"),
        ("https://jane:hunter2@acme.ilucca.net", "user info"),
        ("jane:hunter2@acme.ilucca.net:port/path", "user info"),
    ],
)
def test_anything_else_in_host_is_refused(host: str | None, problem: str | None) -> None:
    if problem is None:
        assert read(host).base_url == "https://acme.ilucca.net"
        return
    message = refuse(host)
    assert message.startswith("Connection 'lucca_acme': Tenant (host) ")
    assert problem in message


@pytest.mark.parametrize(
    ("host", "fields", "message"),
    [
        (None, {}, "Tenant (host) is empty; give the tenant, such as acme.ilucca.net"),
        ("a b", {}, "Tenant (host) 'a b' contains white space; remove it"),
        ("a@b", {}, "Tenant (host) contains user info (something before an @) or a key; give the host name alone"),
        ("a/b", {}, "Tenant (host) 'a/b' has a path, a query or a fragment; give the host name alone"),
        ("a..b", {}, "Tenant (host) 'a..b' is not a host name; give one such as acme.ilucca.net"),
        (
            "a:x",
            {},
            "Tenant (host) 'a:x' is not a host name (Port could not be cast to integer value as 'x'); give one such as "
            "acme.ilucca.net",
        ),
        ("a", {"schema": "ftp"}, "Schema (https or http) 'ftp' is neither https nor http; leave it empty for https"),
        (
            "http://a",
            {"schema": "https"},
            "Schema (https or http) is 'https', but Tenant (host) starts with http://; leave one of them out",
        ),
        ("a:81", {"port": 82}, "Port is 82, but Tenant (host) ends with :81; leave one of them out"),
        ("a", {"port": 65536}, "Port 65536 is not from 1 to 65535"),
        (
            "http://a",
            {},
            "Schema (https or http) 'http' would send the API key unencrypted; use https, or, for a test server only, "
            "set Allow http (extra allow_insecure_http) to true",
        ),
        ("a", {"password": ""}, "API key (password) is empty; enter the API key that Lucca gave you"),
        (
            "a",
            {"password": "x y"},
            "API key (password) contains white space, a control character or a letter outside ASCII; paste the API "
            "key alone",
        ),
        (
            "a",
            {"extra": {"requests_per_minute": "x"}},
            "Requests per minute (extra requests_per_minute) 'x' is not a whole number from 1 to 1000000",
        ),
        (
            "a",
            {"extra": {"timeout": "x"}},
            "Time-out in seconds (extra timeout) 'x' is not a number of seconds above 0 and up to 3600",
        ),
        (
            "http://a",
            {"extra": {"allow_insecure_http": "on"}},
            "Allow http (extra allow_insecure_http) 'on' is neither true nor false",
        ),
        ("a" * 99, {}, f"Tenant (host) '{'a' * 99}… is not a host name; give one such as acme.ilucca.net"),
        ("a" * 98, {}, f"Tenant (host) '{'a' * 98}' is not a host name; give one such as acme.ilucca.net"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(host: str | None, fields: dict[str, Any], message: str) -> None:
    assert refuse(host, **fields) == f"Connection 'lucca_acme': {message}."


@pytest.mark.parametrize("port", [1, 65535])
def test_the_first_and_the_last_port_are_ports(port: int) -> None:
    assert read("acme.test", port=port).base_url == f"https://acme.test:{port}"


@pytest.mark.parametrize(
    "host",
    [
        "jane:hunter2@acme.ilucca.net",
        "https://jane:hunter2 @acme/x",
        "lucca application=hunter2",
        "3f2a9c1e-7b44-4d0f-9a56-1b2c3d4e5f60?hunter2",
        "https://3F2A9C1E-7B44-4D0F-9A56-1B2C3D4E5F60/hunter2",
        "Authorization: 3f2a9c1e-7b44-4d0f-9a56-1b2c3d4e5f60 hunter2",
        "3f2a9c1e7b444d0f9a561b2c3d4e5f60:hunter2",
    ],
)
def test_a_password_or_key_in_host_is_not_shown(host: str) -> None:
    message = refuse(host)
    assert "hunter2" not in message
    assert "user info (something before an @) or a key; give the host name alone" in message


@pytest.mark.parametrize("host", ["lucca-sandbox-of-finance-123", "hunter2-7b44-4d0f-a", "fe80::1234:5678:9abc:def0:1"])
def test_a_machine_s_name_is_not_taken_for_a_key(host: str) -> None:
    assert read(host).host == host


def test_a_very_long_host_does_not_make_a_very_long_message() -> None:
    assert len(refuse("a" * 10_000)) < 250


@pytest.mark.parametrize(
    ("host", "fields", "problem"),
    [
        ("acme.ilucca.net", {"schema": "ftp"}, "Schema (https or http) 'ftp' is neither https nor http"),
        ("ftp://acme.ilucca.net", {}, "Schema (https or http) 'ftp' is neither https nor http"),
        ("://acme.ilucca.net", {}, "Schema (https or http) '' is neither https nor http"),
        ("https://http://acme.ilucca.net", {}, "Schema (https or http) 'https://http' is neither"),
        (
            "http://127.0.0.1",
            {"schema": "https"},
            "Schema (https or http) is 'https', but Tenant (host) starts with http://",
        ),
        ("acme.ilucca.net:8443", {"port": 443}, "Port is 443, but Tenant (host) ends with :8443"),
        ("acme.ilucca.net", {"port": 0}, "Port 0 is not from 1 to 65535"),
        ("acme.ilucca.net:0", {}, "Port 0 is not from 1 to 65535"),
        ("acme.ilucca.net", {"port": -1}, "Port -1 is not from 1 to 65535"),
        ("acme.ilucca.net", {"port": 65536}, "Port 65536 is not from 1 to 65535"),
    ],
)
def test_schema_and_port_are_checked(host: str, fields: dict[str, Any], problem: str) -> None:
    assert problem in refuse(host, **fields)


@pytest.mark.parametrize(
    "host",
    [
        "acme.ilucca.net",
        "192.0.2.7",
        "0.0.0.0",  # noqa: S104
        "127.1",
        "2130706433",
        "localhost.evil.net",
        "2001:db8::1",
    ],
)
def test_http_is_refused_unless_the_host_is_this_machine_or_it_is_allowed(host: str) -> None:
    assert "Schema (https or http) 'http' would send the API key unencrypted" in refuse(host, schema="http")
    assert "allow_insecure_http" in refuse(host, schema="http", extra={"allow_insecure_http": False})
    allowed = read(host, schema="http", extra={"allow_insecure_http": True})
    assert allowed.base_url.startswith("http://")


@pytest.mark.parametrize(
    ("password", "key"),
    [
        ("b5c1-4f7e", "b5c1-4f7e"),
        ("lucca application=b5c1-4f7e", "b5c1-4f7e"),
        ("Lucca  Application = b5c1-4f7e", "b5c1-4f7e"),
        ("Authorization: lucca application=b5c1-4f7e", "b5c1-4f7e"),
        ("lucca application=lucca=application=x", "lucca=application=x"),
        ("!~", "!~"),
    ],
)
def test_a_key_as_people_paste_it(password: str, key: str) -> None:
    assert read(password=password).api_key == key


@pytest.mark.parametrize("password", [None, "", "lucca application=", "lucca application= "])
def test_a_missing_key_is_refused(password: str | None) -> None:
    assert "API key (password) is empty" in refuse(password=password)


@pytest.mark.parametrize(
    "password",
    [
        " ",
        "hunter2\n",
        " hunter2",
        "hunter2 ",
        "hun ter2",
        "hun\tter2",
        "hunter2\x00",
        "hunter2\x7f",
        "hunter2é",
        "hunter2\r\nX-Evil: 1",
        "bearer hunter2",
        "hunter2\u00a0",
        "hunter2\u200b",
        "lucca application=hunter2\n",
        "lucca application=lucca application=hunter2",
    ],
)
def test_a_key_that_cannot_be_one_is_refused_and_not_shown(password: str) -> None:
    with pytest.raises(LuccaConfigurationError, match=r"API key \(password\) contains white space") as caught:
        read(password=password)
    assert "hunter2" not in str(caught.value)
    frame = caught.value.__traceback__
    while frame is not None:  # nor where a traceback shows local variables, apart from this test's own
        if frame.tb_frame.f_globals["__name__"].startswith("lucca_provider"):
            assert "hunter2" not in repr(frame.tb_frame.f_locals)
        frame = frame.tb_next


NUMBERS = [
    ("requests_per_minute", 45, [1, 50, 45.0, "45", " 45 ", "45.0", 1_000_000]),
    ("timeout", 10.0, [0.1, 10, 3600, "2.5", "10"]),
    ("window_seconds", 60.0, [0.5, "60"]),
]


@pytest.mark.parametrize(("name", "default", "good"), NUMBERS)
def test_numbers_of_extras_may_be_text_as_in_the_uri_form(name: str, default: float, good: list[Any]) -> None:
    for unset in ({}, {name: None}, {name: ""}):
        assert getattr(read(extra=unset), name) == default
    for value in good:
        number = getattr(read(extra={name: value}), name)
        assert number == float(value)
        assert type(number) is type(default)


@pytest.mark.parametrize("name", [name for name, _, _ in NUMBERS])
@pytest.mark.parametrize(
    "value",
    [0, -1, "0", "ten", "10 s", "nan", "inf", "1e999", True, False, [], {}, [10], 10**400, "9" * 400, 1e9, "x" * 5000],
)
def test_any_other_value_is_refused_by_name(name: str, value: Any) -> None:
    message = refuse(extra={name: value})
    assert message.startswith("Connection 'lucca_acme': ")
    assert f"extra {name}" in message
    assert len(message) < 300


@pytest.mark.parametrize("extra", [{"requests_per_minute": 1_000_001}, {"timeout": 3600.5}, {"window_seconds": 3600.5}])
def test_a_number_just_beyond_the_last_one_is_refused(extra: dict[str, Any]) -> None:
    assert "extra " in refuse(extra=extra)


def test_requests_per_minute_is_a_whole_number() -> None:
    assert "44.5 is not a whole number" in refuse(extra={"requests_per_minute": 44.5})


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        (True, True),
        ("true", True),
        ("True", True),
        (" yes ", True),
        ("1", True),
        (1, True),
        (False, False),
        ("false", False),
        ("no", False),
        (0, False),
        ("", False),
        (None, False),
    ],
)
def test_allow_insecure_http_may_be_text_as_in_the_uri_form(value: Any, allowed: bool) -> None:
    extra = {"allow_insecure_http": value}
    if allowed:
        assert read("acme.test", schema="http", extra=extra).base_url == "http://acme.test"
    else:
        assert "unencrypted" in refuse("acme.test", schema="http", extra=extra)


@pytest.mark.parametrize("value", ["on", "2", [], "yess"])
def test_allow_insecure_http_is_never_guessed(value: Any) -> None:
    assert "extra allow_insecure_http" in refuse("acme.test", schema="http", extra={"allow_insecure_http": value})


def stored(extra: str | None, conn_id: str = "lucca_acme") -> Any:
    """Make what any secrets backend may hand over: the extra as it stands there."""
    return SimpleNamespace(conn_id=conn_id, host="acme.ilucca.net", port=None, schema=None, password=KEY, extra=extra)


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ('{"requests_per_minute": 2,}', "is not valid JSON (line 1, column 27)"),
        ("{'requests_per_minute': 2}", "is not valid JSON (line 1, column 2)"),
        ("requests_per_minute=2", "is not valid JSON (line 1, column 1)"),
        ('{"timeout": 5', "is not valid JSON (line 1, column 14)"),
        (" ", "is not valid JSON (line 1, column 2)"),
        ("[" * 100_000, "is not valid JSON"),
        ("[1]", "is JSON, but not an object; write it as {…}"),
        ('[["timeout", 5]]', "is JSON, but not an object; write it as {…}"),
        ("5", "is JSON, but not an object; write it as {…}"),
        ("null", "is JSON, but not an object; write it as {…}"),
        ('"{\\"timeout\\": 5}"', "is JSON, but not an object; write it as {…}"),
        ('{"requests_per_minute": 2, "requests_per_minute": 40}', "gives an extra twice; leave one of them out"),
    ],
)
def test_an_extra_that_is_no_json_object_is_refused_and_not_shown(extra: str, problem: str) -> None:
    with pytest.raises(LuccaConfigurationError) as caught:
        Tenant.from_connection(stored(extra))
    assert str(caught.value) == f"Connection 'lucca_acme': Extra {problem}.{END}"
    assert caught.value.__context__ is None


@pytest.mark.parametrize("extra", [None, "", "{}"])
def test_an_extra_may_be_left_out(extra: str | None) -> None:
    assert Tenant.from_connection(stored(extra)).requests_per_minute == 45


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("requests_per_minut", "requests_per_minute"),
        ("request_per_minute", "requests_per_minute"),
        ("requests_per_min", "requests_per_minute"),
        ("requests-per-minute", "requests_per_minute"),
        ("requestsPerMinute", "requests_per_minute"),
        ("Requests per minute", "requests_per_minute"),
        ("REQUESTS_PER_MINUTE", "requests_per_minute"),
        (" requests_per_minute", "requests_per_minute"),
        ("extra__lucca__requests_per_minut", "requests_per_minute"),
        ("time_out", "timeout"),
        ("timeouts", "timeout"),
        ("timeout_in_seconds", "timeout"),
        ("requests_per_second", "requests_per_minute"),
        ("allow_http", "allow_insecure_http"),
        ("Timeout", "timeout"),
        ("allow_insecure_https", "allow_insecure_http"),
        ("allow-insecure-http", "allow_insecure_http"),
        ("window_second", "window_seconds"),
        ("timeoutSeconds", "timeout"),
        ("perMinute", "requests_per_minute"),
        ("req_per_min", "requests_per_minute"),
        ("insecure", "allow_insecure_http"),
        ("requests_per_minute\x1b[31m" + "x" * 3, "requests_per_minute"),
    ],
)
def test_a_name_that_is_close_to_one_of_ours_is_refused(name: str, meant: str) -> None:
    message = refuse(extra={name: 2})
    assert message.startswith("Connection 'lucca_acme': Extra has ")
    assert message.endswith(f", which is close to {meant}; correct the name.")
    assert message.isprintable()


@pytest.mark.parametrize("name", ["extra", "__extra__"])
def test_the_name_by_which_airflow_takes_all_extras_is_none_of_them(name: str) -> None:
    with pytest.raises(LuccaConfigurationError, match="give each extra by its own name"):
        read("acme.test", extra={name: '{"requests_per_minute": 2}'})


def test_what_the_test_button_of_airflow_2_posts_is_read() -> None:
    # Each field under two names, and a box that is checked as "y".
    posted = {"requests_per_minute": "30", "allow_insecure_http": "y"}
    tenant = read("http://acme.test", extra={**posted, **{f"extra__lucca__{name}": posted[name] for name in posted}})
    assert (tenant.requests_per_minute, tenant.base_url) == (30, "http://acme.test")
    assert read("acme.test", extra={"extra__lucca__timeout": "7"}).timeout == 7.0


def test_extras_of_others_are_allowed_masked_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    masked: list[Any] = []
    names = ["verify", "read_timeout", "proxies", "headers", "team", "cost_center", "x" * 9000, "a\x1b[31mb", ""]
    extra = {name: f"s3cret-{number}" for number, name in enumerate(names)} | {"timeout": 5}
    # No connection of another test, nor of this one in an earlier run of the same process.
    connection = stored(json.dumps(extra), conn_id=uuid.uuid4().hex)
    for _ in range(3):
        assert Tenant.from_connection(connection, mask=masked.append).timeout == 5.0
    assert len(caplog.records) == len(names)
    assert "'verify'" in caplog.text
    assert "s3cret" not in caplog.text
    assert all(record.getMessage().isprintable() and len(record.getMessage()) < 300 for record in caplog.records)
    assert masked[:2] == [extra, KEY]


@pytest.mark.parametrize(
    ("host", "environment"),
    [
        ("acme.ilucca.net", "production"),
        ("acme.ilucca.ch", "production"),
        ("ACME.ILUCCA.NET", "production"),
        ("acme.ilucca-test.net", "test"),
        ("acme.ilucca-test.ch", "test"),
        ("acme.ilucca-demo.net", "demo"),
        ("acme.ilucca-demo.ch", "demo"),
        ("acme-blue42.sandbox.eu1.luccasoftware.com", "sandbox"),
        ("acme-corp-blue42.sandbox.eu2.luccasoftware.com", "sandbox"),
        ("acme-blue42.sandbox.ch1.luccasoftware.com", "sandbox"),
        ("acme.sandbox.eu1.luccasoftware.com", "other"),
        ("acme-blue42.sandbox.us1.luccasoftware.com", "other"),
        ("ilucca.net", "other"),
        ("a.b.ilucca.net", "other"),
        ("acme.ilucca.net.evil.com", "other"),
        ("acme.ilucca.com", "other"),
        ("acmexilucca.net", "other"),
        ("localhost", "other"),
        ("127.0.0.1", "other"),
    ],
)
def test_the_environment_is_told_by_the_host(host: str, environment: str) -> None:
    assert read(host).environment == environment
    assert read(host, port=8443).environment == environment


def test_a_tenant_does_not_show_its_key() -> None:
    tenant = read()
    assert re.search("acme", repr(tenant))
    assert KEY not in f"{tenant!r} {tenant}"
    assert pickle.loads(pickle.dumps(tenant)) == tenant  # noqa: S301 - of this test's own making
    with pytest.raises(dataclasses.FrozenInstanceError):
        tenant.timeout = 1.0  # type: ignore[misc]
