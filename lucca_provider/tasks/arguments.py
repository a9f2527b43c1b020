"""The arguments of tasks as Airflow hands them over: rendered, resolved, from mapped tasks, read once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from lucca_provider.inputs import InvalidInputError, parse_closing_date, parse_comment, parse_purchase_ids

if TYPE_CHECKING:
    import datetime

    from airflow.providers.common.compat.sdk import Context

__all__ = ["read_closing_arguments", "read_day", "read_purchase_ids"]

_NO_PYTHON = "§"
_read_once: dict[int, tuple[object, list[object] | BaseException]] = {}
"""By id of each iterator that was read in this process: itself, so that the id stays its own, and what came of it."""


def read_closing_arguments(task: Any, context: Context) -> tuple[list[int], str | None, str | None]:
    """
    Read what a closing is about.

    :param task: an operator with the template fields ``purchase_ids``, ``comment`` and ``closing_date``. Its attribute
        ``unrendered`` holds the last two, by name, as the constructor got them
    :param context: Airflow's context
    :return: the ids without duplicates, the comment, and the day as ``YYYY-MM-DD``
    :raises AirflowFailException: naming the argument, the value and what to do
    """
    try:
        return read_purchase_ids(task), _read_comment(task, context), read_day(task, "closing_date")
    except InvalidInputError as error:
        raise AirflowFailException(str(error)) from None


def read_purchase_ids(task: Any) -> list[int]:
    """
    Read the argument ``purchase_ids``.

    What can be read only once is kept, so that the next try or poke in this process has it too. What mapped tasks
    returned is flattened by one level; where a template has pulled it, Airflow 2 does not tell whether they are mapped.

    :param task: an operator or sensor. Its attribute ``unrendered`` holds the argument as the constructor got it
    :return: the ids without duplicates
    :raises InvalidInputError: naming the value and what to do
    """
    value = _kept(task.purchase_ids, "purchase_ids")
    if isinstance(value, _lazy_sequence()):
        value = list(value) if isinstance(_unrendered(task, "purchase_ids"), str) else _flattened(value)
    return parse_purchase_ids(value)


def read_day(task: Any, name: str) -> str | None:
    """
    Read an argument that is a day.

    :param task: an operator or sensor, with an attribute of that name
    :param name: the argument
    :return: the day as ``YYYY-MM-DD``, or ``None``
    :raises InvalidInputError: naming the value and what to do
    """
    dag = task.get_dag()
    timezone: datetime.tzinfo | None = dag.timezone if dag else None
    return parse_closing_date(
        getattr(task, name), name=name, timezone=timezone, templated=_is_templated(_unrendered(task, name))
    )


def _read_comment(task: Any, context: Context) -> str | None:
    comment, template = task.comment, _unrendered(task, "comment")
    if isinstance(template, str) and not (isinstance(comment, str) and comment == template):
        # Rendering to native objects makes 1.1 of the text 1.10, and takes quotes away. No text with this in front is
        # Python, so that it stays what it is.
        comment = task.render_template(_NO_PYTHON + template, context).removeprefix(_NO_PYTHON)
    return parse_comment(comment, templated=_is_templated(template))


def _unrendered(task: Any, name: str) -> object:
    given: Mapping[str, object] = getattr(task, "unrendered", {})
    return given.get(name)


def _is_templated(given: object) -> bool:
    """Return whether Airflow makes a value of this: of a template, or of another task's output."""
    if isinstance(given, str):
        return any(mark in given for mark in ("{{", "{%", "{#"))
    return hasattr(given, "resolve")


def _kept(value: object, name: str) -> object:
    """Return a value that may be read again, also by the next try or by another task that was given the same."""
    if not isinstance(value, Iterator):
        return value
    iterator, read = _read_once.get(id(value), (None, None))
    if iterator is not value:
        try:
            read = list(value)
        except BaseException as error:
            _read_once[id(value)] = value, error
            raise
        _read_once[id(value)] = value, read
    if isinstance(read, BaseException):
        raise InvalidInputError(
            f"{name}: this {type(value).__name__} failed when it was read ({type(read).__name__}: {read}), and cannot "
            "be read twice. Hand over a list, or what a task returns."
        )
    return read


def _flattened(returned: Sequence[Any]) -> list[object]:
    """Return the ids that mapped tasks returned: each a list, or one id."""
    ids: list[object] = []
    for value in returned:
        if type(value) in (list, tuple, set, frozenset):
            ids.extend(value)
        else:
            ids.append(value)
    return ids


def _lazy_sequence() -> type[Sequence[Any]]:
    """Return the type of what Airflow hands over for the results of a mapped task."""
    try:
        from airflow.sdk.execution_time.lazy_sequence import LazyXComSequence
    except ImportError:
        from airflow.models.xcom import LazyXComSelectSequence

        return LazyXComSelectSequence
    return LazyXComSequence
