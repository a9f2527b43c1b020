"""Containers whose iteration or keys are not their values: tables, mappings, records, and numpy's special arrays."""

from __future__ import annotations

import array
import collections
import dataclasses
import enum
import io
import itertools
import sqlite3
import sys
import time
import types
from typing import Any, NamedTuple

import jinja2
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy

from lucca_provider.inputs import InvalidInputError, parse_purchase_ids, parse_states


class Row(NamedTuple):
    id: int
    invoices: int


class One(NamedTuple):
    id: int


class Purchases(enum.IntEnum):
    FIRST = 101


class Foreign:
    """A table of a library that nobody has heard of, which hands itself over through Arrow."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        raise NotImplementedError

    def __iter__(self) -> Any:
        return iter([2024, 2025])


class Keyed:
    """Like a mapping, without being registered as one."""

    def keys(self) -> list[int]:
        return [2024]

    def __iter__(self) -> Any:
        return iter([2024])


def database_rows(*columns: str) -> list[Any]:
    database = sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row
    rows = database.execute(
        "SELECT " + ", ".join(f'{101 + n} AS "{name}"' for n, name in enumerate(columns))
    ).fetchall()
    database.close()
    return rows


def alchemy_rows(*columns: str) -> list[Any]:
    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        text = ", ".join(f'{101 + n} AS "{name}"' for n, name in enumerate(columns))
        return list(connection.execute(sqlalchemy.text(f"SELECT {text}")))


@dataclasses.dataclass
class Line:
    """A row of one's own, which gives its values one by one."""

    id: int
    invoices: int

    def __iter__(self) -> Any:
        return iter([self.id, self.invoices])


class OdbcRow(list[int]):
    """Like a row of pyodbc."""

    cursor_description = (("2024", int), ("id", int))


UNINSTALLED = type("DataFrame", (), {"__module__": "cudf.core.dataframe", "__iter__": lambda self: iter([2024])})
"""A type of a library that is not installed here, which is known by its module alone."""
SALES = pd.DataFrame({"id": [101, 102], "year": [2024, 2025], "amount": [5, 6]})
PIVOT = SALES.pivot_table(index="id", columns="year", values="amount")
IDS = pd.DataFrame({"id": [101, 102]})
LABELLED = "which has labels besides its values. Pass the ids alone, as a list: frame"

CONTAINERS: dict[str, tuple[Any, str]] = {
    "pandas frame": (SALES, f"a pandas DataFrame, {LABELLED}"),
    "pandas frame of one column": (IDS, "a pandas DataFrame"),
    "pandas frame without rows": (IDS[:0], "a pandas DataFrame"),
    "pandas pivot table, whose labels are years": (PIVOT, "a pandas DataFrame"),
    "pandas frame of a subclass": (type("Frame", (pd.DataFrame,), {})({"id": [101]}), "which has labels"),
    "pandas column": (IDS["id"], "a pandas Series"),
    "pandas counts, id to number": (pd.Series([101, 101, 102]).value_counts(), "a pandas Series"),
    "pandas row": (SALES.iloc[0], "a pandas Series"),
    "pandas labels": (PIVOT.columns, "a pandas Index"),
    "pandas grouped frame": (SALES.groupby("year"), "a pandas DataFrameGroupBy"),
    "pandas grouped column": (SALES.groupby("id")["amount"], "a pandas SeriesGroupBy"),
    "pandas nullable array": (pd.array([101, None], dtype="Int64"), "a pandas IntegerArray"),
    "polars frame": (pl.DataFrame({"id": [101]}), f"a polars DataFrame, {LABELLED}"),
    "polars frame without rows": (pl.DataFrame({"id": []}), "a polars DataFrame"),
    "polars lazy frame": (pl.LazyFrame({"id": [101]}), "a polars LazyFrame"),
    "polars column": (pl.Series("id", [101]), "a polars Series"),
    "polars grouped frame": (pl.DataFrame({"id": [101]}).group_by("id"), "a polars GroupBy"),
    "arrow table": (pa.table({"id": [101]}), f"a pyarrow Table, {LABELLED}"),
    "arrow record batch": (pa.table({"id": [101]}).to_batches()[0], "a pyarrow RecordBatch"),
    "arrow column": (pa.table({"id": [101]})["id"], "a pyarrow ChunkedArray"),
    "arrow array": (pa.array([101]), "a pyarrow Int64Array"),
    "a table of any other library": (Foreign(), "which has labels besides its values"),
    "a table known by its module": (UNINSTALLED(), "a cudf DataFrame"),
    "numpy records": (np.array([(101, 3)], dtype=[("id", int), ("n", int)]), "a structured numpy array"),
    "numpy records of one field": (np.array([(101,)], dtype=[("id", int)]), "a structured numpy array"),
    "numpy recarray": (np.rec.array([(101, 3)], names="id,n"), "a structured numpy array"),
    "numpy masked array": (np.ma.array([101, 102], mask=[False, True]), "a masked numpy array"),
    "numpy's masked value": (np.ma.masked, "a masked numpy array"),
    "numpy array without dimensions": (np.array(101), "a numpy array without dimensions"),
    "mapping, id to number of invoices": ({"101": 3}, r"a mapping \(dict\) with the keys \['101'\]"),
    "mapping with numbers as keys": ({101: 3, 102: 1}, "a mapping"),
    "mapping like a row": ({"id": 101}, "a mapping"),
    "empty mapping": ({}, "a mapping"),
    "counter": (collections.Counter([101, 101]), r"a mapping \(Counter\)"),
    "chain of mappings": (collections.ChainMap({"a": 101}), "a mapping"),
    "own mapping": (collections.UserDict({"a": 101}), "a mapping"),
    "read-only mapping": (types.MappingProxyType({101: 3}), "a mapping"),
    "text of a mapping, JSON": ('{"101": 3}', "a mapping"),
    "text of a mapping, Python": ("{'101': 3}", "a mapping"),
    "what is like a mapping": (Keyed(), "one row with named fields"),
    "named tuple": (Row(101, 3), r"one row with named fields, Row\(id=101, invoices=3\)"),
    "named tuple of one field": (One(101), "one row with named fields"),
    "row of a database": (database_rows("id", "invoices")[0], "one row with named fields"),
    "row of SQLAlchemy": (alchemy_rows("id", "invoices")[0], "one row with named fields"),
    "row of pyodbc": (OdbcRow([101, 3]), "one row with named fields"),
    "iterable dataclass": (Line(101, 3), "one row with named fields"),
    "a moment in parts": (time.gmtime(0), "one row with named fields"),
    "a version": (sys.version_info, "one row with named fields"),
    "a class with members": (Purchases, "the class Purchases"),
    "array of characters": (array.array("u", "12"), "an array of characters"),
    "binary": (array.array("B", b"12").tobytes(), "is binary"),
    "a name that a template did not find": (jinja2.Undefined(name="ids"), "a name that its template did not find"),
    "the same, strictly": (jinja2.StrictUndefined(name="ids"), "a name that its template did not find"),
}


