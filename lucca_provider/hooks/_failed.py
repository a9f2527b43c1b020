"""
Reads whether a success says that it failed after all.

Lucca does not document what it answers to a closing, so this knows the words that such answers commonly have. A word
too many costs a reading; one too few would report a purchase as closed that is open. What a reading returns is known:
there, a refusal may be a fact about a purchase, and only what no purchase has counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

__all__ = ["says_failed"]

_KINDS = {
    "status": ("status", "http status", "status code", "statuscode", "http status code"),
    "failure": ("error", "errors"),
    "success": ("success", "succeeded", "is success", "issuccess", "ok"),
}
"""What whole names, in words, tell of in any answer."""
_KIND_OF_NAME = {name: kind for kind, names in _KINDS.items() for name in names}
_SUCCESS = re.compile(r"success|succeed|successful|ok|closed|done|issuccess")
"""A word in the name of what a failed closing denies."""
_FAILURE = re.compile(r"error|fail|exception|fault|reject|refus|denied")
"""How a word begins in the name of what only a failed closing has."""
_NO = ("0", "0.0", "no", "n", "false")
_WORDS = ("title", "detail", "message")


def says_failed(value: object, *, reads: bool) -> bool:
    """
    Return whether JSON says that something failed: itself or in an item of a list; of a closing, in anything within it.

    :param value: of a success
    :param reads: whether it is the answer to a request that reads
    """
    # Whether a value stands alone, as an answer or in a list of answers: in an object it is one of many things.
    values = [(value, True)]
    while values:  # no recursion: JSON may be nested deeper than Python calls may be
        value, is_answer = values.pop()
        if _is_no(value, is_answer=is_answer, reads=reads):
            return True
        if isinstance(value, list):
            values += [(item, is_answer) for item in value]
        elif isinstance(value, dict) and not reads:
            values += [(said, False) for said in value.values() if isinstance(said, (dict, list))]
    return False


def _is_no(value: object, *, is_answer: bool, reads: bool) -> bool:
    if isinstance(value, dict):
        if is_answer and _is_problem(value):
            return True
        return any(_member_says_failed(name, said, reads=reads) for name, said in value.items())
    return is_answer and (value is False or (isinstance(value, str) and value != ""))


def _member_says_failed(name: str, said: object, *, reads: bool) -> bool:
    kind = _kind_of(name, reads)
    if kind == "status":
        return _is_error_status(said) or (not reads and isinstance(said, str) and bool(_FAILURE.match(_plain(said))))
    if kind == "failure":
        return bool(said) and _plain(said) not in ("0", "false")
    return kind == "success" and _plain(said) in _NO


def _plain(said: object) -> str:
    return str(said).strip().lower()


# Each answer has the same few names.
@lru_cache(maxsize=1000)
def _kind_of(name: str, reads: bool) -> str:
    """Return what a member of this name tells of: a status, a failure, a success, or nothing that counts here."""
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    kind = _KIND_OF_NAME.get(" ".join(words), "")
    if kind or reads:
        return kind
    # Of a closing's answer, a single word of a name is enough.
    if any(_FAILURE.match(word) for word in words):
        return "failure"
    return "success" if any(_SUCCESS.fullmatch(word) for word in words) else ""


def _is_error_status(said: object) -> bool:
    # A purchase itself may have a status that is another text.
    if isinstance(said, str) and (digits := re.match(r"\s*([0-9]+)(?![\w-])", said)):
        said = float(digits[1])
    return isinstance(said, (int, float)) and said >= 400  # True is 1


def _is_problem(value: Mapping[str, Any]) -> bool:
    """Return whether an object has the form of a problem (RFC 9457) or of a message, and not that of a purchase."""
    lower = {name.lower(): said for name, said in value.items()}
    words = {name for name in _WORDS if isinstance(lower.get(name), str) and lower[name]}
    if "id" not in lower and "state" not in lower:
        return bool(words)
    # It may be a purchase, which has a title too. The type of a purchase is a word.
    kind = lower.get("type")
    is_address = isinstance(kind, str) and re.match(r"\s*([a-z][a-z0-9+.-]*:|/)\S", kind, re.IGNORECASE)
    return "title" in words and ("detail" in words or bool(is_address))
