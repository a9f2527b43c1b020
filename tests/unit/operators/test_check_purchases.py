"""CheckPurchasesOperator against a tenant on real sockets; Airflow's own part is in tests/integration."""

from __future__ import annotations

import re
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from lucca_provider.exceptions import LuccaAccessError, LuccaUnresolvedError
from lucca_provider.operators.purchases import CheckPurchasesOperator
from lucca_provider.sandbox import Sandbox
from tests.unit.airflow_fakes import TaskInstance

OPEN = [{"conformityState": "ToReview", "paymentState": "None", "documentNumber": "F1", "documentDate": "2026-01-31"}]
PAID = [{"conformityState": "Confirmed", "paymentState": "Paid"}]
UNKNOWN = 1


@pytest.fixture
def lucca(monkeypatch):
    with Sandbox(purchases=6, states={"closable": 1}) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", sandbox.connection_uri)
        yield sandbox
        assert {request.method for request in sandbox.requests} <= {"GET"}


def run(ti: TaskInstance | None = None, **kwargs: Any) -> Any:
    operator = CheckPurchasesOperator(task_id="check", **kwargs)
    return operator.execute({"ti": ti or TaskInstance()})  # type: ignore[typeddict-item]


def everything(lucca: Sandbox) -> tuple[list[int], dict[str, Any]]:
    """Return ids of every kind, and what a check of them has to say."""
    closed, blocked = lucca.add_purchase(state="Closed"), lucca.add_purchase(invoices=OPEN)
    ids = [UNKNOWN, blocked, *lucca.closable_ids[:2], closed]
    return ids, {
        "closable": lucca.closable_ids[:2],
        "already_closed": [closed],
        "blocked": [{"id": blocked, "reasons": ["invoice F1 of 2026-01-31: to review, not paid"]}],
        "unknown": [{"id": UNKNOWN, "reason": "Lucca has no such purchase, or this API key may not see it (404)"}],
    }


# -- on_blocked ------------------------------------------------------------------------------------------------------


def test_by_default_a_blocked_purchase_fails_the_task_for_good_with_every_reason_and_the_result(lucca):
    ids, expected = everything(lucca)
    ti = TaskInstance()
    with pytest.raises(AirflowFailException) as raised:
        run(ti, purchase_ids=ids)
    message, *lines = str(raised.value).split("\n- ")
    assert message.startswith("2 purchase(s) cannot be closed now, so nothing is passed on. Fix the cause in Lucca")
    assert lines == [
        f"purchase {ids[1]}: invoice F1 of 2026-01-31: to review, not paid",
        "purchase 1: not known, Lucca has no such purchase, or this API key may not see it (404)",
    ]
    assert ti.report == expected
    assert {key: ti.pushed[key] for key in expected} == expected


def test_if_only_it_is_not_known_a_retry_is_let_to_find_out(lucca):
    ti = TaskInstance()
    with pytest.raises(LuccaUnresolvedError, match="purchase 1: not known, Lucca has no such purchase"):
        run(ti, purchase_ids=[UNKNOWN, lucca.closable_ids[0]])
    assert ti.report["closable"] == lucca.closable_ids[:1]


@pytest.mark.parametrize(("on_blocked", "level"), [("warn", "warning"), ("skip", "info")])
def test_the_closable_ones_are_passed_on_and_the_others_logged(lucca, logged, on_blocked, level):
    ids, expected = everything(lucca)
    assert run(purchase_ids=ids, on_blocked=on_blocked) == expected
    left_out = re.findall(r"\b(warning|info)\b.*left out: purchase (\d+)", logged().lower())
    assert set(left_out) == {(level, str(ids[0])), (level, str(ids[1]))}


def test_skip_skips_the_task_if_none_can_be_closed_and_still_reports(lucca):
    blocked = lucca.add_purchase(invoices=OPEN)
    ti = TaskInstance()
    with pytest.raises(AirflowSkipException, match=f"None of the purchases .*\n- purchase {blocked}: invoice F1"):
        run(ti, purchase_ids=blocked, on_blocked="skip")
    assert [item["id"] for item in ti.report["blocked"]] == [blocked]
    assert ti.pushed["closable"] == []


def test_warn_passes_an_empty_list_on_if_none_can_be_closed(lucca):
    assert run(purchase_ids=lucca.add_purchase(invoices=OPEN), on_blocked="warn")["closable"] == []


@pytest.mark.parametrize("on_blocked", ["fail", "warn", "skip"])
def test_purchases_that_are_closed_already_block_nothing(lucca, on_blocked):
    closed = lucca.add_purchase(state="Closed")
    assert run(purchase_ids=[closed], on_blocked=on_blocked)["already_closed"] == [closed]


# -- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "state"),
    [
        ({"approved_states": ["ToReview"], "paid_states": ["None", "Paid"]}, "Ongoing"),
        ({"approved_states": ["Confirmed", "Bypassed"], "cancelled_states": ["ToReview"]}, "Ongoing"),
        ({"cancelled_states": "ToReview", "closable_states": "Processing"}, "Processing"),
    ],
)
def test_which_states_count_for_what_can_be_said(lucca, arguments, state):
    purchase_id = lucca.add_purchase(state=state, invoices=OPEN)
    assert run(purchase_ids=purchase_id, on_blocked="warn")["blocked"]
    assert run(purchase_ids=purchase_id, **arguments)["closable"] == [purchase_id]


