"""Choosing among purchases that were listed; how arguments are refused is in the tests of ListPurchasesOperator."""

from __future__ import annotations

from typing import Any

import pytest

from lucca_provider.inputs import InvalidInputError
from lucca_provider.reading.selection import SelectionError, read_selection, select


def choose(purchases: Any, **kwargs: Any) -> list[Any]:
    nothing = {"filters": None, "predicate": None, "fields": None}
    selection = read_selection(**{"states": "Ongoing", "max_bytes": 1000, **nothing, **kwargs})
    return select(selection, ({"id": number, **rest} for number, rest in purchases))


def in_state(state: Any, **fields: Any) -> dict[str, Any]:
    return {"state": state, **fields}


def test_a_purchase_that_a_moving_list_shows_twice_is_returned_once_as_it_was_last():
    shown = [(1, in_state("Ongoing")), (2, in_state("Ongoing")), (4, in_state("Ongoing"))]
    shown += [(2, in_state("Closed")), (1, in_state("Ongoing")), (3, in_state("Ongoing")), (4, in_state(None))]
    assert choose(shown) == [1, 3]


def test_what_is_returned_of_a_purchase_is_what_it_was_last():
    shown = [(1, in_state("Ongoing", title="Old")), (1, in_state("Ongoing", title="New"))]
    assert choose(shown, fields=["title"]) == [{"id": 1, "title": "New"}]


def test_all_of_the_filters_hold_and_the_predicate_too():
    shown = [(number, in_state("Ongoing", a=number % 2, b=number % 3)) for number in range(12)]
    assert choose(shown, filters={"a": 1, "b": 2}) == [5, 11]
    assert choose(shown, filters={"a": 1, "b": 2}, predicate=lambda purchase: purchase["id"] > 5) == [11]


def test_a_field_that_only_a_purchase_in_another_state_has_is_not_misspelt():
    shown = [(1, in_state("Ongoing")), (2, in_state("Closed", project="P1"))]
    assert choose(shown, filters={"project": "P1"}) == []
    assert choose(shown, fields=["project"]) == [{"id": 1, "project": None}]
    with pytest.raises(SelectionError, match="no purchase has 'project'"):
        choose(shown[:1], fields=["project"])


def test_of_a_field_within_another_that_is_returned_only_the_outer_one_must_be_there():
    shown = [(1, in_state("Ongoing", supplier={"name": "Dune"}))]
    assert choose(shown, fields=["supplier.code"]) == [{"id": 1, "supplier.code": None}]
    with pytest.raises(SelectionError, match=r"no purchase has 'supplier\.code'"):
        choose(shown, filters={"supplier.code": 5})


def test_nothing_is_wrong_with_names_where_there_is_no_purchase():
    assert choose([], states=["Archived"], filters={"titel": 1}) == []


def test_the_size_is_that_of_the_json():
    shown = [(1, in_state("Ongoing", title="é"))]
    assert choose(shown, fields=["title"], max_bytes=len(r'[{"id": 1, "title": "\u00e9"}]'))
    with pytest.raises(SelectionError, match=r"\(1 purchase\) takes 30 bytes of JSON, more than max_bytes=29"):
        choose(shown, fields=["title"], max_bytes=29)


def test_a_purchase_is_not_looked_at_if_an_argument_cannot_be_used():
    with pytest.raises(InvalidInputError, match="fields: 'title' is not a list"):
        choose(None, fields="title")
