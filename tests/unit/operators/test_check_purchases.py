"""CheckPurchasesOperator against a tenant on real sockets; Airflow's own part is in tests/integration."""

from __future__ import annotations

import csv
import datetime
import hashlib
import json
import re
from typing import Any

import pytest

from lucca_provider.compat import AirflowException, AirflowFailException, AirflowSkipException
from lucca_provider.exceptions import LuccaAccessError, LuccaUnresolvedError
from lucca_provider.operators.purchases import CheckPurchasesOperator
from lucca_provider.sandbox import Sandbox
from tests.unit.airflow_fakes import TaskInstance

OPEN = [{"conformityState": "ToReview", "paymentState": "None", "documentNumber": "F1", "documentDate": "2026-01-31"}]
PAID = [{"conformityState": "Confirmed", "paymentState": "Paid"}]
UNKNOWN = 1
FINDINGS = ["approval", "snapshot", "table"]


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
        "unknown": [{"id": UNKNOWN, "reason": "no such purchase, or the API key may not see it (404)"}],
        "left_out": [],
    }


# -- on_blocked ------------------------------------------------------------------------------------------------------


def test_by_default_a_blocked_purchase_fails_the_task_for_good_with_every_reason_and_the_result(lucca):
    ids, expected = everything(lucca)
    ti = TaskInstance()
    with pytest.raises(AirflowFailException) as raised:
        run(ti, purchase_ids=ids)
    message, *lines = str(raised.value).split("\n- ")
    assert message.startswith("2 of 5 purchases cannot be closed now; none is passed on. Fix the cause in Lucca")
    assert lines == [
        f"purchase {ids[1]}: invoice F1 of 2026-01-31: to review, not paid",
        "purchase 1: no such purchase, or the API key may not see it (404)",
    ]
    assert ti.report == expected
    assert {key: ti.pushed[key] for key in expected} == expected


def test_if_only_it_is_not_known_a_retry_is_let_to_find_out(lucca):
    ti = TaskInstance()
    with pytest.raises(LuccaUnresolvedError, match="purchase 1: no such purchase"):
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
        ({"documents_since": "2999-01-01"}, "documents_since: 2999-01-01 is in the future"),
        ({"approved_states": []}, "approved_states is empty"),
        ({"paid_states": {"Paid": True}}, "paid_states: {'Paid': True} is not a list"),
        ({"cancelled_states": [None]}, "cancelled_states: None is not the name of a state"),
        ({"closable_states": 5}, "closable_states: 5 is not a list"),
        ({"path": "check.html"}, "path: 'check.html' is relative"),
        ({"path": "/data/check.csv", "csv_style": "de"}, "csv_style: 'de' is none of 'fr', 'en'"),
    ],
)
def test_bad_arguments_fail_for_good_before_anything_is_sent(lucca, arguments, message):
    with pytest.raises(AirflowFailException, match=message):
        run(**{"purchase_ids": [1], **arguments})
    assert lucca.requests == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"exclude": [0]}, "not checked: exclude"),
        ({"exclude": [99999999999]}, "not checked: exclude"),
        ({"on_blocked": "ignore"}, "not checked: on_blocked"),
        ({"unchanged_since": {}}, "not checked: unchanged_since"),
        ({"lucca_conn_id": "lucca_acme"}, "not checked: Connection 'lucca_acme'"),
    ],
)
def test_a_report_can_say_of_each_purchase_why_it_was_not_checked(lucca, monkeypatch, arguments, words):
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_ACME", "lucca://:some-api-key@acme.ilucca.net/http")
    ti = TaskInstance()
    with pytest.raises(AirflowFailException) as raised:
        run(ti, **{"purchase_ids": [1, 2], **arguments})
    assert [(one["id"], one["reason"]) for one in ti.report["unknown"]] == [
        (number, f"not checked: {raised.value}") for number in (1, 2)
    ]
    assert ti.report["unknown"][0]["reason"].startswith(words)
    assert (ti.pushed["closable"], lucca.requests) == ([], [])


