"""What the headers of an answer say of times: how long to wait, and when a call goes away."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection

from lucca_provider.hooks._deprecation import describe_deprecation
from lucca_provider.hooks._session import read_retry_after
from lucca_provider.hooks._wire import WatchedAdapter, watch
from lucca_provider.hooks._words import Show


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("0", 0.0), ("7", 7.0), (" 7 ", 7.0), ("1.5", 1.5), ("999999999", 999999999.0)],
)
def test_retry_after_as_seconds(header: str, seconds: float) -> None:
    assert read_retry_after(header) == seconds


@pytest.mark.parametrize("ahead", [5, 60, 3600, 10**8])
def test_retry_after_as_a_date(ahead: int) -> None:
    seconds = read_retry_after(formatdate(time.time() + ahead, usegmt=True))
    assert seconds is not None
    assert ahead - 2 < seconds <= ahead + 1


@pytest.mark.parametrize(
    "header",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Mon, 01 Jan 0001 00:00:00 GMT",
    ],
)
def test_a_date_that_has_passed_is_no_wait(header: str) -> None:
    assert read_retry_after(header) == 0.0


def test_a_date_is_read_by_the_servers_own_clock() -> None:
    date = "Sun, 06 Nov 1994 08:49:07 GMT"
    assert read_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", date=date) == 30.0
    assert read_retry_after("Sun, 06 Nov 1994 08:49:00 GMT", date=date) == 0.0


@pytest.mark.parametrize("date", [None, "", "soon"])
def test_a_date_is_read_by_the_workers_clock_where_the_server_does_not_tell_its_own(date: str | None) -> None:
    seconds = read_retry_after(formatdate(time.time() + 30, usegmt=True), date=date)
    assert seconds is not None
    assert 28 <= seconds <= 31


@pytest.mark.parametrize("zone", ["Etc/GMT+12", "Etc/GMT-14"])
def test_a_date_without_a_zone_is_utc_wherever_the_worker_is(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for header in (
            time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(time.time() + 30)),
            time.strftime("%a, %d %b %Y %H:%M:%S -0000", time.gmtime(time.time() + 30)),
        ):
            seconds = read_retry_after(header)
            assert seconds is not None
            assert 28 <= seconds <= 31
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        " ",
        "soon",
        "-1",
        "+5",
        "1e3",
        "nan",
        "inf",
        "0x10",
        "٣",
        "1,5",
        "9" * 50,
        "1" * 10_000,
        "1 2",
        "Mon, 99 Foo 2026 99:99:99 GMT",
        "Mon, 01 Jan 99999 00:00:00 GMT",
        "\x00",
    ],
)
def test_a_retry_after_that_makes_no_sense_is_none(header: str | None) -> None:
    assert read_retry_after(header) is None


@given(st.text() | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ \S+"))
def test_no_retry_after_breaks_anything(header: str) -> None:
    seconds = read_retry_after(header)
    assert seconds is None or seconds >= 0


# -- deprecation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, None),
        ({"Deprecation": "@1688169599"}, "is deprecated since 2023-06-30"),
        ({"Deprecation": "Sun, 06 Nov 1994 08:49:37 GMT"}, "is deprecated since 1994-11-06"),
        ({"Deprecation": "true"}, "is deprecated"),
        ({"Deprecation": "?1"}, "is deprecated"),
        ({"Deprecation": "false"}, None),
        ({"Deprecation": "?0", "Sunset": "Sun, 06 Nov 1994 08:49:37 GMT"}, "is deprecated and goes away on 1994-11-06"),
        (
            {"Deprecation": "@1688169599", "Sunset": "Wed, 31 Mar 2027 23:59:59 GMT"},
            "is deprecated since 2023-06-30 and goes away on 2027-03-31",
        ),
        ({"Sunset": "next\x1b[31m year"}, "is deprecated and goes away on next [31m year"),
        ({"Sunset": "@99999999999"}, "is deprecated and goes away on 5138-11-16"),
        # A day that UTC has no year for.
        (
            {"Sunset": "Fri, 31 Dec 9999 23:59:59 -1200"},
            "is deprecated and goes away on Fri, 31 Dec 9999 23:59:59 -1200",
        ),
        ({"Sunset": "x" * 9000}, f"is deprecated and goes away on {'x' * 60}…"),
        ({"Deprecation": "a-key-it-is"}, "is deprecated since ***-it-is"),
    ],
)
def test_a_deprecation_is_told_with_its_dates(headers: dict[str, str], words: str | None) -> None:
    assert describe_deprecation(headers, Show("a-key")) == words


@given(st.text(), st.text())
def test_no_deprecation_breaks_anything(since: str, until: str) -> None:
    words = describe_deprecation({"Deprecation": since, "Sunset": until}, Show("a-key"))
    assert words is not None
    assert words.isprintable()
    assert len(words) < 200


# -- connections ------------------------------------------------------------------------------------------------------


def test_the_connections_of_any_proxy_are_watched_and_stay_what_they_are() -> None:
    """Those of a SOCKS proxy are of a class of their own, without which nothing would go through that proxy."""

    class OwnConnection(HTTPConnection):
        pass

    class OwnPool(HTTPConnectionPool):
        ConnectionCls = OwnConnection

    manager = WatchedAdapter().proxy_manager_for("http://127.0.0.1:9")
    manager.pool_classes_by_scheme = {"http": OwnPool, "https": OwnPool}
    pool = watch(manager).connection_from_url("http://127.0.0.1:9/")
    assert isinstance(pool, OwnPool)
    assert issubclass(pool.ConnectionCls, OwnConnection)
    assert pool.ConnectionCls.response_class is not OwnConnection.response_class
    pools = watch(watch(manager)).pool_classes_by_scheme
    assert pools == {"http": type(pool), "https": type(pool)}
