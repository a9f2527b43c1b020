"""What the guide about telling people shows, against a mail server: what people are told when not all goes well."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lucca_provider.sandbox import Sandbox
from tests.integration.mail_server import Mailbox, mail_connection, text_of
from tests.integration.test_docs import PROGRAMS, load

CLOSINGS = ["close_and_mail", "close_and_mail_page"]
TITLE = "Chairs {{ 'rend' ~ 'ered' }} <blink>& tables"
"""What a template, or a page that is not escaped, would change."""


@pytest.fixture
def lucca(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Serve one of the guide's purchases, which can be closed."""
    with Sandbox(purchases=0) as sandbox:
        sandbox.add_purchase(id=101)
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", sandbox.connection_uri)
        yield sandbox


def load_shown(dag_id: str, folder: Path) -> Any:
    """Load a DAG of the guide, whose reports are kept in a folder of the test."""
    (block,) = (block for block in PROGRAMS if f'dag_id="{dag_id}"' in block.code)
    file = folder / f"{dag_id}.py"
    file.write_text(block.code.replace("/data/reports/", f"{folder}/"))
    return load(file)[dag_id]


def states_of(run: Any) -> dict[str, str]:
    return {ti.task_id: str(ti.state) for ti in run.get_task_instances()}


def assert_told(page: str) -> None:
    """See that a page names the purchase that is not paid, and the one that does not exist, and is no template."""
    for number in (102, 103):
        assert re.search(rf"\b{number}\b", page)
    assert "not paid" in page
    assert "tables" in page
    assert "rendered" not in page
    assert "<blink" not in page


@pytest.mark.parametrize("dag_id", CLOSINGS)
def test_a_closing_that_failed_is_told_with_each_purchase_that_is_not_closed(
    lucca: Sandbox, mailbox: Mailbox, run_dag: Callable[..., Any], tmp_path: Path, dag_id: str
) -> None:
    lucca.add_purchase(id=102, title=TITLE, invoices=[{"conformityState": "Confirmed", "paymentState": "ToPay"}])
    run = run_dag(load_shown(dag_id, tmp_path))
    assert str(run.state) == "failed"
    assert states_of(run) == {"close": "failed", "report": "success", "mail": "success", "done": "upstream_failed"}
    (mail,) = mailbox.mails
    assert (mail["From"], mail["To"]) == ("airflow@acme.example", "finance@acme.example")
    assert_told(text_of(mail))
    attachments = [*mail.iter_attachments()]
    if dag_id == "close_and_mail":
        assert mail["Subject"] == "Closing in Lucca: 2 rejected, 1 closed"
        (kept,) = tmp_path.glob("*.html")
        assert [(one.get_filename(), one.get_content()) for one in attachments] == [(kept.name, kept.read_bytes())]
        assert_told(kept.read_text("utf-8"))
    else:
        assert attachments == []


@pytest.mark.parametrize("dag_id", CLOSINGS)
def test_that_there_is_no_report_is_told_too(
    lucca: Sandbox, mailbox: Mailbox, run_dag: Callable[..., Any], tmp_path: Path, dag_id: str
) -> None:
    dag = load_shown(dag_id, tmp_path)
    report = dag.get_task("report")
    report.lucca_conn_id, report.retries = "not_there", 0
    run = run_dag(dag)
    assert str(run.state) == "failed"
    assert (states_of(run)["report"], states_of(run)["mail"]) == ("failed", "success")
    (mail,) = mailbox.mails
    assert "There is no report" in text_of(mail)
    assert [*mail.iter_attachments()] == []


def test_a_mail_server_that_is_down_does_not_fail_the_closing(
    lucca: Sandbox, refusing: str, run_dag: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (102, 103):
        lucca.add_purchase(id=number)
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", mail_connection(int(refusing.rpartition(":")[2])))
    dag = load_shown("close_and_mail", tmp_path)
    dag.get_task("mail").retries = 0
    run = run_dag(dag)
    assert states_of(run) == {"close": "success", "report": "success", "mail": "failed", "done": "success"}
    assert str(run.state) == "success"
