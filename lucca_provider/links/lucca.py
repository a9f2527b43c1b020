"""Links from a task to Lucca's own pages."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING

from lucca_provider.compat import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from lucca_provider.compat import BaseOperator, TaskInstanceKey

__all__ = ["LuccaInvoicesLink", "lucca_links"]

INVOICES_PATH = "/cleemy-procurement"
"""Where the Invoices module lives. Lucca documents it for the API only; the page's own address is not documented."""


class LuccaInvoicesLink(BaseOperatorLink):
    """Opens the tenant's Lucca Invoices."""

    name = "Lucca Invoices"
    xcom_key = "lucca_invoices_url"

    @staticmethod
    def address(base_url: str) -> str:
        """Return the address of a tenant's Lucca Invoices."""
        return f"{base_url}{INVOICES_PATH}"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address that the operator pushed when it started, or an empty text before that."""
        return str(XCom.get_value(ti_key=ti_key, key=self.xcom_key) or "")


def lucca_links() -> tuple[LuccaInvoicesLink, ...]:
    """
    Return the links of a task of this provider.

    None on Airflow 2 where this package is a folder that was not installed: its web server logs an error for each link
    that no installed provider registers. Airflow 3 needs no registration.
    """
    if BaseOperatorLink.__module__.startswith("airflow.models"):
        try:
            distribution("airflow-provider-lucca")
        except PackageNotFoundError:
            return ()
    return (LuccaInvoicesLink(),)
