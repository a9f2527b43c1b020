"""The day of a closing."""

from __future__ import annotations

import datetime
import re

import pendulum

from lucca_provider.inputs.errors import InvalidInputError, shown

__all__ = ["parse_closing_date"]


def parse_closing_date(
    value: object,
    *,
    name: str = "closing_date",
    timezone: datetime.tzinfo | None = None,
    templated: bool = False,
) -> str | None:
    """
    Read the day of a closing.

    :param value: ``None``, a date, a datetime (its own calendar day counts), or text as ``YYYY-MM-DD``
    :param name: what the argument is called in the error
    :param timezone: the DAG's. A datetime with a time zone has to be on the same day there
    :param templated: whether the value comes from a template or another task, so that ``None`` was not meant
    :return: ``YYYY-MM-DD``, or ``None``
    :raises InvalidInputError: for anything else, for days that do not exist, and for a datetime that is on another day
        in the DAG's time zone
    """
    if value is None and templated:
        raise InvalidInputError(f"{name} is None: its template found nothing. For no date leave it out.")
    if value is None:
        return None
    if isinstance(value, datetime.datetime):
        return _day_of(value, name, timezone)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value.strip()):
        try:
            return pendulum.from_format(value.strip(), "YYYY-MM-DD").date().isoformat()
        except ValueError:
            raise InvalidInputError(f"{name}: {value!r} is not a day of the calendar.") from None
    raise InvalidInputError(
        f"{name}: {shown(value)} is not a date. Give a date, a datetime, or text as YYYY-MM-DD "
        "(in a template, pass a time on to the filter ds: '{{ … | ds }}')."
    )


def _day_of(moment: datetime.datetime, name: str, timezone: datetime.tzinfo | None) -> str:
    # pandas' NaT is a datetime, and the only one that is not equal to itself.
    if moment != moment:
        raise InvalidInputError(f"{name} is NaT: what it was taken from has no date.")
    day = moment.date().isoformat()
    if moment.utcoffset() is None or timezone is None:
        return day
    try:
        there = pendulum.instance(moment).astimezone(timezone).date().isoformat()
    except OverflowError:
        raise InvalidInputError(f"{name}: {moment.isoformat()} is no moment of the calendar in {timezone}.") from None
    if there != day:
        raise InvalidInputError(
            f"{name}: {moment.isoformat()} is on {day}, but in the DAG's time zone {timezone} it is {there}. Give the "
            "day that you mean as a date or as text, or the time in the DAG's time zone: .astimezone(dag.timezone)."
        )
    return day
