"""What users hand over, in the shapes that XCom has."""

from __future__ import annotations

import datetime
import enum
import zoneinfo
from collections import UserList, deque, namedtuple
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pendulum
import pytest

from lucca_provider.inputs import InvalidInputError, parse_closing_date, parse_comment, parse_purchase_ids, parse_states


class Lazy(Sequence):
    """Like Airflow's lazy XCom sequence: a sequence that is no list."""

    def __init__(self, *items: object) -> None:
        self.items = items

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Number(enum.IntEnum):
    THREE = 3


Row = namedtuple("Row", "purchase_id")


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        (7, [7]),
        ("7", [7]),
        (" 7 ", [7]),
        ("007", [7]),
        (2**31 - 1, [2147483647]),
        ([3, 1, 2], [3, 1, 2]),
        ((3, 1), [3, 1]),
        ({5}, [5]),
        (frozenset({5}), [5]),
        (range(1, 4), [1, 2, 3]),
        (deque([1]), [1]),
        (UserList([1]), [1]),
        ({1: "a", 2: "b"}.keys(), [1, 2]),
        ([1, 2, 1, "2", 3], [1, 2, 3]),
        (["1", " 2 "], [1, 2]),
        ([Decimal(1), Decimal("2.00"), Decimal("3E+2")], [1, 2, 300]),
        (Decimal(4), [4]),
        (np.int64(4), [4]),
        (np.array([4, 5], dtype=np.uint8), [4, 5]),
        (np.array([[4], [5]]), [4, 5]),
        ([np.int32(4)], [4]),
        ([Number.THREE], [3]),
        ([(1,), (2,)], [1, 2]),
        ([[1], ["2"]], [1, 2]),
        ([Row(1)], [1]),
        ([{"id": 1}, {"id": Decimal(2)}], [1, 2]),
        (Lazy(1, 2), [1, 2]),
        (Lazy([1], [2]), [1, 2]),
        ("[1, 2]", [1, 2]),
        (' ["1", "2"] ', [1, 2]),
        ("[[1], [2]]", [1, 2]),
        ('[{"id": 1}]', [1]),
        ("[(1,), (2,)]", [1, 2]),
        ("['1', '2']", [1, 2]),
        ("[Decimal('1')]", None),
        ("1,2 , 3", [1, 2, 3]),
        ("101,102,103", [101, 102, 103]),
        ("1, 234, 567", [1, 234, 567]),
        ("1,234,56", [1, 234, 56]),
        ("1234,567", [1234, 567]),
        ("[1,234]", [1, 234]),
        ([], []),
        ((), []),
        ("[]", []),
        (Lazy(), []),
    ],
)
def test_ids_are_read_from_what_xcom_hands_over(value, ids):
    if ids is None:
        with pytest.raises(InvalidInputError, match="neither a JSON list"):
            parse_purchase_ids(value)
    else:
        assert parse_purchase_ids(value) == ids
        assert all(type(purchase_id) is int for purchase_id in ids)


