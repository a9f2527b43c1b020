"""Whatever a module offers has a docstring, and the parameters that it explains are those of the signature."""

from __future__ import annotations

import enum
import importlib
import inspect
import pkgutil
import re
import typing
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import lucca_provider
from tests.conftest import AIRFLOW


def public_modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(lucca_provider.__path__, "lucca_provider."):
        if any(part.startswith("_") for part in found.name.split(".")):
            continue
        if found.name == "lucca_provider.policies.retry" and AIRFLOW < (3, 3):
            continue
        # Its names are Airflow's.
        if found.name != "lucca_provider.compat":
            yield importlib.import_module(found.name)


def public_names() -> Iterator[Any]:
    for module in public_modules():
        for name in getattr(module, "__all__", ()):
            yield pytest.param(module, name, id=f"{module.__name__.removeprefix('lucca_provider.')}.{name}")


@pytest.mark.parametrize(("module", "name"), list(public_names()))
def test_a_public_name_is_documented(module: ModuleType, name: str) -> None:
    thing = getattr(module, name)
    # To pytest before 8.4 a fixture is a function; its parameters are no caller's.
    if inspect.isfunction(thing) and not hasattr(thing, "_pytestfixturefunction"):
        assert_documented(thing, thing.__doc__, name)
    # To Python 3.10 an alias such as Mapping[str, Any] is a class.
    if not inspect.isclass(thing) or typing.get_origin(thing):
        return
    assert (thing.__doc__ or "").strip(), name
    if "__init__" in vars(thing) and not issubclass(thing, enum.Enum):
        referred = [getattr(module, other, None) for other in re.findall(r":class:`(\w+)`", thing.__doc__ or "")]
        text = "".join(each.__doc__ or "" for each in (thing, *thing.__mro__[1:], *referred))
        assert_documented(thing.__init__, text, name, least=1)
    for member, method in vars(thing).items():
        function = getattr(method, "__func__", method)
        if inspect.isfunction(function) and not member.startswith("_"):
            assert inspect.getdoc(getattr(thing, member)), f"{name}.{member}"
            if not any(member in vars(base) for base in thing.__mro__[1:]):
                assert_documented(function, function.__doc__, f"{name}.{member}")


def assert_documented(function: Any, text: str | None, name: str, *, least: int = 2) -> None:
    """Check that parameters have a line each; a single one of a function may be explained by its first sentence."""
    assert (text or "").strip(), name
    parameters = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name not in ("self", "cls")
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    if len(parameters) >= least:
        unsaid = {parameter for parameter in parameters if f":param {parameter}:" not in (text or "")}
        assert not unsaid, name