def test_if_nobody_knows_which_purchases_to_check_nothing_is_said_of_them(lucca):
    ti = TaskInstance()
    with pytest.raises(AirflowFailException):
        run(ti, purchase_ids=["one"])
    assert ti.pushed == {}


def test_a_bad_connection_fails_for_good_naming_it(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_ACME", "lucca://:some-api-key@acme.ilucca.net/http")
    with pytest.raises(AirflowFailException, match=r"'lucca_acme': Schema"):
        run(purchase_ids=[1], lucca_conn_id="lucca_acme")


def test_nothing_to_check_skips_the_task_and_still_reports(lucca):
    ti = TaskInstance()
    with pytest.raises(AirflowSkipException, match="There are no purchases to check"):
        run(ti, purchase_ids=[])
    assert ti.report == {"closable": [], "already_closed": [], "blocked": [], "unknown": [], "left_out": []}
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
    assert "Lucca refused the API key" in result["unknown"][0]["reason"]
    assert ti.pushed["closable"] == []


def test_reads_one_by_one_keep_to_the_limit(monkeypatch):
    with Sandbox(purchases=8, states={"closable": 1}, limit=4, window=1.0, list_status=403) as lucca:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri)
        with pytest.raises(LuccaUnresolvedError):
            run(purchase_ids=lucca.purchase_ids)
        assert len([request for request in lucca.requests if request.purchase_id]) == 8
        assert lucca.throttled == 0


@pytest.mark.parametrize("on_blocked", ["fail", "warn", "skip"])
@pytest.mark.parametrize("outage", [{"list_status": 403}, {"wrong_module": True}, {"missing_state": True}])
def test_a_check_that_could_not_read_is_tried_again_whatever_is_done_about_blocked_ones(lucca, on_blocked, outage):
    vars(lucca.behaviour).update(outage)
    ti = TaskInstance()
    with pytest.raises(LuccaUnresolvedError):
        run(ti, purchase_ids=lucca.closable_ids, on_blocked=on_blocked)
    assert ti.pushed["return_value"]["closable"] == []
    assert [item["id"] for item in ti.pushed["return_value"]["unknown"]] == lucca.closable_ids


@pytest.mark.parametrize("on_blocked", ["warn", "skip"])
def test_what_cannot_be_read_holds_up_neither_the_closable_nor_the_blocked(lucca, on_blocked):
    blocked = lucca.add_purchase(invoices=OPEN)
    assert run(purchase_ids=[UNKNOWN, *lucca.closable_ids[:2]], on_blocked=on_blocked)["closable"]
    if on_blocked == "warn":
        assert run(purchase_ids=[UNKNOWN, blocked], on_blocked=on_blocked)["unknown"]
    else:
        with pytest.raises(AirflowSkipException):
            run(purchase_ids=[UNKNOWN, blocked], on_blocked=on_blocked)


def test_an_error_names_fifty_purchases_and_says_where_the_others_are(lucca):
    ids = [lucca.add_purchase(state="Denied") for _ in range(60)]
    with pytest.raises(AirflowFailException) as raised:
        run(purchase_ids=ids)
    assert str(raised.value).count("\n- purchase ") == 50
    assert "and 10 more; " in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "pushed"),
    [
        ({}, ["already_closed", "blocked", "closable", "left_out", "return_value", "unknown", *FINDINGS]),
        ({"multiple_outputs": False}, ["return_value", *FINDINGS]),
        ({"do_xcom_push": False}, []),
    ],
)
def test_a_failed_task_pushes_as_a_successful_one_would(lucca, arguments, pushed):
    ti = TaskInstance()
    with pytest.raises(AirflowFailException):
        run(ti, purchase_ids=lucca.add_purchase(invoices=OPEN), **arguments)
    assert sorted(ti.pushed) == sorted([*pushed, "lucca_invoices_url"])


# -- what a person approves, and what has changed since --------------------------------------------------------------


def snapshot_of(lucca: Sandbox, *purchase_ids: int) -> Any:
    ti = TaskInstance()
    run(ti, purchase_ids=list(purchase_ids), on_blocked="warn")
    return ti.pushed["snapshot"]


