"""The members of a JSON object, each of which is there once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["RepeatedNameError", "unique_members"]


class RepeatedNameError(ValueError):
    """A name is there twice, and nobody knows which value counts (RFC 8259, 4)."""


def unique_members(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """
    Make an object of its members, as ``object_pairs_hook`` of :mod:`json` wants it.

    :param pairs: name and value of each
    :raises RepeatedNameError: if a name is there twice
    """
    listed = list(pairs)
    members = dict(listed)
    if len(members) < len(listed):
        raise RepeatedNameError("has an object that names a key twice")
    return members
