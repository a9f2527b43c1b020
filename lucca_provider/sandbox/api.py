"""Lucca's endpoints.

Choices where Lucca publishes nothing, or where a stand-in has to decide:

* A bad body is answered 400, a key without the right to close 403; for the rest see :mod:`.tenant`.
* Paths that do not exist get 404, known paths with another method 405.
* Unknown query parameters are ignored. A list has 100 items to a page unless ``limit`` says otherwise, and ``next``
  and ``prev``, when asked for, are ``null`` at the ends.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from datetime import date

from . import lists
from .dataset import Json
from .messages import Answer, Incoming, Problem, json_answer, readable
from .settings import Behaviour
from .tenant import INT32_MAX, Tenant, unknown

__all__ = ["LOGIN", "ROOT", "Api", "is_closing", "purchase_in"]

ROOT = "/cleemy-procurement/api"
LOGIN = f"/identity/login?returnUrl={ROOT}"
"""Where Lucca sends a browser that has no session."""

_CLOSING = re.compile(rf"{ROOT}/purchases/([^/]+)/closing")
_PURCHASE = re.compile(rf"{ROOT}/purchases/([0-9]{{1,10}})(?:/closing)?")


class Api:
    """
    Answers requests that were let through.

    :param tenant: whom they are about
    :param behaviour: how the server behaves; read anew for each request
    """

    def __init__(self, tenant: Tenant, behaviour: Behaviour) -> None:
        self._tenant = tenant
        self._behaviour = behaviour
        self._routes: list[tuple[re.Pattern[str], str, Callable[..., Answer]]] = [
            (_CLOSING, "POST", self._close),
            (re.compile(f"{ROOT}/purchases/([^/]+)"), "GET", self._purchase),
            (re.compile(f"{ROOT}/purchases"), "GET", self._purchases),
            (re.compile(f"{ROOT}/booked-documents"), "GET", self._documents),
            (re.compile(f"{ROOT}/invoices/([^/]+)"), "GET", self._invoice),
            (re.compile(f"{ROOT}/(natures|costcenters|suppliers)"), "GET", self._reference_list),
        ]

    def __call__(self, incoming: Incoming) -> Answer:
        """
        Answer a request.

        :param incoming: the request
        :raises Problem: if it is refused
        """
        for pattern, method, answer in self._routes:
            if match := pattern.fullmatch(incoming.path):
                if incoming.method != method:
                    raise Problem(405, "Method not allowed", f"{incoming.method} is not supported here.")
                return answer(incoming, *match.groups())
        raise Problem(404, "Not found", f"There is nothing at {incoming.path}.")

    def _close(self, incoming: Incoming, number: str) -> Answer:
        if not self._behaviour.may_close:
            raise Problem(403, "Forbidden", "This key may not close purchases.")
        purchase_id = _int32(number)
        comment, day = _closing_body(incoming)
        self._tenant.close(purchase_id, comment=comment, date=day)
        return json_answer({})

    def _purchase(self, _: Incoming, number: str) -> Answer:
        try:
            purchase = self._tenant.purchase(_int32(number), with_state=not self._behaviour.missing_state)
        except KeyError:
            raise unknown("purchase", number) from None
        return json_answer(purchase)

    def _purchases(self, incoming: Incoming) -> Answer:
        purchases = self._tenant.purchases(with_state=not self._behaviour.missing_state)
        return self._large_list(incoming, "purchases", purchases)

    def _documents(self, incoming: Incoming) -> Answer:
        documents = lists.filter_documents(self._tenant.documents(), incoming.query)
        return self._large_list(incoming, lists.NUMBERED, documents)

    def _invoice(self, _: Incoming, number: str) -> Answer:
        with contextlib.suppress(KeyError):
            document = self._tenant.document(_int32(number))
            if document["type"] == "Invoice":
                return json_answer(document)
        raise unknown("invoice", number)

    def _reference_list(self, incoming: Incoming, name: str) -> Answer:
        items = self._tenant.reference_list(name)
        if name == "suppliers":
            items = lists.filter_suppliers(items, incoming.query)
        return json_answer(lists.page(name, items, incoming.query, self._behaviour))

    def _large_list(self, incoming: Incoming, name: str, items: Sequence[Json]) -> Answer:
        status = self._behaviour.list_status
        if status is not None:
            raise Problem(status, "List refused", "This sandbox is told not to answer this list.")
        return json_answer(lists.page(name, items, incoming.query, self._behaviour))


def is_closing(incoming: Incoming) -> bool:
    """
    Return whether a request asks for a closing.

    :param incoming: the request
    """
    return incoming.method == "POST" and _CLOSING.fullmatch(incoming.path) is not None


def purchase_in(incoming: Incoming) -> int | None:
    """
    Return the id of the purchase in the path of a request, if there is one.

    :param incoming: the request
    """
    purchase = _PURCHASE.fullmatch(incoming.path)
    return int(purchase[1]) if purchase else None


def _int32(text: str) -> int:
    if not re.fullmatch("[0-9]{1,10}", text) or int(text) > INT32_MAX:
        raise Problem(400, "Bad request", errors={"id": [f"{text!r} is not an int32."]})
    return int(text)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_day(value: object) -> bool:
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


_MEMBERS: dict[str, tuple[Callable[[object], bool], str]] = {
    "comment": (_is_text, "The comment must be text."),
    "date": (_is_day, "The date must be a day of the calendar, as YYYY-MM-DD."),
}


def _closing_body(incoming: Incoming) -> tuple[str | None, str | None]:
    """
    Return comment and date of a closing.

    :raises Problem: 400 if the body is not what the contract allows
    """
    if not incoming.body:
        return None, None
    content_type = ",".join(incoming.values_of("content-type"))
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Problem(400, "Bad request", errors={"Content-Type": ["The body must be application/json."]})
    content = readable(incoming.body)
    if not isinstance(content, dict):
        raise Problem(400, "Bad request", errors={"body": ["The body must be a JSON object."]})
    errors = {}
    for name, value in content.items():
        is_right, message = _MEMBERS.get(name, (None, "There is no such member."))
        if is_right is None or not is_right(value):
            errors[name] = [message]
    if errors:
        raise Problem(400, "Bad request", "The body has errors.", errors)
    return content.get("comment"), content.get("date")
