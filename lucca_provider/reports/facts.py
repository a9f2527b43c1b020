"""What stands above the table of a report: whose purchases they are, which run, what was sent, what the amounts are."""

from __future__ import annotations

from datetime import timezone

from lucca_provider.reports.tables import Head

__all__ = ["list_facts"]

_TAXES = {
    True: "as billed in Lucca, taxes included",
    False: "as billed in Lucca, without taxes",
    None: "as billed in Lucca, which does not document whether taxes are included",
}


def list_facts(head: Head, *, is_closing: bool) -> list[tuple[str, str]]:
    """
    Name the facts that are known.

    :param head: what a table is about
    :param is_closing: whether closings were sent, or are yet to be
    :return: what a fact is called, and the fact
    """
    sent = "sent" if is_closing else "to be sent"
    return [
        (name, value)
        for name, value in (
            ("Tenant", head.tenant),
            ("Environment", head.environment),
            ("DAG", head.dag_id),
            ("Run", head.run_id),
            ("Task", _say_task(head)),
            (f"Closing date {sent}", head.closing_date),
            (f"Comment {sent}", head.comment),
            ("Approved by", head.approved_by),
            ("Read back from Lucca", _say_moment(head)),
            ("Amounts", _TAXES[head.taxes_included]),
        )
        if value
    ]


def _say_task(head: Head) -> str | None:
    if head.task_id is None or head.map_index is None:
        return head.task_id
    return f"{head.task_id} [{head.map_index}]"


def _say_moment(head: Head) -> str | None:
    if head.read_back_at is None:
        return None
    return f"{head.read_back_at.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
