"""The link from a task to the tenant's Lucca Invoices."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest

from lucca_provider.links import lucca as links
from lucca_provider.operators.purchases import ClosePurchaseOperator
from tests.conftest import AIRFLOW


@pytest.mark.parametrize(
    ("stored", "address"), [("https://acme.ilucca.net/cleemy-procurement", None), (None, ""), ("", "")]
)
def test_it_opens_the_address_that_the_task_pushed(monkeypatch, stored, address):
    asked = {}

    class XCom:
        @staticmethod
        def get_value(**kwargs):
            asked.update(kwargs)
            return stored

    monkeypatch.setattr(links, "XCom", XCom)
    operator = ClosePurchaseOperator(task_id="close", purchase_ids=[1])
    key = object()
    assert links.LuccaInvoicesLink().get_link(operator, ti_key=key) == (stored if address is None else address)
    assert asked == {"ti_key": key, "key": "lucca_invoices_url"}


def test_the_operator_has_it():
    assert [link.name for link in ClosePurchaseOperator.operator_extra_links] == ["Lucca Invoices"]


@pytest.mark.skipif(AIRFLOW >= (3, 0), reason="Airflow 3 shows links that nobody registered")
def test_airflow_2_is_given_no_link_that_no_installed_provider_registers(monkeypatch):
    def no_distribution(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(links, "distribution", no_distribution)
    assert links.lucca_links() == ()
