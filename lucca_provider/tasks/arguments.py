"""The arguments of tasks as Airflow hands them over: rendered, resolved, from mapped tasks, read once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lucca_provider.inputs import (
    Answer,
    InvalidInputError,
    parse_answer,
    parse_closing_date,
    parse_comment,
    parse_purchase_ids,
)
from lucca_provider.inputs.errors import shown
from lucca_provider.tasks.common import without_retry

if TYPE_CHECKING:
    import datetime

    from lucca_provider.compat import Context

__all__ = [
    "is_templated",
    "read_answer",
    "read_closing_arguments",
    "read_day",
    "read_days",
    "read_param_name",
    "read_purchase_ids",
    "read_pushed",
]

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
    with without_retry():
        return read_purchase_ids(task), _read_comment(task, context), read_day(task, "closing_date")


def read_purchase_ids(task: Any, name: str = "purchase_ids") -> list[int]:
    """
    Read an argument that is purchase ids.

    What can be read only once is kept, so that the next try or poke in this process has it too. What mapped tasks
    returned is flattened by one level; where a template has pulled it, Airflow 2 does not tell whether they are mapped.

    :param task: an operator or sensor, with an attribute of that name. Its attribute ``unrendered`` holds the argument
        as the constructor got it
    :param name: the argument
    :return: the ids without duplicates
    :raises InvalidInputError: naming the value and what to do
    """
    value = _kept(getattr(task, name), name)
    if isinstance(value, _lazy_sequence()):
        value = list(value) if isinstance(_unrendered(task, name), str) else _flattened(value)
    return parse_purchase_ids(value, name=name)


def read_day(task: Any, name: str) -> str | None:
    """
    Read an argument that is a day.

    :param task: an operator or sensor, with an attribute of that name
    :param name: the argument
    :return: the day as ``YYYY-MM-DD``, or ``None``
    :raises InvalidInputError: naming the value and what to do
    """
    return _read_day(task, name, getattr(task, name), templated=is_templated(task, name))


def read_days(task: Any, name: str) -> tuple[str, str] | None:
    """
    Read an argument that is a first and a last day.

    :param task: an operator, with an attribute of that name
    :param name: the argument
    :return: both days as ``YYYY-MM-DD``, or ``None``
    :raises InvalidInputError: naming the value and what to do
    """
    value = getattr(task, name)
    if value is None and not is_templated(task, name):
        return None
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise InvalidInputError(
            f"{name}: {shown(value)} is not a first and a last day. Give two days, or leave it out."
        )
    # None is no day here: a period without an end is none.
    first, last = (_read_day(task, name, day, templated=True) or "" for day in value)
    if first > last:
        raise InvalidInputError(f"{name}: the first day, {first}, is after the last one, {last}.")
    return first, last


def read_pushed(task: Any, name: str) -> object | None:
    """
    Read an argument that is what a check pushed: JSON, or the value itself.

    :param task: an operator, with an attribute of that name
    :param name: the argument
    :return: the value; ``None`` if nothing was given
    :raises InvalidInputError: naming the value and what to do
    """
    value: object = getattr(task, name)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise InvalidInputError(
                f"{name}: the text {shown(value)} is no JSON. Pass the output itself, such as "
                "check.output['snapshot'], or render it with the filter tojson."
            ) from None
    elif value is None and not is_templated(task, name):
        return None
    if value is None:
        raise InvalidInputError(f"{name} is None: the upstream check pushed no snapshot, so nothing can be compared.")
    return value


def read_param_name(task: Any, name: str) -> str | None:
    """
    Return the parameter of the DAG run that an argument is taken from by a template, if it is.

    :param task: an operator
    :param name: the argument
    """
    template = _unrendered(task, name)
    found = re.search(r"""params(?:\.(\w+)|\[["']([\w-]+)["']\])""", template) if isinstance(template, str) else None
    return (found[1] or found[2]) if found else None


def read_answer(task: Any, name: str) -> Answer | None:
    """
    Read an argument that is what a person answered who was asked to approve.

    :param task: an operator, with an attribute of that name
    :param name: the argument
    :return: ``None`` if nobody was to be asked
    :raises InvalidInputError: naming the value and what to do
    """
    value = getattr(task, name)
    return None if value is None and not is_templated(task, name) else parse_answer(value, name=name)


def is_templated(task: Any, name: str) -> bool:
    """
    Return whether Airflow makes the value of an argument: of a template, or of another task's output.

    :param task: an operator or sensor. Its attribute ``unrendered`` holds the argument as the constructor got it
    :param name: the argument
    """
    given = _unrendered(task, name)
    if isinstance(given, str):
        return any(mark in given for mark in ("{{", "{%", "{#"))
    return hasattr(given, "resolve")


def _read_day(task: Any, name: str, value: object, *, templated: bool) -> str | None:
    dag = task.get_dag()
    timezone: datetime.tzinfo | None = dag.timezone if dag else None
    return parse_closing_date(value, name=name, timezone=timezone, templated=templated)


def _read_comment(task: Any, context: Context) -> str | None:
    comment, template = task.comment, _unrendered(task, "comment")
    if isinstance(template, str) and not (isinstance(comment, str) and comment == template):
        # Rendering to native objects makes 1.1 of the text 1.10, and takes quotes away. No text with this in front is
        # Python, so that it stays what it is.
        comment = task.render_template(_NO_PYTHON + template, context).removeprefix(_NO_PYTHON)
    return parse_comment(comment, templated=is_templated(task, "comment"))


def _unrendered(task: Any, name: str) -> object:
    given: Mapping[str, object] = getattr(task, "unrendered", {})
    return given.get(name)


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
