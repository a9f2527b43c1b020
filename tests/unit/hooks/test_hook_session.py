"""How long to wait, and what the session of one tenant is made of."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucca_provider.hooks._session import MAX_BACKOFF, MAX_RETRY_AFTER, TransportRetry, read_retry_after


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


@pytest.mark.parametrize(
    ("header", "wait"),
    [("3", 3.0), ("86400", MAX_RETRY_AFTER), ("soon", MAX_RETRY_AFTER), ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0)],
)
def test_a_transport_retry_never_waits_longer_than_a_window(header: str, wait: float) -> None:
    assert TransportRetry.times(3).parse_retry_after(header) == wait
    assert MAX_RETRY_AFTER == 60.0


def test_the_wait_between_two_tries_to_connect_is_capped() -> None:
    retry = TransportRetry.times(50)
    waits = []
    for _ in range(20):
        retry = retry.increment("POST", "/", error=_refused())
        waits.append(retry.get_backoff_time())
    assert waits[:4] == [0, 1.0, 2.0, 4.0]
    assert waits[4:] == [MAX_BACKOFF] * 16


def test_only_a_failed_connect_and_a_429_are_tried_again_and_each_as_often_as_asked() -> None:
    retry = TransportRetry.times(3)
    assert (retry.total, retry.connect, retry.status) == (3, 3, 3)
    assert (retry.read, retry.redirect, retry.other) == (False, False, 0)
    assert (retry.raise_on_status, retry.raise_on_redirect) == (False, False)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("has_retry_after", [True, False])
@pytest.mark.parametrize("retries", [1, 3])
def test_429_is_the_only_answer_that_is_tried_again(method: str, has_retry_after: bool, retries: int) -> None:
    retry = TransportRetry.times(retries)
    again = [status for status in range(100, 1000) if retry.is_retry(method, status, has_retry_after)]
    assert again == [429]


def _refused() -> Exception:
    from urllib3.exceptions import ConnectTimeoutError

    return ConnectTimeoutError("refused")