def test_table_approval_and_snapshot_come_from_the_same_reading_as_the_check(lucca):
    first, second = lucca.closable_ids[:2]
    lucca.set_purchase(
        first, title="Chairs", supplier={"id": 1, "name": "Ferrand"}, invoices=[{**PAID[0], "amount": 5}]
    )
    blocked = lucca.add_purchase(title="Desks", invoices=OPEN)
    ids = [first, second, blocked, UNKNOWN]
    run(purchase_ids=ids, on_blocked="warn")
    requests = len(lucca.requests)
    ti = TaskInstance()
    run(ti, purchase_ids=ids, on_blocked="warn", exclude=str(second), closing_date="2026-06-30")
    assert len(lucca.requests) == 2 * requests
    for text in (ti.pushed["table"], ti.pushed["approval"]):
        assert f"| {first} | Chairs | Ferrand | 5.00\N{NO-BREAK SPACE}EUR | ready to be closed |" in text
        assert "Desks" in text
        assert lucca.purchase(second)["title"] in text
        assert "excluded from this run" in text
        assert f"Tenant: {lucca.url}" in text
        assert "2026-06-30" in text
    assert f"Approve closes 1 purchase in Lucca at {lucca.url}: 5.00\N{NO-BREAK SPACE}EUR." in ti.pushed["approval"]
    assert ti.pushed["snapshot"]["tenant"] == lucca.url
    assert list(ti.pushed["snapshot"]["purchases"]) == [str(first)]


@pytest.mark.parametrize("address", [TaskInstance.log_url, ""])
def test_an_approval_that_is_too_long_leads_to_what_the_task_pushed(lucca, address):
    title = "x" * 200
    ids = [lucca.add_purchase(title=title, invoices=PAID) for _ in range(200)]
    ti = TaskInstance()
    ti.log_url = address
    run(ti, purchase_ids=ids)
    assert ti.pushed["table"].count(title) == len(ids)
    assert title not in ti.pushed["approval"]
    page = "<https://airflow.example/dags/dag/runs/run/tasks/task/xcom>"
    assert (page in ti.pushed["approval"]) is bool(address)


def named(ti: TaskInstance) -> TaskInstance:
    """Give a task instance what names its run, without which a file would be nobody's."""
    ti.dag_id, ti.run_id, ti.task_id = "month_end", "run 1", "check"
    return ti


def test_the_table_is_written_to_files_that_the_approval_names(lucca, tmp_path):
    ids, _ = everything(lucca)
    paths = [f"{tmp_path}/check.{form}" for form in ("html", "csv", "md")]
    ti = named(TaskInstance())
    run(ti, purchase_ids=ids, on_blocked="skip", path=paths, csv_style="en")
    assert all(path in ti.pushed["approval"].replace("\\", "") for path in paths)
    contents = [(tmp_path / path).read_bytes() for path in paths]
    assert ti.pushed["paths"] == paths
    assert list(ti.pushed["sha256"].items()) == [
        (path, hashlib.sha256(content).hexdigest()) for path, content in zip(paths, contents, strict=True)
    ]
    assert contents[2].decode() == ti.pushed["table"]
    with (tmp_path / "check.csv").open(encoding="utf-8-sig", newline="") as file:
        assert sorted(int(row["Purchase"]) for row in csv.DictReader(file)) == sorted(ids)


def test_if_a_file_cannot_be_written_nothing_is_passed_on_until_a_retry_has_written_it(lucca, tmp_path):
    paths = [f"{tmp_path}/later/check.html", f"{tmp_path}/check.csv"]
    ti = named(TaskInstance())
    with pytest.raises(AirflowException, match=r"later/check\.html could not be written") as raised:
        run(ti, purchase_ids=lucca.closable_ids, path=paths)
    assert not isinstance(raised.value, AirflowFailException)
    assert ti.report["closable"] == lucca.closable_ids
    assert ti.pushed["paths"] == paths[1:]
    assert "check.html" not in ti.pushed["approval"]
    (tmp_path / "later").mkdir()
    assert run(ti, purchase_ids=lucca.closable_ids, path=paths)["closable"] == lucca.closable_ids


