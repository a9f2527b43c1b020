"""A whole Airflow tells people: mails to the approver and to finance, an answer that is refused, a run that is late."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from urllib.parse import unquote

import pytest

from local_airflow.api import Api, Run, wait_until
from local_airflow.deployment import PASSWORD, Deployment
from lucca_provider.sandbox import Sandbox
from tests.integration.mail_server import Mailbox, mail_connection, serve_mails, text_of
from tests.system.conftest import APPROVER
from tests.system.test_airflow import answer, assert_closed_once

Serve = Callable[..., Sandbox]
UNPAID = [{"conformityState": "Confirmed", "paymentState": "ToPay"}]


@pytest.fixture
def mailbox(airflow: Deployment) -> Iterator[Mailbox]:
    mailbox = Mailbox()
    with serve_mails(mailbox) as connection:
        airflow.api.set_connection("smtp_default", connection)
        yield mailbox


@pytest.fixture
def anna(airflow: Deployment) -> Api:
    return Api(airflow.url, user=APPROVER, password=PASSWORD)


def wait_for_mail(mailbox: Mailbox, to: str) -> EmailMessage:
    def arrived() -> EmailMessage | None:
        return next((mail for mail in mailbox.mails if mail["To"] == to), None)

    return wait_until(arrived, f"a mail to {to}", seconds=120)


def add_purchases(lucca: Sandbox, *numbers: int) -> list[int]:
    for number in numbers:
        lucca.add_purchase(id=number)
    return [*numbers]


def test_only_who_is_assigned_approves_and_is_asked_by_mail(
    airflow: Deployment, serve: Serve, mailbox: Mailbox, anna: Api
) -> None:
    lucca = serve(0)
    ids = add_purchases(lucca, 101, 102)
    run = airflow.api.trigger("ask_by_mail")
    mail = wait_for_mail(mailbox, "anna.keller@acme.example")
    assert mail["Subject"] == "2 purchases wait for your approval"
    (link,) = re.findall(r'href="([^"]+)"', text_of(mail))
    assert unquote(link) == f"{airflow.url}/dags/ask_by_mail/runs/{run.run_id}/tasks/approve/required_actions"
    run.wait_for_task("approve", "awaiting_input", seconds=120)
    # An administrator, but not assigned.
    with pytest.raises(RuntimeError, match="answered 403"):
        run.answer("approve")
    assert run.task("approve")["state"] == "awaiting_input"
    assert lucca.closings == []
    answer(airflow.home, Run(anna, run.dag_id, run.run_id), "approve")
    assert run.wait() == "success"
    assert run.xcom("approve")["responded_by_user"]["id"] == APPROVER
    assert_closed_once(lucca, ids)


def test_a_mail_server_that_is_down_fails_neither_approval_nor_closing(
    airflow: Deployment, serve: Serve, anna: Api
) -> None:
    lucca = serve(0)
    ids = add_purchases(lucca, 101, 102)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        airflow.api.set_connection("smtp_default", mail_connection(bound.getsockname()[1]))
        run = airflow.api.trigger("ask_by_mail")
        run.wait_for_task("mail", "up_for_retry", seconds=120)
        answer(airflow.home, Run(anna, run.dag_id, run.run_id), "approve")
        run.wait_for_task("close", "success", seconds=120)
    assert_closed_once(lucca, ids)
    # The mail waits for its retry, which nobody waits for here.
    airflow.api.patch(run.path, {"state": "failed"})


def test_finance_gets_the_report_of_a_closing_that_failed(airflow: Deployment, serve: Serve, mailbox: Mailbox) -> None:
    lucca = serve(0)
    add_purchases(lucca, 101)
    lucca.add_purchase(id=102, invoices=UNPAID)
    run = airflow.api.trigger("close_and_mail")
    assert run.wait() == "failed"
    mail = wait_for_mail(mailbox, "finance@acme.example")
    assert mail["Subject"] == "Closing in Lucca: 2 rejected, 1 closed"
    (attached,) = mail.iter_attachments()
    for page in (text_of(mail), attached.get_content().decode()):
        for number in (102, 103):
            assert re.search(rf"\b{number}\b", page)
    assert run.task("mail")["state"] == "success"


def test_a_run_that_is_late_is_told(airflow: Deployment, serve: Serve, mailbox: Mailbox) -> None:
    add_purchases(serve(0), 101, 102)
    run = airflow.api.trigger("close_in_time")
    mail = wait_for_mail(mailbox, "oncall@acme.example")
    assert mail["Subject"] == "close_in_time is late"
    assert run.run_id in text_of(mail)
    assert run.wait() == "success"


def test_a_backfill_is_refused(airflow: Deployment) -> None:
    asked = {
        "dag_id": "no_backfills",
        "from_date": "2026-02-01T00:00:00Z",
        "to_date": "2026-04-01T00:00:00Z",
    }
    with pytest.raises(RuntimeError, match="does not allow backfill runs"):
        airflow.api.post("/backfills", asked)
