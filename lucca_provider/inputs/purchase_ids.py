"""Purchase ids, in the shapes that XCom has."""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import SupportsIndex, TypeGuard

from lucca_provider.inputs.containers import is_record, refuse_container, why_refused
from lucca_provider.inputs.errors import InvalidInputError, shown
from lucca_provider.inputs.text import read_list

__all__ = ["MAX_PURCHASE_ID", "parse_purchase_ids"]

MAX_PURCHASE_ID = 2**31 - 1
"""Lucca's ids are ``int32`` (OpenAPI of "Close a purchase")."""

_LISTED_OFFENDERS = 10
_BINARY = (bytes, bytearray, memoryview)


def parse_purchase_ids(value: object, *, name: str = "purchase_ids") -> list[int]:
    """
    Read purchase ids: one id, an iterable of them, or text that a template rendered.

    An id is an integer from 1 to 2,147,483,647, also as numeric text, as an integral ``Decimal`` or as any type with
    ``__index__`` such as numpy's integers; or a row with that as its only column. Text is a JSON (or Python) list,
    comma-separated ids, or one id. Duplicates are dropped, the order is kept.

    What has labels or keys beside its values is refused, since its iteration may give those: mappings, tables and
    columns of pandas, polars and pyarrow, named tuples, numpy arrays with fields, a mask or no dimensions.

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
            f"{name}: {'; '.join(offenders)}{more}. Give integers from 1 to {MAX_PURCHASE_ID}. Nothing was sent."
        )
    return list(ids)


def _items(value: object, name: str) -> Iterable[object]:
    if value is None:
        raise InvalidInputError(
            f"{name} is None: the upstream task returned nothing. Make it return the ids, or [] for none."
        )
    if isinstance(value, str):
        value = read_list(value, name)
    refuse_container(value, name)
    if isinstance(value, _BINARY):
        raise InvalidInputError(f"{name}: {shown(value)} is binary. Pass a list of ids or text.")
    if is_record(value):
        raise InvalidInputError(f"{name} is one row with named fields, {shown(value)}. Pass the ids alone, as a list.")
    if isinstance(value, Iterable) and not _is_integer(value):
        return value
    return [value]


def _purchase_id(item: object) -> int:
    if why := why_refused(item):
        raise InvalidInputError(why)
    if isinstance(item, Mapping):
        item = _only_column(list(item.values()), list(item), item)
    elif isinstance(item, Collection) and not isinstance(item, (str, *_BINARY)) and not _is_integer(item):
        item = _only_column(list(item), _column_names(item), item)
    number = _integer(item)
    if not 1 <= number <= MAX_PURCHASE_ID:
        raise InvalidInputError(f"{shown(item)} is out of range")
    return number


def _only_column(values: list[object], names: list[object] | None, row: object) -> object:
    if len(values) != 1:
        raise InvalidInputError(
            f"a row of {len(values)} columns; select only the id or, if these are lists of ids, "
            "join them in a task first"
        )
    if isinstance(row, Counter) or (names is not None and not _is_column_name(names[0])):
        raise InvalidInputError(
            f"{shown(row)} maps one value to another; give the column a name without digits, such as id"
        )
    return values[0]


def _column_names(row: object) -> list[object] | None:
    """Return the names that a row has for its columns, if it has any: a named tuple, rows of databases."""
    if fields := getattr(row, "_fields", None):
        return list(fields)
    if described := getattr(row, "cursor_description", None):
        return [column[0] for column in described]
    keys = getattr(row, "keys", None)
    return list(keys()) if callable(keys) else None


def _is_column_name(name: object) -> bool:
    """Return whether a key names a column. With a digit in it, it may be a value: ``2026``, ``Q1 2026``, ``_0``."""
    if not isinstance(name, str) or any(character.isnumeric() for character in name):
        return False
    try:
        float(name)  # nan
    except ValueError:
        return any(character.isalpha() for character in name)
    return False


def _integer(item: object) -> int:
    if item is None:
        raise InvalidInputError("None (the upstream task returned nothing)")
    if isinstance(item, bool) or "bool" in str(getattr(item, "dtype", "")):
        # Python's is an int, and numpy's was one before 2.0.
        raise InvalidInputError(f"{shown(item)} is a boolean")
    if isinstance(item, str):
        return _integer_of_text(item)
    if isinstance(item, Decimal):
        return _integer_of_decimal(item)
    if _is_integer(item):
        return operator.index(item)
    raise InvalidInputError(f"{shown(item)} is of type {type(item).__name__}")


def _integer_of_text(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,30}", text.strip()):
        raise InvalidInputError(f"{shown(text)} is not a purchase id")
    return int(text)


def _integer_of_decimal(number: Decimal) -> int:
    if not number.is_finite() or number.adjusted() >= 30 or number != number.to_integral_value():
        raise InvalidInputError(f"{shown(number)} is not a whole number")
    return int(number)


def _is_integer(item: object) -> TypeGuard[SupportsIndex]:
    try:
        operator.index(item)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - whatever a foreign __index__ raises, it is no integer
        return False
    return True