def test_another_file_at_the_path_is_left_alone_and_nothing_is_passed_on(lucca, tmp_path):
    (tmp_path / "check.md").write_text("mine")
    with pytest.raises(AirflowFailException, match=r"check\.md already exists"):
        run(named(TaskInstance()), purchase_ids=lucca.closable_ids, path=tmp_path / "check.md")
    assert (tmp_path / "check.md").read_text() == "mine"


@pytest.mark.parametrize(
    ("exclude", "param"),
    [
        ("{{ params.leave_out }}", "`leave_out`"),
        ("{{ params['leave-out'] | tojson }}", "`leave-out`"),
        ("{{ var.value.leave_out }}", None),
        ((), None),
    ],
)
def test_the_approval_names_the_parameter_that_leaves_purchases_out(lucca, exclude, param):
    operator = CheckPurchasesOperator(task_id="check", purchase_ids=lucca.closable_ids[0], exclude=exclude)
    operator.exclude = []
    ti = TaskInstance()
    operator.execute({"ti": ti})  # type: ignore[typeddict-item]
    assert f"in the parameter {param}" in ti.pushed["approval"] if param else "parameter" not in ti.pushed["approval"]


def test_what_is_left_out_is_in_the_result_and_in_the_key_of_its_own(lucca):
    first, second, *_ = ids = lucca.closable_ids[:3]
    expected = [
        {"id": second, "reason": "excluded from this run"},
        {"id": 9, "reason": "excluded from this run, but not among the purchases to check"},
    ]
    result = run(purchase_ids=ids, exclude=[second, 9])
    assert (result["closable"], result["left_out"]) == ([first, ids[2]], expected)
    assert run(purchase_ids=ids, exclude="[]")["closable"] == ids


@pytest.mark.parametrize("on_blocked", ["fail", "warn", "skip"])
def test_if_all_are_excluded_nothing_is_asked_and_the_task_is_skipped(lucca, on_blocked):
    ids, ti = lucca.closable_ids, TaskInstance()
    with pytest.raises(AirflowSkipException, match="all are excluded"):
        run(ti, purchase_ids=ids, exclude=ids, on_blocked=on_blocked)
    assert [one["id"] for one in ti.pushed["left_out"]] == ids
    assert lucca.requests == []


def test_a_period_leaves_out_what_has_no_document_in_it_and_skip_asks_nobody_about_nothing(lucca):
    inside = lucca.add_purchase(invoices=[{**PAID[0], "documentDate": "2026-05-31"}])
    outside = lucca.add_purchase(invoices=[{**PAID[0], "documentDate": "2026-06-01"}])
    days = ("2026-05-01", datetime.date(2026, 5, 31))
    result = run(purchase_ids=[inside, outside], document_dates=days)
    assert (result["closable"], [one["id"] for one in result["left_out"]]) == ([inside], [outside])
    with pytest.raises(AirflowSkipException, match="None of the purchases can be closed"):
        run(purchase_ids=outside, document_dates=days, on_blocked="skip")


def test_a_wrong_key_still_names_what_was_excluded(lucca, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri.replace("sandbox-key", "another-key"))
    ti = TaskInstance()
    with pytest.raises(LuccaAccessError):
        run(ti, purchase_ids=lucca.closable_ids[:2], exclude=lucca.closable_ids[0])
    assert [one["id"] for one in ti.report["left_out"]] == lucca.closable_ids[:1]
    assert [one["id"] for one in ti.report["unknown"]] == lucca.closable_ids[1:2]


