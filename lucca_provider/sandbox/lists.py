"""Lists as Lucca answers them: pages by token or number, filters, and the members that have to be asked for."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Protocol

from starlette.datastructures import QueryParams

from .dataset import CONFORMITY_STATES, Json, timestamp
from .tenant import Problem

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
NUMBERED = "booked-documents"
"""The one list whose pages have numbers as well as tokens."""


class Quirks(Protocol):
    """What may be odd about a list; :class:`.api.Behaviour` says what each means."""

    list_tokens: bool
    list_ignores_limit: bool
    list_repeats_token: bool


def page(name: str, items: Sequence[Json], query: QueryParams, quirks: Quirks) -> Json:
    """Return the page of a list that a query asks for.

    :raises Problem: 400 if ``limit``, ``page`` or ``fields.root`` is not understood.
    """
    size = _limit(query)
    if quirks.list_ignores_limit:
        size = DEFAULT_LIMIT
    by_number = name == NUMBERED or not quirks.list_tokens
    offset = _offset(name, query.get("page", ""), size, by_number=by_number)
    if quirks.list_repeats_token:
        offset = min(offset, size)
    answer: Json = {"items": list(items[offset : offset + size])}
    asked = _names(query, "fields.root", ("prev", "next", "count"))
    following = size if quirks.list_repeats_token else offset + size
    has_next = quirks.list_repeats_token or (size > 0 and following < len(items))
    if "prev" in asked:
        has_prev = quirks.list_tokens and offset > 0
        answer["prev"] = _token(name, max(0, offset - size)) if has_prev else None
    if "next" in asked:
        answer["next"] = _token(name, following) if has_next and quirks.list_tokens else None
    if "count" in asked:
        answer["count"] = len(items)
    return answer


def filter_documents(documents: Sequence[Json], query: QueryParams) -> list[Json]:
    """Return the booked documents that a query asks for; each filter touches documents of its type only.

    :raises Problem: 400 if a filter is not understood.
    """
    wanted = {
        "Invoice": _names(query, "invoice.conformityStates", CONFORMITY_STATES),
        "CreditNote": _names(query, "creditNote.conformityStates", CONFORMITY_STATES),
    }
    since = _since(query.get("createdAt.from", ""))
    return [
        document
        for document in documents
        if document["createdAt"] >= since and _is_wanted(document, wanted.get(document["type"], []))
    ]


def filter_suppliers(suppliers: Sequence[Json], query: QueryParams) -> list[Json]:
    """Return the suppliers that a query asks for by ``state`` and ``search.terms``.

    :raises Problem: 400 if the state is not one of Lucca's.
    """
    states = _names(query, "state", ("Active", "Archived"))
    terms = query.get("search.terms", "").casefold().split()
    return [
        supplier
        for supplier in suppliers
        if (not states or supplier["state"] in states) and all(term in supplier["name"].casefold() for term in terms)
    ]


def _is_wanted(document: Json, states: list[str]) -> bool:
    return not states or document["conformityState"] in states


def _limit(query: QueryParams) -> int:
    text = query.get("limit", str(DEFAULT_LIMIT))
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


def _names(query: QueryParams, parameter: str, allowed: Sequence[str]) -> list[str]:
    """Return the names that a parameter lists, repeated or separated by commas."""
    names = [name for value in query.getlist(parameter) for name in value.split(",") if name]
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
