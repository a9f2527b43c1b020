"""The sandbox on real sockets: its endpoints, its limit, its faults, its start and its end."""

from __future__ import annotations

import contextlib
import email.utils
import gc
import http.client
import math
import socket
import threading
import time

import pytest
import requests

from lucca_provider.sandbox import FAULTS, Sandbox
from lucca_provider.sandbox.settings import steady_clock

ROOT = "/cleemy-procurement/api"
KEY = {"Authorization": "lucca application=sandbox-key"}


class Clock:
    now = 1_700_000_000.0

    def __call__(self):
        return self.now


class Client(requests.Session):
    """Speaks to one sandbox, follows no redirects and uses no proxies."""

    def __init__(self, lucca):
        super().__init__()
        self.trust_env = False
        self.headers.update(KEY)
        self.lucca = lucca

    def request(self, method, path, **options):
        path = path if path.startswith("/") else f"{ROOT}/{path}"
        options.update(allow_redirects=False, timeout=20)
        return super().request(method, self.lucca.url + path, **options)

    def close_purchase(self, number, **options):
        return self.post(f"purchases/{number}/closing", **options)

    def pages(self, name, page=None, **query):
        """Return the items of each page of a list, by the tokens that it gives; at most ten."""
        found = []
        for _ in range(10):
            more = {"page": page} if page else {}
            answer = self.get(name, params={**query, **more, "fields.root": "next"}).json()
            found.append([item["id"] for item in answer["items"]])
            page = answer["next"]
            if page is None:
                break
        return found


@pytest.fixture
def run():
    """Return a function that starts a sandbox with a client; all end with the test."""
    with contextlib.ExitStack() as stack:

        def start(purchases=10, **options):
            lucca = stack.enter_context(Sandbox(purchases, **{"limit": 0, **options}))
            return lucca, stack.enter_context(contextlib.closing(Client(lucca)))

        yield start


def raw(lucca, text, *, timeout=20):
    """Send bytes as they are and return all that comes until the connection is closed."""
    with socket.create_connection((lucca.host, lucca.port), timeout=timeout) as connection:
        connection.sendall(text)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


def raw_closing(lucca, number):
    return raw(
        lucca,
        f"POST {ROOT}/purchases/{number}/closing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        "Authorization: lucca application=sandbox-key\r\nContent-Length: 0\r\n\r\n".encode(),
    )


def flat(pages):
    return [item for page in pages for item in page]