def test_whatever_has_changed_since_the_snapshot_is_blocked_and_the_rest_passed_on(lucca):
    amount, state, gone, same, late = ids = [
        lucca.add_purchase(
            invoices=[{**PAID[0], "amount": 100, "documentNumber": f"F{n}", "documentDate": "2026-01-31"}]
        )
        for n in range(5)
    ]
    snapshot = snapshot_of(lucca, *ids[:-1])
    lucca.set_purchase(amount, invoices=[{**PAID[0], "amount": 10_000, "documentNumber": "F9"}])
    lucca.set_purchase(state, state="Denied")
    lucca.add_document(gone, paymentState="ToPay", amount=20, documentNumber="F8", documentDate="2026-02-01")
    result = run(purchase_ids=ids, unchanged_since=json.dumps(snapshot), on_blocked="warn")
    assert result["closable"] == [same]
    reasons = {one["id"]: one["reasons"] for one in result["blocked"]}
    others = ("requested", "committed", "confirmed")
    assert reasons[amount][:5] == [
        "billed 100.00 EUR when approved, 10,000.00 EUR now",
        *(f"{name} 100.00 EUR when approved, 10,000.00 EUR now" for name in others),
        "invoice F0 of 2026-01-31 (100.00 EUR): there when approved, gone now",
    ]
    assert reasons[state] == ["state Ongoing when approved, Denied now", "the purchase is Denied, not Ongoing"]
    assert reasons[gone] == [
        "billed 100.00 EUR when approved, 120.00 EUR now",
        *(f"{name} 100.00 EUR when approved, 120.00 EUR now" for name in others),
        "invoice F8 of 2026-02-01 (20.00 EUR): not there when approved, there now",
        "invoice F8 of 2026-02-01: not paid",
    ]
    assert reasons[late] == ["not among what was approved"]
    with pytest.raises(AirflowFailException, match=r"billed 100\.00 EUR when approved, 10,000\.00 EUR now"):
        run(purchase_ids=ids, unchanged_since=snapshot)


def test_one_list_or_single_purchases_make_no_difference_to_a_snapshot(lucca):
    snapshot = snapshot_of(lucca, *lucca.closable_ids)
    for number in lucca.closable_ids:
        assert run(purchase_ids=number, unchanged_since=snapshot)["closable"] == [number]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unchanged_since": {"closable": [1]}}, "unchanged_since: {'closable': .1.} is no snapshot"),
        ({"unchanged_since": "None"}, "unchanged_since: the text 'None' is no JSON"),
        ({"unchanged_since": "null"}, "unchanged_since is None: the upstream check pushed no snapshot"),
        ({"exclude": None}, "exclude is None"),
        ({"exclude": "F12"}, "exclude: item 1: 'F12' is not a purchase id"),
        ({"exclude": ""}, "exclude is empty text"),
        ({"document_dates": "2026-01-01"}, "document_dates: '2026-01-01' is not a first and a last day"),
        ({"document_dates": ("2026-01-01",)}, "document_dates: .* is not a first and a last day"),
        ({"document_dates": ("2026-01-31", "2026-01-01")}, "document_dates: the first day, 2026-01-31, is after"),
        ({"document_dates": ("2026-01-01", None)}, "document_dates is None"),
        ({"document_dates": ("2026-01-01", "31/01/2026")}, "document_dates: '31/01/2026' is not a date"),
        ({"closing_date": "tomorrow"}, "closing_date: 'tomorrow' is not a date"),
        ({"approved_by": "Anna Keller"}, "approved_by: 'Anna Keller' is not the output of an approval"),
        ({"approved_by": {"chosen_options": "Approve"}}, "approved_by: .* is not the output of an approval"),
    ],
)
def test_bad_arguments_for_an_approval_fail_for_good_before_anything_is_sent(lucca, arguments, message):
    with pytest.raises(AirflowFailException, match=message):
        run(purchase_ids=[1], **arguments)
    assert lucca.requests == []


def test_a_snapshot_that_was_never_pushed_is_not_taken_for_no_snapshot(lucca):
    operator = CheckPurchasesOperator(
        task_id="check", purchase_ids=1, unchanged_since="{{ ti.xcom_pull(task_ids='check', key='snapshot') }}"
    )
    operator.unchanged_since = None  # as a template gives it that is rendered to native objects
    with pytest.raises(AirflowFailException, match="unchanged_since is None"):
        operator.execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]
    assert lucca.requests == []


