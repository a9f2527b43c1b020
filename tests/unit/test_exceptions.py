"""An error keeps its facts wherever it travels: Airflow copies and pickles what a task raises."""

from __future__ import annotations

import copy
import pickle

import pytest

from lucca_provider import exceptions
from lucca_provider.exceptions import LuccaError, LuccaForbiddenError, LuccaNotFoundError, LuccaRefusedError

ALL = [getattr(exceptions, name) for name in exceptions.__all__]
FACTS = {
    "status": 422,
    "title": "Cannot be closed",
    "detail": "2 invoices are open",
    "errors": {"date": ["too early"]},
    "purchase_id": 12,
    "retry_after": 1.5,
    "web_page": True,
    "correlation_id": "1-2-3",
    "server_correlation_id": "4-5-6",
    "cf_ray": "8f-CDG",
}
SAID = "Closing purchase 12: no. (lucca_correlation_id 1-2-3, X-Correlation-ID 4-5-6, CF-RAY 8f-CDG)"


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    "travel",
    [copy.copy, copy.deepcopy, *(lambda e, p=p: pickle.loads(pickle.dumps(e, p)) for p in range(6))],  # noqa: S301
)
def test_copies_and_pickles_keep_the_facts(kind: type[LuccaError], travel: object) -> None:
    error = travel(kind("Closing purchase 12: no.", **FACTS))  # type: ignore[operator]
    assert type(error) is kind
    assert (error.message, str(error)) == ("Closing purchase 12: no.", SAID)
    assert {name: getattr(error, name) for name in FACTS} == FACTS


@pytest.mark.parametrize("kind", ALL)
def test_facts_that_are_not_known_are_none(kind: type[LuccaError]) -> None:
    error = kind("no")
    assert error.errors == {}
    assert error.web_page is False
    assert {getattr(error, name) for name in FACTS if name not in ("errors", "web_page")} == {None}
    assert str(error) == error.message == "no"


def test_only_the_ids_that_are_known_are_shown() -> None:
    assert str(LuccaError("no", cf_ray="8f-CDG")) == "no (CF-RAY 8f-CDG)"
    assert str(LuccaError("no", correlation_id="1-2-3", server_correlation_id="")) == "no (lucca_correlation_id 1-2-3)"


def test_all_are_of_one_tree() -> None:
    assert all(issubclass(kind, LuccaError) for kind in ALL)
    assert issubclass(LuccaForbiddenError, LuccaRefusedError)
    assert issubclass(LuccaNotFoundError, LuccaRefusedError)
    assert not issubclass(exceptions.LuccaAccessError, LuccaRefusedError)
    assert not issubclass(exceptions.LuccaInDoubtError, LuccaRefusedError)
    assert issubclass(exceptions.LuccaUnclearError, exceptions.LuccaInDoubtError)


def test_the_errors_of_one_do_not_change_with_what_they_were_made_of() -> None:
    given = {"date": ["too early"]}
    error = LuccaError("no", errors=given)
    given["comment"] = ["too long"]
    assert error.errors == {"date": ["too early"]}
