"""The agenda: which purchase is next, and from when."""

from __future__ import annotations

from lucca_provider.closing import Kind, Step
from lucca_provider.closing.agenda import GROUP, Agenda
from lucca_provider.closing.purchase import UNREAD, Purchase

T = 1000.0


def close(purchase_id: int) -> Step:
    return Step(Kind.CLOSE, purchase_id)


def read(purchase_id: int) -> Step:
    return Step(Kind.READ, purchase_id)


def opened(*purchase_ids: int) -> Agenda:
    agenda = Agenda()
    for purchase_id in purchase_ids:
        agenda.put(purchase_id, Purchase(read_at=T))
    return agenda


def singly(*purchase_ids: int) -> Agenda:
    agenda = Agenda()
    agenda.fill(purchase_ids, (), singly=True)
    return agenda


def taken(agenda: Agenda, now: float = T) -> list[Step]:
    """Take all requests that may go out now."""
    steps = []
    while (found := agenda.next(now)) is not None and found[1] <= now:
        agenda.take(found[0])
        steps.append(found[0])
    return steps


def test_nothing_is_next_where_nothing_is_left():
    assert Agenda().next(T) is None


def test_what_is_unlisted_waits_for_the_list_until_it_is_to_be_read_singly():
    agenda = Agenda()
    agenda.fill([3, 1, 2], ())
    assert list(agenda.unlisted) == [3, 1, 2]
    assert agenda.next(T) is None
    assert not agenda.is_read_singly
    agenda.read_singly()
    assert agenda.is_read_singly
    assert not agenda.unlisted
    assert taken(agenda) == [read(3), read(1), read(2)]
    assert not agenda.is_read_singly


def test_only_what_is_neither_decided_nor_known_is_taken_on():
    agenda = opened(2)
    agenda.fill([1, 2, 3], {3})
    assert list(agenda.unlisted) == [1]
    agenda = opened(2)
    agenda.fill([1, 2, 3], {3}, singly=True)
    assert taken(agenda) == [read(1), close(2)]


def test_of_what_nothing_is_known_is_unread():
    assert Agenda()[7] is UNREAD
    assert list(opened(7).items()) == [(7, Purchase(read_at=T))]


def test_what_waits_is_read_in_the_order_of_its_moments_and_else_of_its_coming():
    agenda = Agenda()
    agenda.put(4, Purchase(ready_at=T + 5, maybe=True))
    agenda.put(9, Purchase(ready_at=T, maybe=True))
    agenda.put(3, Purchase(ready_at=T, maybe=True))
    assert taken(agenda) == [read(9), read(3)]
    assert agenda.next(T) == (read(4), T + 5)
    assert taken(agenda, T + 5) == [read(4)]


def test_what_waits_goes_before_what_is_read_singly_and_that_before_closings():
    agenda = singly(1)
    agenda.put(2, Purchase(read_at=T))
    agenda.put(3, Purchase(ready_at=T))
    assert taken(agenda) == [read(3), read(1), close(2)]


def test_a_wait_that_is_not_over_holds_back_nothing():
    agenda = opened(1)
    agenda.put(2, Purchase(ready_at=T + 5, maybe=True))
    assert taken(agenda) == [close(1)]


def test_no_more_is_read_singly_than_one_write_of_intents_takes():
    agenda = singly(*range(1, 100))
    for purchase_id in range(1, GROUP + 1):
        assert agenda.next(T) == (read(purchase_id), T)
        agenda.take(read(purchase_id))
        agenda.put(purchase_id, Purchase(read_at=T))
    assert agenda.next(T) == (close(1), T)
    assert agenda.group() == list(range(1, GROUP + 1))


def test_what_has_an_intent_is_closed_before_anything_else():
    agenda = opened(1, 2, 3)
    agenda.put(9, Purchase(ready_at=T))
    agenda.intended.update({1, 2})
    assert taken(agenda) == [close(1), close(2), read(9), close(3)]
    assert not agenda.intended


def test_a_group_is_the_next_eight():
    assert opened(*range(1, 4)).group() == [1, 2, 3]
    assert opened(*range(1, 20)).group() == list(range(1, 9))


def test_an_older_reading_goes_first():
    agenda = opened(1, 2)
    agenda.put(3, Purchase(read_at=T - 9), first=True)
    assert agenda.open_ids() == [3, 1, 2]


def test_what_is_known_leaves_the_unlisted_ones():
    agenda = Agenda()
    agenda.fill([1, 2, 3], ())
    agenda.put(1, Purchase(read_at=T))
    agenda.drop(2)
    assert list(agenda.unlisted) == [3]


def test_what_is_decided_is_forgotten():
    agenda = Agenda()
    agenda.put(1, Purchase(ready_at=T, maybe=True))
    agenda.take(read(1))
    agenda.drop(1)
    agenda.drop(2)
    assert agenda[1] is UNREAD
    assert agenda.next(T) is None


def test_a_reading_that_is_too_old_makes_its_purchase_unread_and_keeps_its_counts():
    agenda = Agenda()
    agenda.put(1, Purchase(read_at=T, sends=1))
    agenda.put(2, Purchase(read_at=T + 1))
    agenda.intended.update({1, 2})
    assert not agenda.expire(T + 600)
    assert agenda.expire(T + 600.5)
    assert agenda[1] == Purchase(sends=1)
    assert list(agenda.unlisted) == [1]
    assert agenda.intended == {2}
    assert agenda.open_ids() == [2]


def test_readings_of_one_list_that_become_too_old_page_after_page_count_once():
    agenda = Agenda()
    for page in range(3):
        agenda.put(page, Purchase(read_at=T + 60 * page))
    for page in range(3):
        assert agenda.expire(T + 601 + 60 * page)
        assert agenda.expiries == 1
    agenda.put(1, Purchase(read_at=T + 800))
    assert agenda.expire(T + 1401)
    assert agenda.expiries == 2


def test_what_is_to_come_later_is_taken_up_once_nothing_is_open():
    agenda = opened(1)
    agenda.fill([1, 2, 3], {3}, later=True)
    assert agenda.is_read_later
    assert not agenda.resume()
    assert taken(agenda) == [close(1)]
    assert agenda.resume()
    assert list(agenda.unlisted) == [2]
    assert not agenda.is_read_later
    assert not agenda.resume()


def test_a_step_about_no_purchase_takes_none_out():
    agenda = singly(1)
    agenda.put(2, Purchase(ready_at=T))
    for step in (Step(Kind.LIST), Step(Kind.PROBE)):
        agenda.take(step)
    assert taken(agenda) == [read(2), read(1)]
