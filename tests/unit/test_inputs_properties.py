"""Fuzz of the reader of values: the ids are what a person reads off the value's elements, or nothing is taken."""

from __future__ import annotations

import collections
import datetime
import json
import math
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from lucca_provider.inputs import (
    MAX_PURCHASE_ID,
    InvalidInputError,
    parse_closing_date,
    parse_comment,
    parse_purchase_ids,
)

IDS = st.integers(1, MAX_PURCHASE_ID)
ID_SHAPES = st.one_of(
    IDS, IDS.map(str), IDS.map(Decimal), IDS.map(lambda number: f" {number} "), IDS.map(np.int64), st.integers(1, 3)
)
NO_IDS = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.integers(),
    st.text(max_size=4),
    st.binary(max_size=2),
    st.decimals(),
    st.dates(),
    st.just(pd.NA),
    st.just(pd.NaT),
    st.just(np.ma.masked),
)
COLUMNS = st.one_of(
    st.sampled_from(["id", "purchase_id", "year", "count"]), st.integers(2020, 2030), IDS.map(str), st.text(max_size=3)
)
LEAVES = st.one_of(ID_SHAPES, ID_SHAPES, ID_SHAPES, NO_IDS)


def containers(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(children, max_size=4)
    return st.one_of(
        lists,
        lists.map(tuple),
        lists.map(collections.deque),
        lists.map(iter),
        st.dictionaries(COLUMNS, children, max_size=2),
        st.dictionaries(COLUMNS, children, max_size=2).map(collections.UserDict),
        st.lists(st.tuples(children), max_size=3),
        st.lists(st.fixed_dictionaries({"id": children}), max_size=3),
    )


NESTED = st.recursive(LEAVES, containers, max_leaves=8)


class NotReadableError(Exception):
    """A person would ask back."""


def read_off(value: Any) -> Iterator[int]:
    """Read the elements of a value as a person does, who never takes a label for one."""
    if isinstance(value, Mapping):
        if any(not isinstance(key, str) or key.strip().isdecimal() for key in value):
            raise NotReadableError
        value = list(value.values())
    if isinstance(value, (list, tuple, collections.deque)):
        for one in value:
            yield from read_off(one)
    else:
        yield read_one(value)


def read_one(value: Any) -> int:
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        return int(value)
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        return int(value)
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    raise NotReadableError


def check(value: Any, seen: Any) -> None:
    """Compare what is taken with what a person reads, who was shown ``seen``."""
    try:
        ids = parse_purchase_ids(value)
    except InvalidInputError:
        event("refused")
        return
    event(f"taken: {'ids' if ids else 'nothing'}")
    assert ids == list(dict.fromkeys(read_off(seen)))
    assert all(type(number) is int and 1 <= number <= MAX_PURCHASE_ID for number in ids)


def thawed(value: Any) -> Any:
    """Return a value with lists in the place of what can be read once; reading it would use it up."""
    if isinstance(value, Mapping):
        return {key: thawed(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, collections.deque)) or hasattr(value, "__next__"):
        return [thawed(one) for one in value]
    return value


@given(NESTED)
def test_of_nested_python_values_only_their_elements_are_taken(value):
    if hasattr(value, "__next__"):
        seen = list(value)
        check(iter(seen), seen)
    else:
        check(value, value)


@given(st.lists(ID_SHAPES))
def test_whatever_a_list_of_ids_is_wrapped_in_they_are_all_taken(items):
    wanted = list(dict.fromkeys(int(item) for item in items))
    wrappings: list[Callable[[list[Any]], Any]] = [
        list,
        tuple,
        iter,
        collections.deque,
        lambda values: [[value] for value in values],
        lambda values: [(value,) for value in values],
        lambda values: [{"id": value} for value in values],
        lambda values: dict.fromkeys(map(int, values)).keys(),
        lambda values: dict(enumerate(values)).values(),
        lambda values: json.dumps([str(value) for value in values]),
        lambda values: str([int(value) for value in values]),
    ]
    for wrap in wrappings:
        assert parse_purchase_ids(wrap(items)) == wanted


@given(
    st.recursive(st.one_of(IDS, IDS.map(str), st.none(), st.booleans(), st.text(max_size=3)), containers, max_leaves=6)
)
@pytest.mark.parametrize("write", [str, lambda value: json.dumps(value, default=str)], ids=["Python", "JSON"])
def test_of_a_value_written_as_text_only_its_elements_are_taken(write, value):
    value = thawed(value)
    text = write(value)
    check(text, text.split(",") if text.lstrip()[:1] not in ("[", "(", "{") else value)


@given(st.text(alphabet="0123456789 ,'\"[](){}:_-.eENoneul\n", max_size=20))
def test_of_any_text_no_id_is_taken_that_does_not_stand_in_it(text):
    try:
        ids = parse_purchase_ids(text)
    except InvalidInputError:
        return
    rest = text
    for number in ids:
        _, found, rest = rest.partition(str(number))
        assert found or text.replace("_", "").count(str(number)), (text, ids)
        rest = rest if found else text


FRAMES = st.lists(st.one_of(IDS, st.integers(2020, 2030)), min_size=0, max_size=4).flatmap(
    lambda column: st.dictionaries(
        st.one_of(st.sampled_from(["id", "count"]), st.integers(2020, 2030)),
        st.permutations(column),
        min_size=1,
        max_size=3,
    )
)
TABLES: dict[str, Callable[[dict[Any, list[int]]], Any]] = {
    "pandas frame": pd.DataFrame,
    "pandas frame, turned": lambda columns: pd.DataFrame(columns).T,
    "pandas column": lambda columns: pd.DataFrame(columns).iloc[:, 0],
    "pandas counts": lambda columns: pd.DataFrame(columns).iloc[:, 0].value_counts(),
    "pandas labels": lambda columns: pd.DataFrame(columns).columns,
    "pandas groups": lambda columns: pd.DataFrame(columns).groupby(next(iter(columns))),
    "polars frame": lambda columns: pl.DataFrame({str(name): values for name, values in columns.items()}),
    "polars lazy frame": lambda columns: pl.LazyFrame({str(name): values for name, values in columns.items()}),
    "polars column": lambda columns: pl.Series(next(iter(columns.values()))),
    "arrow table": lambda columns: pa.table({str(name): values for name, values in columns.items()}),
    "arrow column": lambda columns: pa.array(next(iter(columns.values()))),
    "numpy records": lambda columns: pd.DataFrame(columns).to_records(),
    "numpy masked": lambda columns: np.ma.array(next(iter(columns.values())), mask=False),
    "counter": lambda columns: collections.Counter(next(iter(columns.values()))),
    "columns": lambda columns: columns,
}


# Each kind, wrapped in each way, in a few shapes: the shape decides less than the kind.
@settings(max_examples=20)
@given(FRAMES)
@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("wrap", [lambda table: table, lambda table: [table], lambda table: iter([table])])
def test_no_label_of_a_table_is_ever_taken(wrap, kind, columns):
    with pytest.raises(InvalidInputError):
        parse_purchase_ids(wrap(TABLES[kind](columns)))


@given(st.lists(st.lists(IDS, min_size=1, max_size=3), max_size=3), st.sampled_from([int, np.int32, object]))
def test_of_an_array_only_its_elements_are_taken(rows, dtype):
    rows = [row for row in rows if len(row) == len(rows[0])]
    array = np.array(rows, dtype=dtype)
    check(array, rows)
    check(list(array), rows)
    check(iter(array), rows)
    check(array.T, array.T.tolist())
    check(array.ravel(), array.ravel().tolist())


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.dates(), st.datetimes(), st.binary(),
    st.just(pd.NaT), st.just(np.datetime64("NaT")), st.datetimes().map(pd.Timestamp), st.times(),
    st.from_regex(r"\d{4}-\d{2}-\d{2}", fullmatch=True), st.lists(st.integers(), max_size=2),
)  # fmt: skip


@given(SCALARS)
def test_the_day_of_a_closing_is_the_one_that_the_value_shows(value):
    try:
        day = parse_closing_date(value)
    except InvalidInputError:
        return
    if value is None:
        assert day is None
    else:
        assert str(value).strip()[:10] == day
        assert datetime.date.fromisoformat(day)


@given(SCALARS, st.booleans())
def test_a_comment_is_the_text_that_the_value_shows(value, templated):
    try:
        comment = parse_comment(value, templated=templated)
    except InvalidInputError:
        return
    assert comment == (None if value is None else str(value))
    assert not templated or comment is None or comment.strip()
    assert not isinstance(value, float) or not math.isnan(value) or comment == "nan"