def problem(answer):
    """Return status, title, detail and errors of an answer that must be a problem."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    content = answer.json()
    assert set(content) == {"type", "title", "status", "detail", "errors"}
    assert content["status"] == answer.status_code
    return content["status"], content["title"], content["detail"], content["errors"]


# --- closing ---


def test_a_closing_with_comment_and_date(run):
    lucca, client = run()
    number = lucca.closable_ids[0]
    answer = client.close_purchase(number, json={"comment": "March", "date": "2025-03-31"})
    assert (answer.status_code, answer.json()) == (200, {})
    assert lucca.purchase(number)["state"] == client.get(f"purchases/{number}").json()["state"] == "Closed"
    [closing] = lucca.closings
    assert (closing.purchase_id, closing.comment, closing.date) == (number, "March", "2025-03-31")
    [request, _] = lucca.requests
    assert (request.method, request.path) == ("POST", f"{ROOT}/purchases/{number}/closing")
    assert (request.status, request.effect, request.fault, request.done) == (200, True, None, True)
    assert request.body == {"comment": "March", "date": "2025-03-31"}
    assert (request.purchase_id, lucca.posts(number)) == (number, 1)


def test_a_closing_without_a_body(run):
    lucca, client = run()
    assert client.close_purchase(lucca.closable_ids[0]).status_code == 200
    assert lucca.requests[0].body is None


def test_the_refusals(run):
    lucca, client = run()
    closed, blocked = lucca.closed_ids[0], lucca.blocked_ids[0]
    assert problem(client.close_purchase(closed))[:2] == (409, "Purchase already closed")
    assert problem(client.close_purchase(blocked))[:2] == (409, "Purchase has open documents")
    assert problem(client.close_purchase(99))[0] == 404
    lucca.behaviour.may_close = False
    assert problem(client.close_purchase(lucca.closable_ids[0]))[0] == 403
    assert lucca.closings == []
    assert not any(request.effect for request in lucca.requests)


@pytest.mark.parametrize("number", ["0x1", "-1", "1.5", "2147483648", "١٢"])
def test_an_id_that_is_not_an_int32_is_refused(run, number):
    _, client = run()
    for answer in (client.close_purchase(number), client.get(f"purchases/{number}"), client.get(f"invoices/{number}")):
        status, _, _, errors = problem(answer)
        assert (status, list(errors)) == (400, ["id"])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b"[]", "body"),
        (b"\xff", "body"),
        (b"null", "body"),
        (b'{"comment": 1}', "comment"),
        (b'{"comment": null}', "comment"),
        (b'{"date": "2025-02-30"}', "date"),
        (b'{"date": "31/01/2025"}', "date"),
        (b'{"date": "20250131"}', "date"),
        (b'{"date": 20250131}', "date"),
        (b'{"date": "2025-01-31T00:00:00"}', "date"),
        (b'{"reason": "x"}', "reason"),
    ],
)
def test_a_body_outside_the_contract_is_refused(run, body, field):
    lucca, client = run()
    number = lucca.closable_ids[0]
    status, _, _, errors = problem(
        client.close_purchase(number, data=body, headers={"Content-Type": "application/json; charset=utf-8"})
    )
    assert (status, list(errors)) == (400, [field])
    assert number in lucca.closable_ids


def test_all_errors_of_a_body_are_told_at_once(run):
    lucca, client = run()
    answer = client.close_purchase(lucca.closable_ids[0], json={"a": 1, "comment": 2, "date": 3})
    assert sorted(problem(answer)[3]) == ["a", "comment", "date"]


def test_a_body_that_is_not_json_is_refused_and_recorded_as_text(run):
    lucca, client = run()
    answer = client.close_purchase(lucca.closable_ids[0], data="comment=x")
    assert (problem(answer)[0], list(problem(answer)[3])) == (400, ["Content-Type"])
    assert lucca.requests[0].body == "comment=x"


# --- key, paths ---


@pytest.mark.parametrize(
    "value",
    [None, "sandbox-key", "lucca application=other", "Lucca application=sandbox-key", "lucca application=sandbox-key2"],
)
def test_a_wrong_key_is_refused_and_never_shown(run, value):
    lucca, client = run()
    client.headers["Authorization"] = value
    number = lucca.closable_ids[0]
    assert problem(client.close_purchase(number))[0] == 401
    assert problem(client.get("nothing"))[0] == 401
    assert number in lucca.closable_ids
    assert lucca.requests[0].headers.get("authorization") == (None if value is None else "***")


def test_two_keys_are_one_too_many(run):
    lucca, _ = run()
    line = "Authorization: lucca application=sandbox-key\r\n"
    answer = raw(lucca, f"GET {ROOT}/natures HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{line}{line}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 401 ")


def test_unknown_paths_and_methods(run):
    lucca, client = run()
    number = lucca.closable_ids[0]
    assert problem(client.get("purchase"))[0] == 404
    assert problem(client.get("/api/v3/users"))[0] == 404
    assert problem(client.delete(f"purchases/{number}"))[0] == 405
    assert problem(client.get(f"purchases/{number}/closing"))[0] == 405
    assert [request.status for request in lucca.requests] == [404, 404, 405, 405]


def test_a_tenant_without_the_module(run):
    lucca, client = run(wrong_module=True)
    assert problem(client.get("natures"))[0] == 404
    assert problem(client.close_purchase(lucca.closable_ids[0]))[0] == 404
    assert lucca.closings == []


def test_the_record_of_a_request(run):
    clock = Clock()
    lucca, client = run(clock=clock)
    client.get("suppliers?state=Active&state=Archived&search.terms=", headers={"X-Trace": "7"})
    [request] = lucca.requests
    assert (request.number, request.at, request.purchase_id) == (1, clock.now, None)
    assert request.query == {"state": "Active,Archived", "search.terms": ""}
    assert request.headers["x-trace"] == "7"
    assert "sandbox-key" not in str(request)
    lucca.reset_requests()
    assert lucca.requests == []


# --- reading ---


def test_a_purchase_as_lucca_gives_it(run):
    lucca, client = run()
    number = lucca.add_purchase(title="Chairs", invoices=[{"amount": 120}])
    purchase = client.get(f"purchases/{number}").json()
    assert purchase == lucca.purchase(number)
    assert (purchase["id"], purchase["title"], purchase["state"]) == (number, "Chairs", "Ongoing")
    assert purchase["billedAmount"]["counter"] == {"value": 120.0, "currency": "EUR"}
    assert problem(client.get("purchases/99"))[0] == 404


def test_what_is_handed_out_is_a_copy(run):
    lucca, client = run()
    number = lucca.purchase_ids[0]
    lucca.purchase(number)["supplier"]["name"] = "changed"
    lucca.documents[0]["amountIncludingTaxes"]["base"].clear()
    assert client.get(f"purchases/{number}").json()["supplier"]["name"] != "changed"
    assert client.get("booked-documents?limit=1").json()["items"][0]["amountIncludingTaxes"]["base"]


def test_purchases_without_state(run):
    lucca, client = run(missing_state=True)
    number = lucca.purchase_ids[0]
    assert "state" not in client.get(f"purchases/{number}").json()
    assert "state" not in lucca.purchase(number)
    assert not any("state" in purchase for purchase in client.get("purchases").json()["items"])


def test_one_purchase_without_state(run):
    lucca, client = run()
    number = lucca.closable_ids[0]
    lucca.set_purchase(number, state=None)
    without = [p["id"] for p in client.get("purchases").json()["items"] if "state" not in p]
    assert without == [number]


def test_invoices_by_id(run):
    lucca, client = run(0)
    lucca.add_purchase(invoices=[{}, {"type": "CreditNote"}])
    loose = lucca.add_document()
    invoice, credit_note, without_purchase = lucca.documents
    assert client.get(f"invoices/{invoice['id']}").json() == invoice
    assert client.get(f"invoices/{loose}").json() == without_purchase
    assert problem(client.get(f"invoices/{credit_note['id']}"))[0] == 404
    assert problem(client.get("invoices/1"))[0] == 404


def test_the_small_lists(run):
    _, client = run()
    assert client.get("natures?limit=1").json() == {"items": [{"id": 1, "name": "Software", "state": "Enabled"}]}
    assert {"id", "name", "code", "state"} == set(client.get("costcenters").json()["items"][0])
    every = client.get("suppliers?fields.root=count").json()["count"]
    archived = client.get("suppliers?state=Archived").json()["items"]
    assert (every, len(archived)) == (9, 1)
    found = client.get("suppliers", params={"search.terms": "ÉCLAT form"}).json()["items"]
    assert [supplier["name"] for supplier in found] == ["Éclat Formation"]
    assert list(problem(client.get("suppliers?state=Gone"))[3]) == ["state"]


@pytest.mark.parametrize("name", ["purchases", "booked-documents"])
def test_paging_by_token(run, name):
    lucca, client = run(20)
    expected = lucca.purchase_ids if name == "purchases" else [document["id"] for document in lucca.documents]
    pages = client.pages(name, limit=10)
    assert flat(pages) == expected
    assert len(pages) == math.ceil(len(expected) / 10)


def test_prev_and_count_are_given_when_asked_for(run):
    _, client = run(25)
    first = client.get("purchases?limit=10").json()
    assert set(first) == {"items"}
    first = client.get("purchases?limit=10&fields.root=prev,next&fields.root=count").json()
    assert (first["prev"], first["count"], set(first)) == (None, 25, {"items", "prev", "next", "count"})
    query = {"limit": 10, "page": first["next"], "fields.root": "prev"}
    second = client.get("purchases", params=query).json()
    assert client.get("purchases", params={"limit": 10, "page": second["prev"]}).json()["items"] == first["items"]


def test_limit_zero_gives_the_count_only(run):
    _, client = run(25)
    assert client.get("purchases?limit=0&page=&fields.root=count,next").json() == {
        "items": [],
        "count": 25,
        "next": None,
    }


def test_a_page_has_a_hundred_items_by_default_and_a_thousand_at_most(run):
    _, client = run(1100)
    assert len(client.get("purchases").json()["items"]) == 100
    assert len(client.get("purchases?limit=1000").json()["items"]) == 1000


def test_booked_documents_also_have_page_numbers(run):
    lucca, client = run(25)
    ids = [document["id"] for document in lucca.documents]
    second = client.get("booked-documents?limit=10&page=2").json()["items"]
    assert [document["id"] for document in second] == ids[10:20]
    assert client.get("booked-documents?limit=1000&page=2").json() == {"items": []}


def test_page_numbers_everywhere_without_tokens(run):
    lucca, client = run(25, list_tokens=False)
    query = "purchases?limit=10&fields.root=prev,next,count&page="
    pages = [client.get(f"{query}{number}").json() for number in (1, 2, 3)]
    assert [purchase["id"] for page in pages for purchase in page["items"]] == lucca.purchase_ids
    assert {(page["prev"], page["next"], page["count"]) for page in pages} == {(None, None, 25)}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("purchases?limit=1001", "limit"),
        ("purchases?limit=-1", "limit"),
        ("purchases?limit=ten", "limit"),
        ("purchases?page=2", "page"),
        ("purchases?page=é", "page"),
        ("purchases?page=!!", "page"),
        ("purchases?page=bmF0dXJlczox", "page"),  # a token of another list
        ("booked-documents?page=0", "page"),
        ("natures?fields.root=total", "fields.root"),
        ("booked-documents?invoice.conformityStates=Fine", "invoice.conformityStates"),
        ("booked-documents?creditNote.conformityStates=Confirmed,Fine", "creditNote.conformityStates"),
        ("booked-documents?createdAt.from=yesterday", "createdAt.from"),
        ("booked-documents?createdAt.from=0001-01-01T00:00:00%2B05:00", "createdAt.from"),
    ],
)
def test_a_query_that_is_not_understood_is_refused(run, query, field):
    _, client = run()
    status, _, _, errors = problem(client.get(query))
    assert (status, list(errors)) == (400, [field])


def test_filters_of_booked_documents_touch_their_own_type(run):
    lucca, client = run(0)
    lucca.add_purchase(
        invoices=[
            {"documentNumber": "i1"},
            {"documentNumber": "i2", "conformityState": "ToReview"},
            {"documentNumber": "i3", "conformityState": "Litigation"},
            {"documentNumber": "c1", "type": "CreditNote"},
            {"documentNumber": "c2", "type": "CreditNote", "conformityState": "ToReview"},
            {"documentNumber": "u1", "type": "Unknown"},
        ]
    )

    def numbers(query):
        return [document["documentNumber"] for document in client.get(f"booked-documents?{query}").json()["items"]]

    states = "invoice.conformityStates"
    assert numbers("") == ["i1", "i2", "i3", "c1", "c2", "u1"]
    assert numbers(f"{states}=ToReview,Litigation") == ["i2", "i3", "c1", "c2", "u1"]
    assert numbers(f"{states}=ToReview&{states}=Litigation") == ["i2", "i3", "c1", "c2", "u1"]
    assert numbers(f"{states}=Confirmed&creditNote.conformityStates=Confirmed") == ["i1", "c1", "u1"]


@pytest.mark.parametrize(
    "since",
    ["2025-03-01", "2025-03-01T00:00:00", "2025-03-01T00:00:00.0000000Z", "2025-03-01T01:00:00+01:00"],
)
def test_booked_documents_since(run, since):
    lucca, client = run(0)
    lucca.add_document(documentNumber="old", createdAt="2025-02-28T23:59:59.9999990+00:00")
    lucca.add_document(documentNumber="new", createdAt="2025-03-01T00:00:00.0000000+00:00")
    answer = client.get("booked-documents", params={"createdAt.from": since}).json()
    assert [document["documentNumber"] for document in answer["items"]] == ["new"]


def test_lists_that_answer_with_a_status(run):
    _, client = run(list_status=403)
    assert problem(client.get("purchases"))[0] == 403
    assert problem(client.get("booked-documents"))[0] == 403
    assert client.get("natures").status_code == 200


def test_lists_that_ignore_the_limit(run):
    lucca, client = run(250, list_ignores_limit=True)
    assert len(client.get("purchases?limit=10").json()["items"]) == 100
    pages = client.pages("purchases", limit=1000)
    assert ([len(page) for page in pages], flat(pages)) == ([100, 100, 50], lucca.purchase_ids)


def test_lists_whose_token_repeats(run):
    lucca, client = run(25, list_repeats_token=True)
    ids = lucca.purchase_ids
    pages = client.pages("purchases", limit=10)
    assert pages == [ids[:10]] + [ids[10:20]] * 9
    second, third = (client.get(f"booked-documents?limit=10&page={number}").json() for number in (2, 3))
    assert second == third


# --- limit ---


def test_the_limit_slides_as_the_server_sees_it(run):
    clock = Clock()
    lucca, client = run(limit=3, window=60, clock=clock)
    for _ in range(3):
        assert client.get("natures").status_code == 200
        clock.now += 10
    answer = client.get("natures")
    assert problem(answer)[0] == 429
    assert answer.headers["Retry-After"] == "30"
    clock.now += 29.5
    assert client.get("natures").headers["Retry-After"] == "1"
    clock.now += 0.5
    assert client.get("natures").status_code == 200
    assert client.get("natures").headers["Retry-After"] == "10"
    assert lucca.throttled == 3


def test_a_request_over_the_limit_has_no_effect_and_does_not_count(run):
    clock = Clock()
    lucca, client = run(limit=1, clock=clock)
    client.get("natures")
    number = lucca.closable_ids[0]
    for _ in range(5):
        clock.now += 10
        assert client.close_purchase(number).status_code == 429
    clock.now += 10
    assert lucca.closings == []
    assert client.close_purchase(number).status_code == 200
    assert lucca.posts(number) == 6


def test_a_request_with_a_wrong_key_counts(run):
    _, client = run(limit=1, clock=Clock())
    assert client.get("natures", headers={"Authorization": "x"}).status_code == 401
    assert client.get("natures").status_code == 429


def test_the_limit_leaves_a_scripted_fault_for_the_next_request(run):
    clock = Clock()
    lucca, client = run(limit=1, clock=clock)
    client.get("natures")
    number = lucca.closable_ids[0]
    lucca.fail_next("error_before", number)
    assert client.close_purchase(number).status_code == 429
    clock.now += 60
    assert client.close_purchase(number).status_code == 500


def test_retry_after_as_a_date_is_not_early(run):
    clock = Clock()
    clock.now += 0.25
    _, client = run(limit=1, clock=clock, retry_after_date=True)
    client.get("natures")
    when = email.utils.parsedate_to_datetime(client.get("natures").headers["Retry-After"])
    assert clock.now + 60 <= when.timestamp() < clock.now + 61


def test_concurrent_requests_never_exceed_the_limit(run):
    lucca, _ = run(limit=20, clock=Clock())
    statuses = []

    def ask():
        with Client(lucca) as client:
            statuses.extend(client.get("natures").status_code for _ in range(10))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 20 + [429] * 20
    assert lucca.throttled == 20


# --- faults ---


@pytest.mark.parametrize(
    ("fault", "status", "effect"),
    [
        ("error_before", 500, False),
        ("error_after", 500, True),
        ("unavailable", 503, False),
        ("timeout_before", 408, False),
        ("timeout_after", 408, True),
        ("throttle", 429, False),
        ("login_redirect", 302, False),
        ("html", 200, False),
        ("drop_before", None, False),
        ("drop_after", None, True),
        ("hang", None, False),
        ("hang_after", None, True),
    ],
)
def test_each_fault(run, fault, status, effect):
    lucca, client = run(faults={fault: 1}, hang_seconds=0.05)
    number = lucca.closable_ids[0]
    if status is None:
        assert raw_closing(lucca, number) == b""
    else:
        assert client.close_purchase(number).status_code == status
    [request] = lucca.requests
    assert (request.fault, request.status, request.effect, request.done) == (fault, status, effect, True)
    assert (number in lucca.closed_ids) is effect
    assert [closing.purchase_id for closing in lucca.closings] == [number] * effect
    lucca.faults = {}
    assert client.close_purchase(number).status_code == (409 if effect else 200)


def test_each_fault_has_its_test():
    [mark] = test_each_fault.pytestmark
    assert {row[0] for row in mark.args[1]} == set(FAULTS)


@pytest.mark.parametrize("fault", ["error_before", "unavailable", "timeout_before", "throttle"])
def test_faults_with_a_status_are_problems(run, fault):
    lucca, client = run(faults={fault: 1})
    assert problem(client.close_purchase(lucca.closable_ids[0]))


def test_a_dropped_connection_does_not_harm_others(run):
    lucca, client = run()
    assert client.get("natures").status_code == 200
    number = lucca.closable_ids[0]
    lucca.fail_next("drop_after", number)
    connection = http.client.HTTPConnection(lucca.host, lucca.port, timeout=20)
    with contextlib.closing(connection):
        connection.request("POST", f"{ROOT}/purchases/{number}/closing", headers=KEY)
        with pytest.raises(http.client.RemoteDisconnected):
            connection.getresponse()
    assert client.get("natures").status_code == 200


def test_an_answer_lost_after_a_refusal_has_no_effect(run):
    lucca, client = run()
    number = lucca.blocked_ids[0]
    lucca.fail_next("error_after", number)
    assert client.close_purchase(number).status_code == 500
    assert not lucca.requests[0].effect
    assert number in lucca.blocked_ids


def test_the_login_page(run):
    lucca, client = run()
    lucca.fail_next("login_redirect", times=1)
    lucca.fail_next("html", times=1)
    number = lucca.closable_ids[0]
    redirect, page = client.close_purchase(number), client.close_purchase(number)
    assert page.headers["Content-Type"].startswith("text/html")
    assert client.get(redirect.headers["Location"]).text == page.text


def test_what_503_and_a_made_up_429_ask_to_wait(run):
    lucca, client = run()
    number = lucca.closable_ids[0]

    def retry_after(fault):
        lucca.fail_next(fault)
        return client.close_purchase(number).headers.get("Retry-After")

    assert (retry_after("throttle"), retry_after("unavailable")) == ("1", None)
    lucca.behaviour.retry_after = 2.5
    assert (retry_after("throttle"), retry_after("unavailable")) == ("3", "3")
    lucca.behaviour.retry_after = 0
    assert retry_after("throttle") == "0"


def test_a_made_up_429_does_not_count(run):
    lucca, client = run(limit=1, clock=Clock())
    lucca.fail_next("throttle")
    number = lucca.closable_ids[0]
    assert client.close_purchase(number).status_code == 429
    assert client.close_purchase(number).status_code == 200
    assert lucca.throttled == 1


def test_faults_on_every_request(run):
    _, client = run(faults={"error_before": 1}, fault_on="all")
    assert client.get("natures").status_code == 500
    _, client = run(faults={"error_before": 1})
    assert client.get("natures").status_code == 200


def test_a_wrong_key_meets_no_fault(run):
    lucca, client = run(faults={"html": 1}, fault_on="all")
    assert client.get("natures", headers={"Authorization": "x"}).status_code == 401
    assert lucca.requests[0].fault is None


def test_faults_can_be_changed_while_it_runs(run):
    lucca, client = run(faults={"error_before": 1})
    number = lucca.closable_ids[0]
    lucca.faults["error_before"] = 0
    assert client.close_purchase(number).status_code == 200


def test_latency_delays_requests_but_not_each_other(run):
    lucca, _ = run(latency=1)
    started = time.monotonic()
    threads = [threading.Thread(target=raw_closing, args=(lucca, number)) for number in lucca.closable_ids[:5]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= time.monotonic() - started < 4.5
    assert len(lucca.closings) == 5


# --- the page ---


def test_the_page_and_what_it_polls(run):
    lucca, client = run(limit=5)
    number = lucca.closable_ids[0]
    client.close_purchase(number)
    page = client.get("/")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "http" not in page.text.replace("http-equiv", "")
    assert client.get("/favicon.ico").status_code == 204
    link = client.get("/cleemy-procurement", allow_redirects=False)
    assert (link.status_code, link.headers["Location"]) == (302, "/")
    state = client.get("/_sandbox/state").json()
    assert state["counts"] == {"closable": 6, "closed": 2, "blocked": 2, "requests": 1, "throttled": 0}
    assert (state["used"], state["limit"], state["window"]) == (1, 5, 60)
    assert [purchase["purchase_id"] for purchase in state["purchases"]] == lucca.purchase_ids
    assert [request["purchase_id"] for request in state["requests"]] == [number]
    later = client.get("/_sandbox/state", params={"version": state["version"], "seen": state["seen"]}).json()
    assert (later["purchases"], later["requests"], later["run"]) == ([], [], state["run"])


def test_the_page_neither_needs_a_key_nor_counts_nor_is_recorded(run):
    lucca, client = run(limit=1)
    del client.headers["Authorization"]
    for _ in range(3):
        assert client.get("/_sandbox/state").status_code == 200
        assert client.get("/").status_code == 200
    assert lucca.requests == []
    assert "sandbox-key" not in client.get("/_sandbox/state").text


def test_a_person_approves_and_pays_on_the_page(run):
    lucca, client = run(0)
    number = lucca.add_purchase(invoices=[{"conformityState": "ToReview", "paymentState": "None"}])
    [shown] = client.get("/_sandbox/state").json()["purchases"]
    assert shown["approvable"]
    assert client.close_purchase(number).status_code == 409
    assert client.post(f"/_sandbox/approval?purchase_id={number}").status_code == 204
    assert client.close_purchase(number).status_code == 200


def test_what_the_page_asks_for_wrongly_is_refused(run):
    _, client = run(0)
    assert problem(client.get("/_sandbox/state?seen=x"))[0] == 400
    assert problem(client.post("/_sandbox/approval?purchase_id=1"))[0] == 404
    assert problem(client.get("/_sandbox/approval?purchase_id=1", headers=KEY))[0] == 404


# --- HTTP ---


def test_head_has_no_body(run):
    lucca, _ = run()
    answer = raw(lucca, b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert answer.endswith(b"\r\n\r\n")


def test_a_length_that_is_no_number_is_refused(run):
    lucca, client = run()
    assert raw(lucca, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert lucca.requests == []
    assert client.get("natures").status_code == 200


def test_a_client_that_does_not_read_its_answers_does_not_hold_up_the_end():
    question = f"GET {ROOT}/purchases?limit=1000 HTTP/1.1\r\nHost: x\r\nAuthorization: {KEY['Authorization']}\r\n\r\n"
    before = threading.active_count()
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with Sandbox(1000, limit=0) as lucca:
            deaf.connect((lucca.host, lucca.port))
            deaf.sendall(question.encode() * 20)
            while not lucca.requests:
                time.sleep(0.001)
        assert threading.active_count() == before


# --- start and end ---


def test_it_listens_when_entered_and_no_longer_when_left():
    with Sandbox(1) as lucca:
        socket.create_connection((lucca.host, lucca.port)).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((lucca.host, lucca.port))


def test_it_starts_and_stops_and_leaves_no_thread():
    before = threading.active_count()
    with Sandbox():
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    gc.collect()


def test_connections_made_at_the_last_moment_are_closed():
    for _ in range(10):
        with Sandbox(1) as lucca:
            late = [socket.create_connection((lucca.host, lucca.port)) for _ in range(5)]
        for connection in late:
            connection.close()
    gc.collect()  # a socket left open by the server would be a ResourceWarning now


def test_several_at_once(run):
    (one, client), (two, other) = run(seed=1), run(seed=2)
    assert one.port != two.port
    client.get("natures")
    assert (len(one.requests), len(two.requests)) == (1, 0)
    assert other.get("natures").status_code == 200


def test_it_stops_while_a_request_hangs_and_a_client_stalls():
    with Sandbox(hang_seconds=60, limit=0) as lucca:
        lucca.fail_next("hang")
        number = lucca.closable_ids[0]
        thread = threading.Thread(target=raw_closing, args=(lucca, number))
        thread.start()
        while not lucca.requests:
            time.sleep(0.001)
        stalled = socket.create_connection((lucca.host, lucca.port), timeout=20)
        head = f"POST {ROOT}/purchases/{number}/closing HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n"
        stalled.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert stalled.recv(100).startswith(b"HTTP/1.1 100 ")  # it waits for the body now
        started = time.monotonic()
    assert time.monotonic() - started < 30
    thread.join()
    stalled.close()
    assert not lucca.closings


def test_a_client_that_leaves_in_the_middle_of_a_request_is_forgotten(run, caplog):
    lucca, client = run()
    with socket.create_connection((lucca.host, lucca.port)) as leaving:
        leaving.sendall(f"POST {ROOT}/natures HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{".encode())
    assert client.get("natures").status_code == 200
    assert [request.method for request in lucca.requests] == ["GET"]
    assert caplog.records == []


def test_a_taken_port_is_an_os_error_and_leaves_nothing_open(run):
    lucca, _ = run()
    with pytest.raises(OSError, match="Address already in use"), Sandbox(port=lucca.port):
        pass
    gc.collect()


def test_it_can_be_entered_once_only():
    lucca = Sandbox(1)
    with lucca:
        pass
    with pytest.raises(RuntimeError, match="once only"):
        lucca.__enter__()


def test_addresses():
    with Sandbox(1, api_key="a/b@c d") as lucca:
        assert lucca.url == f"http://127.0.0.1:{lucca.port}"
        assert lucca.connection_uri == f"lucca://:a%2Fb%40c%20d@127.0.0.1:{lucca.port}/http"
        assert lucca.environ == {"AIRFLOW_CONN_LUCCA_DEFAULT": lucca.connection_uri}


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 on this machine")
def test_ipv6():
    try:
        lucca = Sandbox(1, host="::1").__enter__()
    except OSError as error:
        pytest.skip(f"no IPv6 on this machine: {error}")
    with contextlib.closing(Client(lucca)) as client:
        assert lucca.url.startswith("http://[::1]:")
        assert client.get("natures").status_code == 200
    lucca.__exit__(None, None, None)


def test_a_port_can_be_had_again_at_once():
    with Sandbox(1) as lucca, contextlib.closing(Client(lucca)) as client:
        client.get("natures")
    with Sandbox(1, port=lucca.port) as again:
        assert again.port == lucca.port


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"api_key": ""}, "api_key"),
        ({"api_key": "clé"}, "api_key"),
        ({"api_key": "a\nb"}, "api_key"),
        ({"fault_on": "some"}, "fault_on is 'some'"),
        ({"latency": -1}, "latency"),
        ({"hang_seconds": -1}, "hang_seconds"),
        ({"faults": {"x": 1}}, "unknown fault"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Sandbox(1, **options)


def test_the_clock_follows_the_time_of_day():
    clock = steady_clock()
    first, now, second = clock(), time.time(), clock()
    assert first <= second
    assert abs(first - now) < 1
