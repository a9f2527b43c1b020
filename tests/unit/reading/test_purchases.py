"""Reading states back after a closing: in which way, how many requests it takes, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from lucca_provider.exceptions import (
    LuccaAccessError,
    LuccaError,
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotFoundError,
    LuccaThrottledError,
)
from lucca_provider.reading.purchases import ASKED_AGAIN, STREAK, ReadBack, read_back

Json = dict[str, Any]
WRONG_KEY = LuccaAccessError("401 wrong key")


def purchase(number: int, state: Any = "Closed", **fields: Any) -> Json:
    return {"id": number, "state": state, "title": f"Chairs {number}", **fields}


Answers = Mapping[int, Json | LuccaError]


class Lucca:
    """
    A tenant in memory, which counts requests.

    :param purchases: what each purchase itself answers, or an error
    :param listed: what the list has, or an error; the same by default
    """

    def __init__(self, purchases: Answers, listed: list[Json] | LuccaError | None = None) -> None:
        self.purchases = purchases
        self.listed = [p for p in purchases.values() if isinstance(p, dict)] if listed is None else listed
        self.requests: list[int | str] = []

    def get_purchase(self, purchase_id: int) -> Mapping[str, Any]:
        self.requests.append(purchase_id)
        answer = self.purchases.get(purchase_id, LuccaNotFoundError("404"))
        if isinstance(answer, LuccaError):
            raise answer
        return answer

    def get_page(self, path: str, params: Mapping[str, Any]) -> object:
        self.requests.append("page")
        if isinstance(self.listed, LuccaError):
            raise self.listed
        return {"items": self.listed, "next": None, "count": len(self.listed)}


def states(read: ReadBack) -> dict[int, Any]:
    return {number: purchase["state"] for number, purchase in read.purchases.items() if number not in read.unread}


def test_many_take_a_page_and_a_few_a_request_each() -> None:
    lucca = Lucca({number: purchase(number) for number in range(1, 501)})
    read = read_back(range(1, 501), lucca, closed=range(1, 501))
    assert states(read) == dict.fromkeys(range(1, 501), "Closed")
    assert read.purchases[7]["title"] == "Chairs 7"
    assert (read.unread, read.error, lucca.requests) == ({}, None, ["page"])
    lucca.requests.clear()
    assert states(read_back([3, 4], lucca, closed=[])) == {3: "Closed", 4: "Closed"}
    assert lucca.requests == [3, 4]


def test_a_list_that_lags_behind_is_not_believed_of_what_was_closed() -> None:
    now = {1: purchase(1), 2: purchase(2), 3: purchase(3, "Ongoing"), 4: purchase(4, "Ongoing")}
    lucca = Lucca(now, [purchase(number, "Ongoing") for number in now])
    read = read_back([1, 2, 3, 4], lucca, closed=[1, 3])
    assert states(read) == {1: "Closed", 2: "Ongoing", 3: "Ongoing", 4: "Ongoing"}
    assert lucca.requests == ["page", 1, 3]


def test_what_the_list_does_not_confirm_takes_a_bounded_number_of_requests() -> None:
    ids = range(1, 1001)
    lucca = Lucca({number: purchase(number, "Ongoing") for number in ids})
    assert states(read_back(ids, lucca, closed=ids)) == dict.fromkeys(ids, "Ongoing")
    assert len(lucca.requests) == 1 + ASKED_AGAIN


def test_what_was_asked_for_again_without_an_answer_is_unread_and_keeps_its_title() -> None:
    lucca = Lucca(
        {1: LuccaInDoubtError("500 out of order"), 2: purchase(2), 3: purchase(3)},
        [purchase(1, "Ongoing"), purchase(2), purchase(3)],
    )
    read = read_back([1, 2, 3], lucca, closed=[1, 2, 3])
    assert states(read) == {2: "Closed", 3: "Closed"}
    assert "500 out of order" in read.unread[1]
    assert read.purchases[1]["title"] == "Chairs 1"


def test_a_list_that_cannot_be_used_leaves_single_requests() -> None:
    lucca = Lucca({number: purchase(number) for number in range(1, 5)}, LuccaForbiddenError("403 no list"))
    read = read_back([1, 2, 3, 4, 99], lucca, closed=[1])
    assert states(read) == dict.fromkeys(range(1, 5), "Closed")
    assert "no such purchase" in read.unread[99]
    assert lucca.requests == ["page", 1, 2, 3, 4, 99]


def test_where_nothing_answers_it_still_ends_and_says_so_of_each() -> None:
    silent = LuccaInDoubtError("no answer")
    lucca = Lucca(dict.fromkeys(range(1, 5001), silent), silent)
    read = read_back(range(1, 5001), lucca, closed=range(1, 5001))
    assert read.purchases == {}
    assert set(read.unread) == set(range(1, 5001))
    assert all("no answer" in words for words in read.unread.values())
    assert len(lucca.requests) == 1 + STREAK
    assert read.error is None


@pytest.mark.parametrize(("listed", "closed"), [(LuccaForbiddenError("403 no list"), [20]), ([purchase(77)], [])])
def test_purchases_that_have_vanished_do_not_hide_the_others_of_a_tenant_that_is_there(
    listed: list[Json] | LuccaError, closed: list[int]
) -> None:
    gone = 2 * STREAK
    lucca = Lucca({number: purchase(number) for number in range(gone + 1, 21)}, listed)
    read = read_back(range(1, 21), lucca, closed=closed)
    assert states(read) == dict.fromkeys(range(gone + 1, 21), "Closed")
    assert set(read.unread) == set(range(1, gone + 1))
    assert all("404" in words for words in read.unread.values())


def test_where_nobody_knows_whether_the_tenant_is_there_the_others_are_not_asked_for() -> None:
    lucca = Lucca({}, LuccaForbiddenError("403 no list"))
    read = read_back(range(1, 5001), lucca, closed=[])
    assert len(lucca.requests) == 1 + STREAK
    assert set(read.unread) == set(range(1, 5001))


@pytest.mark.parametrize("error", [WRONG_KEY, LuccaThrottledError("429 used up", retry_after=600)])
def test_what_no_other_request_would_escape_ends_it_and_keeps_what_was_read(error: LuccaError) -> None:
    lucca = Lucca({1: purchase(1), 2: error, 3: purchase(3)}, [purchase(3)])
    read = read_back([1, 2, 3], lucca, closed=[1, 2, 3])
    assert states(read) == {1: "Closed", 3: "Closed"}
    assert str(error) in read.unread[2]
    assert read.error is error


def test_a_wrong_key_when_asking_again_keeps_the_titles() -> None:
    lucca = Lucca({1: WRONG_KEY}, [purchase(1, "Ongoing"), purchase(2), purchase(3)])
    read = read_back([1, 2, 3], lucca, closed=[1, 2, 3])
    assert states(read) == {2: "Closed", 3: "Closed"}
    assert (read.error, read.purchases[1]["title"]) == (WRONG_KEY, "Chairs 1")


@pytest.mark.parametrize("state", [None, "", 5])
def test_a_purchase_without_a_state_is_unread(state: Any) -> None:
    read = read_back([1], Lucca({1: purchase(1, state)}), closed=[1])
    assert states(read) == {}
    assert "no state" in read.unread[1]
