"""What a person answered who was asked to approve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from lucca_provider.inputs.errors import InvalidInputError, shown

__all__ = ["OPTIONS", "Answer", "parse_answer", "read_moment"]

_APPROVE = "Approve"
OPTIONS = (_APPROVE, "Reject")
"""The options of Airflow's ``ApprovalOperator``."""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    An answer to the question whether to close.

    :param chosen: the options that were chosen; none if nobody has answered
    :param given_by: who answered; ``None`` if that is not known
    :param given_at: when, with a time zone; ``None`` if that is not known
    """

    chosen: Sequence[str]
    given_by: str | None
    given_at: datetime | None

    @property
    def is_yes(self) -> bool:
        """Whether it is *Approve*, whoever gave it."""
        return list(self.chosen) == [_APPROVE]

    @property
    def objection(self) -> str | None:
        """Why nothing may be closed on this answer, in words; ``None`` if somebody approved."""
        if not self.chosen:
            return "nobody answered"
        if not self.is_yes:
            return f"rejected by {self.given_by or 'a person'}"
        return None if self.given_by and self.given_at else "the approval does not say who gave it, and when"


def parse_answer(value: object, *, name: str) -> Answer:
    """
    Read what an ``ApprovalOperator`` returned.

    :param value: its output, which says who answered from version 1.8 of the provider *standard* on; ``None`` if nobody
        answered, also if somebody set the task to success
    :param name: what the argument is called in the error
    :raises InvalidInputError: if it is anything else
    """
    if value is None:
        return Answer((), None, None)
    options = value.get("chosen_options") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(options, (list, tuple)):
        raise InvalidInputError(
            f"{name}: {shown(value)} is not the output of an approval. Pass {name}=approve.output, where approve is an "
            "ApprovalOperator."
        )
    user = value.get("responded_by_user")
    known = (user.get("name") or user.get("id")) if isinstance(user, Mapping) else None
    return Answer(options, str(known) if known else None, read_moment(value.get("responded_at")))


def read_moment(value: object) -> datetime | None:
    """
    Read a moment that went through XCom.

    :param value: a datetime, or ISO 8601
    :return: ``None`` if it is anything else, or has no time zone
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return None
    return value if isinstance(value, datetime) and value.tzinfo else None
