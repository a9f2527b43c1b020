"""The ledger in Airflow's task state store (3.3 and later): what a retry, a clear or a killed worker goes on from."""

from __future__ import annotations

import hashlib
import logging
from typing import Any, Protocol

from lucca_provider.closing import Entry

__all__ = ["TaskStateLedger"]

log = logging.getLogger(__name__)

NOT_PRESENT = (404, 409, 410)
"""What Airflow 3.3's execution API answers to a task process that it has given up."""


class TaskStateStore(Protocol):
    """The part of ``context["task_state_store"]`` that the ledger uses."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key."""

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        """Keep the value of a key."""


class TaskStateLedger:
    """
    Keeps a small entry for each purchase, under a key of its own: two writes a purchase, none of which grows.

    All tries of one task instance share the store. A try that Airflow has replaced cannot write to it, so writing the
    intent before the POST also keeps such a leftover process from posting.

    :param store: Airflow's task state store
    :param tenant: address of the tenant. Another one has other purchases under the same ids, so what was written
        before the connection was changed does not count
    :param first_try: whether nothing can have been sent before this try
    """

    def __init__(self, store: TaskStateStore, *, tenant: str, first_try: bool) -> None:
        # Only where the store exists does Airflow have these names.
        from airflow.sdk import NEVER_EXPIRE  # type: ignore[attr-defined]
        from airflow.sdk.exceptions import AirflowRuntimeError

        self._never_expire = NEVER_EXPIRE
        self._airflows_answer = AirflowRuntimeError
        self._store = store
        # Short, and safe in an address, as Airflow 3.3.0 wants its keys.
        self._prefix = f"lucca_{hashlib.sha256(tenant.lower().encode()).hexdigest()[:12]}"
        started = store.get(self._prefix)
        self._empty = started is None
        if started is None:
            started = {"complete": first_try}
            self._set(self._prefix, started)
        self._complete = bool(started["complete"])

    @property
    def complete(self) -> bool:
        """Whether the ledger was there from the first try on, so that no entry means never sent."""
        return self._complete

    def read(self, purchase_id: int) -> Entry | None:
        """Return the entry of a purchase, or ``None``."""
        entry: Entry | None = None if self._empty else self._store.get(self._key(purchase_id))
        return entry

    def write(self, purchase_id: int, entry: Entry) -> None:
        """Keep an entry. Raises what the store raises."""
        self._set(self._key(purchase_id), dict(entry))

    def is_taken_over(self) -> bool:
        """Try to write, and say whether Airflow refuses it as to a try that is not the present one any more."""
        try:
            # Under a key of its own: should the store have been emptied, then what was there must not come back.
            self._set(f"{self._prefix}_report", {})
        except self._airflows_answer as error:
            detail = error.error.detail or {}
            return detail.get("status_code") in NOT_PRESENT
        except Exception:
            # In doubt the report is worth more.
            log.exception("Whether another try has taken over is not known.")
        return False

    def _set(self, key: str, value: dict[str, Any]) -> None:
        self._store.set(key, value, retention=self._never_expire)

    def _key(self, purchase_id: int) -> str:
        return f"{self._prefix}_{purchase_id}"
