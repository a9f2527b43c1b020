"""The names of Lucca's states, as a check takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lucca_provider.inputs.containers import why_refused
from lucca_provider.inputs.errors import InvalidInputError, shown

__all__ = ["parse_states"]


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
    if isinstance(states, Mapping) or why_refused(states) or not isinstance(states, Iterable):
        raise InvalidInputError(f"{name}: {shown(value)} is not a list of names of Lucca's states.")
    names = frozenset(_parse_state(state, name) for state in states)
    if not names and not may_be_empty:
        raise InvalidInputError(f"{name} is empty; name at least one of Lucca's states.")
    return names


def _parse_state(value: object, name: str) -> str:
    if not isinstance(value, str) or not value.strip() or "," in value:
        raise InvalidInputError(f"{name}: {shown(value)} is not the name of a state; give one, or a list of them.")
    return value.strip()
