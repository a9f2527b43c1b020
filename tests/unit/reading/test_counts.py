"""Numbers of things agree with their nouns."""

from __future__ import annotations

import pytest

from lucca_provider.reading.counts import say_count


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0,), "0 purchases"),
        ((1,), "1 purchase"),
        ((2,), "2 purchases"),
        ((1, "more document"), "1 more document"),
        ((11, "more document"), "11 more documents"),
        ((1, "currency", "currencies"), "1 currency"),
        ((3, "currency", "currencies"), "3 currencies"),
    ],
)
def test_one_is_told_from_many(arguments: tuple[int, str], words: str) -> None:
    assert say_count(*arguments) == words
