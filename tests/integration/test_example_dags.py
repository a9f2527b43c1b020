"""Imports every example DAG, and runs it against a tenant."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import runpy
import sqlite3
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from lucca_provider.compat import BaseOperator
from lucca_provider.sandbox import Sandbox
from tests.airflow_names import task
from tests.conftest import AIRFLOW, ROOT

APPROVAL = AIRFLOW >= (3, 1)
"""Whether this Airflow lets a person approve."""
EXAMPLES = sorted((ROOT / "dags").glob("*.py"))
CLOSE_VALIDATED, CLOSE_CHECKED, CLOSE_CHOSEN, MONTH_END, WAREHOUSE, TENANTS, TRY = (
    "lucca_close_validated_purchases",
    "lucca_close_checked_purchases",
    "lucca_close_chosen_purchases",
    "lucca_close_month_end",
    "lucca_close_warehouse_matches",
    "lucca_close_many_tenants",
    "lucca_try_tenant",
)
FIRST_OF_APRIL = datetime(2026, 4, 1, 6, tzinfo=timezone.utc)
SECONDS = itertools.count()
PAID = {"conformityState": "Confirmed", "paymentState": "Paid"}
UNPAID = {**PAID, "paymentState": "ToPay", "documentNumber": "F1", "documentDate": "2026-03-02"}
REFUSAL = {
    "id": 4,
    "status": 409,
    "title": "Purchase has open documents",
    "detail": "Purchase 4 can't be closed: invoice F1 of 2026-03-02: approved, not paid.",
}
REFUSED = f"{REFUSAL['detail']} (409 {REFUSAL['title']})"
ANNA = {"id": "7", "name": "Anna Keller"}


@dataclass
class Finished:
    """A run that has ended: its state, and of its tasks (by id, mapped ones by id and index) state and result."""

    state: str
    run_id: str
    states: dict[Any, str]
    results: dict[Any, Any]
    labels: dict[Any, str | None]


@pytest.fixture
def lucca(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Serve a tenant with the purchases 1 to 6, of which 4 has an unpaid invoice."""
    with Sandbox(purchases=0) as lucca:
        for number in range(1, 7):
            lucca.add_purchase(id=number, invoices=[UNPAID if number == 4 else PAID])
        for name, value in lucca.environ.items():
            monkeypatch.setenv(name, value)
        yield lucca


@pytest.fixture
def candidates_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., sqlite3.Connection]]:
    """Make the table of the first example in SQLite, which Airflow finds as ``lucca_validation``."""
    file = tmp_path / "validation.db"
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_VALIDATION", json.dumps({"conn_type": "sqlite", "host": str(file)}))
    database = sqlite3.connect(file)

    def make(*rows: tuple[Any, ...]) -> sqlite3.Connection:
        database.execute(
            "CREATE TABLE purchase_candidates"
            " (purchase_id INTEGER, ordered NUMERIC, invoiced NUMERIC, approved_by TEXT, problem TEXT)"
        )
        database.executemany("INSERT INTO purchase_candidates VALUES (?, ?, ?, ?, NULL)", rows)
        database.commit()
        return database

    yield make
    database.close()


@pytest.fixture
def candidates_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write the file of the second example, which Airflow finds through the variable ``lucca_candidates``."""
    file = tmp_path / "candidates.csv"
    monkeypatch.setenv("AIRFLOW_VAR_LUCCA_CANDIDATES", f"file://{file}")

    def write(*rows: str) -> None:
        file.write_text("\n".join(["purchase_id,ordered,invoiced", *rows]))

    return write


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the folder that the examples write their reports to."""
    folder = tmp_path / "reports"
    folder.mkdir()
    monkeypatch.setenv("AIRFLOW_VAR_LUCCA_REPORTS", str(folder))
    return folder


def read_report(reports: Path) -> dict[int, dict[str, str]]:
    """Return the lines of the one CSV file that is there, by purchase."""
    (file,) = reports.glob("*.csv")
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return {int(row["Purchase"]): row for row in csv.DictReader(lines, delimiter=";")}


def outcomes(reports: Path) -> dict[int, tuple[str, str]]:
    """Return what the report says became of each purchase, and why."""
    return {number: (row["Outcome"], row["Reason"]) for number, row in read_report(reports).items()}


