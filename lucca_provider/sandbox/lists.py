"""Lists as Lucca answers them: pages by token or number, filters, and the members that have to be asked for."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from .dataset import CONFORMITY_STATES, Json, timestamp
from .messages import Problem
from .settings import Behaviour

__all__ = ["DEFAULT_LIMIT", "MAX_LIMIT", "NUMBERED", "filter_documents", "filter_suppliers", "page"]

Query = Mapping[str, Sequence[str]]

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
NUMBERED = "booked-documents"
"""The one list whose pages have numbers as well as tokens."""


def page(name: str, items: Sequence[Json], query: Query, behaviour: Behaviour) -> Json:
    """
    Return the page of a list that a query asks for.

    :param name: the last part of the list's path
    :param items: all that the list holds
    :param query: values by name
    :param behaviour: what may be odd about lists
    :raises Problem: 400 if ``limit``, ``page`` or ``fields.root`` is not understood
    """
    size = _limit(query)
    if behaviour.list_ignores_limit:
        size = DEFAULT_LIMIT
    by_number = name == NUMBERED or not behaviour.list_tokens
    offset = _offset(name, _last(query, "page"), size, by_number=by_number)
    following: int | None = offset + size
    if behaviour.list_repeats_token:
        offset, following = min(offset, size), size
    elif not size or offset + size >= len(items):
        following = None
    about = {
        "prev": _token(name, max(0, offset - size)) if offset else None,
        "next": None if following is None else _token(name, following),
        "count": len(items),
    }
    if not behaviour.list_tokens:
        about.update(prev=None, next=None)
    asked = _names(query, "fields.root", tuple(about))
    return {"items": list(items[offset : offset + size]), **{member: about[member] for member in asked}}


def filter_documents(documents: Sequence[Json], query: Query) -> list[Json]:
    """
    Return the booked documents that a query asks for; each filter touches documents of its type only.

    :param documents: all of them
    :param query: values by name
    :raises Problem: 400 if a filter is not understood
    """
    wanted = {
        "Invoice": _names(query, "invoice.conformityStates", CONFORMITY_STATES),
        "CreditNote": _names(query, "creditNote.conformityStates", CONFORMITY_STATES),
    }
    since = _since(_last(query, "createdAt.from"))
    return [
        document
        for document in documents
        if document["createdAt"] >= since and _is_wanted(document, wanted.get(document["type"], []))
    ]


def filter_suppliers(suppliers: Sequence[Json], query: Query) -> list[Json]:
    """
    Return the suppliers that a query asks for by ``state`` and ``search.terms``.

    :param suppliers: all of them
    :param query: values by name
    :raises Problem: 400 if the state is not one of Lucca's
    """
    states = _names(query, "state", ("Active", "Archived"))
    terms = _last(query, "search.terms").casefold().split()
    return [
        supplier
        for supplier in suppliers
        if (not states or supplier["state"] in states) and all(term in supplier["name"].casefold() for term in terms)
    ]


def _is_wanted(document: Json, states: list[str]) -> bool:
    return not states or document["conformityState"] in states


def _last(query: Query, name: str, default: str = "") -> str:
    return query[name][-1] if name in query else default


def _limit(query: Query) -> int:
    text = _last(query, "limit", str(DEFAULT_LIMIT))
    if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) > MAX_LIMIT:
        raise _bad("limit", f"{text!r} is not a number from 0 to {MAX_LIMIT}.")
    return int(text)


def _offset(name: str, text: str, size: int, *, by_number: bool) -> int:
    if not text:
        return 0
    if by_number and re.fullmatch(r"[1-9][0-9]{0,8}", text):
        return (int(text) - 1) * size
    try:
        owner, _, offset = base64.urlsafe_b64decode(text.encode()).decode().partition(":")
        if owner == name:
            return int(offset)
    except (binascii.Error, ValueError):
        pass
    raise _bad("page", f"{text!r} is not a page of this list.")


def _token(name: str, offset: int) -> str:
    return base64.urlsafe_b64encode(f"{name}:{offset}".encode()).decode()


def _names(query: Query, parameter: str, allowed: Sequence[str]) -> list[str]:
    """Return the names that a parameter lists, repeated or separated by commas."""
    names = [name for value in query.get(parameter, ()) for name in value.split(",") if name]
    for name in names:
        if name not in allowed:
            raise _bad(parameter, f"{name!r} is not one of {', '.join(allowed)}.")
    return names


def _since(text: str) -> str:
    """Return the moment that ``createdAt.from`` names, in the form that ``createdAt`` has."""
    if not text:
        return ""
    # Python 3.10 reads neither a final Z nor more than six decimals.
    readable = re.sub(r"(\.\d{6})\d+", r"\1", re.sub(r"Z$", "+00:00", text))
    try:
        moment = datetime.fromisoformat(readable)
        return timestamp(moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc))
    except (ValueError, OverflowError):
        raise _bad("createdAt.from", f"{text!r} is not a date or a moment.") from None


def _bad(parameter: str, message: str) -> Problem:
    return Problem(400, "Bad request", "The query has errors.", {parameter: [message]})