def fresh(value: Any) -> Any:
    """Return what can be read only once, made anew: ``make mutation`` runs the tests several times in one process."""
    return value() if isinstance(value, types.FunctionType) else value


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_whose_iteration_is_not_its_values_is_refused_by_name(name):
    value, message = CONTAINERS[name]
    with pytest.raises(InvalidInputError, match=message) as raised:
        parse_purchase_ids(value)
    assert str(raised.value).startswith("purchase_ids")
    assert "Pass " in str(raised.value)


@pytest.mark.parametrize("name", [name for name in CONTAINERS if not name.startswith(("text of", "binary"))])
def test_such_a_container_is_refused_as_an_item_as_well(name):
    value, _ = CONTAINERS[name]
    if name in ("mapping like a row", "chain of mappings", "own mapping", "named tuple of one field"):
        assert parse_purchase_ids([value]) == [101]
        return
    with pytest.raises(InvalidInputError, match=r"^purchase_ids: item 1: "):
        parse_purchase_ids([value])


ITEMS: dict[str, tuple[Any, str]] = {
    "rows of two columns, lists": ([[101, 3], [102, 1]], "item 1: a row of 2 columns.*item 2: a row of 2"),
    "rows of two columns, tuples": ([(101, 3), (102, 1)], "item 2: "),
    "rows of two columns, text": ("[[101, 3], [102, 1]]", "item 2: "),
    "rows of two columns, text of tuples": ("[(101, 3), (102, 1)]", "item 2: "),
    "rows of two columns, array": (np.array([[101, 3], [102, 1]]), "item 2: "),
    "rows of two columns, database": (database_rows("id", "invoices"), "a row of 2 columns"),
    "what mapped tasks returned, as a plain list": ([[101], [102, 103]], "item 2: a row of 2 columns"),
    "what mapped tasks returned, one of them nothing": ([[101], []], "item 2: a row of 0 columns"),
    "one row of two ids": ([[101, 102]], "a row of 2 columns"),
    "lists in lists": ([[[101]]], "is of type list"),
    "column named by a number": ([{2024: 101}], "maps one value to another"),
    "column named by a number's text": ([{"101": 3}], "maps one value"),
    "column named by a float's text": ([{"1e3": 3}], "maps one value"),
    "column named by a month": ([{"2024-01": 3}], "maps one value"),
    "column named by nothing": ([{None: 101}], "maps one value"),
    "column with an empty name": ([{"": 101}], "maps one value"),
    "column named nan": ([{"nan": 101}], "maps one value"),
    "column named by a quarter": ([{"2024Q1": 5}], "maps one value"),
    "column named by a month in words": ([{"Dec 2024": 5}], "maps one value"),
    "column named by a label": ([{"P-101": 3}], "maps one value"),
    "binary in a view": ([memoryview(b"e")], "is of type memoryview"),
    "column named by a number, text": ('[{"101": 3}]', "maps one value"),
    "column named by a number, database": (database_rows("2024"), "maps one value"),
    "column whose name was lost": (lambda: pd.DataFrame({2024: [101]}).itertuples(index=False), "maps one value"),
    "counts": ([collections.Counter({"x": 101})], "maps one value"),
    "pairs of label and row": (lambda: SALES.iterrows(), "item 2: "),
    "rows with their label": (lambda: IDS.itertuples(), "item 2: "),
    "pairs of key and value": ({101: 3}.items(), "a row of 2 columns"),
    "numbered": (lambda: enumerate([101, 102]), "item 2: "),
    "grouped": (lambda: itertools.groupby([101, 101]), "a row of 2 columns"),
    "a frame in a list": ([IDS], "item 1: a pandas DataFrame"),
    "arrow's numbers": ([pa.scalar(101)], "item 1: a pyarrow Int64Scalar"),
    "booleans of numpy": (np.array([True]), "is a boolean"),
    "ids as floats, as pandas makes them beside a gap": ([101.0, float("nan")], "item 2: "),
    "pandas' NA": ([pd.NA], "item 1: "),
    "text with an object that names a key twice": ('[{"id": 101, "id": 102}]', "names a key twice"),
    "the same in Python": ("[{'id': 101, 'id': 102}]", "names a key twice"),
    "text with a comma left out": ("['101' '102']", "without a comma"),
    "what 2.11 renders for mapped tasks": ("LazySelectSequence([2 items])", r"purchase_ids=find\.output"),
    "what 3 has for it": ("LazyXComSequence(<unevaluated length>)", r"sum\(start=\[\]\)"),
}


