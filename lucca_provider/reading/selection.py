"""Choosing among listed purchases: by state, by fields, by a function; and what of them is returned."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lucca_provider.inputs import InvalidInputError, parse_states
from lucca_provider.reading.counts import say_count
from lucca_provider.reading.states import KNOWN_STATES

__all__ = ["Selection", "SelectionError", "read_selection", "select"]

log = logging.getLogger(__name__)

_NOTHING = object()
"""What a field is that a purchase does not have; ``None`` is a value."""


class SelectionError(ValueError):
    """The purchases that were read do not give what was asked for. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Selection:
    """
    Which purchases are wanted, and what of them.

    :param states: ``state`` of the wanted ones
    :param filters: field to value, all of which they have; a field within another is named with a dot
    :param predicate: true for them; it is given Lucca's JSON object
    :param fields: which fields are returned besides the ``id``; ``None`` for ids alone
    :param max_bytes: the most that the result may take as JSON
    """

    states: frozenset[str]
    filters: Mapping[str, Any]
    predicate: Callable[[Mapping[str, Any]], object] | None
    fields: Sequence[str] | None
    max_bytes: int


def read_selection(
    *, states: object, filters: object, predicate: object, fields: object, max_bytes: object
) -> Selection:
    """
    Read the arguments of a selection, strictly.

    :param states: one name or several
    :param filters: field to one value, or ``None``
    :param predicate: a function of a purchase, or ``None``
    :param fields: a list of names, or ``None`` for the ids alone
    :param max_bytes: a number above 0
    :raises InvalidInputError: naming the argument, the value and what to do
    """
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 1:
        raise InvalidInputError(f"max_bytes: {max_bytes!r} is not a number of bytes above 0.")
    if predicate is not None and (not callable(predicate) or inspect.iscoroutinefunction(predicate)):
        raise InvalidInputError(f"predicate: {predicate!r} is not a plain function; give one that takes a purchase.")
    if fields is not None and (not isinstance(fields, (list, tuple)) or not _are_names(fields)):
        raise InvalidInputError(f"fields: {fields!r} is not a list of field names, such as ['title'].")
    return Selection(parse_states(states, name="states"), _read_filters(filters), predicate, fields, max_bytes)


def _read_filters(filters: object) -> Mapping[str, Any]:
    if filters is None:
        return {}
    if not isinstance(filters, Mapping) or not _are_names(filters):
        raise InvalidInputError(f"filters: {filters!r} is not a mapping of field names to values.")
    for name, value in filters.items():
        if isinstance(value, (list, tuple, set, frozenset)):
            raise InvalidInputError(
                f"filters: {name!r} has several values, {value!r}. Give one; for one of several use predicate."
            )
    return filters


def _are_names(names: Iterable[object]) -> bool:
    return all(isinstance(name, str) for name in names)


def select(selection: Selection, purchases: Iterable[Mapping[str, Any]]) -> list[Any]:
    """
    Choose purchases.

    :param selection: which, and what of them
    :param purchases: Lucca's JSON objects, each with an integer ``id``
    :return: ids, or objects with the ``id`` and the fields asked for
    :raises SelectionError: for a state that Lucca does not document and no purchase is in; for a field that no purchase
        has; if no purchase has a state at all; for a result that is too large
    """
    chosen: dict[int, Any] = {}
    survey = _Survey(_names_of(selection))
    for purchase in purchases:
        survey.take(purchase)
        if _is_wanted(purchase, selection):
            chosen[purchase["id"]] = _returned(purchase, selection.fields)
        else:
            # A list that moves while it is read shows some purchases twice, and then the last time counts.
            chosen.pop(purchase["id"], None)
    survey.check(selection.states)
    result = list(chosen.values())
    size = len(json.dumps(result).encode())
    if size > selection.max_bytes:
        raise SelectionError(
            f"The result ({say_count(len(result))}) takes {size} bytes of JSON, more than "
            f"max_bytes={selection.max_bytes}. Choose fewer with filters or predicate, name fewer fields, or raise "
            "max_bytes if your XCom holds as much."
        )
    log.info("Returning %s of %s.", len(result), say_count(survey.read))
    return result


def _is_wanted(purchase: Mapping[str, Any], selection: Selection) -> bool:
    state = purchase.get("state")
    if not isinstance(state, str) or state not in selection.states:
        return False
    if not all(_equals(_value(purchase, name), wanted) for name, wanted in selection.filters.items()):
        return False
    try:
        return selection.predicate is None or bool(selection.predicate(purchase))
    except Exception:
        log.error("predicate: it failed for purchase %s.", purchase["id"])
        raise


def _equals(actual: object, wanted: object) -> bool:
    # What a template renders is text.
    return actual == wanted or (isinstance(wanted, str) and type(actual) is int and str(actual) == wanted)


def _returned(purchase: Mapping[str, Any], fields: Sequence[str] | None) -> Any:
    if fields is None:
        return purchase["id"]
    values = {name: _value(purchase, name) for name in fields}
    return {"id": purchase["id"]} | {name: None if value is _NOTHING else value for name, value in values.items()}


def _value(purchase: Mapping[str, Any], name: str) -> Any:
    """Return a field, within others if its name has dots; what is within nothing (``null``) is nothing too."""
    value: Any = purchase
    for part in name.split("."):
        if value is not None:
            value = value.get(part, _NOTHING) if isinstance(value, Mapping) else _NOTHING
    return value


def _names_of(selection: Selection) -> set[str]:
    """Return the fields that some purchase has, unless their names are misspelt."""
    # What is within a field may be another thing in another tenant: only a filter on it could not do without.
    return {*selection.filters, *(name.partition(".")[0] for name in selection.fields or ())}


@dataclass
class _Survey:
    """What all purchases of the list show, which tells a misspelt name from a month with nothing to do."""

    missing: set[str]
    """Fields asked for that no purchase has had so far."""
    read: int = 0
    states: set[str] = field(default_factory=set)
    stateless: list[int] = field(default_factory=list)
    """Purchases without a state, by id."""

    def take(self, purchase: Mapping[str, Any]) -> None:
        """Take one more purchase into account."""
        self.read += 1
        self.missing = {name for name in self.missing if _value(purchase, name) is _NOTHING}
        state = purchase.get("state")
        if isinstance(state, str):
            self.states.add(state)
        else:
            self.stateless.append(purchase["id"])

    def check(self, wanted: frozenset[str]) -> None:
        """
        Say what is wrong with the names, or with the list.

        :param wanted: the states asked for
        :raises SelectionError: saying what to do
        """
        unknown = sorted(wanted - self.states - KNOWN_STATES)
        if self.states and unknown:
            raise SelectionError(
                f"states: no purchase is {' or '.join(map(repr, unknown))}, and Lucca documents no such state. Correct "
                f"the name; Lucca has {', '.join(sorted(KNOWN_STATES))}."
            )
        if self.read and self.missing:
            raise SelectionError(
                f"filters and fields: no purchase has {', '.join(map(repr, sorted(self.missing)))}. "
                "Correct the name; a field within another is named with a dot, such as 'supplier.name'."
            )
        if self.stateless and not self.states:
            raise SelectionError(
                f"No purchase in Lucca's list has a state ({say_count(self.read)}), so none can be chosen by state. "
                "Take the ids from elsewhere; CheckPurchasesOperator and ClosePurchaseOperator read each purchase "
                "directly."
            )
        if self.stateless:
            how_many, shown = say_count(len(self.stateless)), ", ".join(map(str, self.stateless))
            log.warning("Leaving out %s without a state in Lucca's list: %s", how_many, shown)
