"""
Containers whose iteration does not give their values: tables give column labels, mappings their keys.

Table libraries are recognised by the module of the type and by Arrow's and the dataframe protocol's methods, so none of
them is imported here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lucca_provider.inputs.errors import InvalidInputError, shown

__all__ = ["is_record", "refuse_container", "why_refused"]

_TABLE_LIBRARIES = frozenset(
    {"cudf", "dask", "datatable", "duckdb", "fireducks", "ibis", "modin", "narwhals", "pandas", "polars", "pyarrow"}
    | {"pyspark", "vaex", "xarray"}
)
# https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html and
# https://data-apis.org/dataframe-protocol/latest/
_TABLE_PROTOCOLS = ("__arrow_c_array__", "__arrow_c_stream__", "__dataframe__")
# sqlite3 and mappings of others; SQLAlchemy; pyodbc; dataclasses.
_ROW_MEMBERS = ("keys", "_fields", "cursor_description", "__dataclass_fields__")
_LIST_OF_IDS = "Pass the ids alone, as a list"


def refuse_container(value: object, name: str) -> None:
    """
    Refuse a container whose iteration is not its values.

    :param value: any object
    :param name: what the argument is called in the error
    :raises InvalidInputError: with the container's type and what to pass instead
    """
    if isinstance(value, Mapping):
        raise InvalidInputError(
            f"{name} is a mapping ({type(value).__name__}) with the keys {shown(list(value))}. {_LIST_OF_IDS}, such "
            "as one of its values or list(its keys)."
        )
    if why := why_refused(value):
        raise InvalidInputError(f"{name} is {why}.")


def why_refused(value: object) -> str | None:
    """
    Return what a container is and what to pass instead, or ``None`` if its iteration gives its values.

    :param value: any object; mappings are for the caller to judge
    """
    kind = type(value)
    if isinstance(value, (str, list, tuple, int)):
        return None
    if isinstance(value, type):
        return f"the class {value.__name__}. {_LIST_OF_IDS}"
    if _is_from(kind, _TABLE_LIBRARIES) or any(hasattr(kind, method) for method in _TABLE_PROTOCOLS):
        return (
            f"a {kind.__module__.partition('.')[0]} {kind.__name__}, which has labels besides its values. "
            f"{_LIST_OF_IDS}: frame['id'].to_list() of pandas and polars, table['id'].to_pylist() of pyarrow"
        )
    if _is_from(kind, frozenset({"jinja2"})):
        return f"a name that its template did not find. {_LIST_OF_IDS}"
    if _is_from(kind, frozenset({"numpy"})):
        return _why_array_refused(value)
    if getattr(value, "typecode", None) in ("u", "w"):
        return f"an {kind.__name__} of characters. {_LIST_OF_IDS}"
    return None


def is_record(value: object) -> bool:
    """
    Return whether a value is one row with named fields: a named tuple, a ``struct_time``, a row of a database.

    :param value: any object
    """
    kind = type(value)
    if isinstance(value, tuple):
        return kind is not tuple
    return isinstance(value, Iterable) and any(hasattr(kind, name) for name in _ROW_MEMBERS)


def _is_from(kind: type, libraries: frozenset[str]) -> bool:
    return any(base.__module__.partition(".")[0] in libraries for base in kind.__mro__)


def _why_array_refused(array: object) -> str | None:
    dtype, dimensions = getattr(array, "dtype", None), getattr(array, "ndim", None)
    if not any(base.__name__ == "ndarray" for base in type(array).__mro__):
        return None
    if any(base.__name__ == "MaskedArray" for base in type(array).__mro__):
        what = "a masked numpy array, which has values that do not count"
    elif getattr(dtype, "names", None) is not None:
        what = "a structured numpy array, which has columns"
    elif dimensions == 0:
        what = "a numpy array without dimensions"
    else:
        return None
    return f"{what}. {_LIST_OF_IDS}, such as array.tolist() of a plain array"
