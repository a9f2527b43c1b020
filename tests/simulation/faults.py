"""All faults by name: one that is not here cannot be counted, and one that never happens is missed."""

from __future__ import annotations

WRITE_FAULTS = ("write fails", "write fails late", "killed before a write", "killed after a write", "slow write")
"""What goes wrong with a write to the store."""
ODD_PAGES = ("no items", "no object", "no count", "wrong count", "some missing", "twice", "no states", "no ids", "loop")
"""What is wrong with the JSON of a page."""
MOODS = ("5xx", "429", "web page", "401")
"""What Lucca answers to every request for a while."""

FAULTS = frozenset(
    {
        # Requests that fail, and answers.
        "not sent",
        "lost",
        "lost before",
        "lost after",
        "late effect",
        "slow answer",
        "408",
        "the same event again",
        "5xx",
        "unclear success",
        "429",
        "429 of others",
        *(f"all {mood}" for mood in MOODS),
        # Purchases.
        "403",
        "404",
        "422",
        "web page",
        "unreadable",
        "unknown state",
        "no state",
        # The list.
        "refused list",
        "stale page",
        "row on two pages",
        "closed between two pages",
        *(f"odd page, {kind}" for kind in ODD_PAGES),
        # Processes and their store.
        "killed",
        "killed at a line",
        "interrupted",
        "interrupted at a line",
        "on_kill",
        "replaced",
        "metric fails",
        "not durable",
        "read of the store fails",
        "write of a replaced process",
        *WRITE_FAULTS,
        # Airflow and people.
        "cleared",
        "cleared while it waits",
        "event of another try",
        "the same try again",
        "store dropped",
        "key deleted",
        "upstream changed",
        "new map index",
        "next iteration",
        "person changes",
        "person closes",
    }
)