@pytest.mark.parametrize("name", ITEMS)
def test_items_that_are_not_plainly_ids_are_refused(name):
    value, message = ITEMS[name]
    with pytest.raises(InvalidInputError, match=message):
        parse_purchase_ids(fresh(value))


TAKEN: dict[str, Any] = {
    "values of a pandas column": IDS["id"].to_list(),
    "array of a pandas column": IDS["id"].to_numpy(),
    "values of a polars column": pl.Series([101, 102]).to_list(),
    "values of an arrow column": pa.array([101, 102]).to_pylist(),
    "rows of a pandas frame": IDS.to_dict("records"),
    "plain rows of a pandas frame": lambda: IDS.itertuples(index=False),
    "rows of an arrow table": pa.table({"id": [101, 102]}).to_pylist(),
    "rows of a polars frame": pl.DataFrame({"id": [101, 102]}).rows(),
    "numpy array": np.array([101, 102]),
    "numpy array of one column": np.array([[101], [102]]),
    "numpy array of texts": np.array(["101", "102"]),
    "numpy array of objects": np.array([101, "102"], dtype=object),
    "one row each of a mapping": [{"purchase id": 101}, {"Number": 102}],
    "keys, if they are meant": {101: 3, 102: 1}.keys(),
    "array of numbers": array.array("l", [101, 102]),
    "lines of a file": lambda: io.StringIO("101\n102\n"),
    "generator": lambda: (number for number in (101, 102)),
    "set as text": "{101, 102}",
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_the_errors_and_the_guide_name_instead_is_taken(name):
    assert sorted(parse_purchase_ids(fresh(TAKEN[name]))) == [101, 102]


def test_rows_of_a_database_with_one_named_column_are_taken():
    assert parse_purchase_ids(database_rows("id")) == [101]


@pytest.mark.parametrize("value", [IDS, pl.Series(["Paid"]), pa.array(["Paid"]), np.array("Paid")])
def test_names_of_states_are_read_as_strictly(value):
    with pytest.raises(InvalidInputError, match=r"(?s)^paid_states: .* is not a list of names"):
        parse_states(value, name="paid_states")


@pytest.mark.parametrize("rows", [alchemy_rows, database_rows, lambda name: [OdbcRow([5])]])
def test_a_row_whose_column_is_named_by_a_number_is_refused(rows):
    with pytest.raises(InvalidInputError, match="maps one value to another"):
        parse_purchase_ids(rows("2024"))


@pytest.mark.parametrize("rows", [alchemy_rows, database_rows])
def test_a_row_with_the_id_alone_is_taken(rows):
    assert parse_purchase_ids(rows("id")) == [101]
