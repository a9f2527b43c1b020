"""The trial of a tenant: a table whatever the tenant does, in few requests, and none of the tenant's words in it."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucca_provider.compat import AirflowFailException
from lucca_provider.exceptions import LuccaError, LuccaInDoubtError, LuccaRefusedError
from lucca_provider.sandbox import FAULTS, Behaviour, Sandbox
from lucca_provider.tasks.trial import try_tenant
from lucca_provider.trial import Head, run_trial, write_table
from tests.integration.hook_tools import KEY, FastClock
from tests.integration.scripted_server import DROP, HANG, RESET, Answer, Received, ScriptedServer, drip, http

PAID = {"conformityState": "Confirmed", "paymentState": "Paid"}
READS, WITH_CLOSINGS = 6, 10
"""Requests that a trial takes at most."""
YES, NO, UNKNOWN = "yes", "**no**", "–"
ASKED = [
    "Cheapest call (list of natures)",
    "Right to view purchases",
    "Right to view documents",
    "Right to close",
    "List of purchases",
    "… shows `state`",
    "… shows `billedAmount`",
    "… counts",
    "… pages, with `limit=1`",
    "One purchase",
    "List of documents",
    "… name their purchase",
    "… show `conformityState` and `paymentState`",
    "A closing",
    "State after the closing",
    "A second closing of the same purchase",
    "`Retry-After`",
    "Ids for support",
    "Deprecation",
    "Latency until an answer begins",
]
PLANTED = "Planted Ltd"
"""Stands wherever a tenant may write something."""

Found = dict[str, tuple[str, str]]
"""By what was asked: what the tenant does, and whether that is as assumed."""


class TaskInstance:
    """Keeps what a task pushes."""

    def __init__(self) -> None:
        self.pushed: dict[str, str] = {}

    def xcom_push(self, *, key: str, value: str) -> None:
        self.pushed[key] = value


def read_table(table: str) -> Found:
    """Return a table's cells, having seen that each row has all of them."""
    cells = [line.strip("| ").split(" | ") for line in table.splitlines()[6:]]
    assert all(len(row) == 5 and all(cell.strip() for cell in row) for row in cells)
    assert [row[0] for row in cells] == ASKED
    return {row[0]: (re.sub(r" of \d+ bytes", "", row[1]), row[3]) for row in cells}


def requests_of(table: str) -> int:
    number = re.search(r"Requests: (\d+)\.", table)
    assert number
    return int(number[1])


@dataclasses.dataclass
class Tried:
    """What came of a trial."""

    table: str
    found: Found
    failure: str | None
    asked: int


Try = Callable[..., Tried]


@pytest.fixture
def try_it(monkeypatch: pytest.MonkeyPatch) -> Try:
    """Try a tenant, with waits that take no time."""

    def run(connection: str | Mapping[str, Any], purchase_id: Any = None, clock: FastClock | None = None) -> Tried:
        clock = clock or FastClock()
        monkeypatch.setattr("lucca_provider.limits.pacer.Clock", lambda: clock)
        text = connection if isinstance(connection, str) else json.dumps({"conn_type": "lucca", **connection})
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_TRIED", text)
        ti = TaskInstance()
        failure = None
        try:
            table = try_tenant("lucca_tried", purchase_id, ti=ti, clock=clock)
        except AirflowFailException as error:
            table, failure = ti.pushed["return_value"], str(error)
        return Tried(table, read_table(table), failure, requests_of(table))

    return run


def words_of(value: Any) -> Iterator[str]:
    """Yield all text and all amounts in JSON, apart from short words that any table might have."""
    if isinstance(value, Mapping):
        for part in value.values():
            yield from words_of(part)
    elif isinstance(value, list):
        for part in value:
            yield from words_of(part)
    elif isinstance(value, str) and len(value) > 8:
        yield value
    elif isinstance(value, float):
        yield f"{value:.2f}"


def assert_tells_nothing(table: str, lucca: Sandbox) -> None:
    """Look in a table for whatever the tenant has: key, host, ids, titles, suppliers, owners, amounts."""
    words = {lucca.api_key, "127.0.0.1", str(lucca.port), *map(str, lucca.purchase_ids)}
    for purchase in map(lucca.purchase, lucca.purchase_ids):
        words |= set(words_of(purchase))
    for document in lucca.documents:
        words |= set(words_of(document))
    said = re.sub(r"\d\.\d\d s\b", "", table)  # latencies
    assert not [word for word in words - {"Confirmed", "CreditNote"} if word in said]


# -- a sandbox in each of its behaviours -----------------------------------------------------------------------------