def test_what_can_be_read_once_is_read_once():
    assert parse_purchase_ids(iter([1, 2])) == [1, 2]
    assert parse_purchase_ids(number for number in (1, 2)) == [1, 2]
    assert parse_purchase_ids(iter(())) == []
    assert parse_states((name for name in ["Paid"]), name="paid_states") == {"Paid"}
    assert parse_states(iter(()), name="paid_states", may_be_empty=True) == frozenset()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "purchase_ids is None: the upstream task returned nothing"),
        ("None", "the upstream task returned nothing"),
        ("null", "the upstream task returned nothing"),
        ("", "purchase_ids is empty text"),
        ("  ", "purchase_ids is empty text"),
        ([None], "item 1: None .the upstream task returned nothing"),
        (True, "item 1: True is a boolean"),
        ([1, False], "item 2: False is a boolean"),
        ([np.True_], "item 1: .*True.* is a boolean"),
        (1.0, "item 1: 1.0 is of type float"),
        ([1.5], "item 1: 1.5 is of type float"),
        ([float("nan")], "item 1: nan is of type float"),
        (np.float64(1), "is of type float64"),
        (np.array([1.0]), "is of type float64"),
        (0, "item 1: 0 is out of range"),
        (-1, "item 1: -1 is out of range"),
        (2**31, "item 1: 2147483648 is out of range"),
        (10**400, "out of range"),
        ("-1", "item 1: '-1' is not a purchase id"),
        ("+1", "is not a purchase id"),
        ("1.0", "is not a purchase id"),
        ("1e3", "is not a purchase id"),
        ("1_000", "is not a purchase id"),
        ("0x10", "is not a purchase id"),
        ("٣", "is not a purchase id"),
        ("1,,2", "item 2: '' is not a purchase id"),
        ("1;2", "is not a purchase id"),
        ("1,234", "may be one number"),
        (" 12,345,678 ", "may be one number"),
        ("101,012", "may be one number"),
        ("101,102,003,104", "may be one number"),
        ("9" * 40, "is not a purchase id"),
        ("nothing", "item 1: 'nothing' is not a purchase id"),
        ("XX", "item 1: 'XX' is not a purchase id"),
        (["1,2"], "item 1: '1,2' is not a purchase id"),
        ([Decimal("1.5")], "is not a whole number"),
        ([Decimal("NaN")], "is not a whole number"),
        ([Decimal("Infinity")], "is not a whole number"),
        ([Decimal("1E+999999")], "is not a whole number"),
        ([Decimal(0)], "is out of range"),
        ([(1, 2)], "item 1: a row of 2 columns"),
        ([()], "item 1: a row of 0 columns"),
        ([{"id": 1, "name": "x"}], "item 1: a row of 2 columns"),
        ([[[1]]], "is of type list"),
        ([{"id": [1]}], "is of type list"),
        ({"closable": [1], "blocked": []}, "purchase_ids is a mapping .dict. with the keys"),
        ({}, "purchase_ids is a mapping"),
        (b"12", "is binary"),
        (bytearray(b"12"), "is binary"),
        ([b"12"], "is of type bytes"),
        (object(), "item 1: .object object"),
        ([Unprintable()], "item 1: <Unprintable> is of type Unprintable"),
        (datetime.date(2026, 1, 1), "is of type date"),
        ("[1, 2", "neither a JSON list"),
        ("[" * 100_000, "neither a JSON list"),
        ("{1: 2, 3: 4}", "is a mapping .dict. with the keys"),
        ("[1.0]", "item 1: 1.0 is of type float"),
        ("[true]", "item 1: True is a boolean"),
        ("[null]", "item 1: None"),
        ("{{ ti.xcom_pull('x') }}", "neither a JSON list"),
    ],
)
def test_what_is_no_id_is_refused_with_its_value_and_position(value, message):
    with pytest.raises(InvalidInputError, match=message):
        parse_purchase_ids(value)


NO_IDS = "purchase_ids: item 1: {}. Give integers from 1 to 2147483647. Nothing was sent."


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "purchase_ids is None: the upstream task returned nothing. Make it return the ids, or [] for none."),
        (
            "null",
            "purchase_ids is the text 'null': the upstream task returned nothing. Let it return ids, or [] for none.",
        ),
        (
            "",
            "purchase_ids is empty text: the template rendered to nothing. For no purchases render an empty list, [].",
        ),
        (
            {"a": [1], "b": []},
            "purchase_ids is a mapping (dict) with the keys ['a', 'b']. Pass the ids alone, as a list, such as one "
            "of its values or list(its keys).",
        ),
        (
            "{'a': 1, 'b': 2}",
            "purchase_ids is a mapping (dict) with the keys ['a', 'b']. Pass the ids alone, as a list, such as one "
            "of its values or list(its keys).",
        ),
        (memoryview(b"1"), "purchase_ids: <memory at "),
        (b"12", "purchase_ids: b'12' is binary. Pass a list of ids or text."),
        (
            "[1, 2",
            "purchase_ids: the text '[1, 2' is neither a JSON list, nor comma-separated ids, nor one id. With "
            "Airflow's XCom, '{{ ti.xcom_pull(task_ids=...) | tojson }}' renders a JSON list.",
        ),
        ([0], NO_IDS.format("0 is out of range")),
        ([None], NO_IDS.format("None (the upstream task returned nothing)")),
        ([True], NO_IDS.format("True is a boolean")),
        (["x"], NO_IDS.format("'x' is not a purchase id")),
        (["X" * 99], NO_IDS.format("'" + "X" * 59 + "… is not a purchase id")),
        (["X" * 58], NO_IDS.format("'" + "X" * 58 + "' is not a purchase id")),
        ([Decimal("1.5")], NO_IDS.format("Decimal('1.5') is not a whole number")),
        ([1.5], NO_IDS.format("1.5 is of type float")),
        (
            [(1, 2)],
            NO_IDS.format(
                "a row of 2 columns; select only the id or, if these are lists of ids, join them in a task first"
            ),
        ),
    ],
)
def test_an_error_says_which_value_is_wrong_and_what_to_do(value, message):
    with pytest.raises(InvalidInputError) as raised:
        parse_purchase_ids(value)
    assert str(raised.value).startswith(message)
    assert str(raised.value) == message or isinstance(value, memoryview)


