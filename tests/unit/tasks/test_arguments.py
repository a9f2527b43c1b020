"""How tasks read what can be read only once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from lucca_provider.inputs import InvalidInputError
from lucca_provider.tasks.arguments import read_purchase_ids


def task(value: object) -> Any:
    return SimpleNamespace(purchase_ids=value)


def failing() -> Iterator[int]:
    yield 101
    raise OSError("the disk is gone")


@pytest.mark.parametrize("make", [iter, lambda ids: map(int, ids), lambda ids: (each for each in ids)])
def test_tries_and_tasks_that_were_given_the_same_generator_all_have_its_ids(make: Callable[[Any], Any]) -> None:
    shared = make([101, 102])
    assert [read_purchase_ids(task(shared)) for _ in range(3)] == [[101, 102]] * 3


def test_a_generator_that_has_failed_is_never_taken_for_an_empty_one() -> None:
    ids = failing()
    with pytest.raises(OSError, match="disk"):
        read_purchase_ids(task(ids))
    with pytest.raises(InvalidInputError, match=r"purchase_ids: this generator failed .*disk is gone"):
        read_purchase_ids(task(ids))


def test_a_generator_in_the_place_of_one_that_is_gone_is_read_itself() -> None:
    for first in range(1, 2000):
        assert read_purchase_ids(task(iter([first]))) == [first]