BEHAVIOURS: dict[str, tuple[dict[str, Any], Found]] = {
    "as documented": (
        {},
        {
            "Cheapest call (list of natures)": ("200, JSON", YES),
            "Right to view purchases": ("list: yes; one purchase: yes", YES),
            "Right to view documents": (YES, YES),
            "Right to close": (YES, YES),
            "List of purchases": ("250 for `limit=1000`", YES),
            "… shows `state`": ("shown: 250 of 250", YES),
            "… shows `billedAmount`": ("shown: 250 of 250", YES),
            "… counts": ("yes, 250", YES),
            "… pages, with `limit=1`": ("1 on the first; the second by the token in `next`", YES),
            "A closing": ("200, JSON", YES),
            "State after the closing": ("Closed at once", YES),
            "Deprecation": ("none announced", YES),
            "`Retry-After`": ("none seen", UNKNOWN),
        },
    ),
    "latency": ({"latency": 0.03}, {"Cheapest call (list of natures)": ("200, JSON", YES)}),
    "may_close": (
        {"may_close": False},
        {
            "Right to close": ("no (403)", NO),
            "A closing": ("403, problem details, with title and detail", YES),
            "State after the closing": ("Ongoing", UNKNOWN),
        },
    ),
    "missing_state": (
        {"missing_state": True},
        {
            "… shows `state`": ("missing: 250 of 250", NO),
            "State after the closing": ("no state", NO),
        },
    ),
    "list_status": (
        {"list_status": 404},
        {
            "Right to view purchases": (
                "list: not known (404, problem details, with title and detail); one purchase: yes",
                UNKNOWN,
            ),
            "List of purchases": ("404, problem details, with title and detail", NO),
            "… shows `state`": ("404, problem details, with title and detail", UNKNOWN),
            "… pages, with `limit=1`": ("not asked: the list could not be read", UNKNOWN),
            "A closing": ("200, JSON", YES),
        },
    ),
    "list_status that forbids": (
        {"list_status": 403},
        {
            "Right to view purchases": ("list: no (403); one purchase: yes", NO),
            "Right to view documents": ("no (403)", NO),
        },
    ),
    "list_status of a wrong key": ({"list_status": 401}, {"State after the closing": ("Closed at once", YES)}),
    "list_status that redirects": (
        {"list_status": 302},
        {"List of documents": ("302, problem details, with title and detail, a redirect", NO)},
    ),
    "list_status of an outage": ({"list_status": 503}, {"State after the closing": ("Closed at once", YES)}),
    "list_ignores_limit": (
        {"list_ignores_limit": True},
        {
            "List of purchases": ("100 for `limit=1000`, and there are more", NO),
            "… pages, with `limit=1`": ("100 on the first; the second by the token in `next`", NO),
        },
    ),
    "list_repeats_token": (
        {"list_repeats_token": True},
        {
            "… pages, with `limit=1`": (
                "1 on the first; page 2 leads back to what came before, so the rest is not known",
                NO,
            )
        },
    ),
    "list_tokens": (
        {"list_tokens": False},
        {"… pages, with `limit=1`": ("1 on the first; the second by its number", YES)},
    ),
    "list_tokens that ignore the limit": (
        {"list_tokens": False, "list_ignores_limit": True},
        {"… pages, with `limit=1`": ("100 on the first; the second by its number", NO)},
    ),
    "wrong_module": (
        {"wrong_module": True},
        {"Right to close": ("not known (not asked: the purchase could not be read)", UNKNOWN)},
    ),
    "retry_after": ({"retry_after": 7}, {"`Retry-After`": ("seconds: once", YES)}),
    "retry_after_date": ({"retry_after": 7, "retry_after_date": True}, {"`Retry-After`": ("a date: once", YES)}),
    "hang_seconds": (
        {"hang_seconds": 0.2},
        {"A closing": ("no answer", NO), "State after the closing": ("Ongoing", UNKNOWN)},
    ),
}


