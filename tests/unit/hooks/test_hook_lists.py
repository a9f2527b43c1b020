"""Queries are checked before they are sent, and a list that is not whole ends with an error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lucca_provider.exceptions import LuccaForbiddenError, LuccaInDoubtError
from lucca_provider.hooks._lists import read_pages, read_query
from lucca_provider.inputs import InvalidInputError
from lucca_provider.reading.lists import PURCHASES, ListPage, ListReader


def pages_of(*answers: Any) -> Iterator[ListPage]:
    """Read a list from answers, each JSON or an error to raise."""
    following = iter(answers)

    def fetch() -> object:
        answer = next(following)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return read_pages(ListReader(PURCHASES), fetch, what="Listing things")


def items(*ids: int, **fields: Any) -> dict[str, Any]:
    return {"items": [{"id": number} for number in ids], **fields}


def test_pages_come_one_after_another_with_what_the_list_counts():
    pages = pages_of(items(1, 2, next="b", count=3), items(3, count=3))
    assert [([item["id"] for item in page.items], page.count) for page in pages] == [([1, 2], 3), ([3], 3)]


def test_no_page_is_asked_for_before_it_is_wanted():
    pages = pages_of(items(1, next="b"), AssertionError("asked for too early"))
    assert next(pages).items == [{"id": 1}]


@pytest.mark.parametrize("last", [{"items": 5}, items(1, next="b"), items(2, count=5), items(2, 3, count=2)])
def test_a_list_that_is_not_known_to_be_whole_ends_with_an_error(last):
    pages = pages_of(items(1, next="b"), last, items())
    assert next(pages).items == [{"id": 1}]
    with pytest.raises(LuccaInDoubtError, match=r"^Listing things: \S"):
        list(pages)


def test_an_error_ends_the_list_with_what_came_before_it():
    pages = pages_of(items(1, next="b"), LuccaForbiddenError("no"))
    assert next(pages).items == [{"id": 1}]
    with pytest.raises(LuccaForbiddenError):
        next(pages)


@pytest.mark.parametrize(
    ("query", "written"),
    [
        (None, {}),
        ({}, {}),
        ({"a": "x y"}, {"a": ["x y"]}),
        ({"a": 5, "b": 1.5}, {"a": ["5"], "b": ["1.5"]}),
        ({"a": True, "b": False}, {"a": ["true"], "b": ["false"]}),
        ({"a": None}, {"a": []}),
        ({"a": ["x", None, 5]}, {"a": ["x", "5"]}),
        ({"a": ("x",), "b": {"y"}, "c": frozenset({"z"})}, {"a": ["x"], "b": ["y"], "c": ["z"]}),
        (
            {"invoice.conformityStates": "Confirmed", "paging": 1},
            {"invoice.conformityStates": ["Confirmed"], "paging": ["1"]},
        ),
    ],
)
def test_query_parameters_are_written_as_a_query_has_them(query, written):
    assert read_query(query) == written


@pytest.mark.parametrize("name", ["page", "limit", "fields.root", "Limit", "PAGE", " Fields.Root ", 5, None])
def test_what_paging_itself_sets_cannot_be_given(name):
    with pytest.raises(InvalidInputError, match=r"^query: .* cannot be given; the paging sets page, limit"):
        read_query({name: "1"})


@pytest.mark.parametrize(
    ("value", "kind"), [(b"x", "bytes"), (object(), "object"), ({"x": 1}, "dict"), ([["x"]], "list"), ([{}], "dict")]
)
def test_what_no_query_can_hold_is_refused(value, kind):
    with pytest.raises(InvalidInputError, match=rf"^filters: 'a' has a value of type {kind}; give text\.$"):
        read_query({"a": value}, name="filters")


@pytest.mark.parametrize("query", ["a=b", [("a", "b")], 5])
def test_a_query_is_a_mapping(query):
    with pytest.raises(InvalidInputError, match=r"^query: .* is not a mapping of query parameters to values\.$"):
        read_query(query)
