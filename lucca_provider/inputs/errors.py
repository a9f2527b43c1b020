"""The error of every argument, and how it shows a value."""

from __future__ import annotations

__all__ = ["InvalidInputError", "shown"]

_SHOWN_LENGTH = 60


class InvalidInputError(ValueError):
    """An argument cannot be used. The message names the argument, the value and what to do."""


def shown(value: object) -> str:
    """
    Return the start of a value's ``repr``.

    :param value: any object, also one whose ``repr`` fails
    """
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - whatever a foreign __repr__ raises, the user gets our error
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN_LENGTH else text[:_SHOWN_LENGTH] + "…"
