"""
What users hand over, read strictly: purchase ids in the shapes XCom has, the day of a closing, a comment, states, and
what a person answered.
"""

from lucca_provider.inputs.approval import Answer, parse_answer
from lucca_provider.inputs.closing_date import parse_closing_date
from lucca_provider.inputs.comment import parse_comment
from lucca_provider.inputs.errors import InvalidInputError
from lucca_provider.inputs.purchase_ids import MAX_PURCHASE_ID, parse_purchase_ids
from lucca_provider.inputs.states import parse_states

__all__ = [
    "MAX_PURCHASE_ID",
    "Answer",
    "InvalidInputError",
    "parse_answer",
    "parse_closing_date",
    "parse_comment",
    "parse_purchase_ids",
    "parse_states",
]
