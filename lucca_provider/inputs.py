"""What users hand over, read strictly: purchase ids in the shapes XCom has, a closing date, a comment."""

from __future__ import annotations

import ast
import datetime
import json
import operator
import re
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import SupportsIndex, TypeGuard

__all__ = [
    "MAX_PURCHASE_ID",
    "InvalidInputError",
    "parse_closing_date",
    "parse_comment",
    "parse_purchase_ids",
    "parse_states",
]

MAX_PURCHASE_ID = 2**31 - 1
"""Lucca's ids are ``int32`` (OpenAPI of "Close a purchase")."""

_LISTED_OFFENDERS = 10
_SHOWN_LENGTH = 60


class InvalidInputError(ValueError):
    """An argument cannot be used. The message names the argument, the value and what to do."""


def parse_purchase_ids(value: object, *, name: str = "purchase_ids") -> list[int]:
    """
    Read purchase ids: one id, an iterable of them, or text that a template rendered.

    An id is an integer from 1 to 2,147,483,647, also as numeric text, as an integral ``Decimal`` or as any type with
    ``__index__`` such as numpy's integers; or a row with that as its only column. Text is a JSON (or Python) list,
    comma-separated ids, or one id. Duplicates are dropped, the order is kept.

    :param value: what the user or XCom handed over
    :param name: what the argument is called in the error
    :return: the ids; empty for an empty iterable
    :raises InvalidInputError: naming the first ten offenders with their positions (from 1)
    """
    ids: dict[int, None] = {}
    offenders: list[str] = []
    refused = 0
    for position, item in enumerate(_items(value, name), 1):
        try:
            ids[_purchase_id(item)] = None
        except InvalidInputError as error:
            refused += 1
            if refused <= _LISTED_OFFENDERS:
                offenders.append(f"item {position}: {error}")
    if refused:
        more = f"; and {refused - _LISTED_OFFENDERS} more" if refused > _LISTED_OFFENDERS else ""
        raise InvalidInputError(
            f"{name}: {refused} value(s) are not purchase ids (an integer from 1 to {MAX_PURCHASE_ID}). "
            f"{'; '.join(offenders)}{more}. Nothing was sent; correct what the upstream task returns."
        )
    return list(ids)


def parse_closing_date(value: object, *, name: str = "closing_date") -> str | None:
    """
    Read the day of a closing.

    :param value: ``None``, a date, a datetime (its own calendar day counts), or text as ``YYYY-MM-DD``
    :param name: what the argument is called in the error
    :return: ``YYYY-MM-DD``, or ``None``
    :raises InvalidInputError: for anything else, and for days that do not exist
    """
    if value is None:
        return None
    if isinstance(value, datetime.datetime):
        return value.date().isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value.strip()):
        try:
            return datetime.date.fromisoformat(value.strip()).isoformat()
        except ValueError:
            raise InvalidInputError(f"{name}: {value!r} is not a day of the calendar.") from None
    raise InvalidInputError(
        f"{name}: {_shown(value)} is not a date. Give a date, a datetime, or text as YYYY-MM-DD "
        "(in a template: '{{ ds }}', or '{{ data_interval_end | ds }}')."
    )


