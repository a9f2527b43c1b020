"""Lists are read to their end, by token or by number, or it is said that they were not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucca_provider.reading import lists
from lucca_provider.reading.lists import DOCUMENTS, PURCHASES, ListReader, page_params


def items(*ids: int, **fields: Any) -> dict[str, Any]:
    return {"items": [{"id": number} for number in ids], **fields}


class Server:
    """
    Gives one answer after the other, the last one again and again.

    :param answers: JSON
    """

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Mapping[str, Any]] = []

    def __call__(self, query: Mapping[str, Any]) -> Any:
        self.asked.append(query)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    @property
    def pages(self) -> list[str | None]:
        """The pages that were asked for; ``None`` for the first, which has no name."""
        return [query.get("page") for query in self.asked]


def read(
    server: Callable[[Mapping[str, Any]], Any], query: Mapping[str, Any] | None = None
) -> tuple[list[int], ListReader]:
    """Read a list to its end; return the ids that it gave, and the reader."""
    reader, given = ListReader(PURCHASES, query), []
    while not reader.ended:
        given += [item["id"] for item in reader.take(server(reader.params))]
    return given, reader


def ids(server: Callable[[Mapping[str, Any]], Any]) -> list[int]:
    given, reader = read(server)
    assert reader.problem is None
    return given


def failure(server: Callable[[Mapping[str, Any]], Any]) -> tuple[list[int], str | None]:
    """Return the ids that were given all the same, and what was said then."""
    given, reader = read(server)
    return given, reader.problem


def reader_after(*answers: Any) -> ListReader:
    reader = ListReader(PURCHASES)
    for answer in answers:
        reader.take(answer)
    return reader


# -- to the end --------------------------------------------------------------------------------------------------------


def test_pages_are_read_by_token_until_there_is_none():
    server = Server(items(1, 2, next="b"), items(3, next="c"), items(4))
    assert ids(server) == [1, 2, 3, 4]
    assert server.pages == [None, "b", "c"]


@pytest.mark.parametrize("nothing", [{}, {"next": None}, {"next": ""}, {"next": 5}, {"next": ["x"]}])
def test_pages_are_read_by_number_where_there_are_no_tokens(nothing):
    server = Server(items(1, 2, count=3, **nothing), items(3, count=3, **nothing))
    assert ids(server) == [1, 2, 3]
    assert server.pages == [None, "2"]


def test_without_token_and_count_pages_are_read_until_one_is_empty():
    server = Server(items(1, 2), items(3), items())
    assert ids(server) == [1, 2, 3]
    assert server.pages == [None, "2", "3"]


@pytest.mark.parametrize("end", [{}, {"next": None}, {"count": 0}, {"next": "b", "count": 0}])
def test_a_list_may_be_empty(end):
    server = Server(items(**end), items(**end))
    assert ids(server) == []
    assert len(server.asked) == 1


def test_no_page_is_asked_for_that_the_count_says_is_not_there():
    server = Server(items(1, 2, count=2))
    assert ids(server) == [1, 2]
    assert len(server.asked) == 1


def test_a_token_leads_on_whatever_the_first_page_counted():
    server = Server(items(1, 2, count=2, next="b"), items(count=2, next=None))
    assert ids(server) == [1, 2]
    assert server.pages == [None, "b"]


def test_a_count_need_come_only_once():
    server = Server(items(1, count=2), items(2))
    assert ids(server) == [1, 2]
    assert len(server.asked) == 2


@pytest.mark.parametrize("count", [None, "2", 2.0, True, -1, [2], float("nan")])
def test_what_is_no_count_is_none(count):
    server = Server(items(1, 2, count=count), items(count=count))
    assert ids(server) == [1, 2]
    assert server.pages == [None, "2"]


def test_what_comes_again_is_given_again():
    """A list that moves while it is read shows an item twice, perhaps in another state."""
    server = Server(items(1, 2, count=3), items(2, 3, count=3))
    assert ids(server) == [1, 2, 2, 3]
    server = Server(items(1, 2, count=2, next="b"), items(2, 1, count=2))
    assert ids(server) == [1, 2, 2, 1]


def test_every_page_is_asked_for_with_the_query_and_what_paging_needs():
    server = Server(items(1, next="b"), items(2))
    read(server, {"createdAt.from": ["2026-02-01"]})
    assert server.asked[0] == {"createdAt.from": ["2026-02-01"], "limit": "1000", "fields.root": "next,count"}
    assert server.asked[1] == {**server.asked[0], "page": "b"}
    assert page_params("b") == {"limit": "1000", "fields.root": "next,count", "page": "b"}


def test_a_reader_knows_which_list_it_reads():
    assert ListReader(DOCUMENTS).path == DOCUMENTS


# -- or not ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [None, [], "x", 5, {}, {"items": None}, {"items": {}}, {"items": "abc"}])
def test_what_is_no_list_is_not_taken_for_one(answer):
    assert failure(Server(answer)) == ([], "Lucca's answer has no items.")
    assert failure(Server(items(1, next="b"), answer)) == ([1], "Lucca's answer has no items.")


@pytest.mark.parametrize("item", [None, 5, "x", [], {}, {"id": None}, {"id": "5"}, {"id": 5.0}, {"id": True}])
def test_an_item_that_cannot_be_told_from_others_leaves_the_list_unknown_and_the_others_evidence(item):
    assert failure(Server({"items": [{"id": 1}, item]})) == ([1], "Lucca's answer has an item without an id.")


@pytest.mark.parametrize(
    ("pages", "given"),
    [
        ([items(1, next="b"), items(2, next="b")], [1, 2]),
        ([items(1, next="b"), items(2, next="c"), items(3, next="b")], [1, 2, 3]),
        ([items(1, next="b"), items(1, next="c")], [1, 1]),
        ([items(1, next="b"), items(next="c")], [1]),
        ([items(next="b")], []),
        ([items(1, count=2), items(1, count=2)], [1, 1]),
        ([items(1), items(1)], [1, 1]),
        ([items(1), items(2), items(1)], [1, 2, 1]),
    ],
)
def test_a_page_or_token_that_comes_again_is_no_end(pages, given):
    server = Server(*pages)
    assert failure(server) == (
        given,
        f"page {len(pages)} leads back to what came before, so the rest is not known.",
    )
    assert len(server.asked) == len(pages)


@pytest.mark.parametrize("again", [items(1, 2, count=2, next="b"), items(count=2, next="b"), items(1, next="b")])
def test_a_token_that_comes_again_does_no_harm_once_all_were_seen(again):
    server = Server(items(1, 2, count=2, next="b"), again)
    assert set(ids(server)) == {1, 2}
    assert server.pages == [None, "b"]


@pytest.mark.parametrize(
    "pages",
    [
        [items(1, count=3), items(2), items()],
        [items(1, next="b"), items(2, next=None, count=3)],
        [items(1, 2, 2, count=3), items()],
        [items(1, 2, next="b", count=3), items(2)],
    ],
)
def test_a_list_with_fewer_items_than_it_counts_is_not_whole(pages):
    assert failure(Server(*pages))[1] == "Lucca gave 2 of 3, so the list is not whole. Try again."


@pytest.mark.parametrize(
    "pages",
    [
        [items(1, 2, count=1)],
        [items(1, 2, count=1, next="b")],
        [items(1, count=1, next="b"), items(2, count=1)],
        [items(1, 2, count=0)],
    ],
)
def test_a_list_with_more_items_than_it_counts_is_not_known(pages):
    given, said = failure(Server(*pages))
    assert given == [1, 2]
    assert said == f"Lucca gave 2 of {pages[0]['count']}, so the list is not known. Try again."


@pytest.mark.parametrize("count", [2, 4])
def test_a_list_that_grows_or_shrinks_while_it_is_read_is_not_whole_and_its_pages_are_evidence(count):
    server = Server(items(1, 2, count=3), items(3, count=count))
    assert failure(server) == ([1, 2, 3], f"the list changed while it was read, from 3 to {count}. Try again.")


@pytest.mark.parametrize("tokens", [False, True])
def test_a_list_without_an_end_is_given_up(tokens, monkeypatch):
    monkeypatch.setattr(lists, "MAX_PAGES", 50)
    asked = []

    def endless(query: Mapping[str, Any]) -> Any:
        asked.append(query)
        assert len(asked) <= 50, "asked without end"
        return items(len(asked), next=f"t{len(asked)}" if tokens else None)

    given, said = failure(endless)
    assert given == list(range(1, 51))
    assert said == "no end after 50 pages."
    assert len(asked) == 50


# -- whether to read on ------------------------------------------------------------------------------------------------


def test_the_first_page_is_tried_from_three_things_on():
    assert [ListReader(PURCHASES).is_worth_reading(missing) for missing in (1, 2, 3, 4)] == [False, False, True, True]


@pytest.mark.parametrize(
    ("answers", "left"),
    [
        ([], None),
        ([items(1, 2)], None),
        ([items(1, 2, count=2)], 0),
        ([items(1, 2, count=3)], 1),
        ([items(1, 2, count=6)], 2),
        ([items(1, 2, count=7)], 3),
        ([items(1, 2, count=7), items(3, 4, count=7)], 2),
        ([items(1, 2, count=7, next="b"), items(3, count=7, next="c")], 2),
        ([items(count=7, next="b")], 0),
        (["no list"], 0),
    ],
)
def test_the_pages_to_come_follow_from_the_count_and_the_first_page(answers, left):
    assert reader_after(*answers).requests_left == left


@pytest.mark.parametrize(
    ("missing", "affordable", "worth"), [(3, 9, False), (4, 9, True), (4, 3, True), (4, 2, False), (100, 2, False)]
)
def test_with_a_count_it_is_read_on_if_that_is_fewer_requests_and_can_be_done(missing, affordable, worth):
    assert reader_after(items(1, 2, count=8)).is_worth_reading(missing, affordable) is worth


@pytest.mark.parametrize(
    ("missing", "affordable", "worth"), [(2, 9, False), (3, 9, True), (3, 2, False), (100, 3, True), (100, 2, False)]
)
def test_without_a_count_it_is_read_on_while_fewer_pages_were_read_than_are_things_missing(missing, affordable, worth):
    assert reader_after(items(1), items(2)).is_worth_reading(missing, affordable) is worth


def test_what_is_at_its_end_is_not_read_on():
    assert not reader_after(items(1, count=1)).is_worth_reading(100)
    assert not reader_after("no list").is_worth_reading(100)


# -- over a wait -------------------------------------------------------------------------------------------------------


def test_it_goes_on_after_a_wait_where_it_was():
    reader = reader_after(items(1, 2, count=6, next="b"))
    reader.failures = 2
    later = ListReader.restore(PURCHASES, json.loads(json.dumps(reader.carry())))
    assert (later.page, later.pages, later.count, later.failures) == ("b", 1, 6, 2)
    assert later.requests_left == 2
    assert later.carry() == reader.carry()
    later.take(items(3, 4, next="c"))
    later.take(items(5, 6))
    assert later.ended


def test_by_number_it_goes_on_too():
    later = ListReader.restore(PURCHASES, reader_after(items(1, 2)).carry())
    assert later.page == "2"
    later.take(items())
    assert later.ended
    assert ListReader.restore(PURCHASES, ListReader(PURCHASES).carry()).page is None


def test_a_page_begins_the_count_of_failures_anew():
    reader = ListReader(PURCHASES)
    reader.failures = 3
    reader.take(items(1, next="b"))
    assert reader.failures == 0


# -- whatever the server is like ---------------------------------------------------------------------------------------


@st.composite
def tenants(draw: st.DrawFn) -> tuple[Callable[[Mapping[str, Any]], Any], Sequence[int], list[str | None]]:
    """Return an honest server, what it has, and the pages that it was asked for."""
    things = draw(st.lists(st.integers(), unique=True, max_size=30))
    size, counts, tokens = draw(st.integers(1, 10)), draw(st.booleans()), draw(st.booleans())
    asked: list[str | None] = []

    def answer(query: Mapping[str, Any]) -> Any:
        page = query.get("page")
        asked.append(page)
        start = (int(page.removeprefix("t")) - 1) * size if page else 0
        more = start + size < len(things)
        following = {"next": f"t{start // size + 2}" if more else None} if tokens else {}
        counted = {"count": len(things)} if counts else {}
        return {"items": [{"id": thing} for thing in things[start : start + size]], **following, **counted}

    return answer, things, asked


@given(tenants())
def test_an_honest_list_is_read_whole_in_as_few_requests_as_can_be(
    tenant: tuple[Callable[[Mapping[str, Any]], Any], Sequence[int], list[str | None]],
) -> None:
    answer, things, asked = tenant
    assert ids(answer) == things
    told = answer({})
    size = max(1, len(told["items"]))
    asked.pop()
    # An empty page more, where nothing else tells that it was the last.
    sure = "count" in told or (told.get("next") is not None)
    assert len(asked) <= max(1, -(-len(things) // size)) + (not sure and bool(things))


PAGES = st.fixed_dictionaries(
    {"items": st.lists(st.builds(lambda number: {"id": number}, st.integers(1, 6)), max_size=4)},
    optional={
        "next": st.one_of(st.none(), st.sampled_from(["a", "b", "c"])),
        "count": st.one_of(st.none(), st.integers(0, 7)),
    },
)


@given(st.lists(PAGES, min_size=1, max_size=12))
def test_a_list_that_ends_without_a_problem_has_as_many_items_as_it_counts(pages: list[dict[str, Any]]) -> None:
    server = Server(*pages)
    seen, reader = read(server)
    assert len(server.asked) <= 8  # each page but the last brings one of the six
    if reader.problem is None:
        told = [page["count"] for page in pages[: len(server.asked)] if page.get("count") is not None]
        assert told == [] or {len(set(seen))} == set(told)