def test_each_behaviour_of_the_sandbox_is_tried() -> None:
    assert {field.name for field in dataclasses.fields(Behaviour)} <= set(BEHAVIOURS)


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_a_sandbox_is_tried(name: str, try_it: Try) -> None:
    behaviour, expected = BEHAVIOURS[name]
    with Sandbox(250, states={"closable": 1}, **behaviour) as lucca:
        if name.startswith("retry_after"):
            lucca.fail_next("throttle", method="GET")
        if name == "hang_seconds":
            lucca.fail_next("hang")
        chosen = lucca.closable_ids[3]
        tried = try_it(lucca.connection_uri, chosen)
        assert {asked: tried.found[asked] for asked in expected} == expected
        assert (tried.failure is not None) is (name == "wrong_module")
        assert tried.asked == len(lucca.requests) <= WITH_CLOSINGS + name.startswith("retry_after")
        assert lucca.posts(chosen) == (0 if name == "wrong_module" else 2)
        assert len(lucca.closings) <= 1
        assert {closing.purchase_id for closing in lucca.closings} <= {chosen}
        assert_tells_nothing(tried.table, lucca)


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_a_sandbox_is_only_read(name: str, try_it: Try) -> None:
    with Sandbox(250, **BEHAVIOURS[name][0]) as lucca:
        tried = try_it(lucca.connection_uri)
        assert {request.method for request in lucca.requests} == {"GET"}
        assert tried.asked == len(lucca.requests) <= READS
        assert tried.found["A closing"] == ("not asked: run it again with the parameter purchase_id", UNKNOWN)
        assert tried.found["State after the closing"] == tried.found["A closing"]
        assert_tells_nothing(tried.table, lucca)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_on_every_request_is_a_row_each(fault: str, try_it: Try) -> None:
    with Sandbox(12, faults={fault: 1}, fault_on="all", hang_seconds=0.05, retry_after=700) as lucca:
        tried = try_it(lucca.connection_uri, lucca.closable_ids[0])
        assert tried.failure
        assert tried.found["List of purchases"][1] in (NO, UNKNOWN)
        assert tried.asked == len(lucca.requests) <= READS
        assert not lucca.closings
        assert_tells_nothing(tried.table, lucca)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("times", [1, 2])
def test_a_fault_on_closings_is_an_answer_like_any_other(fault: str, times: int, try_it: Try) -> None:
    with Sandbox(12, hang_seconds=0.05) as lucca:
        chosen = lucca.closable_ids[0]
        lucca.fail_next(fault, times=times, method="POST")
        tried = try_it(lucca.connection_uri, chosen)
        assert tried.failure is None
        first, state = tried.found["A closing"], tried.found["State after the closing"]
        if fault != "throttle":
            assert first[1] == NO
            # A closing that was carried out shows, whatever its answer was.
            assert (state[0] == "Closed at once") is fault.endswith("_after")
            assert lucca.posts(chosen) == 2
        assert len(lucca.closings) == (1 if fault.endswith("_after") or times == 1 or fault == "throttle" else 0)
        assert_tells_nothing(tried.table, lucca)


def test_a_purchase_that_is_refused_stays_what_it_was(try_it: Try) -> None:
    with Sandbox(0) as lucca:
        chosen = lucca.add_purchase(invoices=[PAID | {"paymentState": "ToPay", "documentNumber": PLANTED}])
        tried = try_it(lucca.connection_uri, chosen)
        assert tried.found["A closing"][0].startswith("409, problem details")
        assert tried.found["A closing"][1] == YES
        assert tried.found["State after the closing"] == ("Ongoing", UNKNOWN)
        assert PLANTED not in tried.table


def test_a_purchase_that_was_closed_before_is_said_to_be(try_it: Try) -> None:
    with Sandbox(0) as lucca:
        chosen = lucca.add_purchase(state="Closed")
        tried = try_it(lucca.connection_uri, chosen)
        assert tried.found["A closing"][0].endswith("with title and detail; it was closed before")


def test_a_tenant_without_purchases_is_tried_as_far_as_it_goes(try_it: Try) -> None:
    with Sandbox(0) as lucca:
        tried = try_it(lucca.connection_uri)
        assert tried.failure is None
        assert tried.found["List of purchases"] == ("0 for `limit=1000`", YES)
        assert tried.found["… shows `state`"] == ("nothing to see it in", UNKNOWN)
        assert tried.found["… pages, with `limit=1`"] == ("0 on the first, and no more", UNKNOWN)
        assert tried.found["One purchase"] == ("not asked: nothing was there to ask for", UNKNOWN)
        assert tried.found["List of documents"] == ("0 for `limit=1000`", YES)
        assert tried.asked == 4


def test_a_wrong_key_is_said_at_once(try_it: Try) -> None:
    with Sandbox(3) as lucca:
        tried = try_it(lucca.connection_uri.replace(lucca.api_key, KEY), lucca.purchase_ids[0])
        assert tried.asked == len(lucca.requests) == 1
    assert tried.failure
    assert re.search(r"API key \(password\).*401", tried.failure)
    assert tried.found["List of purchases"] == ("not asked: key or host is wrong", UNKNOWN)
    assert KEY not in tried.table + tried.failure


def test_the_share_of_the_limit_is_kept(try_it: Try) -> None:
    clock = FastClock()
    with Sandbox(3, limit=2, clock=clock.now, states={"closable": 1}) as lucca:
        tried = try_it(lucca.connection_uri, lucca.closable_ids[0], clock)
        assert (tried.failure, lucca.throttled) == (None, 0)
    assert tried.found["A second closing of the same purchase"][0].startswith("409")