def test_without_cancelled_states_a_discarded_invoice_blocks(lucca):
    discarded = [{"conformityState": "Discarded", "paymentState": "None"}]
    purchase_id = lucca.add_purchase(invoices=discarded)
    assert run(purchase_ids=purchase_id)["closable"] == [purchase_id]
    assert run(purchase_ids=purchase_id, cancelled_states=[], on_blocked="warn")["closable"] == []


def test_documents_since_is_sent_as_a_filter_and_what_it_hides_is_never_closable(lucca):
    result = run(purchase_ids=lucca.closable_ids, documents_since="2026-11-01", on_blocked="warn")
    assert result["closable"] == []
    assert [item["id"] for item in result["unknown"]] == lucca.closable_ids
    (listing,) = [request for request in lucca.requests if request.path.endswith("booked-documents")]
    assert listing.query["createdAt.from"].startswith("2026-11-01")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"purchase_ids": None}, "purchase_ids is None: the upstream task returned nothing"),
        ({"purchase_ids": "None"}, "purchase_ids is the text 'None'"),
        ({"purchase_ids": [1, True]}, "item 2: True is a boolean"),
        ({"purchase_ids": {"closable": [], "blocked": []}}, "Pass the ids alone, as a list, such as one of its values"),
        ({"on_blocked": "ignore"}, "on_blocked: 'ignore' is none of 'fail', 'warn' and 'skip'"),
        ({"on_blocked": None}, "on_blocked: None is none of"),
        ({"documents_since": "31/01/2026"}, "documents_since: '31/01/2026' is not a date"),
        ({"documents_since": "2999-01-01"}, "documents_since: 2999-01-01 is yet to come"),
        ({"approved_states": []}, "approved_states is empty"),
        ({"paid_states": {"Paid": True}}, "paid_states: {'Paid': True} is not a list"),
        ({"cancelled_states": [None]}, "cancelled_states: None is not the name of a state"),
        ({"closable_states": 5}, "closable_states: 5 is not a list"),
    ],
)
def test_bad_arguments_fail_for_good_before_anything_is_sent(lucca, arguments, message):
    with pytest.raises(AirflowFailException, match=message):
        run(**{"purchase_ids": [1], **arguments})
    assert lucca.requests == []


def test_a_bad_connection_fails_for_good_naming_it(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_ACME", "lucca://:some-api-key@acme.ilucca.net/http")
    with pytest.raises(AirflowFailException, match=r"'lucca_acme': Schema"):
        run(purchase_ids=[1], lucca_conn_id="lucca_acme")


def test_nothing_to_check_skips_the_task_and_still_reports(lucca):
    ti = TaskInstance()
    with pytest.raises(AirflowSkipException, match="There are no purchases to check"):
        run(ti, purchase_ids=[])
    assert ti.report == {"closable": [], "already_closed": [], "blocked": [], "unknown": []}
    assert lucca.requests == []


# -- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_wrong_key_fails_the_task_and_the_link_is_there(lucca, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri.replace("sandbox-key", "another-key"))
    ti = TaskInstance()
    with pytest.raises(LuccaAccessError):
        run(ti, purchase_ids=lucca.closable_ids)
    assert ti.pushed["lucca_invoices_url"] == f"{lucca.url}/cleemy-procurement"
    assert len(lucca.requests) == 1
    result = ti.pushed["return_value"]
    assert [item["id"] for item in result["unknown"]] == lucca.closable_ids
    assert "Lucca answered 401" in result["unknown"][0]["reason"]
    assert ti.pushed["closable"] == []


def test_reads_one_by_one_keep_to_the_limit(monkeypatch):
    with Sandbox(purchases=8, states={"closable": 1}, limit=4, window=1.0, list_status=403) as lucca:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri)
        run(purchase_ids=lucca.purchase_ids, on_blocked="warn")
        assert len([request for request in lucca.requests if request.purchase_id]) == 8
        assert lucca.throttled == 0


def test_documents_that_cannot_be_read_leave_nothing_closable(lucca):
    lucca.behaviour.list_status = 403
    result = run(purchase_ids=lucca.closable_ids, on_blocked="warn")
    assert result["closable"] == []
    assert [item["id"] for item in result["unknown"]] == lucca.closable_ids


def test_an_error_names_fifty_purchases_and_says_where_the_others_are(lucca):
    ids = [lucca.add_purchase(state="Denied") for _ in range(60)]
    with pytest.raises(AirflowFailException) as raised:
        run(purchase_ids=ids)
    assert str(raised.value).count("\n- purchase ") == 50
    assert "and 10 more, see the report" in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "pushed"),
    [
        ({}, ["already_closed", "blocked", "closable", "return_value", "unknown"]),
        ({"multiple_outputs": False}, ["return_value"]),
        ({"do_xcom_push": False}, []),
    ],
)
def test_a_failed_task_pushes_as_a_successful_one_would(lucca, arguments, pushed):
    ti = TaskInstance()
    with pytest.raises(AirflowFailException):
        run(ti, purchase_ids=lucca.add_purchase(invoices=OPEN), **arguments)
    assert sorted(ti.pushed) == sorted([*pushed, "lucca_invoices_url"])
