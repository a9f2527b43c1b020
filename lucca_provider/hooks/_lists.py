"""Lucca's lists as the hook gives them: every page to the end, or an error if that is not the whole list."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lucca_provider.exceptions import LuccaInDoubtError
from lucca_provider.inputs import InvalidInputError
from lucca_provider.reading.lists import ListPage, ListReader

__all__ = ["Query", "read_pages", "read_query"]

Query = Mapping[str, Any]
"""Query parameters: text, numbers, booleans, or lists of these; ``None`` leaves a parameter out."""


def read_query(query: Query | None, *, name: str = "query") -> dict[str, list[str]]:
    """
    Check query parameters and write their values as a query has them.

    :param query: what the user gave
    :param name: what the argument is called in the error
    :raises InvalidInputError: for a name that paging itself sets, or a value that no query can hold
    """
    if query is None:
        return {}
    if not isinstance(query, Mapping):
        raise InvalidInputError(f"{name}: {query!r} is not a mapping of query parameters to values.")
    given = {}
    for key, value in query.items():
        # Names of query parameters are the same in upper case for servers such as Lucca's.
        if not isinstance(key, str) or key.strip().lower() in ("page", "limit", "fields.root"):
            raise InvalidInputError(f"{name}: {key!r} cannot be given; the paging sets page, limit and fields.root.")
        given[key] = _write_values(key, value, name)
    return given


def _write_values(key: str, value: object, name: str) -> list[str]:
    values = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
    for one in values:
        if not isinstance(one, (str, int, float, type(None))):
            raise InvalidInputError(f"{name}: {key!r} has a value of type {type(one).__name__}; give text.")
    return [str(one).lower() if isinstance(one, bool) else str(one) for one in values if one is not None]


def read_pages(reader: ListReader, fetch: Callable[[], object], *, what: str) -> Iterator[ListPage]:
    """
    Yield all pages of a list, a request each, and raise at the end if it is not known to be whole.

    :param reader: of the list
    :param fetch: makes the request for the reader's next page and returns the JSON of its answer
    :param what: the list, for messages, such as ``Listing purchases``
    :raises LuccaInDoubtError: if the list cannot be read as a whole
    """
    while not reader.ended:
        items = reader.take(fetch())
        if items:
            yield ListPage(items, reader.count)
    if reader.problem:
        raise LuccaInDoubtError(f"{what}: {reader.problem}")