@pytest.fixture
def run_example(run_dag: Callable[..., Any], reports: Path) -> Callable[..., Finished]:
    """Run an example as of the first of April, with its retries but without their delay."""

    def run(dag_id: str, *, change: Callable[[Any], None] = lambda dag: None, **kwargs: Any) -> Finished:
        dag = load(dag_id)
        change(dag)
        for each in dag.tasks:
            settings = getattr(each, "partial_kwargs", each.__dict__)
            settings |= {"retry_delay": timedelta(0), "retry_exponential_backoff": False}
        # A second run of the same moment would replace the first, which 2.11 cannot do without its web server's tables.
        moment = FIRST_OF_APRIL + timedelta(seconds=next(SECONDS))
        date = {"logical_date" if AIRFLOW >= (3, 0) else "execution_date": moment}
        run = run_dag(dag, **(date | kwargs))
        tis = {(ti.task_id, ti.map_index) if ti.map_index >= 0 else ti.task_id: ti for ti in run.get_task_instances()}
        return Finished(
            state=str(run.state),
            run_id=run.run_id,
            states={key: str(ti.state) for key, ti in tis.items()},
            results={key: ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index) for key, ti in tis.items()},
            labels={key: ti.rendered_map_index for key, ti in tis.items()},
        )

    return run


