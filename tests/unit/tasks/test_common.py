"""What the tasks share."""

from __future__ import annotations

from lucca_provider.tasks.common import say_listed


def test_a_page_of_the_docs_is_named_once_however_many_lines_lead_to_it() -> None:
    lines = [
        'purchase 1: no host (guide "Connection", Testing the connection). (GET 1)',
        'purchase 2: no host (guide "Connection", Testing the connection). (GET 2)',
        'purchase 3: wrong (guide "Connection", Field by field).',
    ]
    assert say_listed('3 of 3 failed (guide "Validating", 2).', lines).split("\n- ") == [
        '3 of 3 failed (guide "Validating", 2).',
        lines[0],
        "purchase 2: no host. (GET 2)",
        lines[2],
    ]