def test_all_offenders_are_listed_at_once_up_to_ten():
    with pytest.raises(InvalidInputError) as raised:
        parse_purchase_ids([1, *([0] * 12), 2])
    message = str(raised.value)
    assert "item 2: 0" in message
    assert "item 11: 0" in message
    assert "item 12" not in message
    assert "item 10: 0 is out of range; item 11: 0 is out of range; and 2 more. Give integers" in message


def test_ten_offenders_are_all_there_is_to_list():
    with pytest.raises(InvalidInputError) as raised:
        parse_purchase_ids([0] * 10)
    assert "item 10: 0 is out of range. Give" in str(raised.value)


def test_an_error_shows_the_start_of_a_long_value_only():
    with pytest.raises(InvalidInputError) as raised:
        parse_purchase_ids(["x" * 10_000])
    assert len(str(raised.value)) < 400


def test_an_error_names_the_argument():
    for value in (None, "None", "", {}, b"1", "[", "{}", [0]):
        with pytest.raises(InvalidInputError, match=r"^ids(:| is) "):
            parse_purchase_ids(value, name="ids")
    with pytest.raises(InvalidInputError, match=r"^day: 'x' is not a date"):
        parse_closing_date("x", name="day")
    with pytest.raises(InvalidInputError, match=r"^day: '2026-02-30' is not"):
        parse_closing_date("2026-02-30", name="day")
    for value in ([5], "None", "\ud800", "{{ x }}"):
        with pytest.raises(InvalidInputError, match=r"^words(:| is) "):
            parse_comment(value, name="words")


@pytest.mark.parametrize(
    ("value", "day"),
    [
        (None, None),
        (datetime.date(2026, 1, 31), "2026-01-31"),
        (datetime.datetime(2026, 1, 31, 23, 59), "2026-01-31"),
        (datetime.datetime(2026, 1, 31, 23, 59, tzinfo=datetime.timezone(datetime.timedelta(hours=-9))), "2026-01-31"),
        (pendulum.datetime(2026, 1, 31, 0, 30, tz="Europe/Paris"), "2026-01-31"),
        (pendulum.date(2026, 1, 31), "2026-01-31"),
        ("2026-01-31", "2026-01-31"),
        (" 2026-01-31 ", "2026-01-31"),
        ("2028-02-29", "2028-02-29"),
        ("0001-01-01", "0001-01-01"),
    ],
)
def test_a_closing_date_is_a_day_of_the_calendar(value, day):
    assert parse_closing_date(value) == day


@pytest.mark.parametrize(
    "value",
    [
        "2026-02-30",
        "2026-13-01",
        "20260131",
        "2026-1-31",
        "31/01/2026",
        "2026-01-31T00:00:00",
        "2026-01-31 00:00:00+00:00",
        "2026-W05-6",
        "",
        "None",
        20260131,
        1769817600.0,
        datetime.time(1),
        ["2026-01-31"],
        b"2026-01-31",
        "２０２６-01-31",
    ],
)
def test_what_is_no_day_is_refused_with_its_value(value):
    with pytest.raises(InvalidInputError, match="closing_date: "):
        parse_closing_date(value)


