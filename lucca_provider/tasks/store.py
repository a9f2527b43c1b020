"""Where a closing's journal is kept: Airflow's task state store (3.3 and later), or a deferral's event before."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import uuid
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lucca_provider.closing import Attempt, Journal, ReplacedError

if TYPE_CHECKING:
    from lucca_provider.compat import Context

__all__ = [
    "MAX_EVENT_SIZE",
    "TaskStateStore",
    "is_test",
    "mark_event",
    "open_journal",
    "pack",
    "read_attempt",
    "unpack",
]

MAX_EVENT_SIZE = 45_000
"""Characters that a deferral may bring along: MySQL keeps 64 KB of a trigger, with all that Airflow adds."""
REPLACED = (404, 409, 410)
"""What Airflow's execution API answers to a task process that it has given up."""


class TaskStateStore:
    """
    Airflow's store as the journal wants it.

    A try that Airflow has replaced cannot write to it, so writing an intent before the POST also keeps such a leftover
    process from posting.

    :param store: ``context["task_state_store"]``
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    def get(self, key: str) -> object:
        """Return the value of a key, ``None`` if there is none. Raises what Airflow raises."""
        return self._store.get(key)

    def set(self, key: str, value: Any) -> None:
        """
        Keep a value, for as long as Airflow does by default.

        :param key: where
        :param value: any JSON
        :raises ReplacedError: if Airflow has given this process up
        """
        try:
            self._store.set(key, value)
        except Exception as error:
            if _status_of(error) in REPLACED:
                raise ReplacedError(f"{type(error).__name__}, {_status_of(error)}") from error
            raise


def _status_of(error: Exception) -> object:
    """Return the status that Airflow's API gave: told by a supervisor, or by the client where there is none."""
    told = getattr(getattr(error, "error", None), "detail", None)
    if isinstance(told, Mapping):
        return told.get("status_code")
    return getattr(getattr(error, "response", None), "status_code", None)


def read_attempt(context: Context, event: Mapping[str, Any] | None) -> Attempt:
    """
    Say which try this is.

    :param context: Airflow's context
    :param event: what the deferral brought along; ``None`` if there was none
    """
    ti: Any = context["ti"]
    # `airflow tasks test` runs a finished try again under its old number, and so does `tasks run --force` of 2.11,
    # where only the duration of the run before is left to tell.
    in_test, duration = is_test(context), getattr(ti, "duration", None)
    again = bool(context.get("task_reschedule_count")) or in_test or duration is not None
    # Either may also start a stay again that went on after a wait. By now what the event tells is no longer so.
    brought = None if event is None or in_test else (event.get("try"), event.get("duration"))
    return Attempt(
        number=ti.try_number,
        max_tries=int(getattr(ti, "max_tries", 0) or 0),
        resumed=brought == (ti.try_number, duration),
        first=event is None and ti.try_number == 1 and not again,
    )


def is_test(context: Context) -> bool:
    """
    Return whether ``airflow tasks test`` runs this, as often as somebody likes and beside the real task.

    :param context: Airflow's context
    """
    return bool(context.get("test_mode")) or os.environ.get("AIRFLOW_TEST_MODE") == "True"


def mark_event(event: Mapping[str, Any], context: Context, tenant: str) -> dict[str, Any]:
    """
    Add to what a deferral brings along what shows whose it is.

    :param event: any JSON object
    :param context: Airflow's context
    :param tenant: address of the tenant
    """
    return {**event, "tenant": tenant, "duration": getattr(context["ti"], "duration", None)}


def open_journal(
    context: Context,
    attempt: Attempt,
    *,
    tenant: str,
    durable: bool,
    event: Mapping[str, Any] | None,
    go_on: Callable[[], bool],
) -> Journal:
    """
    Open the journal of a task instance, and read it.

    :param context: Airflow's context
    :param attempt: which try this is
    :param tenant: address of the tenant: another one has other purchases under the same ids
    :param durable: whether Airflow's store is used where there is one
    :param event: what the deferral brought along; ``None`` if there was none
    :param go_on: asked between two reads; no more is read when it says no
    :raises Exception: what the store raises
    """
    store = context.get("task_state_store") if durable else None
    # Short, and safe in an address, as Airflow 3.3.0 wants its keys.
    name = f"lucca_{hashlib.sha256(tenant.lower().encode()).hexdigest()[:12]}"
    kept = None if store is None else TaskStateStore(store)
    journal = Journal(attempt, new_id=lambda: uuid.uuid4().hex[:12], store=kept, name=name)
    journal.read(go_on)
    if event is not None and event.get("tenant") == tenant:
        journal.load(event)
    return journal


def pack(event: Mapping[str, Any]) -> str:
    """
    Make an event small.

    :param event: any JSON object
    """
    return base64.b64encode(zlib.compress(json.dumps(event).encode())).decode()


def unpack(text: str) -> dict[str, Any]:
    """
    Return the event of a text that :func:`pack` made.

    :param text: from a trigger
    :raises ValueError: if it is not one
    """
    try:
        event = json.loads(zlib.decompress(base64.b64decode(text, validate=True)))
    except (TypeError, zlib.error) as error:
        raise ValueError(f"not packed by this provider ({type(error).__name__})") from error
    if not isinstance(event, dict):
        raise ValueError("not an object")
    return event
