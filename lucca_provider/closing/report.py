"""What a task says of the purchases that it could not close."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from lucca_provider.exceptions import GUIDE
from lucca_provider.outcomes import Decision, Outcome, Report, read_report
from lucca_provider.reading.counts import say_count

__all__ = ["NOT_ANSWERED", "NOT_REACHED", "NOT_READ", "say_problems"]

NOT_REACHED = "not reached: "
"""How the reason begins of a purchase for which nothing was sent."""
NOT_READ = "its state could not be read: "
"""How it begins where Lucca did not show the purchase, or did not answer."""
NOT_ANSWERED = "sent, but the answer is not known: "
"""How it begins where a closing was sent, and the run ended before anything was known of it."""
NAMED_TOGETHER = 50
"""Purchases that are named on one line, where one reason holds for all of them; the report has them all."""

_FIX = 'Fix the cause in Lucca, then clear this task (guide "Closing", The outcomes).'
_RETRY = 'A retry is safe: it reads the state of each first (guide "Deploying", What to do with unresolved).'


def say_problems(report: Report, in_doubt: Collection[int]) -> tuple[str, list[str]]:
    """
    Say what a task could not close, for whoever reads its error.

    :param report: with at least one purchase that is not closed
    :param in_doubt: unresolved purchases for which a closing was sent that may have taken effect
    :return: a summary with what to do, and a line for each reason with the purchases that it holds for
    """
    decisions = dict(read_report(report))
    problems = {each: known for each, known in decisions.items() if known.outcome.is_problem}
    summary = []
    for outcome, number in Counter(known.outcome for known in problems.values()).items():
        if outcome is Outcome.UNRESOLVED:
            reasons = [known.reason for known in problems.values() if known.outcome is outcome]
            state = f"{_say_unresolved(reasons, len(in_doubt))} {_RETRY}"
        else:
            state = f"{_was(number)} {outcome.words}. {_FIX}"
        summary.append(f"{number} of {say_count(len(decisions))} {state}")
    same: dict[str, list[str]] = {}
    for purchase_id, decision in problems.items():
        same.setdefault(_say_briefly(decision, summary), []).append(str(purchase_id))
    return "\n".join(summary), [f"{_listed(ids)} {words}" for words, ids in same.items()]


def _say_unresolved(reasons: Sequence[str], in_doubt: int) -> str:
    """Return the reason that holds for most of them, and how many may be closed."""
    number, (reason, same) = len(reasons), _most_common([_cause(reason) for reason in reasons])
    often = "" if same == number else f", {same} of them for this reason"
    why = f"{often}: {reason}{'' if reason.endswith('.') else '.'}"
    if not in_doubt:
        return f"{_was(number)} not closed{why}"
    return f"is unresolved{why} It may be closed." if number == 1 else f"are unresolved{why} {in_doubt} may be closed."


def _most_common(causes: Sequence[str]) -> tuple[str, int]:
    """Return the cause that most have, and how many."""
    gists = [_gist(cause) for cause in causes]
    ((gist, same),) = Counter(gists).most_common(1)
    return causes[gists.index(gist)], same


def _gist(cause: str) -> str:
    """Return a cause without its guide, and without brackets that are about a single request."""
    return GUIDE.sub("", cause).partition(" (")[0]


def _cause(reason: str) -> str:
    """Return a reason without what it says of this purchase alone."""
    for beginning in (NOT_REACHED, NOT_READ, NOT_ANSWERED):
        reason = reason.removeprefix(beginning)
    return reason


def _say_briefly(decision: Decision, summary: Sequence[str]) -> str:
    """Leave out a reason that the summary says already."""
    words, cause = str(decision), _cause(decision.detail or "")
    is_said = decision.outcome is Outcome.UNRESOLVED and any(_gist(cause) in GUIDE.sub("", said) for said in summary)
    return words.removesuffix(cause).rstrip(": ") if is_said else words


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


def _listed(ids: Sequence[str]) -> str:
    more = len(ids) - NAMED_TOGETHER
    return ", ".join(ids[:NAMED_TOGETHER]) + (f" and {more} more" if more > 0 else "")