def test_the_snapshot_of_another_tenant_is_refused_before_anything_is_sent(lucca):
    snapshot = {**snapshot_of(lucca, *lucca.closable_ids), "tenant": "https://acme.ilucca.net"}
    lucca.reset_requests()
    with pytest.raises(AirflowFailException, match=f"the snapshot is of https://acme.ilucca.net, .* {lucca.url}"):
        run(purchase_ids=lucca.closable_ids, unchanged_since=snapshot)
    assert lucca.requests == []


# -- only if somebody has approved -----------------------------------------------------------------------------------

ANNA = {"id": "7", "name": "Anna Keller"}
NOW = datetime.datetime(2026, 7, 1, 8, tzinfo=datetime.timezone.utc)
APPROVED = {"chosen_options": ["Approve"], "params_input": {}, "responded_by_user": ANNA, "responded_at": NOW}


def test_an_approval_passes_purchases_on_and_the_name_of_who_gave_it(lucca):
    ti = TaskInstance()
    assert run(ti, purchase_ids=lucca.closable_ids, approved_by=APPROVED)["closable"] == lucca.closable_ids
    assert ti.pushed["approved_by"] == "Anna Keller"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "nobody answered"),
        ({**APPROVED, "chosen_options": []}, "nobody answered"),
        ({**APPROVED, "chosen_options": ["Reject"]}, "rejected by Anna Keller"),
        ({"chosen_options": ["Reject"]}, "rejected by a person"),
        ({**APPROVED, "chosen_options": ["Approve", "Reject"]}, "rejected by Anna Keller"),
        # What time ran out for, or what an older provider says.
        ({**APPROVED, "responded_by_user": None}, "the approval does not say who gave it, and when"),
        ({"chosen_options": ["Approve"]}, "the approval does not say who gave it, and when"),
        ({**APPROVED, "responded_at": None}, "the approval does not say who gave it, and when"),
        ({**APPROVED, "responded_at": "yesterday"}, "the approval does not say who gave it, and when"),
    ],
)
@pytest.mark.parametrize("on_blocked", ["fail", "warn", "skip"])
def test_without_an_approval_the_task_fails_for_good_and_passes_nothing_on(lucca, answer, why, on_blocked):
    ids, ti = lucca.closable_ids, TaskInstance()
    operator = CheckPurchasesOperator(
        task_id="check", purchase_ids=ids, approved_by="{{ a template }}", exclude=ids[0], on_blocked=on_blocked
    )
    operator.approved_by = answer  # as Airflow renders it
    with pytest.raises(AirflowFailException, match=f"Not approved: {why}"):
        operator.execute({"ti": ti})  # type: ignore[typeddict-item]
    assert ti.pushed["closable"] == []
    assert {one["id"]: one["reason"] for one in ti.pushed["unknown"]} == dict.fromkeys(ids[1:], f"not approved: {why}")
    assert [one["id"] for one in ti.pushed["left_out"]] == ids[:1]
    assert "approved_by" not in ti.pushed
    assert lucca.requests == []


@pytest.mark.parametrize("form", [lambda at: at, lambda at: at.isoformat(), lambda at: f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"])
def test_an_approval_that_is_older_than_what_was_to_be_shown_is_none(lucca, form):
    ids = lucca.closable_ids
    snapshot = snapshot_of(lucca, *ids)
    taken_at = datetime.datetime.fromisoformat(snapshot["taken_at"])
    second = datetime.timedelta(seconds=1)
    lucca.reset_requests()
    for at in (taken_at - second, taken_at + second):
        answer, ti = {**APPROVED, "responded_at": form(at)}, TaskInstance()
        if at < taken_at:
            with pytest.raises(AirflowFailException, match="Not approved: the check ran again after the approval"):
                run(ti, purchase_ids=ids, unchanged_since=snapshot, approved_by=answer)
            assert lucca.requests == []
        else:
            run(ti, purchase_ids=ids, unchanged_since=snapshot, approved_by=answer)
        assert ti.pushed.get("closable", ids) == (ids if at > taken_at else [])
