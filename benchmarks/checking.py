"""Row h: how many requests a check of 1,000 purchases with 3,000 documents takes, beside a loop that asks for each."""

from __future__ import annotations

import os

from benchmarks.closings import close_with_run
from benchmarks.table import Row
from lucca_provider.checking import Rules, check_purchases
from lucca_provider.hooks.lucca import LuccaHook
from lucca_provider.sandbox import Sandbox
from lucca_provider.sandbox.api import ROOT

PURCHASES = 1000
DOCUMENTS = 3
"""Of each purchase."""
MOST = 10
"""Requests that the check may take."""


def checking() -> list[Row]:
    """Check the same purchases twice, and let the tenant count."""
    with Sandbox(purchases=0, limit=0) as lucca:
        ids = [lucca.add_purchase(invoices=[{}] * DOCUMENTS) for _ in range(PURCHASES)]
        os.environ |= lucca.environ
        check = check_purchases(ids, LuccaHook(), Rules())
        assert check["closable"] == ids
        ours = len(lucca.requests)
        lucca.reset_requests()
        _ask_for_each(lucca, ids)
        naive = len(lucca.requests)
        again = _close_twice(lucca, ids)
    what = f"requests to check {PURCHASES:,} purchases with {PURCHASES * DOCUMENTS:,} documents"
    return [
        Row("h", f"{what}, by `CheckPurchasesOperator`", f"{ours}", f"≤ {MOST}", ours <= MOST),
        Row("h", f"{what}, by a `requests` loop over purchases", f"{naive:,}"),
        Row("h", f"requests of a second run over {PURCHASES:,} closed purchases", f"{again}", "≤ 3", again <= 3),
    ]


def _close_twice(lucca: Sandbox, ids: list[int]) -> int:
    """Close all purchases, and return how many requests a second run takes, which knows nothing of the first."""
    close_with_run(LuccaHook(), ids, max_in_flight=5)
    lucca.reset_requests()
    report = close_with_run(LuccaHook(), ids, max_in_flight=5)
    assert report["already_closed"] == ids
    return len(lucca.requests)


def _ask_for_each(lucca: Sandbox, ids: list[int]) -> None:
    """Ask for each purchase and for its documents, as a first version would."""
    import requests

    with requests.Session() as session:
        session.headers["Authorization"] = f"lucca application={lucca.api_key}"
        for purchase_id in ids:
            session.get(f"{lucca.url}{ROOT}/purchases/{purchase_id}", timeout=10).raise_for_status()
            answer = session.get(f"{lucca.url}{ROOT}/booked-documents", params={"limit": "10"}, timeout=10)
            answer.raise_for_status()
