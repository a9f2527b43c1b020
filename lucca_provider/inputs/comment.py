"""The comment of a closing."""

from __future__ import annotations

import datetime
from decimal import Decimal

from lucca_provider.inputs.errors import InvalidInputError, shown

__all__ = ["parse_comment"]

_SCALARS = (bool, int, float, Decimal, datetime.date, datetime.time)


def parse_comment(value: object, *, name: str = "comment", templated: bool = False) -> str | None:
    """
    Read a comment.

    :param value: text; or ``None``; or a number, a truth value, a date or a time, of which the text is taken, as Jinja
        does: rendering to native objects makes them of text
    :param name: what the argument is called in the error
    :param templated: whether the value comes from a template or another task, so that an empty one was not meant
    :return: the text, or ``None``
    :raises InvalidInputError: for anything else, for a template that found nothing, for one that was not rendered, and
        for text that is not valid Unicode
    """
    text = str(value) if isinstance(value, _SCALARS) and not _is_nothing(value) else value
    if text is not None and not isinstance(text, str):
        raise InvalidInputError(f"{name}: {shown(value)} is not text. Give a string, or None for no comment.")
    found = None if text is None else text.strip()
    if found == "None" or (templated and not found):
        raise InvalidInputError(
            f"{name} is {'the text ' * (text is not None)}{shown(text)}: its template found nothing. "
            "For no comment leave it out."
        )
    if text is not None:
        _refuse_unsendable(text, name)
    return text


def _is_nothing(value: object) -> bool:
    """Return whether a number or a date stands for none: NaN and NaT are not equal to themselves."""
    try:
        return bool(value != value)
    except ArithmeticError:
        # A signalling NaN of Decimal.
        return True


def _refuse_unsendable(text: str, name: str) -> None:
    if "{{" in text or "{%" in text:
        raise InvalidInputError(
            f"{name}: {shown(text)} still contains a template. Airflow does not render templates in what another task "
            "returned; render it there."
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(f"{name}: {shown(text)} has a character that is not valid Unicode.") from None
