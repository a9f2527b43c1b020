"""Text that a template rendered to a list of ids, or to what another task returned."""

from __future__ import annotations

import ast
import io
import itertools
import json
import re
import tokenize

from lucca_provider.inputs.errors import InvalidInputError, shown
from lucca_provider.inputs.members import RepeatedNameError, unique_members

__all__ = ["read_list", "read_value"]


_ONE_NUMBER = re.compile(r"[1-9][0-9]?(,[0-9]{3})+|[1-9][0-9]{2}(,[0-9]{3}){0,9},0[0-9]{2}(,[0-9]{3}){0,9}")
"""A number with separators of its thousands, such as ``1,234``. What may be ids of three digits each is none."""


class _AmbiguousError(Exception):
    """The text leaves a comma out, so that Python would drop a value."""


def read_list(text: str, name: str) -> object:
    """
    Read a JSON or Python list, comma-separated values, or one value.

    :param text: what a template rendered
    :param name: what the argument is called in the error
    :return: a list of texts, or what JSON or Python make of it
    :raises InvalidInputError: if it is none of these, empty, or one number with separators of its thousands
    """
    stripped = text.strip()
    if stripped in ("None", "null"):
        raise InvalidInputError(
            f"{name} is the text {stripped!r}: the upstream task returned nothing. Let it return ids, or [] for none."
        )
    if not stripped:
        raise InvalidInputError(
            f"{name} is empty text: the template rendered to nothing. For no purchases render an empty list, []."
        )
    if re.match(r"Lazy\w*Sequence\(", stripped):
        raise InvalidInputError(
            f"{name} is the text {shown(stripped)}, which Airflow renders for what mapped tasks returned. Pass the "
            f"task's output itself, {name}=find.output, or write "
            "'{{ ti.xcom_pull(task_ids=\"find\") | sum(start=[]) }}' if each of them returns a list."
        )
    if _ONE_NUMBER.fullmatch(stripped):
        raise InvalidInputError(
            f"{name}: the text {shown(stripped)} may be one number with thousands separators. Write one id without "
            "commas, and several as a list or with a space after each comma."
        )
    if stripped[0] not in "[({":
        return [part.strip() for part in stripped.split(",")]
    return _read(
        stripped,
        name,
        f"{name}: the text {shown(text)} is neither a JSON list, nor comma-separated ids, nor one id. "
        "With Airflow's XCom, '{{ ti.xcom_pull(task_ids=...) | tojson }}' renders a JSON list.",
    )


def read_value(text: str, name: str) -> object:
    """
    Read what another task returned, from the text that a template made of it.

    :param text: JSON or Python
    :param name: what the argument is called in the error
    :return: ``None`` for a task that returned nothing
    :raises InvalidInputError: if it is neither
    """
    stripped = text.strip()
    if stripped in ("", "None", "null"):
        return None
    return _read(
        stripped,
        name,
        f"{name}: the text {shown(text)} cannot be read. Pass the output of the task itself, such as "
        f"{name}=close.output.",
    )


def _read(text: str, name: str, problem: str) -> object:
    for read in (_read_json, _read_python):
        try:
            return read(text)
        except (_AmbiguousError, RepeatedNameError) as error:
            raise InvalidInputError(f"{name}: the text {shown(text)} {error}.") from None
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError, tokenize.TokenError):
            continue
    raise InvalidInputError(problem)


def _read_json(text: str) -> object:
    return json.loads(text, object_pairs_hook=unique_members)


def _read_python(text: str) -> object:
    value = ast.literal_eval(text)
    for node in ast.walk(ast.parse(text, mode="eval")):
        if isinstance(node, ast.Dict):
            unique_members((ast.dump(key), None) for key in node.keys if key is not None)
    kinds = [token.type for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.string.strip()]
    if (tokenize.STRING, tokenize.STRING) in itertools.pairwise(kinds):
        raise _AmbiguousError("has two texts without a comma between them")
    return value