def test_a_limit_that_others_use_up_is_waited_for(try_it: Try) -> None:
    clock = FastClock()
    with Sandbox(3, limit=2, clock=clock.now, states={"closable": 1}) as lucca:
        share_of_all = lucca.connection_uri.replace("requests_per_minute=2", "requests_per_minute=45")
        tried = try_it(share_of_all, lucca.closable_ids[0], clock)
        assert tried.failure is None
        assert tried.found["`Retry-After`"] == (f"seconds: {lucca.throttled} times", YES)
        assert tried.asked == len(lucca.requests) == 9 + lucca.throttled
    assert tried.found["A second closing of the same purchase"][0].startswith("409")


@pytest.mark.parametrize(
    ("seconds", "found"),
    [
        (0, ("Closed at once", YES)),
        (5, ("Closed not at once, but 5 seconds later", YES)),
        (6, ("Ongoing", NO)),
    ],
)
def test_a_state_may_take_its_time(seconds: float, found: tuple[str, str], try_it: Try) -> None:
    clock = FastClock()
    closed_at = clock.now() + seconds
    posts: list[Received] = []

    def state(query: str) -> dict[str, Any]:
        return {"id": 7, "state": "Closed" if posts and clock.now() >= closed_at else "Ongoing"}

    def close(query: str) -> bytes:
        posts.append(server.requests[-1])
        return http(200)

    with ScriptedServer(respond=Tenant(purchase=state, closing=close)) as server:
        tried = try_it({"host": server.url, "password": KEY}, 7, clock)
    assert tried.found["State after the closing"] == found
    assert len(posts) == 2


def test_nobody_is_asked_for_longer_than_a_few_minutes(try_it: Try) -> None:
    clock = FastClock()
    with ScriptedServer(respond=Tenant(wait=lambda: clock.sleep(200))) as server:
        tried = try_it({"host": server.url, "password": KEY}, clock=clock)
    assert tried.asked == 2
    assert tried.found["List of documents"] == ("not asked: 5 minutes were over", UNKNOWN)


