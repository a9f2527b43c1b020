"""Operators for purchases. DAGs import them from here."""

from __future__ import annotations

from lucca_provider.operators._check import CheckPurchasesOperator
from lucca_provider.operators._close import ClosePurchaseOperator
from lucca_provider.operators._list import ListPurchasesOperator

__all__ = ["CheckPurchasesOperator", "ClosePurchaseOperator", "ListPurchasesOperator"]
