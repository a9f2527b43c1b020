"""Reads the headers by which a server says that a call will go away."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping

from lucca_provider.hooks._session import read_http_date
from lucca_provider.hooks._words import Show

__all__ = ["describe_deprecation"]

MAX_SHOWN = 60
"""Characters of a date that cannot be read."""


def describe_deprecation(headers: Mapping[str, str], show: Show) -> str | None:
    """
    Say since when a call is deprecated (RFC 9745) and when it goes away (RFC 8594).

    :param headers: of an answer
    :param show: makes them fit for a log
    :return: the end of a sentence; ``None`` if there are no such headers
    """
    since, until = headers.get("Deprecation"), headers.get("Sunset")
    # Drafts of RFC 9745 had a boolean, in two forms.
    if since is not None and since.strip().lower() in ("false", "?0"):
        since = None
    if since is None and until is None:
        return None
    words = "is deprecated"
    if since is not None and since.strip().lower() not in ("true", "?1", ""):
        words += f" since {_day(since, show)}"
    return words if until is None else f"{words} and goes away on {_day(until, show)}"


def _day(text: str, show: Show) -> str:
    """Return the day of a date in either form, or the start of what is none."""
    stamp = re.fullmatch(r"@([0-9]{1,11})", text.strip())
    moment = float(stamp[1]) if stamp else read_http_date(text)
    if moment is None:
        return show(text, most=MAX_SHOWN)
    try:
        return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return show(text, most=MAX_SHOWN)