def load(dag_id: str) -> Any:
    """Load an example as Airflow does."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models.dagbag import DagBag
    bag = DagBag(ROOT / "dags" / f"{dag_id}.py")
    assert not bag.import_errors
    return bag.dags[dag_id]


def comments(lucca: Sandbox) -> set[tuple[str | None, str | None]]:
    return {(closing.comment, closing.date) for closing in lucca.closings}


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
class TestEveryExample:
    def test_it_holds_the_dag_that_its_name_says_with_documentation(self, file: Path) -> None:
        assert load(file.stem).doc_md

    def test_it_warns_of_nothing(self, file: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            runpy.run_path(str(file))

    def test_it_tries_again_later_and_never_twice_at_once(self, file: Path) -> None:
        dag = load(file.stem)
        assert (dag.catchup, dag.max_active_runs) == (False, 1)
        if file.stem == MONTH_END and not APPROVAL:
            return
        if file.stem == TRY:
            # Once a purchase has been closed, a second try would tell another story.
            assert [task.retries for task in dag.tasks] == [0]
            return
        (close,) = [task for task in dag.tasks if task.task_id.split(".")[-1] == "close"]
        assert (close.retries, close.retry_delay) == (3, timedelta(minutes=5))


class TestValidatedInSql:
    def test_it_closes_the_purchases_without_a_problem(self, lucca, candidates_table, run_example) -> None:
        table = candidates_table((1, 100, 100, "cr"), (2, 80, 80.5, "cr"), (3, 70, 70, None), (5, 60, 59, "cr"))
        done = run_example(CLOSE_VALIDATED)
        assert done.state == "success"
        assert lucca.closed_ids == [1, 5]
        assert [lucca.posts(number) for number in range(1, 7)] == [1, 0, 0, 0, 1, 0]
        assert comments(lucca) == {(f"Month-end closing by Airflow, {done.run_id}", "2026-03-31")}
        assert table.execute("SELECT purchase_id, problem FROM purchase_candidates").fetchall() == [
            (1, None),
            (2, "more was invoiced than ordered"),
            (3, "nobody has approved it"),
            (5, None),
        ]

    @pytest.mark.skipif(AIRFLOW < (3, 0), reason="before Airflow 3 each run has a logical date")
    def test_a_run_without_a_logical_date_takes_the_day_it_runs(self, lucca, candidates_table, run_example) -> None:
        candidates_table((1, 100, 100, "cr"))
        assert run_example(CLOSE_VALIDATED, logical_date=None, run_after=FIRST_OF_APRIL).state == "success"
        assert [closing.date for closing in lucca.closings] == ["2026-03-31"]

    @pytest.mark.other_course
    def test_a_refusal_fails_the_closing_and_is_in_its_report(self, lucca, candidates_table, run_example) -> None:
        candidates_table((4, 100, 100, "cr"), (5, 100, 100, "cr"), (6, 100, 100, "cr"))
        done = run_example(CLOSE_VALIDATED)
        assert (done.state, done.states["close"]) == ("failed", "failed")
        assert done.results["close"] == {
            "closed": [5, 6],
            "already_closed": [],
            "rejected": [REFUSAL],
            "unresolved": [],
        }

    @pytest.mark.other_course
    @pytest.mark.parametrize(
        "rows",
        [
            pytest.param([], id="no rows"),
            pytest.param([(1, 10, 10, "cr"), (1, 10, 10, "cr")], id="a purchase twice"),
            pytest.param([(1, 10, 10, "cr"), (None, 10, 10, "cr")], id="a row without a purchase"),
            pytest.param([(1, 10, 10, "cr"), (2, 10, -1, "cr")], id="a negative amount"),
            pytest.param([(1, 10, 10, "cr"), (2, 10, None, "cr")], id="a missing amount"),
            pytest.param([(1, 2e6, 2e6, "cr")], id="an implausible total"),
        ],
    )
    def test_nothing_is_closed_if_the_table_as_a_whole_is_bad(self, lucca, candidates_table, run_example, rows) -> None:
        candidates_table(*rows)
        done = run_example(CLOSE_VALIDATED)
        assert (done.state, done.states["close"]) == ("failed", "upstream_failed")
        assert lucca.requests == []


class TestCheckedInPython:
    def test_it_closes_the_good_ones_and_reports_all(self, lucca, candidates_file, run_example, reports) -> None:
        candidates_file("1,100.00,100.00", "2,80.00,80.50", "3,70.00,free", "5,60,60.00")
        done = run_example(CLOSE_CHECKED)
        assert done.state == "success"
        assert lucca.closed_ids == [1, 5]
        assert [lucca.posts(number) for number in range(1, 7)] == [1, 0, 0, 0, 1, 0]
        assert comments(lucca) == {(f"Checked and closed by Airflow, {done.run_id}", "2026-04-01")}
        assert outcomes(reports) == {
            2: ("left out", "80.00 ordered, but 80.50 invoiced"),
            3: ("left out", "'70.00' or 'free' is not an amount"),
            1: ("closed", ""),
            5: ("closed", ""),
        }

    @pytest.mark.other_course
    def test_it_reports_a_closing_that_failed(self, lucca, candidates_file, run_example, reports) -> None:
        candidates_file("1,100,100", "2,80,90", "4,60,60")
        done = run_example(CLOSE_CHECKED)
        assert done.state == "failed"
        assert (done.states["close"], done.states["report"]) == ("failed", "success")
        assert outcomes(reports) == {
            4: ("refused by Lucca", REFUSED),
            2: ("left out", "80 ordered, but 90 invoiced"),
            1: ("closed", ""),
        }

    @pytest.mark.own_code
    @pytest.mark.parametrize(
        ("rows", "stopped"),
        [
            (["1,100,100", "1,80,90"], "it is named twice"),
            (["1,80,90", " 1,100,100"], "it is named twice"),
            (["1,Infinity,Infinity"], "'Infinity' or 'Infinity' is not an amount"),
            (["1,sNaN,1"], "'sNaN' or '1' is not an amount"),
            (["1,80"], "'80' or None is not an amount"),
        ],
    )
    def test_a_bad_row_stops_its_purchase_and_no_other(
        self, lucca, candidates_file, run_example, reports, rows, stopped
    ) -> None:
        candidates_file(*rows, "2,5,5.00")
        run_example(CLOSE_CHECKED)
        assert outcomes(reports) == {1: ("left out", stopped), 2: ("closed", "")}
        assert lucca.closed_ids == [2]

    @pytest.mark.other_course
    def test_it_reports_that_there_was_nothing_to_close(self, lucca, candidates_file, run_example, reports) -> None:
        candidates_file("2,80,90")
        done = run_example(CLOSE_CHECKED)
        assert (done.state, done.states["close"], done.states["report"]) == ("success", "skipped", "success")
        assert outcomes(reports) == {2: ("left out", "80 ordered, but 90 invoiced")}

    @pytest.mark.own_code
    @pytest.mark.parametrize("rows", [None, ["1,100,100", "abc,1,1"]], ids=["no file", "no id"])
    def test_nothing_is_closed_if_the_file_cannot_be_read(self, lucca, candidates_file, run_example, rows) -> None:
        if rows:
            candidates_file(*rows)
        done = run_example(CLOSE_CHECKED)
        assert (done.state, done.states["check"], done.states["close"]) == ("failed", "failed", "upstream_failed")
        assert lucca.requests == []

    @pytest.mark.other_course
    def test_a_lost_answer_is_looked_into_and_not_repeated(self, lucca, candidates_file, run_example, reports) -> None:
        candidates_file("1,100,100", "2,80,80")
        lucca.fail_next("error_after", purchase_id=1)
        run_example(CLOSE_CHECKED)
        assert outcomes(reports) == {1: ("closed", ""), 2: ("closed", "")}
        assert (lucca.posts(1), lucca.posts(2)) == (1, 1)


# Airflow 2.11 warns of itself when it renders a map_index_template.
@pytest.mark.filterwarnings("ignore:Accessing '.*' from the template is deprecated")
class TestChosenByHand:
    def test_each_purchase_is_a_task_of_its_own(self, lucca, run_example) -> None:
        done = run_example(CLOSE_CHOSEN, run_conf={"purchase_ids": [2, 4, 6]})
        assert done.state == "failed"
        assert [done.states["close", index] for index in range(3)] == ["success", "failed", "success"]
        assert [done.labels["close", index] for index in range(3)] == ["purchase 2", "purchase 4", "purchase 6"]
        assert done.results["close", 1]["rejected"] == [REFUSAL]
        assert lucca.closed_ids == [2, 6]
        assert [lucca.posts(number) for number in range(1, 7)] == [0, 1, 0, 1, 0, 1]
        assert comments(lucca) == {(f"Closed by hand through Airflow, {done.run_id}", "2026-04-01")}

    def test_nothing_is_closed_if_nothing_is_chosen(self, lucca, run_example) -> None:
        done = run_example(CLOSE_CHOSEN)
        assert (done.state, done.states["close"]) == ("success", "skipped")
        assert lucca.requests == []

    def test_what_is_not_an_id_never_starts(self, lucca, run_example) -> None:
        with pytest.raises(Exception, match="purchase_ids"):
            run_example(CLOSE_CHOSEN, run_conf={"purchase_ids": ["all"]})
        assert lucca.requests == []


@dataclass
class Person:
    """
    Who is asked to approve.

    :ivar answer: what they answer; ``None`` if somebody sets the task to success instead
    :ivar meanwhile: what happens before
    :ivar read: what they were shown
    """

    answer: str | None = "Approve"
    meanwhile: Callable[[], None] = lambda: None
    read: list[str] = field(default_factory=list)

    def respond(self, task: Any) -> dict[str, Any] | None:
        """Return what Airflow hands over when somebody has answered a task, if anybody does."""
        self.read += [task.subject, task.body]
        self.meanwhile()
        at = datetime.now(timezone.utc)
        event = {"chosen_options": [self.answer], "params_input": {}, "responded_at": at, "responded_by_user": ANNA}
        return event if self.answer else None


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Person:
    """Let somebody answer at once, in the place of Airflow's pages, which are in ``tests/system``."""
    person = Person()
    if APPROVAL:
        from airflow.providers.standard.operators import hitl

        class Answered(hitl.ApprovalOperator):
            def execute(self, context: Any) -> Any:
                event = person.respond(self)
                return event and self.execute_complete(context, event)

    else:  # as far as it needs no more than this Airflow has
        hitl = types.ModuleType("airflow.providers.standard.operators.hitl")

        class Answered(BaseOperator):  # type: ignore[no-redef]
            template_fields = ("subject", "body")

            def __init__(self, *, subject: str, body: str, response_timeout: timedelta, **kwargs: Any) -> None:
                super().__init__(**kwargs)
                self.subject, self.body, self.response_timeout = subject, body, response_timeout

            def execute(self, context: Any) -> Any:
                return person.respond(self)

        monkeypatch.setitem(sys.modules, hitl.__name__, hitl)
    monkeypatch.setattr(hitl, "ApprovalOperator", Answered, raising=False)
    return person