def parse_comment(value: object, *, name: str = "comment") -> str | None:
    """
    Read a comment.

    :param value: text, or ``None``
    :param name: what the argument is called in the error
    :return: the same
    :raises InvalidInputError: for anything else, and for text that is not valid Unicode
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidInputError(f"{name}: {_shown(value)} is not text. Give a string, or None for no comment.")
    if value.strip() == "None":
        raise InvalidInputError(f"{name} is the text 'None': its template found nothing. For no comment leave it out.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(f"{name}: {_shown(value)} has a character that is not valid Unicode.") from None
    return value


def parse_states(value: object, *, name: str, may_be_empty: bool = False) -> frozenset[str]:
    """
    Read names of states. Which ones Lucca has may grow, so any name is taken.

    :param value: one name, or an iterable of names
    :param name: what the argument is called in the error
    :param may_be_empty: whether no name at all makes sense
    :return: the names
    :raises InvalidInputError: for anything else
    """
    states = [value] if isinstance(value, str) else value
    if isinstance(states, Mapping) or not isinstance(states, Iterable):
        raise InvalidInputError(f"{name}: {_shown(value)} is not a list of names of Lucca's states.")
    names = set()
    for state in states:
        if not isinstance(state, str) or not state.strip() or "," in state:
            raise InvalidInputError(f"{name}: {_shown(state)} is not the name of a state; give one, or a list of them.")
        names.add(state.strip())
    if not names and not may_be_empty:
        raise InvalidInputError(f"{name} is empty; name at least one of Lucca's states.")
    return frozenset(names)


def _items(value: object, name: str) -> Iterable[object]:
    if value is None:
        raise InvalidInputError(
            f"{name} is None: the upstream task returned nothing. Make it return the ids, or [] for none."
        )
    if isinstance(value, str):
        return _items_of_text(value, name)
    if isinstance(value, Mapping):
        if len(value) == 1:
            return [value]
        raise InvalidInputError(
            f"{name} is a mapping with the keys {_shown(list(value))}. Pass the ids alone, such as one of its values."
        )
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise InvalidInputError(f"{name}: {_shown(value)} is binary. Pass a list of ids or text.")
    if isinstance(value, Iterable) and not _is_integer(value):
        return value
    return [value]


def _items_of_text(text: str, name: str) -> Iterable[object]:
    stripped = text.strip()
    if stripped in ("None", "null"):
        raise InvalidInputError(
            f"{name} is the text {stripped!r}: the upstream task returned nothing. Let it return ids, or [] for none."
        )
    if not stripped:
        raise InvalidInputError(
            f"{name} is empty text: the template rendered to nothing. For no purchases render an empty list, []."
        )
    if stripped[0] not in "[({":
        return [part.strip() for part in stripped.split(",")]
    for read in (json.loads, ast.literal_eval):
        try:
            items = read(stripped)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        return _items(items, name)
    raise InvalidInputError(
        f"{name}: the text {_shown(text)} is neither a JSON list, nor comma-separated ids, nor one id. "
        "With Airflow's XCom, '{{ ti.xcom_pull(task_ids=...) | tojson }}' renders a JSON list."
    )


def _purchase_id(item: object) -> int:
    if isinstance(item, Mapping):
        item = _only_column(list(item.values()))
    elif isinstance(item, Collection) and not isinstance(item, (str, bytes, bytearray)) and not _is_integer(item):
        item = _only_column(list(item))
    number = _integer(item)
    if not 1 <= number <= MAX_PURCHASE_ID:
        raise InvalidInputError(f"{_shown(item)} is out of range")
    return number


def _only_column(columns: list[object]) -> object:
    if len(columns) != 1:
        raise InvalidInputError(f"a row of {len(columns)} columns; select the id alone")
    return columns[0]


def _integer(item: object) -> int:
    if item is None:
        raise InvalidInputError("None (the upstream task returned nothing)")
    if type(item).__name__ in ("bool", "bool_"):
        # Python's is an int, and numpy's was one before 2.0.
        raise InvalidInputError(f"{_shown(item)} is a boolean")
    if isinstance(item, str):
        if re.fullmatch(r"[0-9]{1,30}", item.strip()):
            return int(item)
        raise InvalidInputError(f"{_shown(item)} is not a number")
    if isinstance(item, Decimal):
        if item.is_finite() and item.adjusted() < 30 and item == item.to_integral_value():
            return int(item)
        raise InvalidInputError(f"{_shown(item)} is not a whole number")
    if _is_integer(item):
        return operator.index(item)
    raise InvalidInputError(f"{_shown(item)} is of type {type(item).__name__}")


def _is_integer(item: object) -> TypeGuard[SupportsIndex]:
    try:
        operator.index(item)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - whatever a foreign __repr__ raises, the user gets our error
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN_LENGTH else text[:_SHOWN_LENGTH] + "…"
