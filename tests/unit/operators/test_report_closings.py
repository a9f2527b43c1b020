"""ReportClosingsOperator against a tenant on real sockets; Airflow's own part is in tests/integration."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lucca_provider.compat import AirflowException, AirflowFailException
from lucca_provider.exceptions import LuccaAccessError, LuccaUnresolvedError
from lucca_provider.operators.reports import ReportClosingsOperator
from lucca_provider.reports.markdown import MAX_BODY_BYTES
from lucca_provider.sandbox import Sandbox
from tests.unit.airflow_fakes import TaskInstance

MISSING = 900_000
NOTHING: dict[str, Any] = {"closed": [], "already_closed": [], "rejected": [], "unresolved": []}


@pytest.fixture
def lucca(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox(purchases=0) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", sandbox.connection_uri)
        yield sandbox
        assert {request.method for request in sandbox.requests} <= {"GET"}


class Instance(TaskInstance):
    """With what names a run."""

    def __init__(self, run_id: str = "run 1", map_index: int = -1) -> None:
        super().__init__()
        self.dag_id = "month_end"
        self.run_id = run_id
        self.task_id = "report"
        self.map_index = map_index


def run(ti: Instance | None = None, **kwargs: Any) -> Any:
    operator = ReportClosingsOperator(task_id="report", **kwargs)
    return operator.execute({"ti": ti or Instance()})  # type: ignore[typeddict-item]


def rows(path: Path, delimiter: str = ";") -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return {row["Purchase"]: row for row in csv.DictReader(file, delimiter=delimiter)}


def closed(lucca: Sandbox, count: int) -> list[int]:
    return [lucca.add_purchase(state="Closed", title=f"Chairs {number}") for number in range(count)]


def report(**outcomes: Any) -> dict[str, Any]:
    return {**NOTHING, **outcomes}


# -- what it says ----------------------------------------------------------------------------------------------------


def test_every_purchase_is_in_the_file_with_its_state_in_lucca(lucca: Sandbox, tmp_path: Path) -> None:
    one, two, three = closed(lucca, 3)
    refused, other = lucca.add_purchase(state="Ongoing"), lucca.add_purchase(state="Denied")
    told = report(
        closed=[one],
        already_closed=[two],
        rejected=[{"id": refused, "status": 409, "title": "Conflict", "detail": "invoice F1 is not paid"}],
        unresolved=[{"id": three, "reason": "no clear answer"}],
    )
    sent = {"tenant": lucca.url, "comment": "Month-end", "closing_date": "2026-06-30"}
    result = run(
        report=told,
        purchase_ids=[one, other, MISSING],
        sent=sent,
        approved_by="Anna Keller",
        path=f"{tmp_path}/closing.csv",
    )
    found = rows(tmp_path / "closing.csv")
    assert {
        int(number): (row["Outcome"], row["State in Lucca"].partition(":")[0]) for number, row in found.items()
    } == {
        refused: ("refused by Lucca", "Ongoing"),
        three: ("unresolved", "Closed"),
        other: ("left out", "Denied"),
        MISSING: ("left out", "could not be read"),
        one: ("closed", "Closed"),
        two: ("closed already", "Closed"),
    }
    assert "by now Lucca shows it as Closed" in found[str(three)]["Reason"]
    row = found[str(one)]
    assert (row["Title"], row["Comment sent"], row["Closing date sent"]) == ("Chairs 0", "Month-end", "2026-06-30")
    assert (row["DAG"], row["Run"], row["Task"], row["Map index"]) == ("month_end", "run 1", "report", "")
    assert (row["Approved by"], row["Tenant"], row["Environment"]) == ("Anna Keller", lucca.url, "")
    assert row["Read back"]
    assert result["counts"] == {
        "unconfirmed": 0,
        "rejected": 1,
        "unresolved": 1,
        "left_out": 2,
        "closed": 1,
        "already_closed": 1,
    }


def test_each_form_is_written_in_its_style_and_named_by_its_sha_256(lucca: Sandbox, tmp_path: Path) -> None:
    paths = [f"{tmp_path}/closing.CSV", f"file://{tmp_path}/closing.html", tmp_path / "closing.md"]
    ti = Instance(map_index=3)
    result = run(ti, report=report(closed=closed(lucca, 1)), path=paths, csv_style="en")
    names = ["closing.CSV", "closing.html", "closing.md"]
    assert result["paths"] == [str(path) for path in paths]
    assert list(result["sha256"].values()) == [
        hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in names
    ]
    assert ti.pushed["markdown"] == (tmp_path / "closing.md").read_text()
    (row,) = rows(tmp_path / "closing.CSV", ",").values()
    assert row["Map index"] == "3"
    assert (tmp_path / "closing.html").read_text().startswith("<!DOCTYPE html>")


def test_nothing_to_report_is_a_file_too(lucca: Sandbox, tmp_path: Path) -> None:
    for _ in range(2):
        result = run(report=NOTHING, path=f"{tmp_path}/closing.csv")
    assert result["counts"]["closed"] == 0
    assert list(rows(tmp_path / "closing.csv")) == [""]
    assert lucca.requests == []


def test_five_thousand_purchases_with_long_titles_are_read_by_pages(lucca: Sandbox, tmp_path: Path) -> None:
    ids = [lucca.add_purchase(state="Closed", title="Stühle | " * 100) for _ in range(5_000)]
    ti = Instance()
    paths = [f"{tmp_path}/closing.{form}" for form in ("csv", "html", "md")]
    result = run(ti, report=report(closed=ids), path=paths)
    assert len(lucca.requests) == 5
    assert len(rows(tmp_path / "closing.csv")) == result["counts"]["closed"] == 5_000
    assert all((tmp_path / "closing.md").read_text().count(f"| {number} |") for number in (ids[0], ids[-1]))
    # XCom is not made for a megabyte, and a table that is cut says something wrong.
    assert len(ti.pushed["markdown"].encode()) < MAX_BODY_BYTES
    assert paths[1] in ti.pushed["markdown"].replace("\\", "")
    assert "| Title |" not in ti.pushed["markdown"]


# -- what Lucca does not confirm -------------------------------------------------------------------------------------


def test_what_is_not_closed_fails_the_task_retryably_after_the_file_is_written(lucca: Sandbox, tmp_path: Path) -> None:
    one, open_one = *closed(lucca, 1), lucca.add_purchase(state="Ongoing")
    ti = Instance()
    with pytest.raises(LuccaUnresolvedError) as raised:
        run(ti, report=report(closed=[one, open_one], already_closed=[MISSING]), path=f"{tmp_path}/closing.csv")
    lines = str(raised.value).split("\n- ")
    assert [line.partition(":")[0] for line in lines[1:]] == [f"purchase {open_one}", f"purchase {MISSING}"]
    found = rows(tmp_path / "closing.csv")
    assert [row["Outcome"] for row in found.values()] == ["not confirmed", "not confirmed", "closed"]
    assert ti.pushed["counts"]["unconfirmed"] == 2
    assert ti.pushed["return_value"]["sha256"] == ti.pushed["sha256"] != {}
    # The retry finds it closed, and puts its file in the place of the first.
    lucca.set_purchase(open_one, state="Closed")
    assert run(report=report(closed=[one, open_one]), path=f"{tmp_path}/closing.csv")["counts"]["closed"] == 2
    assert len(rows(tmp_path / "closing.csv")) == 2


def test_what_the_list_does_not_show_as_closed_is_asked_for_itself(lucca: Sandbox, tmp_path: Path) -> None:
    ids = [*closed(lucca, 3), lucca.add_purchase(state="Ongoing")]
    with pytest.raises(LuccaUnresolvedError):
        run(report=report(closed=ids), path=f"{tmp_path}/closing.csv")
    assert [request.purchase_id for request in lucca.requests] == [None, ids[-1]]


def test_a_wrong_key_fails_the_task_after_the_file_says_what_was_not_read(
    lucca: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri.replace("sandbox-key", "another-key"))
    refused = [{"id": number, "status": 409, "title": None, "detail": "not paid"} for number in closed(lucca, 3)]
    with pytest.raises(LuccaAccessError):
        run(report=report(rejected=refused), path=f"{tmp_path}/closing.csv")
    assert len(lucca.requests) == 1
    found = rows(tmp_path / "closing.csv")
    assert all("401" in row["State in Lucca"] for row in found.values())
    with pytest.raises(LuccaUnresolvedError, match="401"):
        run(report=report(closed=closed(lucca, 1)), path=f"{tmp_path}/other.csv")


def test_a_list_that_cannot_be_used_is_done_without_within_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(purchases=0, limit=4, window=0.5, list_status=403) as lucca:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri)
        ids = closed(lucca, 9)
        run(report=report(closed=ids), path=f"{tmp_path}/closing.csv")
        assert len([request for request in lucca.requests if request.purchase_id]) == 9
        assert lucca.throttled == 0


# -- files that cannot be written ------------------------------------------------------------------------------------


def test_a_path_that_cannot_be_written_fails_after_the_read_back_and_a_retry_writes_it(
    lucca: Sandbox, tmp_path: Path
) -> None:
    paths = [f"{tmp_path}/later/closing.csv", f"{tmp_path}/closing.md"]
    told = report(closed=closed(lucca, 1))
    ti = Instance()
    with pytest.raises(
        AirflowException, match=r"later/closing\.csv could not be written: its folder does not"
    ) as raised:
        run(ti, report=told, path=paths)
    assert not isinstance(raised.value, AirflowFailException)
    assert "1 closed" in ti.pushed["markdown"]
    assert (ti.pushed["paths"], ti.pushed["counts"]["closed"]) == ([paths[1]], 1)
    (tmp_path / "later").mkdir()
    assert run(report=told, path=paths)["paths"] == paths


@pytest.mark.parametrize("path", ["nowhere://bucket/closing.csv", "/dev/null/closing.csv"])
def test_a_store_that_is_not_there_is_named(lucca: Sandbox, path: str) -> None:
    with pytest.raises(AirflowException, match=f"{path} could not be written"):
        run(report=report(closed=closed(lucca, 1)), path=path)


def test_another_run_s_file_is_left_alone_and_no_retry_would_help(lucca: Sandbox, tmp_path: Path) -> None:
    told = report(closed=closed(lucca, 1))
    run(report=told, path=f"{tmp_path}/closing.csv")
    before = (tmp_path / "closing.csv").read_bytes()
    ti = Instance("run 2")
    with pytest.raises(AirflowFailException, match=r"closing\.csv already exists"):
        run(ti, report=told, path=[f"{tmp_path}/closing.csv", f"{tmp_path}/closing.html"])
    assert (tmp_path / "closing.csv").read_bytes() == before
    assert ti.pushed["paths"] == [f"{tmp_path}/closing.html"]


def test_another_pass_of_the_run_loses_no_closing_of_the_first(lucca: Sandbox, tmp_path: Path) -> None:
    first, later = closed(lucca, 3), closed(lucca, 1)
    paths = [f"{tmp_path}/closing.csv", f"{tmp_path}/closing.html"]
    before = run(report=report(closed=first), path=paths)["sha256"]
    result = run(report=report(closed=later), path=paths)
    assert result["paths"][:2] == paths
    kept = [path for path in result["paths"][2:] if path.endswith(".csv")]
    assert {row for path in [paths[0], *kept] for row in rows(Path(path))} == {str(number) for number in first + later}
    assert [result["sha256"][path] for path in result["paths"][2:]] == list(before.values())
    assert set(result["paths"]) == {str(path) for path in tmp_path.iterdir()}


def test_what_is_not_confirmed_matters_more_than_a_file(lucca: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(
        LuccaUnresolvedError, match=r"(?s)^1 purchase was .* files .*its folder does not exist.*purchase 900000"
    ):
        run(report=report(closed=[MISSING]), path=f"{tmp_path}/missing/closing.csv")


# -- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"report": {"closed": [1]}}, "report: it has no list 'rejected'"),
        ({"report": None}, "report: there is none, and no purchase_ids"),
        ({"purchase_ids": ["one"]}, "purchase_ids: item 1: 'one' is not a purchase id"),
        ({"sent": {"tenant": "https://other.ilucca.net"}}, "sent: the closings were sent to https://other.ilucca.net"),
        ({"csv_style": "de"}, "csv_style: 'de' is none of 'fr', 'en'"),
        ({"path": []}, "path: it is empty"),
        ({"path": None}, "path: None is no path"),
        ({"path": " "}, "path: ' ' is no path"),
        ({"path": "/data/closing.xlsx"}, "path: '/data/closing.xlsx' ends with none of .csv, .html, .md"),
        ({"path": "closing.csv"}, "path: 'closing.csv' is relative"),
        ({"path": ["/data/a.csv", "/data/a.csv"]}, "path: '/data/a.csv' is given twice"),
    ],
)
def test_bad_arguments_fail_for_good_before_anything_is_sent(
    lucca: Sandbox, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(AirflowFailException, match=message):
        run(**{"report": report(closed=[1]), "path": "/dev/null/closing.csv", **arguments})
    assert lucca.requests == []


def test_a_bad_connection_fails_for_good_naming_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_ACME", "lucca://:some-api-key@acme.ilucca.net/http")
    with pytest.raises(AirflowFailException, match=r"'lucca_acme': Schema"):
        run(report=NOTHING, path="/dev/null/closing.csv", lucca_conn_id="lucca_acme")


@pytest.mark.parametrize(
    ("arguments", "pushed"),
    [
        ({}, ["counts", "lucca_invoices_url", "markdown", "paths", "return_value", "sha256"]),
        ({"multiple_outputs": False}, ["lucca_invoices_url", "markdown", "return_value"]),
        ({"do_xcom_push": False}, ["lucca_invoices_url"]),
    ],
)
def test_a_failed_task_pushes_as_a_successful_one_would(
    lucca: Sandbox, tmp_path: Path, arguments: dict[str, Any], pushed: list[str]
) -> None:
    ti = Instance()
    with pytest.raises(LuccaUnresolvedError):
        run(ti, report=report(closed=[MISSING]), path=f"{tmp_path}/closing.csv", **arguments)
    assert sorted(ti.pushed) == pushed
    assert os.listdir(tmp_path) == ["closing.csv"]
