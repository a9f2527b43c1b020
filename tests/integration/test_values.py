"""What users hand over, on its way through a real Airflow: XCom, mapped tasks, both renderings, retries."""

from __future__ import annotations

import collections
import datetime
from collections.abc import Callable
from typing import Any

import pandas as pd
import pendulum
import pytest

from lucca_provider.compat import AirflowFailException, BaseOperator
from lucca_provider.tasks.arguments import read_closing_arguments
from tests.airflow_names import DAG, task

REFUSED: dict[str, str] = {}
READ: dict[str, Any] = {}


class Reader(BaseOperator):
    """Has a closing's arguments, and reads them as one does."""

    template_fields = ("purchase_ids", "comment", "closing_date")

    def __init__(
        self, *, purchase_ids: Any = 1, comment: Any = None, closing_date: Any = None, fails: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.purchase_ids = purchase_ids
        self.comment = comment
        self.closing_date = closing_date
        self.unrendered = {"comment": comment, "closing_date": closing_date}
        self.fails = fails

    def execute(self, context: Any) -> None:
        index = context["ti"].map_index
        name = self.task_id if index < 0 else f"{self.task_id}[{index}]"
        try:
            read = read_closing_arguments(self, context)
        except AirflowFailException as error:
            REFUSED[name] = str(error)
            return
        READ[name] = read
        if context["ti"].try_number <= self.fails:
            raise RuntimeError("once more")


@pytest.fixture
def run(run_dag: Callable[..., Any]) -> Callable[..., str]:
    """Run a DAG anew and return how it ended; what was read is in the two dictionaries above."""

    def run_it(dag: Any, **kwargs: Any) -> str:
        REFUSED.clear()
        READ.clear()
        return str(run_dag(dag, **kwargs).state)

    return run_it


def new_dag(dag_id: str, **kwargs: Any) -> Any:
    return DAG(dag_id, start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Paris"), schedule=None, **kwargs)


def ids() -> dict[str, list[int]]:
    return {name: read[0] for name, read in READ.items()}


# -- purchase_ids ----------------------------------------------------------------------------------------------------

RETURNED: dict[str, tuple[Any, list[int] | str]] = {
    "list": ([101, 102], [101, 102]),
    "texts": (["101", "102"], [101, 102]),
    "nothing_to_close": ([], []),
    "rows_of_one_column": ([(101,), (102,)], [101, 102]),
    "dictionaries_of_one_column": ([{"id": 101}, {"id": 102}], [101, 102]),
    "rows_of_two_columns": ([(101, 3), (102, 1)], "item 2: a row of 2 columns"),
    "one_row_of_two_columns": ([(101, 3)], "a row of 2 columns"),
    "lists_of_two": ([[101, 3], [102, 1]], "item 2: a row of 2 columns"),
    "dictionaries_of_two_columns": ([{"id": 101, "n": 3}], "a row of 2 columns"),
    "id_to_number": ({"101": 3}, "is a mapping"),
    "counter": (dict(collections.Counter(["101"])), "is a mapping"),
    "pivot_rows": ([{"2024": 5}], "maps one value to another"),
    "none": (None, "is None"),
}


def test_what_a_task_returned_is_read_the_same_on_every_airflow_after_its_way_through_xcom(run):
    with new_dag("returned") as dag:
        for name, (value, _) in RETURNED.items():
            # A function of its own for each, since the loop goes on.
            found = task(task_id=f"find_{name}")(lambda value=value: value)()
            Reader(task_id=name, purchase_ids=found)
        # Not every Airflow takes the tables of every pandas into XCom.
        Reader(task_id="frame", purchase_ids=pd.DataFrame({2024: [5], 2025: [6]}))
    assert run(dag) == "success"
    assert "a pandas DataFrame" in REFUSED.pop("frame")
    assert ids() == {name: wanted for name, (_, wanted) in RETURNED.items() if isinstance(wanted, list)}
    messages = {name: wanted for name, (_, wanted) in RETURNED.items() if isinstance(wanted, str)}
    assert REFUSED.keys() == messages.keys()
    assert [name for name, message in messages.items() if message not in REFUSED[name]] == []


MAPPED: dict[str, tuple[list[Any], list[int] | str]] = {
    "lists": ([[101], [102, 103], []], [101, 102, 103]),
    "only_empty": ([[], []], []),
    "single_ids": ([101, 102], [101, 102]),
    "rows_of_one_column": ([[(101,)], [(102,), (103,)]], [101, 102, 103]),
    "rows_of_two_columns": ([[(101, 3)], [(102, 1)]], "item 2: a row of 2 columns"),
    "deeper": ([[[101, 102]], [[103, 104]]], "a row of 2 columns"),
    "mappings": ([{"closable": [101], "blocked": []}], "a row of 2 columns"),
    "texts": (["101,102"], "'101,102' is not a purchase id"),
}


def test_what_mapped_tasks_returned_is_flattened_by_one_level(run):
    with new_dag("mapped") as dag:

        @task
        def give(value: Any) -> Any:
            return value

        for name, (values, _) in MAPPED.items():
            found = give.override(task_id=f"find_{name}").expand(value=[[value] for value in values])
            picked = task(task_id=f"pick_{name}")(lambda value: value[0]).expand(value=found)
            Reader(task_id=name, purchase_ids=picked)
    assert run(dag) == "success"
    assert ids() == {name: wanted for name, (_, wanted) in MAPPED.items() if isinstance(wanted, list)}
    messages = {name: wanted for name, (_, wanted) in MAPPED.items() if isinstance(wanted, str)}
    assert [name for name, message in messages.items() if message not in REFUSED[name]] == []


@pytest.mark.parametrize("native", [False, True])
def test_a_template_over_mapped_tasks_needs_what_its_error_says(run, native):
    with new_dag(f"mapped_text_{native}", render_template_as_native_obj=native) as dag:

        @task
        def find(number: int) -> list[int]:
            return [number, number + 1]

        found = find.expand(number=[101, 103])
        found >> [
            Reader(task_id="bare", purchase_ids="{{ ti.xcom_pull(task_ids='find') }}"),
            Reader(task_id="summed", purchase_ids="{{ ti.xcom_pull(task_ids='find') | sum(start=[]) }}"),
        ]
    assert run(dag) == "success"
    assert READ["summed"][0] == [101, 102, 103, 104]
    # 2.11 renders the words LazySelectSequence([2 items]), or hands it over natively; 3 makes a plain list of lists.
    if "bare" in READ:
        assert READ["bare"][0] == [101, 102, 103, 104]
    else:
        assert "find.output" in REFUSED["bare"] or "a row of 2 columns" in REFUSED["bare"]


def test_a_generator_is_there_for_the_second_try_and_for_each_mapped_task(run):
    with new_dag("generator") as dag:
        Reader(task_id="twice", purchase_ids=iter([101, 102]), fails=1, retries=1, retry_delay=datetime.timedelta(0))
        Reader.partial(task_id="mapped", purchase_ids=(number for number in [101, 102])).expand(comment=["a", "b"])
    assert run(dag) == "success"
    assert ids() == {"twice": [101, 102], "mapped[0]": [101, 102], "mapped[1]": [101, 102]}


def test_what_a_native_template_gives_once_is_read_once_by_each_try(run):
    with new_dag("native_generator", render_template_as_native_obj=True) as dag:
        Reader(
            task_id="rendered",
            purchase_ids="{{ ['101', '102'] | map('int') }}",
            fails=1,
            retries=1,
            retry_delay=datetime.timedelta(0),
        )
    assert run(dag) == "success"
    assert ids() == {"rendered": [101, 102]}
    # The next run renders it anew.
    assert dag.get_task("rendered").purchase_ids == "{{ ['101', '102'] | map('int') }}"


# -- comment and closing_date, as text and natively ------------------------------------------------------------------

COMMENTS: dict[str, tuple[str, str | None]] = {
    "number": ("4711", "4711"),
    "number_with_zeros": ("004711", "004711"),
    "number_with_a_point": ("1.10", "1.10"),
    "number_with_an_exponent": ("1E5", "1E5"),
    "number_with_a_comma": ("1,5", "1,5"),
    "hexadecimal": ("0x10", "0x10"),
    "truth": ("True", "True"),
    "date": ("{{ macros.datetime(2026, 1, 31).date() }}", "2026-01-31"),
    "time": ("{{ macros.datetime(2026, 1, 31, 6) }}", "2026-01-31 06:00:00"),
    "number_of_a_template": ("{{ 4711 }}", "4711"),
    "text_of_a_template": ("{{ '1.10' }}", "1.10"),
    "quotes": ("'quoted'", "'quoted'"),
    "list": ("[1, 2]", "[1, 2]"),
    "words": ("order {{ 4711 }}, checked", "order 4711, checked"),
    "two_lines": ("first\nsecond", "first\nsecond"),
    "nothing_found": ("{{ ti.xcom_pull(task_ids='nobody') }}", None),
    "empty": ("{{ '' }}", None),
    "blank": ("{{ ' ' }}", None),
    "template_of_a_template": ("{{ '{' }}{ ds }}", None),
    "statement_of_a_template": ("{{ '{' }}% if x %}", None),
}


@pytest.mark.parametrize("native", [False, True])
def test_a_comment_is_the_same_text_in_both_renderings(run, native):
    with new_dag(f"comments_{native}", render_template_as_native_obj=native) as dag:
        for name, (comment, _) in COMMENTS.items():
            Reader(task_id=name, comment=comment)
        Reader(task_id="none")
        Reader.partial(task_id="mapped").expand(comment=["1.10", "{{ '1.10' }}"])
    assert run(dag) == "success"
    wanted = {name: comment for name, (_, comment) in COMMENTS.items() if comment is not None}
    wanted |= {"none": None, "mapped[0]": "1.10", "mapped[1]": "1.10"}
    assert {name: read[1] for name, read in READ.items()} == wanted
    assert REFUSED.keys() == {name for name, (_, comment) in COMMENTS.items() if comment is None}
    assert "template found nothing" in REFUSED["nothing_found"]
    assert "still contains a template" in REFUSED["statement_of_a_template"]


@pytest.mark.parametrize("native", [False, True])
def test_a_comment_from_another_task_is_not_taken_for_a_template(run, native):
    with new_dag(f"comment_of_task_{native}", render_template_as_native_obj=native) as dag:
        for name, value in {"text": "1.10", "number": 4711, "nothing": None, "template": "{{ ds }}"}.items():
            comment = task(task_id=f"say_{name}")(lambda value=value: value)()
            Reader(task_id=name, comment=comment)
            Reader.partial(task_id=f"mapped_{name}").expand(
                comment=task(task_id=f"list_{name}")(lambda value=value: [value])()
            )
    assert run(dag) == "success"
    wanted = {"text": "1.10", "number": "4711"}
    assert {name: read[1] for name, read in READ.items() if not name.startswith("mapped")} == wanted
    assert REFUSED.keys() == {"nothing", "template", "mapped_template[0]"}
    assert (READ["mapped_text[0]"][1], READ["mapped_number[0]"][1]) == ("1.10", "4711")


MIDNIGHT = pendulum.datetime(2026, 11, 1, tz="Europe/Paris")
DAYS: dict[str, tuple[Any, str | None]] = {
    "text": ("2026-10-31", "2026-10-31"),
    "rendered_day": ("{{ macros.datetime(2026, 10, 31) | ds }}", "2026-10-31"),
    "moment_of_the_zone": ("{{ params.at.astimezone(dag.timezone) | ds }}", "2026-11-01"),
    "nothing_found": ("{{ ti.xcom_pull(task_ids='nobody') }}", None),
}


@pytest.mark.parametrize("native", [False, True])
def test_a_day_is_the_same_in_both_renderings(run, native):
    with new_dag(
        f"days_{native}", render_template_as_native_obj=native, user_defined_macros={"at": MIDNIGHT.in_tz("UTC")}
    ) as dag:
        for name, (day, _) in DAYS.items():
            Reader(task_id=name, closing_date=day.replace("params.at", "at"))
        Reader(task_id="moment", closing_date="{{ at }}")
        Reader(task_id="none")
    assert run(dag) == "success"
    wanted = {name: day for name, (_, day) in DAYS.items() if day}
    assert {name: read[2] for name, read in READ.items()} == wanted | {"none": None}
    assert REFUSED.keys() == {"nothing_found", "moment"}
    if native:
        assert (
            "2026-10-31T23:00:00+00:00 is on 2026-10-31, but in the DAG's time zone Europe/Paris it is 2026-11-01"
            in (REFUSED["moment"])
        )
    else:
        assert "'2026-10-31 23:00:00+00:00' is not a date" in REFUSED["moment"]


def test_a_moment_that_another_task_returned_counts_by_the_day_of_the_dags_zone(run):
    with new_dag("moments") as dag:
        for name, moment in {
            "noon": MIDNIGHT.add(hours=12).in_tz("UTC"),
            "midnight": MIDNIGHT.in_tz("UTC"),
            "day": datetime.date(2026, 11, 1),
        }.items():
            Reader(task_id=name, closing_date=task(task_id=f"find_{name}")(lambda moment=moment: moment)())
    assert run(dag) == "success"
    assert {name: read[2] for name, read in READ.items()} == {"noon": "2026-11-01", "day": "2026-11-01"}
    assert "2026-10-31, but in the DAG's time zone Europe/Paris it is 2026-11-01" in REFUSED["midnight"]