def test_an_error_says_what_a_date_and_a_comment_may_be():
    with pytest.raises(InvalidInputError) as raised:
        parse_closing_date(5)
    assert str(raised.value) == (
        "closing_date: 5 is not a date. Give a date, a datetime, or text as YYYY-MM-DD (in a template, pass a "
        "time on to the filter ds: '{{ … | ds }}')."
    )
    with pytest.raises(InvalidInputError) as raised:
        parse_comment([5])
    assert str(raised.value) == "comment: [5] is not text. Give a string, or None for no comment."
    with pytest.raises(InvalidInputError) as raised:
        parse_comment(" None ")
    assert str(raised.value) == "comment is the text ' None ': its template found nothing. For no comment leave it out."
    with pytest.raises(InvalidInputError) as raised:
        parse_comment("\ud800")
    assert str(raised.value) == "comment: '\\ud800' has a character that is not valid Unicode."


PARIS = pendulum.timezone("Europe/Paris")
MIDNIGHT = pendulum.datetime(2026, 11, 1, tz=PARIS)


@pytest.mark.parametrize(
    "moment",
    [
        MIDNIGHT,
        MIDNIGHT.add(hours=12).in_timezone("UTC"),
        datetime.datetime(2026, 11, 1, 0, 30),
        datetime.datetime(2026, 11, 1, 6, tzinfo=datetime.timezone.utc),
        datetime.datetime(2026, 11, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        pd.Timestamp("2026-11-01", tz="Europe/Paris"),
        pd.Timestamp("2026-11-01"),
        datetime.date(2026, 11, 1),
        "2026-11-01",
    ],
)
def test_a_moment_that_is_on_the_same_day_in_the_dag_s_time_zone_is_that_day(moment):
    assert parse_closing_date(moment, timezone=PARIS) == "2026-11-01"
    assert parse_closing_date(moment) == "2026-11-01"


@pytest.mark.parametrize(
    ("moment", "own"),
    [
        (MIDNIGHT.in_timezone("UTC"), "2026-10-31"),
        (datetime.datetime(2026, 10, 31, 23, tzinfo=datetime.timezone.utc), "2026-10-31"),
        (datetime.datetime(2026, 10, 31, 19, 30, tzinfo=zoneinfo.ZoneInfo("America/New_York")), "2026-10-31"),
        (datetime.datetime(2026, 11, 2, 4, tzinfo=datetime.timezone(datetime.timedelta(hours=9))), "2026-11-02"),
        (pd.Timestamp("2026-10-31 23:00", tz="UTC"), "2026-10-31"),
    ],
)
def test_a_moment_that_is_on_another_day_there_is_refused_with_both_days(moment, own):
    assert parse_closing_date(moment) == own
    there = "in the DAG's time zone Europe/Paris it is 2026-11-01"
    with pytest.raises(InvalidInputError, match=rf"^closing_date: 2026-.* is on {own}, but {there}"):
        parse_closing_date(moment, timezone=PARIS)


@pytest.mark.parametrize(
    "value", [pd.NaT, np.datetime64("NaT"), pd.NA, float("nan"), "NaT", np.datetime64("2026-01-31")]
)
def test_what_has_no_date_is_refused(value):
    with pytest.raises(InvalidInputError, match=r"^closing_date"):
        parse_closing_date(value)


@pytest.mark.parametrize(
    ("moment", "zone"), [(datetime.datetime.max, "Asia/Tokyo"), (datetime.datetime.min, "America/New_York")]
)
def test_a_moment_beyond_the_calendar_of_the_dags_zone_is_refused(moment, zone):
    with pytest.raises(InvalidInputError, match="no moment of the calendar"):
        parse_closing_date(moment.replace(tzinfo=datetime.timezone.utc), timezone=pendulum.timezone(zone))


def test_a_template_that_found_no_day_is_refused():
    assert parse_closing_date("2026-01-31", templated=True) == "2026-01-31"
    with pytest.raises(InvalidInputError, match=r"^day is None: its template found nothing"):
        parse_closing_date(None, name="day", templated=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (4711, "4711"),
        (True, "True"),
        (1.5, "1.5"),
        (Decimal("1.10"), "1.10"),
        (datetime.date(2026, 1, 31), "2026-01-31"),
        (datetime.datetime(2026, 1, 31, 6), "2026-01-31 06:00:00"),
        (datetime.time(6), "06:00:00"),
    ],
)
def test_a_number_or_a_date_as_a_comment_is_its_text(value, text):
    assert parse_comment(value) == text
    assert parse_comment(value, templated=True) == text


