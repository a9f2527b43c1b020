"""Compares what a tenant answered with what the provider assumes, and says what a difference costs."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from lucca_provider.exceptions import (
    LuccaAccessError,
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotSentError,
    LuccaThrottledError,
)
from lucca_provider.reading.lists import DOCUMENTS, PAGE_SIZE, PURCHASES, ListReader
from lucca_provider.reading.states import CLOSED_STATE, KNOWN_STATES
from lucca_provider.trial.answers import Answer, Head, state_of
from lucca_provider.trial.trial import SETTLING, Trial

__all__ = ["Row", "list_rows"]

ABORTS_AFTER = 5.0
"""Seconds after which Lucca gives up on a request (developers.lucca.fr)."""


MAX_COUNT = 10**9
"""No tenant has as many purchases."""
MAX_CLAUSE = 120
"""Characters of what the reader of lists says; it may repeat a ``count``."""


@dataclass(frozen=True, slots=True)
class Row:
    """
    One thing that was asked. None of it holds a word of an answer.

    :param asked: what
    :param found: what this tenant does
    :param assumed: what the provider assumes
    :param differs: whether these two differ; ``None`` if that is not known
    :param costs: what a difference costs
    """

    asked: str
    found: str
    assumed: str
    differs: bool | None
    costs: str


def list_rows(trial: Trial) -> list[Row]:
    """
    Compare what was found with what is assumed.

    :param trial: what was asked and answered
    """
    return [
        *_rights(trial),
        *_list_of_purchases(trial),
        _one_purchase(trial),
        *_documents(trial),
        *_closings(trial),
        *_heads(trial.source.heads),
    ]


# -- rights -----------------------------------------------------------------------------------------------------------


def _rights(trial: Trial) -> Iterator[Row]:
    natures, purchases, one, documents = trial.natures, trial.purchases, trial.purchase, trial.documents
    yield Row(
        "Cheapest call (list of natures)",
        natures.words,
        "200 and JSON",
        _differs(natures),
        "the test of the connection fails, and a closing cannot tell a wrong host from an unknown purchase",
    )
    yield Row(
        "Right to view purchases",
        f"list: {purchases.right}; one purchase: {one.right}",
        "yes",
        _any_no(purchases, one),
        "nothing is closed: the state of each purchase is read before its closing",
    )
    yield Row(
        "Right to view documents",
        documents.right,
        "yes",
        _any_no(documents),
        "checks and sensors call every purchase unknown; closings do not need it",
    )
    yield Row("Right to close", trial.first.right, "yes", _any_no(trial.first), "closings are refused with 403")


def _differs(answer: Answer) -> bool | None:
    """Return whether an answer is anything but a clear yes."""
    return None if answer.not_asked is not None else not answer.is_yes


def _any_no(*answers: Answer) -> bool | None:
    """Return whether a right is missing."""
    if any(isinstance(answer.error, LuccaForbiddenError) for answer in answers):
        return True
    return False if all(answer.is_yes for answer in answers) else None


# -- lists ------------------------------------------------------------------------------------------------------------

ONE_BY_ONE = "each closing takes one more request, to read its purchase"


def _list_of_purchases(trial: Trial) -> Iterator[Row]:
    page = trial.purchases
    yield _size("List of purchases", PURCHASES, page, f"more requests for the list; without it {ONE_BY_ONE}")
    yield _shares(
        "… shows `state`", PURCHASES, page, _form_of_state, {"shown"}, "in each, one that is documented", ONE_BY_ONE
    )
    yield _shares(
        "… shows `billedAmount`",
        PURCHASES,
        page,
        _form_of_amount,
        {"shown"},
        "in each, as `counter.value`",
        "a check reads purchases without documents one by one, and may not notice documents that are hidden",
    )
    yield _count(page)
    yield _pages(trial)


def _documents(trial: Trial) -> Iterator[Row]:
    page = trial.documents
    yield _size("List of documents", DOCUMENTS, page, "more requests for each check")
    yield _shares(
        "… name their purchase",
        DOCUMENTS,
        page,
        _form_of_link,
        {"an object with its id", "its id", "its id as text", "null"},
        "in each: an object with its id, the id, or null for none",
        "checks call every purchase unknown",
    )
    yield _shares(
        "… show `conformityState` and `paymentState`",
        DOCUMENTS,
        page,
        _form_of_states,
        {"both shown"},
        "both in each",
        "checks call a purchase with such a document unknown",
    )


def _read(page: Answer, path: str) -> tuple[Sequence[Mapping[str, Any]], ListReader]:
    """Return the items of a first page that the provider can read, and what it makes of that page."""
    reader = ListReader(path)
    return reader.take(page.value), reader


def _size(asked: str, path: str, page: Answer, costs: str) -> Row:
    assumed = f"up to {PAGE_SIZE} for `limit={PAGE_SIZE}`"
    if not page.is_yes:
        return Row(asked, page.words, assumed, _differs(page), costs)
    _, reader = _read(page, path)
    listed = page.value.get("items")
    number = len(listed) if isinstance(listed, list) else 0
    if reader.problem:
        return Row(asked, f"{number} for `limit={PAGE_SIZE}`; {_clause(reader.problem)}", assumed, True, costs)
    more = bool(page.value.get("next")) or (reader.count or 0) > number
    words = f"{number} for `limit={PAGE_SIZE}`{', and there are more' if more else ''}"
    return Row(asked, words, assumed, number > PAGE_SIZE or (more and number < PAGE_SIZE), costs)


def _shares(
    asked: str,
    path: str,
    page: Answer,
    form_of: Callable[[Mapping[str, Any]], str],
    good: Set[str],
    assumed: str,
    costs: str,
) -> Row:
    """Say in how many items of a page something has which form."""
    if not page.is_yes:
        return Row(asked, page.words, assumed, None, costs)
    items, _ = _read(page, path)
    if not items:
        return Row(asked, "nothing to see it in", assumed, None, costs)
    forms = Counter(map(form_of, items))
    words = "; ".join(f"{form}: {number} of {len(items)}" for form, number in sorted(forms.items()))
    return Row(asked, words, assumed, not set(forms) <= good, costs)


def _form_of_state(purchase: Mapping[str, Any]) -> str:
    state = purchase.get("state")
    if not isinstance(state, str) or not state:
        return "missing"
    return "shown" if state in KNOWN_STATES else "unknown to this version"


def _form_of_amount(purchase: Mapping[str, Any]) -> str:
    value = purchase.get("billedAmount")
    if value is None:
        return "missing"
    for key in ("counter", "value"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return "shown" if type(value) in (int, float) else "in another form"


def _form_of_link(document: Mapping[str, Any]) -> str:
    if "purchase" not in document:
        return "missing"
    link = document["purchase"]
    if link is None:
        return "null"
    number = link.get("id") if isinstance(link, Mapping) else link
    if isinstance(number, str) and re.fullmatch(r"[0-9]{1,30}", number):
        return "an object with its id" if isinstance(link, Mapping) else "its id as text"
    if type(number) is not int:
        return "in another form"
    return "an object with its id" if isinstance(link, Mapping) else "its id"


def _form_of_states(document: Mapping[str, Any]) -> str:
    states = [document.get(name) for name in ("conformityState", "paymentState")]
    return "both shown" if all(isinstance(state, str) and state for state in states) else "not both shown"


def _count(page: Answer) -> Row:
    asked, assumed = "… counts", "a whole number, as `count`"
    costs = "the list may be read on where single readings would be fewer requests"
    if not page.is_yes:
        return Row(asked, page.words, assumed, None, costs)
    count = page.value.get("count")
    if count is None:
        return Row(asked, "no", assumed, True, costs)
    if type(count) is not int or not 0 <= count < MAX_COUNT:
        return Row(asked, "in another form", assumed, True, costs)
    return Row(asked, f"yes, {count}", assumed, False, costs)


def _pages(trial: Trial) -> Row:
    small, second, reader = trial.small, trial.second, trial.reader
    asked, assumed = "… pages, with `limit=1`", "one on a page; the next page by the token in `next`, or by its number"
    costs = f"more requests for the list, or only its first page is used; for what is not on it, {ONE_BY_ONE}"
    if not small.is_yes:
        return Row(asked, small.words, assumed, _differs(small), costs)
    listed = small.value.get("items")
    number = len(listed) if isinstance(listed, list) else 0
    first = f"{number} on the first"
    if not second.is_yes and not reader.ended:
        return Row(asked, f"{first}; the second: {second.words}", assumed, _differs(second), costs)
    if reader.problem:
        return Row(asked, f"{first}; {_clause(reader.problem)}", assumed, True, costs)
    if not second.is_yes or not second.value["items"]:
        return Row(asked, f"{first}, and no more", assumed, number > 1 or None, costs)
    by = "the token in `next`" if small.value.get("next") else "its number"
    return Row(asked, f"{first}; the second by {by}", assumed, number > 1, costs)


def _clause(sentence: str) -> str:
    return sentence.rstrip(".")[:MAX_CLAUSE]


# -- one purchase -----------------------------------------------------------------------------------------------------


def _one_purchase(trial: Trial) -> Row:
    asked, assumed = "One purchase", "its state, the same as in the list"
    costs = "without a state nothing is closed; what the list shows as closed by mistake is not closed"
    answer = trial.purchase
    if not answer.is_yes:
        return Row(asked, answer.words, assumed, _differs(answer), costs)
    state = answer.value.get("state")
    if _form_of_state(answer.value) != "shown":
        return Row(asked, f"{answer.words}; {state_of(answer)}", assumed, True, costs)
    listed = {item["id"]: item for item in _read(trial.purchases, PURCHASES)[0]}.get(answer.value.get("id"), {})
    if "state" not in listed:
        return Row(asked, f"{answer.words}; a state that is documented", assumed, None, costs)
    same = listed["state"] == state
    return Row(asked, f"{answer.words}; {'the same' if same else 'another'} state", assumed, not same, costs)


# -- closings ---------------------------------------------------------------------------------------------------------


def _closings(trial: Trial) -> Iterator[Row]:
    first, again = trial.first, trial.again
    closed_before = "; it was closed before" if state_of(trial.purchase) == CLOSED_STATE else ""
    yield Row(
        "A closing",
        first.words + ("" if first.not_asked is not None else closed_before),
        "200, 201 or 204 with nothing or JSON for a yes, 4xx for a no",
        _is_odd(first),
        "each closing takes one more request, to read whether it happened; 401 or a redirect ends the task",
    )
    yield _state_after(trial)
    yield Row(
        "A second closing of the same purchase",
        again.words,
        "nothing: none is sent for what Lucca shows as closed",
        None,
        "nothing",
    )


def _is_odd(closing: Answer) -> bool | None:
    if closing.not_asked is not None or isinstance(closing.error, (LuccaThrottledError, LuccaNotSentError)):
        return None
    return isinstance(closing.error, (LuccaInDoubtError, LuccaAccessError))


def _state_after(trial: Trial) -> Row:
    asked, assumed = "State after the closing", f"{CLOSED_STATE}, {SETTLING:.0f} seconds later at the latest"
    costs = "a closing whose answer is lost is sent again, at most twice"
    first, soon, late = trial.first, state_of(trial.after), state_of(trial.settled)
    if first.not_asked is not None:
        return Row(asked, first.words, assumed, None, costs)
    if CLOSED_STATE in (soon, late):
        when = "at once" if soon == CLOSED_STATE else f"not at once, but {SETTLING:.0f} seconds later"
        return Row(asked, f"{CLOSED_STATE} {when}", assumed, False, costs)
    # After a no it should be what it was.
    return Row(asked, late or trial.settled.words, assumed, True if first.is_yes and late else None, costs)


# -- what answers say beside their body -------------------------------------------------------------------------------


def _heads(heads: Sequence[Head]) -> Iterator[Row]:
    yield _retry_after(heads)
    yield _ids(heads)
    ends = Counter(f"{head.call} {head.deprecation}" for head in heads if head.deprecation)
    yield Row(
        "Deprecation",
        _said(ends) or "none announced",
        "none",
        bool(ends) if heads else None,
        "the call stops working then; a newer version of this provider is needed",
    )
    yield _latency([head.seconds for head in heads])


def _retry_after(heads: Sequence[Head]) -> Row:
    forms = Counter(head.retry_after for head in heads if head.retry_after)
    differs = "in another form" in forms if forms else None
    found = _said(forms) or "none seen"
    return Row("`Retry-After`", found, "seconds or a date", differs, "10 seconds are waited where it cannot be read")


def _ids(heads: Sequence[Head]) -> Row:
    ids = Counter(f"`X-Correlation-ID` {head.correlation_id}" for head in heads if head.correlation_id)
    ids.update("`CF-RAY`" for head in heads if head.has_cf_ray)
    return Row("Ids for support", _said(ids) or "none", "nothing", None, "a support ticket can name fewer ids")


def _latency(seconds: Sequence[float]) -> Row:
    return Row(
        "Latency until an answer begins",
        f"{statistics.median(seconds):.2f} s, at most {max(seconds):.2f} s" if seconds else "no answer",
        f"less than the {ABORTS_AFTER:.0f} s after which Lucca gives up",
        max(seconds) >= ABORTS_AFTER if seconds else None,
        "each closing that is given up takes one more request, and 5 seconds",
    )


def _said(counted: Counter[str]) -> str:
    return "; ".join(f"{words}: {_times(number)}" for words, number in sorted(counted.items()))


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
