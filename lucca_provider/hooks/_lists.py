"""Lucca's lists: every page to the end, by token or by number, and an error rather than a list that is not whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lucca_provider.checking import ListPage
from lucca_provider.exceptions import LuccaInDoubtError
from lucca_provider.inputs import InvalidInputError

__all__ = ["PAGE_SIZE", "Query", "has_id", "read_items", "read_pages", "read_query", "read_token"]

PAGE_SIZE = 1000
"""Items a page; the most that Lucca's lists document."""
MAX_PAGES = 10_000
"""Pages of one list: more are a server that never comes to an end."""

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
        values = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
        for one in values:
            if not isinstance(one, (str, int, float, type(None))):
                raise InvalidInputError(f"{name}: {key!r} has a value of type {type(one).__name__}; give text.")
        given[key] = [_written(one) for one in values if one is not None]
    return given


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def read_pages(fetch: Callable[[Mapping[str, Any]], Any], query: Query, *, what: str) -> Iterator[ListPage]:
    """
    Yield all pages of a list, a request each.

    The next page is asked for by the token in ``next``, or by its number where the tenant gives none. Whatever leaves
    it open whether the list is whole is an error: a token or page that comes again, fewer or more items than
    ``count`` says, a ``count`` that changes meanwhile.

    :param fetch: makes the request for these query parameters and returns the JSON of its answer
    :param query: parameters besides those for paging
    :param what: the list, for messages, such as ``Listing purchases``
    :raises LuccaInDoubtError: if the list cannot be read as a whole
    """
    seen: set[int] = set()
    tokens: set[str] = set()
    count: int | None = None
    page: dict[str, str] = {}
    for number in range(1, MAX_PAGES + 1):
        answer = fetch({"limit": str(PAGE_SIZE), "fields.root": "next,count", **query, **page})
        items = _with_ids(read_items(answer, what), what)
        before, count = count, _count(answer, count)
        if before not in (None, count):
            raise LuccaInDoubtError(f"{what}: the list changed while it was read, from {before} to {count}. Try again.")
        new = {item["id"] for item in items} - seen
        seen |= new
        whole = count is not None and len(seen) >= count
        if items:
            # Also those that came before: they may be in another state now.
            yield ListPage(items, count)
        if count is not None and len(seen) > count:
            raise LuccaInDoubtError(f"{what}: Lucca gave {len(seen)} of {count}, so the list is not known. Try again.")
        token = read_token(answer)
        if token is None and (tokens or whole or not items):
            break
        if not new or token in tokens:
            if whole:
                return
            raise LuccaInDoubtError(f"{what}: page {number} leads back to what came before, so the rest is not known.")
        page = {"page": token or str(number + 1)}
        tokens |= {token} if token else set()
    else:
        raise LuccaInDoubtError(f"{what}: no end after {MAX_PAGES} pages.")
    if count is not None and len(seen) < count:
        raise LuccaInDoubtError(f"{what}: Lucca gave {len(seen)} of {count}, so the list is not whole. Try again.")


def read_items(answer: object, what: str) -> Sequence[Any]:
    """
    Return the items of a page, whatever they are.

    :param answer: JSON of a list's answer
    :param what: the list, for messages
    :raises LuccaInDoubtError: if it has none
    """
    items = answer.get("items") if isinstance(answer, dict) else None
    if not isinstance(items, list):
        raise LuccaInDoubtError(f"{what}: Lucca's answer has no items.")
    return items


def has_id(item: object) -> bool:
    """
    Say whether an item of a list is an object with an id.

    :param item: any JSON
    """
    return isinstance(item, dict) and type(item.get("id")) is int  # a boolean is no id


def _with_ids(items: Sequence[Any], what: str) -> Sequence[Mapping[str, Any]]:
    if not all(map(has_id, items)):
        raise LuccaInDoubtError(f"{what}: Lucca's answer has an item without an id.")
    return items


def read_token(answer: Mapping[str, Any]) -> str | None:
    """
    Return the token of the next page, or ``None`` if the answer has none.

    :param answer: JSON of a list's answer
    """
    token = answer.get("next")
    return token if isinstance(token, str) and token else None


def _count(answer: Mapping[str, Any], before: int | None) -> int | None:
    count = answer.get("count")
    return count if type(count) is int and count >= 0 else before