def between(first: str, what: Callable[[], None], second: str) -> Callable[[Any], None]:
    """Let something happen in Lucca between two tasks of a DAG."""

    def change(dag: Any) -> None:
        with dag:
            happen = task(task_id="happen")(what)()
        dag.get_task(first) >> happen >> dag.get_task(second)

    return change


class TestMonthEnd:
    """Its approval in Airflow's pages is in ``tests/system``."""

    def test_what_was_approved_is_closed_and_what_has_changed_since_is_not(
        self, lucca, run_example, reports, person
    ) -> None:
        lucca.set_purchase(1, invoices=[{**PAID, "amount": 100}])
        (invoice,) = [one for one in lucca.documents if one["purchase"]["id"] == 2]

        def meanwhile() -> None:
            lucca.set_purchase(1, invoices=[{**PAID, "amount": 10_000}])
            lucca.set_purchase(2, invoices=[{**invoice, "conformityState": "Bypassed"}])
            lucca.set_purchase(3, state="Processing")

        person.meanwhile = meanwhile
        done = run_example(MONTH_END, run_conf={"exclude": [6]})
        assert (done.state, done.states["closed"], done.states["report"]) == ("success", "success", "success")
        assert (lucca.closed_ids, len(lucca.closings)) == ([5], 1)
        assert comments(lucca) == {
            (f"Month-end by Airflow, {done.run_id}, approved by Anna Keller", "2026-03-31"),
        }
        said = outcomes(reports)
        assert [(number, outcome) for number, (outcome, _) in said.items()] == [
            *((number, "left out") for number in (4, 6, 1, 2, 3)),
            (5, "closed"),
        ]
        assert "billed 100.00 EUR when approved, 10,000.00 EUR now" in said[1][1]
        assert said[2][1].endswith("approval state Confirmed when approved, Bypassed now")
        assert said[3][1].startswith("state Ongoing when approved, Processing now")
        assert said[4][1] == "invoice F1 of 2026-03-02: not paid"
        assert said[6][1] == "excluded from this run"
        assert {row["Approved by"] for row in read_report(reports).values()} == {"Anna Keller"}
        shown = next(reports.glob("*-check.html"))
        assert sorted(file.suffix for file in reports.iterdir() if file != shown) == [".csv", ".html", ".md"]
        subject, body = person.read
        assert str(shown) in body.replace("\\", "")
        assert "(4)" in subject
        for part in ("Approve closes 4 purchases", "2026-03-31", "`exclude`", "| 1 |", "| 4 |", "| 6 |"):
            assert part in body

    def test_nothing_is_closed_if_the_approval_was_set_to_success_by_hand(
        self, lucca, run_example, reports, logged, request
    ) -> None:
        """Before Airflow 3.1, where nobody can be asked, it is the same."""
        if APPROVAL:
            request.getfixturevalue("person").answer = None
        done = run_example(MONTH_END)
        assert done.state == "failed"
        assert [done.states[task_id] for task_id in ("approve", "check_again", "close", "closed", "report")] == [
            "success",
            "failed",
            "upstream_failed",
            "upstream_failed",
            "success",
        ]
        assert "Not approved: nobody answered" in logged()
        assert {request.method for request in lucca.requests} == {"GET"}
        assert outcomes(reports) == {
            4: ("left out", "invoice F1 of 2026-03-02: not paid"),
            **dict.fromkeys((1, 2, 3, 5, 6), ("left out", "not approved: nobody answered")),
        }

    @pytest.mark.skipif(not APPROVAL, reason="approval by a person needs Airflow 3.1")
    def test_a_rejection_closes_nothing_and_is_reported(self, lucca, run_example, reports, person) -> None:
        person.answer = "Reject"
        done = run_example(MONTH_END)
        assert done.state == "success"
        assert [done.states[task_id] for task_id in ("check_again", "close", "closed", "report")] == [
            "skipped",
            "skipped",
            "skipped",
            "success",
        ]
        assert {request.method for request in lucca.requests} == {"GET"}
        assert outcomes(reports) == {
            4: ("left out", "invoice F1 of 2026-03-02: not paid"),
            **dict.fromkeys(
                (1, 2, 3, 5, 6), ("left out", "not approved: nobody was asked, nobody answered, or it was rejected")
            ),
        }

    @pytest.mark.other_course
    def test_a_check_that_failed_is_reported_and_nobody_is_asked(
        self, lucca, run_example, reports, person, monkeypatch
    ) -> None:
        wrong_key = lucca.connection_uri.replace(lucca.api_key, "wrong-key")
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_WRONG", wrong_key)

        def change(dag: Any) -> None:
            dag.get_task("check").lucca_conn_id = "lucca_wrong"

        done = run_example(MONTH_END, change=change)
        assert (done.state, done.states["check"], done.states["report"]) == ("failed", "failed", "success")
        assert (person.read, lucca.closings) == ([], [])
        assert {outcome for outcome, _ in outcomes(reports).values()} == {"left out"}
        assert all("401" in reason for _, reason in outcomes(reports).values())

    @pytest.mark.other_course
    @pytest.mark.parametrize("exclude", [[0], [-1], [99999999999]])
    def test_purchases_to_leave_out_that_cannot_be_used_are_refused_and_named(
        self, lucca, run_example, reports, person, exclude
    ) -> None:
        """Airflow refuses them as the run's parameter; a template of one's own may bring them all the same."""
        with pytest.raises(Exception, match=r"(?i)param.*exclude"):
            run_example(MONTH_END, run_conf={"exclude": exclude})

        def change(dag: Any) -> None:
            dag.get_task("check").exclude = exclude

        done = run_example(MONTH_END, change=change)
        assert (done.state, done.states["check"], done.states["report"]) == ("failed", "failed", "success")
        assert (person.read, lucca.closings) == ([], [])
        assert all(reason.startswith("not checked: exclude") for _, reason in outcomes(reports).values())
        assert len(outcomes(reports)) == 6

    @pytest.mark.other_course
    def test_a_closing_that_failed_is_reported_and_fails_the_run(self, lucca, run_example, reports, person) -> None:
        change = between("check_again", lambda: lucca.set_purchase(2, invoices=[UNPAID]), "close")
        done = run_example(MONTH_END, change=change)
        assert (done.state, done.states["close"], done.states["report"]) == ("failed", "failed", "success")
        assert {number: outcome for number, (outcome, _) in outcomes(reports).items()} == {
            2: "refused by Lucca",
            4: "left out",
            **dict.fromkeys((1, 3, 5, 6), "closed"),
        }

    @pytest.mark.other_course
    def test_a_read_back_that_fails_fails_the_run_although_the_closing_was_fine(
        self, lucca, run_example, reports, person
    ) -> None:
        change = between("close", lambda: lucca.set_purchase(2, state="Ongoing"), "report")
        done = run_example(MONTH_END, change=change)
        assert (done.state, done.states["close"], done.states["report"]) == ("failed", "success", "failed")
        assert outcomes(reports)[2] == ("not confirmed", "reported as closed, but Lucca shows it as Ongoing")

    @pytest.mark.other_course
    def test_without_anything_to_close_nobody_is_asked_and_the_run_is_fine(
        self, lucca, run_example, reports, person
    ) -> None:
        for number in (1, 2, 3, 5, 6):
            lucca.set_purchase(number, state="Closed")
        done = run_example(MONTH_END)
        assert (done.state, done.states["approve"], done.states["report"]) == ("success", "skipped", "success")
        assert (person.read, outcomes(reports)) == ([], {4: ("left out", "invoice F1 of 2026-03-02: not paid")})

    @pytest.mark.skipif(not APPROVAL, reason="approval by a person needs Airflow 3.1")
    def test_nobodys_silence_is_an_approval_and_everybody_may_answer_unless_somebody_is_named(self) -> None:
        approve = load(MONTH_END).get_task("approve")
        assert (approve.defaults, approve.response_timeout, approve.retries) == (None, timedelta(days=3), 0)
        assert (approve.assigned_users, approve.notifiers) == (None, [])

    @pytest.mark.skipif(APPROVAL, reason="this Airflow lets a person approve")
    def test_without_approvals_it_says_in_the_list_what_is_missing(self) -> None:
        dag = load(MONTH_END)
        assert dag.dag_display_name == "lucca_close_month_end (needs Airflow 3.1)"
        assert (dag.schedule if AIRFLOW >= (3, 0) else dag.schedule_interval) is None


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make the table of the warehouse in SQLite, which Airflow finds as ``lucca_warehouse``."""
    file = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(file)}))

    def fill(*rows: tuple[Any, ...]) -> None:
        with contextlib.closing(sqlite3.connect(file)) as database, database:
            database.execute(
                "CREATE TABLE warehouse_invoices (purchase_id INTEGER, supplier TEXT, currency TEXT, amount NUMERIC)"
            )
            database.executemany("INSERT INTO warehouse_invoices VALUES (?, ?, ?, ?)", rows)

    return fill


class TestMatchesOfTheWarehouse:
    @pytest.fixture
    def lucca(self, lucca: Sandbox) -> Sandbox:
        for number in range(1, 7):
            invoices = [{**PAID, "amount": 100.10}, {**PAID, "amount": 0.20}]
            lucca.set_purchase(number, supplier={"id": 1, "name": "Boréal"}, invoices=invoices)
        lucca.set_purchase(6, state="Closed")
        return lucca

    def test_it_closes_what_agrees_to_the_cent_and_reports_the_rest(
        self, lucca, warehouse, run_example, reports
    ) -> None:
        lucca.set_purchase(5, billedAmount=None)
        warehouse(
            (1, "Boréal", "EUR", 100.1),
            (1, "Boréal", "EUR", 0.2),
            (2, "Boréal", "EUR", 100.29),
            (3, "Aubépine", "EUR", 100.3),
            (4, "Boréal", "CHF", 100.3),
            (5, "Boréal", "EUR", 100.3),
            (6, "Boréal", "EUR", 100.3),
        )
        extra = lucca.add_purchase(id=7)
        done = run_example(WAREHOUSE)
        assert done.state == "success"
        assert lucca.closed_ids == [1, 6]
        assert [lucca.posts(number) for number in lucca.purchase_ids] == [1, 0, 0, 0, 0, 0, 0]
        assert comments(lucca) == {(f"Agrees with the warehouse, {done.run_id}", "2026-04-01")}
        assert outcomes(reports) == {
            2: ("left out", "100.3 in Lucca, 100.29 in the warehouse"),
            3: ("left out", "Boréal in Lucca, Aubépine in the warehouse"),
            4: ("left out", "EUR in Lucca, CHF in the warehouse"),
            5: ("left out", "Lucca shows no supplier, no amount or no currency"),
            6: ("left out", "not ongoing in Lucca"),
            extra: ("left out", "not in the warehouse"),
            1: ("closed", ""),
        }

    @pytest.mark.own_code
    @pytest.mark.parametrize(
        ("in_lucca", "in_warehouse", "difference"),
        [
            ({"supplier": None}, (None, "EUR", 100.3), "Lucca shows no supplier, no amount or no currency"),
            ({}, ("Boréal", None, 100.3), "EUR in Lucca, None in the warehouse"),
            ({}, ("Boréal", "EUR", None), "an amount cannot be read: None in the warehouse"),
            ({}, ("Boréal", "EUR", "1,200.00"), "an amount cannot be read: 1,200.00 in the warehouse"),
            ({}, ("Boréal", "EUR", 100.304), "100.3 in Lucca, 100.304 in the warehouse"),
        ],
    )
    def test_what_is_missing_or_unreadable_is_a_difference(
        self, lucca, warehouse, run_example, reports, in_lucca, in_warehouse, difference
    ) -> None:
        lucca.set_purchase(1, **in_lucca)
        warehouse((1, *in_warehouse), (2, "Boréal", "EUR", 100.3))
        run_example(WAREHOUSE)
        said = outcomes(reports)
        assert (said[1], said[2]) == (("left out", difference), ("closed", ""))

    @pytest.mark.other_course
    def test_it_reports_a_closing_that_failed(self, lucca, warehouse, run_example, reports) -> None:
        lucca.set_purchase(1, invoices=[{**UNPAID, "amount": 100.30}])
        warehouse((1, "Boréal", "EUR", 100.3))
        done = run_example(WAREHOUSE)
        assert (done.state, done.states["close"], done.states["report"]) == ("failed", "failed", "success")
        assert outcomes(reports)[1][0] == "refused by Lucca"


# Airflow 2.11 warns of itself when it renders a map_index_template.
@pytest.mark.filterwarnings("ignore:Accessing '.*' from the template is deprecated")
class TestManyTenants:
    def test_a_connection_is_not_named_twice(self, lucca, run_example) -> None:
        with pytest.raises(Exception, match="connections"):
            run_example(TENANTS, run_conf={"connections": ["lucca_default", "lucca_default"]})
        assert lucca.requests == []

    def test_each_tenant_is_listed_checked_and_closed_by_itself(self, lucca, run_example, monkeypatch) -> None:
        with Sandbox(purchases=12, seed=3, api_key="other-key") as other:
            closable = other.closable_ids
            monkeypatch.setenv("AIRFLOW_CONN_LUCCA_NORTH", other.connection_uri)
            done = run_example(TENANTS, run_conf={"connections": ["lucca_default", "lucca_north"]})
            assert done.state == "success"
            assert lucca.closed_ids == [1, 2, 3, 5, 6]
            assert [lucca.posts(number) for number in range(1, 7)] == [1, 1, 1, 0, 1, 1]
            assert done.results["tenant.close", 1]["closed"] == closable
            assert [other.posts(number) for number in closable] == [1] * len(closable)
            assert len(other.closings) == len(closable)
            assert (lucca.throttled, other.throttled) == (0, 0)

    @pytest.mark.other_course
    def test_a_tenant_that_fails_does_not_hold_up_the_others(self, lucca, run_example, monkeypatch) -> None:
        wrong_key = lucca.connection_uri.replace(lucca.api_key, "wrong-key")
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_WRONG", wrong_key)
        done = run_example(TENANTS, run_conf={"connections": ["lucca_wrong", "lucca_default"]})
        assert done.state == "failed"
        assert (done.states["tenant.find", 0], done.states["tenant.close", 1]) == ("failed", "success")
        assert lucca.closed_ids == [1, 2, 3, 5, 6]


class TestTryTenant:
    def test_it_never_starts_by_itself(self) -> None:
        dag = load(TRY)
        assert (dag.schedule if AIRFLOW >= (3, 0) else dag.schedule_interval) is None

    def test_it_only_reads_unless_it_is_given_a_purchase(self, lucca, run_example) -> None:
        done = run_example(TRY)
        assert done.state == "success"
        assert {request.method for request in lucca.requests} == {"GET"}
        assert len(lucca.requests) == 6
        rows = done.results["report"].splitlines()
        assert sum(row.count(" | ") == 4 for row in rows) == 21
        assert "| List of purchases | 6 for `limit=1000` |" in done.results["report"]

    def test_it_closes_the_purchase_that_it_is_given_twice(self, lucca, run_example) -> None:
        done = run_example(TRY, run_conf={"purchase_id": 2})
        assert done.state == "success"
        assert ([lucca.posts(number) for number in range(1, 7)], lucca.closed_ids) == ([0, 2, 0, 0, 0, 0], [2])
        assert "| A second closing of the same purchase | 409, problem details" in done.results["report"]

    def test_it_tries_the_connection_that_it_is_told(self, lucca, run_example, monkeypatch, logged) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_OTHER", lucca.connection_uri.replace(lucca.api_key, "wrong-key"))
        done = run_example(TRY, run_conf={"lucca_conn_id": "lucca_other"})
        assert done.state == "failed"
        # The table comes all the same, and the log ends with what to do.
        assert "| Cheapest call (list of natures) | 401, problem details" in done.results["report"]
        assert "Nothing could be learnt" in logged()
        assert len(lucca.requests) == 1

    @pytest.mark.other_course
    @pytest.mark.parametrize("conf", [{"purchase_id": "all"}, {"purchase_id": 0}, {"lucca_conn_id": ""}])
    def test_what_is_no_id_never_starts(self, lucca, run_example, conf) -> None:
        with pytest.raises(Exception, match=next(iter(conf))):
            run_example(TRY, run_conf=conf)
        assert lucca.requests == []
