"""The journal: what one try writes and the next one reads, whatever happened to it in between."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lucca_provider.closing import Attempt, Journal, ReplacedError
from lucca_provider.closing.journal import SEGMENT_SIZE
from lucca_provider.outcomes import ALREADY_CLOSED, CLOSED, Decision, Outcome
from tests.unit.closing.store import MemoryStore

NO = Decision(Outcome.REJECTED, 409, "Open invoices", "669")
UNKNOWN = Decision(Outcome.UNRESOLVED, detail="why")


def decide(journal: Journal, decision: Decision, *purchase_ids: int) -> None:
    for purchase_id in purchase_ids:
        journal.decided(purchase_id, decision)


def rows(store: MemoryStore) -> list[Any]:
    return [json.loads(text) for text in store.rows.values()]


def segment(*records: object, **fields: Any) -> dict[str, Any]:
    return {"id": "x", "after": "", "try": 1, "max_tries": 0, "records": list(records), **fields}


def read(*segments: object, **kwargs: Any) -> Journal:
    """Read a journal of any shape."""
    store = MemoryStore()
    store.rows = {f"lucca_{number}": json.dumps(value) for number, value in enumerate(segments)}
    return store.open(**kwargs)


# -- from one try to the next ------------------------------------------------------------------------------------------


def test_a_new_task_has_an_empty_journal():
    journal = MemoryStore().open()
    assert (journal.sent, journal.decisions, journal.wait, journal.is_empty) == (set(), {}, None, True)


def test_an_intent_without_an_outcome_is_known_to_the_next_try():
    store = MemoryStore()
    journal = store.open()
    journal.commit(intents=[3, 1])
    assert journal.sent == {1, 3}
    later = store.open(2)
    assert (later.sent, later.decisions, later.is_empty) == ({1, 3}, {}, False)


def test_outcomes_are_known_to_the_next_try_but_not_what_is_unresolved():
    store = MemoryStore()
    journal = store.open()
    journal.commit(intents=[1, 2, 3, 4])
    for purchase_id, decision in enumerate((CLOSED, ALREADY_CLOSED, NO, UNKNOWN), 1):
        journal.decided(purchase_id, decision)
    journal.commit()
    for known in (journal, store.open(2)):
        assert known.decisions == {1: CLOSED, 2: ALREADY_CLOSED, 3: NO}
        assert known.sent == {4}


def test_intents_that_were_not_used_are_taken_back():
    store = MemoryStore()
    journal = store.open()
    journal.commit(intents=[1, 2, 3, 4])
    for purchase_id in (2, 4):
        journal.used(purchase_id)
    journal.unused(4)
    journal.commit()
    assert journal.sent == {1, 2, 3, 4}
    journal.commit(last=True)
    assert journal.sent == {2}
    assert store.open(2).sent == {2}


def test_outcomes_and_intents_are_one_write():
    store = MemoryStore()
    journal = store.open()
    journal.commit(intents=[6])
    decide(journal, CLOSED, 1, 2)
    decide(journal, ALREADY_CLOSED, 3)
    decide(journal, NO, 4)
    journal.commit(last=True, wait={"a": 1})
    assert store.sets == 2
    assert store.records == [
        ["s", 6],
        ["c", 1, 2],
        ["a", 3],
        ["r", 4, 409, "Open invoices", "669"],
        ["b", 6],
        ["w", {"a": 1}],
    ]


def test_the_last_commit_is_made_also_if_there_is_nothing_to_write():
    """Only a write shows whether another try has taken over."""
    store = MemoryStore()
    store.open().commit()
    assert store.sets == 1
    assert store.open(2).is_empty is False


def test_a_clear_by_a_person_forgets_refusals_and_nothing_else():
    store = MemoryStore()
    journal = store.open(1, max_tries=2)
    decide(journal, CLOSED, 1)
    decide(journal, ALREADY_CLOSED, 2)
    decide(journal, NO, 3)
    journal.commit(intents=[4])
    assert store.open(2, max_tries=2).decisions == {1: CLOSED, 2: ALREADY_CLOSED, 3: NO}
    cleared = store.open(2, max_tries=3)
    assert (cleared.decisions, cleared.sent) == ({1: CLOSED, 2: ALREADY_CLOSED}, {4})


def test_what_a_try_after_the_clear_was_refused_holds_again():
    store = MemoryStore()
    for number, max_tries in ((1, 0), (2, 1)):
        journal = store.open(number, max_tries=max_tries)
        journal.commit(intents=[3])
        decide(journal, NO, 3)
        journal.commit()
    assert store.open(3, max_tries=1).decisions == {3: NO}
    assert store.open(3, max_tries=2).decisions == {}


def test_a_closing_that_was_sent_after_a_refusal_makes_it_in_doubt():
    store = MemoryStore()
    journal = store.open()
    decide(journal, NO, 3)
    journal.commit()
    store.open(2, max_tries=1).commit(intents=[3])
    later = store.open(3, max_tries=1)
    assert (later.decisions, later.sent) == ({}, {3})


@pytest.mark.parametrize("record", [["s", 1], ["r", 1, 409, None, None]])
def test_what_is_closed_stays_so(record):
    later = read(segment(["c", 1], record), number=2)
    assert (later.decisions, later.sent) == ({1: CLOSED}, set())


def test_words_of_a_refusal_are_cut_short():
    store = MemoryStore()
    journal = store.open()
    decide(journal, Decision(Outcome.REJECTED, 409, "t" * 300, None), 1)
    journal.commit()
    assert store.open(2).decisions[1] == Decision(Outcome.REJECTED, 409, "t" * 200 + "…", None)


def test_journals_of_other_names_are_others():
    store = MemoryStore()
    store.open().commit(intents=[1])
    other = Journal(Attempt(2, 0), new_id=store.new_id, store=store, name="other")
    other.read()
    assert other.is_empty
    other.commit(intents=[2])
    assert sorted(store.rows) == ["lucca_0", "other_0"]


# -- segments ----------------------------------------------------------------------------------------------------------


def many(store: MemoryStore, *, records: int = 200) -> Journal:
    journal = store.open()
    for number in range(1, records + 1):
        decide(journal, Decision(Outcome.REJECTED, 409, "t" * 180, None), number)
        journal.commit(intents=[records + number])
    return journal


def test_a_full_segment_is_followed_by_another():
    store = MemoryStore()
    journal = many(store)
    assert list(store.rows) == [f"lucca_{number}" for number in range(len(store.rows))]
    assert 3 <= len(store.rows) <= 5
    assert min(map(len, list(store.rows.values())[:-1])) > SEGMENT_SIZE * 0.9
    assert max(map(len, store.rows.values())) < SEGMENT_SIZE + 200
    assert store.sets <= 200 + len(store.rows)
    later = store.open(2)
    assert later.decisions == journal.decisions
    assert len(later.decisions) == 200
    assert later.sent == set(range(201, 401))


def test_ten_thousand_closed_purchases_in_one_commit_fit_into_small_values():
    store = MemoryStore()
    journal = store.open()
    decide(journal, ALREADY_CLOSED, *range(2_000_000_000, 2_000_010_000))
    journal.commit()
    assert max(map(len, store.rows.values())) < SEGMENT_SIZE + 200
    assert len(store.open(2).decisions) == 10_000


def test_a_record_is_not_split_however_large_it_is():
    store = MemoryStore()
    journal = store.open()
    wait = {"text": "x" * 44_000}
    journal.commit(intents=[1], wait=wait)
    assert len(store.rows) == 2
    assert store.open(1, resumed=True).wait == wait


def test_a_try_opens_a_segment_of_its_own():
    store = MemoryStore()
    for number in (1, 2, 3):
        store.open(number).commit(intents=[number])
    assert [row["try"] for row in rows(store)] == [1, 2, 3]
    assert store.open(4).sent == {1, 2, 3}


def test_a_stay_after_a_wait_goes_on_in_the_segment_of_its_try():
    store = MemoryStore()
    store.open(1).commit(intents=[1])
    store.open(2).commit(intents=[2], wait={})
    journal = store.open(2, resumed=True)
    journal.commit(intents=[3])
    assert len(store.rows) == 2
    assert rows(store)[1]["records"] == [["s", 2], ["s", 3]]


def test_a_stay_after_a_wait_goes_on_in_a_new_segment_if_that_is_full():
    store = MemoryStore()
    store.open().commit(wait={"text": "x" * SEGMENT_SIZE})
    store.open(1, resumed=True).commit(intents=[3])
    assert [[record[0] for record in row["records"]] for row in rows(store)] == [["w"], ["s"]]
    assert store.open(1, resumed=True).wait is None


def test_after_a_deleted_key_nothing_old_comes_back():
    store = MemoryStore()
    many(store)
    assert len(store.rows) > 2
    del store.rows["lucca_0"]
    later = store.open(2)
    assert (later.decisions, later.sent, later.is_empty) == ({}, set(), True)
    later.commit(intents=[7])
    assert store.open(3).sent == {7}


def test_a_segment_that_was_deleted_in_between_costs_what_comes_after_it():
    store = MemoryStore()
    many(store)
    first = len([record for record in rows(store)[0]["records"] if record[0] == "r"])
    del store.rows["lucca_1"]
    later = store.open(2)
    assert len(later.decisions) == first
    later.commit(intents=[7777])
    assert len(store.open(3).decisions) == first
    assert 7777 in store.open(3).sent


def test_a_journal_without_an_end_is_not_read_for_ever():
    class Endless(MemoryStore):
        def get(self, key: str) -> object:
            self.gets += 1
            number = int(key.removeprefix("lucca_"))
            return segment(id=f"id{number}", after=f"id{number - 1}" if number else "")

    store = Endless()
    store.open(2)
    assert store.gets == 1000


def test_reading_is_given_up_when_the_task_is_killed_and_nothing_is_written_then():
    store = MemoryStore()
    many(store)
    before = dict(store.rows)
    journal = Journal(Attempt(2, 0), new_id=store.new_id, store=store)
    answers = iter([True, False])
    journal.read(lambda: next(answers))
    assert store.gets == 2  # one by the first try
    with pytest.raises(RuntimeError, match="not read to its end"):
        journal.commit(intents=[1])
    assert store.rows == before


def test_an_error_of_the_store_while_reading_is_raised():
    class Away(MemoryStore):
        def get(self, key: str) -> object:
            raise OSError("the API server is away")

    with pytest.raises(OSError, match="away"):
        Away().open()


# -- what cannot be read -----------------------------------------------------------------------------------------------

GOOD = ["c", 1]


@pytest.mark.parametrize(
    "record",
    [
        None, 5, "c", True, float("nan"), {}, {"c": 1}, [], [None], [5, 2], [["c"], 2], [{"c": 1}, 2],
        [float("nan"), 2],
        ["x", 2], ["c", "2"], ["c", 2, None], ["c", 2.0], ["c", True], ["c", float("nan")], ["c", 0], ["c", -1],
        ["c", 2**31], ["c", [2]], ["s", "2"], ["b", "1"], ["a", 10**400],
        ["r"], ["r", 2], ["r", 2, 409, "t"], ["r", 2, 409, "t", "d", "e"], ["r", 2, "409", "t", "d"],
        ["r", 2, 409.0, "t", "d"], ["r", 2, 409, 5, "d"], ["r", 2, 409, "t", ["d"]], ["r", "2", 409, "t", "d"],
        ["w"], ["w", 5], ["w", None], ["w", {}, {}],
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_read_is_ignored_and_the_others_are_read(record):
    later = read(segment(GOOD, record, ["s", 9]), number=1, resumed=True)
    assert (later.decisions, later.sent, later.wait) == ({1: CLOSED}, {9}, None)
    assert later.fold() == [["c", 1], ["s", 9]]
    later.commit(intents=[5])


@pytest.mark.parametrize(
    "broken",
    [
        5, "text", [], True, float("nan"), {}, {"records": []},
        segment(GOOD, id=None), segment(GOOD, id=""), segment(GOOD, id=5), segment(GOOD, after=None),
        segment(GOOD, after="y"), segment(GOOD, after=float("nan")), segment() | {"records": None},
        segment() | {"records": {"c": 1}}, segment() | {"records": "c"},
    ],
)  # fmt: skip
def test_a_segment_that_cannot_be_read_ends_the_journal_which_is_not_taken_for_empty(broken):
    later = read(broken, segment(["c", 2], after="x"))
    assert (later.decisions, later.sent, later.is_empty) == ({}, set(), False)
    later.commit(intents=[5])


@pytest.mark.parametrize("value", [None, "1", 1.0, float("nan"), [1], {}])
def test_a_try_that_cannot_be_read_is_another_one_and_was_not_cleared(value):
    one = segment(["r", 1, 409, None, None], ["w", {}], max_tries=value)
    one["try"] = value if value != 1.0 else "1.0"
    later = read(one, number=1, max_tries=99, resumed=True)
    assert later.wait is None
    assert list(later.decisions) == [1]


# -- before a wait -----------------------------------------------------------------------------------------------------


def waiting() -> MemoryStore:
    store = MemoryStore()
    journal = store.open(1)
    decide(journal, CLOSED, 1)
    journal.commit(intents=[2])
    journal.commit(wait={"a": [1, None]})
    return store


def test_what_a_wait_needs_is_known_to_the_stay_after_it():
    assert waiting().open(1, resumed=True).wait == {"a": [1, None]}


@pytest.mark.parametrize(("number", "resumed"), [(1, False), (2, False), (2, True)])
def test_what_a_wait_needs_counts_for_its_own_try_and_only_after_the_wait(number, resumed):
    later = waiting().open(number, resumed=resumed)
    assert later.wait is None
    assert later.decisions == {1: CLOSED}


def test_what_a_wait_needs_counts_only_as_the_last_record():
    store = waiting()
    store.open(2).commit(intents=[9])
    assert store.open(1, resumed=True).wait is None


def test_the_record_of_a_wait_that_is_over_is_not_kept():
    store = waiting()
    store.open(1, resumed=True).commit(intents=[9])
    assert [record[0] for record in store.records] == ["c", "s", "s"]


# -- where there is no store -------------------------------------------------------------------------------------------


def without_store(number: int = 1, *, max_tries: int = 0, resumed: bool = False) -> Journal:
    return Journal(Attempt(number, max_tries, resumed=resumed), new_id=lambda: pytest.fail("a segment was opened"))


def event(**fields: Any) -> dict[str, Any]:
    journal = without_store()
    journal.read()
    journal.commit(intents=[1, 2, 3, 4, 5])
    decide(journal, CLOSED, 1, 2)
    decide(journal, NO, 3)
    journal.commit()
    decide(journal, ALREADY_CLOSED, 4)
    folded = {"try": 1, "max_tries": 0, "records": journal.fold(), "wait": {"a": 1}, **fields}
    return dict(json.loads(json.dumps(folded)))


def test_a_journal_without_a_store_keeps_things_in_memory_and_an_event_takes_them_along():
    assert not without_store().is_kept
    assert MemoryStore().open().is_kept
    later = without_store(1, resumed=True)
    later.load(event())
    assert later.decisions == {1: CLOSED, 2: CLOSED, 3: NO, 4: ALREADY_CLOSED}
    assert (later.sent, later.wait, later.is_empty) == ({5}, {"a": 1}, False)


def test_the_event_of_another_try_is_words_only():
    later = without_store(2, max_tries=1)
    later.load(event())
    assert (set(later.decisions), later.sent, later.wait) == ({1, 2, 4}, {5}, None)


def test_an_event_without_a_journal_leaves_the_one_in_the_store():
    later = waiting().open(1, resumed=True)
    later.load({"try": 1})
    assert later.wait == {"a": [1, None]}


@pytest.mark.parametrize("fields", [{"records": 5}, {"records": "c"}, {"wait": 5}, {"wait": [1]}, {"try": "1"}])
def test_an_event_of_a_foreign_shape_is_ignored(fields):
    later = without_store(1, resumed=True)
    later.load(event(**fields))
    assert later.wait is None or "wait" not in fields


# -- writes that fail --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ReplacedError("404"), OSError("away")])
def test_after_a_failed_commit_all_of_it_is_still_to_be_written(error):
    store = MemoryStore()
    journal = store.open()
    journal.commit(intents=[1, 2])
    for purchase_id in (1, 2):
        journal.used(purchase_id)
    decide(journal, CLOSED, 1)
    before = dict(store.rows)
    store.broken = error
    with pytest.raises(type(error)):
        journal.commit(intents=[3])
    assert (journal.sent, journal.decisions, store.rows) == ({1, 2, 3}, {}, before)
    store.broken = None
    journal.commit(last=True)
    assert (journal.sent, journal.decisions) == ({2}, {1: CLOSED})
    assert store.records == [["s", 1, 2], ["c", 1], ["b", 3]]


def test_a_write_that_fails_at_a_new_segment_costs_nothing_either():
    class SecondSegmentFails(MemoryStore):
        def set(self, key: str, value: Any) -> None:
            self.broken = OSError("away") if key == "lucca_1" and self.sets < 2 else None
            super().set(key, value)

    store = SecondSegmentFails()
    journal = store.open()
    decide(journal, ALREADY_CLOSED, *range(2_000_000_000, 2_000_003_000))
    with pytest.raises(OSError, match="away"):
        journal.commit(intents=[1])
    journal.commit(last=True)
    later = store.open(2)
    assert (len(later.decisions), later.sent) == (3000, set())


@pytest.mark.parametrize(("moment", "counts"), [(5.0, True), (9.0, False)])
def test_an_older_wait_does_not_count_where_the_segment_with_the_last_one_is_gone(moment, counts):
    store = MemoryStore()
    store.open().commit(last=True, wait={"at": 5.0})
    journal = store.open(resumed=True)
    journal.load({"try": 1, "at": moment})
    assert (journal.wait is not None) is counts