@pytest.mark.parametrize("value", [float("nan"), Decimal("nan"), Decimal("sNaN"), pd.NaT, np.datetime64("NaT")])
def test_a_number_or_a_date_that_stands_for_none_is_no_comment(value):
    with pytest.raises(InvalidInputError, match="is not text"):
        parse_comment(value)


@pytest.mark.parametrize("value", [None, "", "  ", "None", " None\n"])
def test_a_template_that_found_no_comment_is_refused(value):
    with pytest.raises(InvalidInputError, match=r"^comment is .*its template found nothing"):
        parse_comment(value, templated=True)


@pytest.mark.parametrize("value", ["{{ run_id }}", "by {% if x %}", "{{", "for {{ x"])
def test_a_comment_that_still_holds_a_template_is_refused(value):
    with pytest.raises(InvalidInputError, match=r"^comment: .* still contains a template"):
        parse_comment(value)


@pytest.mark.parametrize("value", [None, "", "{ }", "Validé ✓\nthe second line"])
def test_a_comment_is_text(value):
    assert parse_comment(value) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([5], "5. is not text"),
        ({"a": 1}, "is not text"),
        ("None", "its template found nothing"),
        (b"x", "is not text"),
        ("\ud800", "not valid"),
    ],
)
def test_what_is_no_text_is_refused(value, message):
    with pytest.raises(InvalidInputError, match=f"comment.*{message}"):
        parse_comment(value)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("Paid", {"Paid"}),
        (" Paid ", {"Paid"}),
        (["Paid"], {"Paid"}),
        (("Paid", "Emitting"), {"Paid", "Emitting"}),
        ({"Paid"}, {"Paid"}),
        (frozenset({"Paid"}), {"Paid"}),
        (["Paid", "Paid", " Paid"], {"Paid"}),
        (Lazy("Paid"), {"Paid"}),
        ({"Paid": 1}.keys(), {"Paid"}),
        ("Something of the future", {"Something of the future"}),
    ],
)
def test_states_are_one_name_or_several(value, names):
    assert parse_states(value, name="paid_states") == names


@pytest.mark.parametrize("value", [[], (), set()])
def test_no_state_at_all_makes_sense_for_some(value):
    assert parse_states(value, name="cancelled_states", may_be_empty=True) == frozenset()
    with pytest.raises(InvalidInputError, match=r"^paid_states is empty; name at least one of Lucca's states"):
        parse_states(value, name="paid_states")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "None is not a list of names of Lucca's states"),
        ("Paid,Emitting", "'Paid,Emitting' is not the name of a state; give one, or a list of them"),
        (5, "5 is not a list"),
        (True, "True is not a list"),
        ({"Paid": 1}, "is not a list"),
        ("", "'' is not the name of a state"),
        ("  ", "'  ' is not the name"),
        ([None], "None is not the name"),
        (["Paid", 5], "5 is not the name"),
        ([["Paid"]], "is not the name"),
        (b"Paid", "80 is not the name"),
        (["x", Unprintable()], "<Unprintable> is not the name"),
    ],
)
@pytest.mark.parametrize("may_be_empty", [False, True])
def test_what_is_no_state_is_refused(value, message, may_be_empty):
    with pytest.raises(InvalidInputError, match=f"^paid_states: .*{message}"):
        parse_states(value, name="paid_states", may_be_empty=may_be_empty)
