"""The shape of a report: what is said of each purchase, whatever it is written as."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum

from lucca_provider.outcomes import Outcome
from lucca_provider.reading.counts import say_count
from lucca_provider.reports.text import MAX_CURRENCIES, say_amounts

__all__ = ["ORDER", "Details", "Group", "Head", "Row", "Section", "Table"]


class Group(Enum):
    """
    What purchases have in common that stand together, where it is no :class:`~lucca_provider.outcomes.Outcome`: a
    heading, what each row says, and what that means.
    """

    READY = ("Ready to be closed", "ready to be closed", "Their invoices are approved and paid, or cancelled.")
    BLOCKED = ("Not ready", "not ready", "These cannot be closed now, for the reasons given.")
    UNKNOWN = ("Not known", "not known", "It could not be found out whether these can be closed, so they are left out.")
    UNCONFIRMED = (
        "Reported as closed, not confirmed by Lucca",
        "not confirmed",
        "The closing reported these as closed, but reading them back did not confirm it. Check them in Lucca.",
    )
    LEFT_OUT = ("Left out", "left out", "No closing was asked for these.")

    def __init__(self, heading: str, words: str, meaning: str) -> None:
        """
        Take the words.

        :param heading: above its rows
        :param words: in each row, and after a number
        :param meaning: what a reader has to know or do, a sentence or two
        """
        self.heading = heading
        self.words = words
        self.meaning = meaning

    @property
    def is_problem(self) -> bool:
        """Whether somebody may have to do something."""
        return self in (Group.BLOCKED, Group.UNKNOWN, Group.UNCONFIRMED)


ORDER: Sequence[Group | Outcome] = (
    *(Group.READY, Group.BLOCKED, Group.UNKNOWN, Group.UNCONFIRMED),
    *(outcome for outcome in Outcome if not outcome.is_closed),
    Group.LEFT_OUT,
    *(outcome for outcome in Outcome if outcome.is_closed),
)
"""In which order a person wants to know of them."""


@dataclass(frozen=True, slots=True)
class Details:
    """
    What Lucca shows of a purchase beside its id. Each is ``None`` if it is not known.

    :param title: as its owner wrote it: any text
    :param supplier: its name: any text
    :param amount: what was billed, in the tenant's currency
    :param currency: of the amount, such as ``EUR``
    :param state: such as ``Closed``
    """

    title: str | None = None
    supplier: str | None = None
    amount: Decimal | None = None
    currency: str | None = None
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """
    What a whole table is about. Each is ``None`` if it is not known or does not apply.

    :param tenant: its address
    :param environment: ``production``, ``test`` or another
    :param dag_id: of the DAG that checked or closed
    :param run_id: of its run
    :param task_id: of the task
    :param map_index: of the task, if it is mapped
    :param closing_date: sent with each closing, or to be sent, ``YYYY-MM-DD``
    :param comment: sent with each closing, or to be sent
    :param approved_by: who approved
    :param read_back_at: when the states were read from Lucca after the closing, with a time zone
    :param taxes_included: whether taxes are in the amounts
    """

    tenant: str | None = None
    environment: str | None = None
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None
    closing_date: str | None = None
    comment: str | None = None
    approved_by: str | None = None
    read_back_at: datetime | None = None
    taxes_included: bool | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """
    One purchase.

    :param id: of the purchase
    :param outcome: what became of it, in words
    :param reason: why; empty if the outcome says it all
    :param details: what Lucca shows of it
    :param state: what Lucca showed after the closing, in words; empty if nobody asked
    :param comment: that was sent with its closing, or may have been
    :param closing_date: that was sent with its closing, or may have been, ``YYYY-MM-DD``
    """

    id: int
    outcome: str
    reason: str = ""
    details: Details = Details()
    state: str = ""
    comment: str | None = None
    closing_date: str | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """
    Purchases of which the same is to be said.

    :param group: what it is
    :param rows: one for each purchase, at least one
    """

    group: Group | Outcome
    rows: Sequence[Row]

    @property
    def total(self) -> str:
        """What was billed for them, by currency, in words."""
        return _total(self.rows)

    @property
    def short_total(self) -> str:
        """The same, with ten currencies at most."""
        return _total(self.rows, most=MAX_CURRENCIES)


@dataclass(frozen=True, slots=True)
class Table:
    """
    A check or a closing.

    :param title: what it is
    :param head: what all of it is about
    :param sections: in the order in which a person wants to know of them; none is empty
    :param is_closing: whether something may have been closed
    """

    title: str
    head: Head
    sections: Sequence[Section]
    is_closing: bool = False

    @property
    def rows(self) -> Sequence[Row]:
        """All purchases, in order."""
        return [row for section in self.sections for row in section.rows]

    @property
    def total(self) -> str:
        """What was billed for all of them, by currency, in words."""
        return _total(self.rows)

    @property
    def short_total(self) -> str:
        """The same, with ten currencies at most."""
        return _total(self.rows, most=MAX_CURRENCIES)

    @property
    def summary(self) -> str:
        """How many purchases came out how, a sentence."""
        if not self.sections:
            return "No purchases."
        counts = ", ".join(f"{len(section.rows)} {section.group.words}" for section in self.sections)
        return f"{say_count(len(self.rows))}: {counts}."

    def section(self, group: Group | Outcome) -> Section:
        """
        Return the purchases of which one thing is to be said.

        :param group: what that is
        :return: a section without rows if there are none
        """
        return next((section for section in self.sections if section.group is group), Section(group, ()))


def _total(rows: Iterable[Row], most: int | None = None) -> str:
    amounts: defaultdict[str | None, Decimal] = defaultdict(Decimal)
    unknown = 0
    for row in rows:
        if row.details.amount is None:
            unknown += 1
        else:
            amounts[row.details.currency] += row.details.amount
    return say_amounts(amounts, unknown, most=most)