@pytest.mark.parametrize("given_id", [0, -1, 2**31, True, "all", "1,2", 1.5, {}])
def test_what_is_no_id_is_refused_before_anything_is_sent(given_id: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox(3) as lucca:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_TRIED", lucca.connection_uri)
        with pytest.raises(AirflowFailException, match="purchase_id"):
            try_tenant("lucca_tried", given_id, ti=TaskInstance())
        assert lucca.requests == []


@pytest.mark.parametrize("host", ["acme.ilucca.net", "acme.ilucca.ch", "lucca.example.com", "10.0.0.7"])
def test_no_closing_is_sent_to_what_may_be_a_production_tenant(host: str, try_it: Try, monkeypatch) -> None:
    server = ScriptedServer(respond=Tenant())
    with server:
        lead_to(server, monkeypatch)
        tried = try_it(insecure(host), 7)
    assert {request.method for request in server.requests} == {"GET"}
    assert tried.found["A closing"][0].startswith(
        "not asked: closings are tried in a test, demo or sandbox environment"
    )
    assert tried.found["One purchase"][1] == YES
    assert host not in tried.table


@pytest.mark.parametrize(
    "host", ["acme.ilucca-test.net", "acme.ilucca-demo.ch", "acme-blue.sandbox.eu1.luccasoftware.com"]
)
def test_closings_are_sent_to_tenants_that_are_there_to_be_tried(host: str, try_it: Try, monkeypatch) -> None:
    with ScriptedServer(respond=Tenant()) as server:
        lead_to(server, monkeypatch)
        tried = try_it(insecure(host), 7)
    posts = [request for request in server.requests if request.method == "POST"]
    assert [post.target for post in posts] == ["/cleemy-procurement/api/purchases/7/closing"] * 2
    assert tried.asked == len(server.requests)
    assert host not in tried.table


def insecure(host: str) -> dict[str, Any]:
    extra = {"allow_insecure_http": True}
    return {"host": host, "schema": "http", "password": KEY, "extra": extra}


def lead_to(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whatever host is asked for be a server of this machine."""
    import socket

    there = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: [there])
    monkeypatch.setenv("NO_PROXY", "*")


# -- tenants that behave like none of them ---------------------------------------------------------------------------


class Tenant:
    """
    Answers as a tenant might, with planted words wherever there is room for one.

    :param answers: by the end of a path, or by the method for closings: what answers, and nothing else about it
    :param headers: of each answer
    :param wait: lets time pass before an answer
    """

    PURCHASE = {"id": 7, "state": "Ongoing", "title": PLANTED, "billedAmount": {"counter": {"value": 123456.78}}}
    DOCUMENT = {"id": 70, "purchase": {"id": 7, "title": PLANTED}, "supplier": {"name": PLANTED}, **PAID}

    def __init__(
        self, *, headers: Mapping[str, str] | None = None, wait: Callable[[], object] | None = None, **answers: Any
    ) -> None:
        self.answers = answers
        self.headers = dict(headers or {})
        self.wait = wait
        self.closed = False

    def __call__(self, request: Received) -> Answer:
        if self.wait:
            self.wait()
        path, _, query = request.target.removeprefix("/cleemy-procurement/api/").partition("?")
        call = {"natures": "natures", "purchases": "purchases", "booked-documents": "documents"}.get(path, "purchase")
        call = "closing" if request.method == "POST" else call
        if call in self.answers:
            answer = self.answers[call]
            answer = answer(query) if callable(answer) and answer not in ODD.values() else answer
            return answer if isinstance(answer, bytes) or callable(answer) else http(200, answer, **self.headers)
        if call == "closing":
            again, self.closed = self.closed, True
            return http(409 if again else 200, {"title": PLANTED, "detail": PLANTED}, **self.headers)
        state = "Closed" if self.closed else "Ongoing"
        return http(
            200,
            {
                "natures": {"items": [{"id": 1, "name": PLANTED}]},
                "purchases": {"items": [self.PURCHASE | {"state": state}], "next": None, "count": 1},
                "documents": {"items": [self.DOCUMENT], "next": None, "count": 1},
                "purchase": self.PURCHASE | {"state": state},
            }[call],
            **self.headers,
        )


ODD: dict[str, Answer] = {
    "hang up": DROP,
    "reset": RESET,
    "never answer": HANG,
    "drip": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", b" "),
    "cut off": http(200, b'{"items": [', length=99),
    "broken JSON": http(200, b'{"items": [', Content_Type="application/json"),
    "text": http(200, PLANTED.encode(), Content_Type="text/plain"),
    "web page": http(200, f"<html>{PLANTED}</html>".encode(), Content_Type="text/html"),
    "nothing": http(200),
    "204": b"HTTP/1.1 204 No\r\n\r\n",
    "202": http(202, {"items": []}),
    "a list": http(200, [{"id": 7, "title": PLANTED}]),
    "a number": http(200, 7),
    "a problem with 200": http(200, {"title": PLANTED, "status": 500, "errors": {PLANTED: [PLANTED]}}),
    "problem details": http(400, {"title": PLANTED, "errors": {PLANTED: [PLANTED]}}, Content_Type=PLANTED),
    "401": http(401, {"title": PLANTED}),
    "401 page": http(401, f"<html>{PLANTED}</html>".encode()),
    "403": http(403),
    "404": http(404, PLANTED.encode()),
    "404 page": http(404, f"<html>{PLANTED}</html>".encode(), Content_Type="text/html"),
    "407": http(407, PLANTED.encode()),
    "408": http(408),
    "418": http(418, PLANTED.encode(), Content_Type="image/tea"),
    "429 for a day": http(429, Retry_After="86400"),
    "302": http(302, Location=f"https://{PLANTED.replace(' ', '-')}.example/{PLANTED}"),
    "500": http(500, {"title": PLANTED, "detail": PLANTED}),
    "503": http(503, Retry_After=PLANTED),
    "999": http(999),
    "not HTTP": b"SSH-2.0-OpenSSH\r\n",
}
CALLS = ("natures", "purchases", "purchase", "documents", "closing")


def assert_tells_nothing_planted(tried: Tried, server: ScriptedServer) -> None:
    for word in (PLANTED, PLANTED.lower(), "planted", KEY, str(server.port), "127.0.0.1", "123456"):
        assert word not in tried.table


@pytest.mark.parametrize("call", [*CALLS, "everything"])
@pytest.mark.parametrize("name", ODD)
def test_an_odd_answer_is_a_row(call: str, name: str, try_it: Try) -> None:
    odd = dict.fromkeys(CALLS if call == "everything" else [call], ODD[name])
    with ScriptedServer(respond=Tenant(**odd)) as server:
        tried = try_it({"host": server.url, "password": KEY, "extra": {"timeout": 0.2}}, 7)
    assert len(server.requests) == tried.asked <= WITH_CLOSINGS
    assert_tells_nothing_planted(tried, server)
    for each in odd:
        words, verdict = tried.found[ROWS[each]]
        if not words.startswith("not asked"):
            assert verdict == VERDICTS.get((each, name), NO)
    assert not tried.found[ROWS[call if odd.keys() == {call} else "natures"]][0].startswith("not asked")
    # A list of natures is as good as an object: the call only shows that the API answers.
    stopped = call == "natures" and name in ("401", "401 page", "407", "302", "429 for a day")
    assert bool(tried.failure) is (stopped or (call == "everything" and name != "a list"))


ROWS = {
    "natures": "Cheapest call (list of natures)",
    "purchases": "List of purchases",
    "purchase": "One purchase",
    "documents": "List of documents",
    "closing": "A closing",
}
VERDICTS = {
    ("natures", "a list"): YES,
    ("closing", "429 for a day"): UNKNOWN,
    **{("closing", name): YES for name in ("nothing", "204", "a list", "a number")},
    **{("closing", name): YES for name in ("problem details", "403", "404", "404 page", "418")},
}
"""Where an odd answer is not a difference: a closing is a clear yes or a clear no, or Lucca did not look at it."""


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        pytest.param(
            {"purchases": {"items": [{"id": "7", "state": "Open"}], "count": 1}},
            {"List of purchases": ("1 for `limit=1000`; Lucca's answer has an item without an id", NO)},
            id="ids as text",
        ),
        pytest.param(
            {"purchases": {"items": {PLANTED: 1}}},
            {
                "List of purchases": ("0 for `limit=1000`; Lucca's answer has no items", NO),
                "… pages, with `limit=1`": ("0 on the first; Lucca's answer has no items", NO),
                "… counts": ("no", NO),
            },
            id="items that are no list",
        ),
        pytest.param(
            {"purchases": {"items": [{"id": n} for n in range(1, 1500)], "next": None, "count": "1499"}},
            {
                "List of purchases": ("1499 for `limit=1000`", NO),
                "… counts": ("in another form", NO),
                "… shows `state`": ("missing: 1499 of 1499", NO),
                "… shows `billedAmount`": ("missing: 1499 of 1499", NO),
                "… pages, with `limit=1`": (
                    "1499 on the first; page 2 leads back to what came before, so the rest is not known",
                    NO,
                ),
            },
            id="all at once without a count",
        ),
        pytest.param(
            {"purchases": {"items": [{"id": n} for n in range(1, 1001)], "next": PLANTED, "count": 2500}},
            {"List of purchases": ("1000 for `limit=1000`, and there are more", YES), "… counts": ("yes, 2500", YES)},
            id="a full page, and more to come",
        ),
        pytest.param(
            {
                "purchases": lambda query: {
                    "items": [{"id": 8 if "page" in query else 7}],
                    "next": PLANTED,
                    "count": 10**300 + ("page" in query),
                }
            },
            {
                "… pages, with `limit=1`": (
                    f"1 on the first; {f'the list changed while it was read, from {10**300}'[:120]}",
                    NO,
                )
            },
            id="a count that cannot be, and changes",
        ),
        pytest.param(
            {"purchases": {"items": [{"id": n} for n in range(1, 5)], "next": None, "count": 4}},
            {"… pages, with `limit=1`": ("4 on the first, and no more", NO)},
            id="all at once with a count",
        ),
        pytest.param(
            {"purchases": {"items": [{"id": 7}, {"id": 8}], "next": PLANTED, "count": 10**12}},
            {"… counts": ("in another form", NO), "List of purchases": ("2 for `limit=1000`, and there are more", NO)},
            id="a count that cannot be",
        ),
        pytest.param(
            {
                "purchases": {
                    "items": [{"id": 7, "state": PLANTED}, {"id": 8, "state": 3}, {"id": 9, "state": "Denied"}]
                }
            },
            {"… shows `state`": ("missing: 1 of 3; shown: 1 of 3; unknown to this version: 1 of 3", NO)},
            id="states of others",
        ),
        pytest.param(
            {
                "purchases": {
                    "items": [
                        {"id": 7, "billedAmount": amount}
                        for amount in (
                            1,
                            {"counter": 3},
                            {"counter": {"value": "Ferrand"}},
                            {"counter": {"value": "120.5"}},
                            {"counter": {"value": True}},
                            {"counter": {"value": 2}},
                            {"counter": {"value": 2.5}},
                        )
                    ]
                }
            },
            {"… shows `billedAmount`": ("in another form: 5 of 7; shown: 2 of 7", NO)},
            id="amounts of others",
        ),
        pytest.param(
            {"purchases": lambda query: {"items": [] if "page" in query else [{"id": 7}], "next": None}},
            {"… pages, with `limit=1`": ("1 on the first, and no more", UNKNOWN)},
            id="an empty second page",
        ),
        pytest.param(
            {"purchases": lambda query: http(500) if "page" in query else {"items": [{"id": 7}], "next": PLANTED}},
            {"… pages, with `limit=1`": ("1 on the first; the second: 500, no type", NO)},
            id="a second page that fails",
        ),
        pytest.param(
            {"purchases": lambda query: http(400) if "limit=1&" in query else {"items": [{"id": 7}], "count": 1}},
            {"… pages, with `limit=1`": ("400, no type", NO)},
            id="a limit that is refused",
        ),
        pytest.param(
            {"purchase": {"id": 7, "state": "Denied"}},
            {"One purchase": ("200, JSON; another state", NO)},
            id="a list that shows another state",
        ),
        pytest.param(
            {"purchase": {"id": 7, "state": PLANTED}},
            {"One purchase": ("200, JSON; a state that this version does not know", NO)},
            id="a state that nobody knows",
        ),
        pytest.param(
            {"purchase": {"id": 7}, "purchases": {"items": []}},
            {"One purchase": ("200, JSON; no state", NO)},
            id="a purchase without a state",
        ),
        pytest.param(
            {"purchases": {"items": []}},
            {
                "One purchase": (
                    "200, JSON; a state that is documented",
                    UNKNOWN,
                )
            },
            id="a purchase that is not listed",
        ),
        pytest.param(
            {"purchase": {"id": 8, "state": "Ongoing"}},
            {
                "One purchase": ("200, JSON, no clear yes", NO),
                "A closing": ("not asked: the purchase could not be read", UNKNOWN),
            },
            id="another purchase",
        ),
        pytest.param(
            {
                "documents": {
                    "items": [
                        {"id": n, **link}
                        for n, link in enumerate(
                            [
                                {},
                                {"purchase": None},
                                {"purchase": 7},
                                {"purchase": "7"},
                                {"purchase": {"id": "7"}},
                                {"purchase": {"id": 7}, "conformityState": "Confirmed", "paymentState": ""},
                                {"purchase": {"id": None}},
                                {"purchase": PLANTED},
                            ]
                        )
                    ]
                }
            },
            {
                "… name their purchase": (
                    "an object with its id: 2 of 8; in another form: 2 of 8; its id: 1 of 8; its id as text: 1 of 8; "
                    "missing: 1 of 8; null: 1 of 8",
                    NO,
                ),
                "… show `conformityState` and `paymentState`": ("not both shown: 8 of 8", NO),
            },
            id="documents of all kinds",
        ),
        pytest.param(
            {"closing": http(204)},
            {
                "A closing": ("204, no type", YES),
                "State after the closing": ("Ongoing", NO),
                "A second closing of the same purchase": ("204, no type", UNKNOWN),
            },
            id="closings without an effect",
        ),
    ],
)
def test_a_tenant_of_another_kind_is_described(lists: dict[str, Any], expected: Found, try_it: Try) -> None:
    with ScriptedServer(respond=Tenant(**lists)) as server:
        tried = try_it({"host": server.url, "password": KEY}, 7)
    assert {asked: tried.found[asked] for asked in expected} == expected
    assert tried.failure is None
    assert_tells_nothing_planted(tried, server)


@pytest.mark.parametrize(
    ("headers", "asked", "found"),
    [
        ({"X_Correlation_ID": PLANTED}, "Ids for support", ("`X-Correlation-ID` of its own: 9 times", UNKNOWN)),
        ({"CF_RAY": PLANTED}, "Ids for support", ("`CF-RAY`: 9 times", UNKNOWN)),
        (
            {"Deprecation": "@1688169599", "Sunset": "Wed, 31 Mar 2027 23:59:59 GMT"},
            "Deprecation",
            ("{} is deprecated since 2023-06-30 and goes away on 2027-03-31", NO),
        ),
        ({"Sunset": PLANTED}, "Deprecation", ("{} is deprecated, with a date in another form", NO)),
        ({"Sunset": KEY}, "Deprecation", ("{} is deprecated, with a date in another form", NO)),
    ],
)
def test_what_heads_say_is_described(headers: dict[str, str], asked: str, found: tuple[str, str], try_it: Try) -> None:
    with ScriptedServer(respond=Tenant(headers=headers)) as server:
        tried = try_it({"host": server.url, "password": KEY}, 7)
    words, verdict = tried.found[asked]
    if asked == "Deprecation":
        calls = [
            "booked-documents: once",
            "closing: 2 times",
            "natures: once",
            "one purchase: 2 times",
            "purchases: 2 times",
        ]
        words_of_all = "; ".join(found[0].format(call.split(":")[0]) + ":" + call.split(":")[1] for call in calls)
        assert (words, verdict) == (words_of_all, found[1])
    else:
        assert (re.sub(r"\d+ times", "9 times", words), verdict) == found
    assert_tells_nothing_planted(tried, server)


def test_an_id_that_comes_back_is_told_from_one_of_lucca(try_it: Try) -> None:
    def respond(request: Received) -> Answer:
        return http(200, {"items": [], "id": 7}, X_Correlation_ID=request.headers["x-correlation-id"])

    with ScriptedServer(respond=respond) as server:
        tried = try_it({"host": server.url, "password": KEY})
    assert tried.found["Ids for support"] == ("`X-Correlation-ID` repeated: 4 times", UNKNOWN)


@pytest.mark.parametrize(("wait", "form", "verdict"), [(PLANTED, "in another form", NO), ("0.5", "seconds", YES)])
def test_a_wait_is_told_by_its_form(wait: str, form: str, verdict: str, try_it: Try) -> None:
    answers = iter([http(429, Retry_After=wait)])
    tenant = Tenant()
    with ScriptedServer(respond=lambda request: next(answers, None) or tenant(request)) as server:
        tried = try_it({"host": server.url, "password": KEY})
    assert tried.found["`Retry-After`"] == (f"{form}: once", verdict)
    assert tried.asked == len(server.requests) == 6


def test_slow_answers_are_seen(try_it: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    import requests

    monkeypatch.setattr(requests.sessions, "preferred_clock", iter(range(0, 1000, 6)).__next__)
    with ScriptedServer(respond=Tenant()) as server:
        tried = try_it({"host": server.url, "password": KEY})
    assert tried.found["Latency until an answer begins"] == ("6.00 s, at most 6.00 s", NO)


@pytest.mark.parametrize("host", ["refusing", "unresponsive"])
def test_a_host_that_cannot_be_reached_fails_with_a_table(host: str, request, try_it: Try) -> None:
    tried = try_it({"host": request.getfixturevalue(host), "password": KEY, "extra": {"timeout": 0.1}}, 7)
    assert tried.failure
    assert "Tenant (host)" in tried.failure
    assert tried.found["Cheapest call (list of natures)"] == ("no connection", NO)
    assert tried.found["Latency until an answer begins"] == ("no answer", UNKNOWN)
    assert tried.found["A closing"][0] == "not asked: the purchase could not be read"


def test_a_certificate_that_is_not_trusted_fails_with_a_table(certificate: str, try_it: Try) -> None:
    with ScriptedServer(certificate=certificate) as server:
        tried = try_it({"host": f"https://localhost:{server.port}", "password": KEY})
    assert tried.failure
    assert "certificate" in tried.failure
    assert tried.found["Cheapest call (list of natures)"] == ("no connection that can be trusted", NO)
    assert server.requests == []


def test_a_wrong_connection_fails_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_TRIED", "lucca://:@acme.ilucca.net")
    with pytest.raises(AirflowFailException, match=r"API key \(password\)"):
        try_tenant("lucca_tried", ti=TaskInstance())


# -- any tenant --------------------------------------------------------------------------------------------------------

leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from([PLANTED, "Closed", "Ongoing", "7", ""])
)
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([PLANTED, "id", "counter", "value"]), inner)
    ),
    max_leaves=6,
)
members = ("id", "state", "billedAmount", "purchase", "conformityState", "paymentState")
things = st.dictionaries(st.sampled_from(members), anything) | anything
pages = st.fixed_dictionaries(
    {}, optional={"items": st.lists(things, max_size=5) | anything, "next": anything, "count": anything}
)
errors = st.builds(
    lambda kind, status, title: kind(PLANTED, status=status, title=title, web_page=bool(title)),
    st.sampled_from([LuccaError, *LuccaError.__subclasses__(), *LuccaInDoubtError.__subclasses__()])
    | st.sampled_from(LuccaRefusedError.__subclasses__()),
    st.none() | st.integers(100, 999),
    st.none() | st.just(PLANTED),
)


class AnyTenant:
    """Gives what hypothesis draws."""

    environment = "this machine"
    may_be_closed_in = True

    def __init__(self, data: st.DataObject) -> None:
        self.draw = data.draw
        self.requests = 0
        self.heads: list[Head] = []

    def answer(self, values: st.SearchStrategy[Any]) -> Any:
        self.requests += 1
        value = self.draw(values | errors)
        status = value.status if isinstance(value, LuccaError) else 200
        if status is not None:
            self.heads.append(Head("natures", status, self.draw(st.floats(0, 9)), "JSON"))
        if isinstance(value, LuccaError):
            raise value
        return value

    def probe(self) -> None:
        self.answer(st.none())

    def get_page(self, path: str, params: Mapping[str, Any]) -> Any:
        return self.answer(pages)

    def get_purchase(self, purchase_id: int) -> Any:
        return self.answer(st.dictionaries(st.sampled_from(members), anything))

    def close_purchase(self, purchase_id: int) -> None:
        self.answer(st.none())


@given(st.data(), st.none() | st.just(7))
def test_any_tenant_gets_a_table_without_a_word_of_its_own(data: st.DataObject, purchase_id: int | None) -> None:
    tenant = AnyTenant(data)
    trial = run_trial(tenant, purchase_id, FastClock())
    table = write_table(trial, "1.0")
    assert read_table(table)
    assert PLANTED not in table
    assert tenant.requests <= (READS if purchase_id is None else WITH_CLOSINGS)
    assert trial.learnt or trial.errors
