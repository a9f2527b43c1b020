"""ListPurchasesOperator against a tenant on real sockets; Airflow's own part is in tests/integration."""

from __future__ import annotations

from typing import Any

import pytest

from lucca_provider.compat import AirflowFailException
from lucca_provider.exceptions import LuccaAccessError, LuccaForbiddenError
from lucca_provider.operators.purchases import ListPurchasesOperator
from lucca_provider.sandbox import Sandbox
from tests.unit.airflow_fakes import TaskInstance

PAGE = "/cleemy-procurement/api/purchases"


@pytest.fixture
def lucca(monkeypatch):
    with Sandbox(purchases=30) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", sandbox.connection_uri)
        yield sandbox


async def _later(purchase: Any) -> bool:
    return True


def run(ti: TaskInstance | None = None, **kwargs: Any) -> Any:
    context: Any = {"ti": ti or TaskInstance()}
    return ListPurchasesOperator(task_id="find", **kwargs).execute(context)


def ids_in(lucca: Sandbox, *states: str) -> list[int]:
    return [number for number in lucca.purchase_ids if lucca.purchase(number)["state"] in states]


def test_a_list_that_tells_no_state_at_all_is_not_an_empty_month(lucca):
    lucca.behaviour.missing_state = True
    with pytest.raises(AirflowFailException, match=r"No purchase .* has a state \(30 purchases\)"):
        run()


# -- which purchases -------------------------------------------------------------------------------------------------


def test_the_ids_of_ongoing_purchases_are_returned_unless_other_states_are_named(lucca):
    assert run() == ids_in(lucca, "Ongoing")
    assert run(states=["Closed", "Denied"]) == ids_in(lucca, "Closed", "Denied")
    assert run(states="Closed") == ids_in(lucca, "Closed")


@pytest.mark.parametrize("fields", [None, ["title"]])
def test_the_ids_have_a_key_of_their_own_whatever_is_returned(lucca, fields):
    ti = TaskInstance()
    run(ti, fields=fields)
    assert ti.pushed == {"ids": ids_in(lucca, "Ongoing")}
    run(ti := TaskInstance(), fields=fields, do_xcom_push=False)
    assert ti.pushed == {}


def test_a_documented_state_that_no_purchase_is_in_gives_an_empty_list(lucca):
    assert run(states=["Processing"]) == []


def test_one_request_reads_up_to_a_thousand_purchases_and_none_is_a_post(lucca):
    run()
    assert [(request.method, request.path) for request in lucca.requests] == [("GET", PAGE)]
    assert lucca.requests[0].query["limit"] == "1000"


@pytest.mark.parametrize("tokens", [True, False])
def test_every_page_is_read(lucca, tokens):
    lucca.behaviour.list_ignores_limit = True
    lucca.behaviour.list_tokens = tokens
    more = [lucca.add_purchase(state="Processing") for _ in range(190)]
    assert run(states=["Processing"]) == more
    assert len(lucca.requests) == 3


def test_filters_are_equalities_of_fields_and_of_fields_within_fields(lucca):
    wanted = lucca.add_purchase(type="Subscription", title="Rent", supplier={"id": 77, "name": "Dune"})
    lucca.add_purchase(type="OneTime", title="Rent", supplier={"id": 77, "name": "Dune"})
    lucca.add_purchase(type="Subscription", title="Rent", supplier={"id": 78, "name": "Other"})
    filters = {"type": "Subscription", "title": "Rent", "supplier.name": "Dune"}
    assert run(filters=filters) == [wanted]


def test_a_number_that_a_template_made_text_still_equals_the_number(lucca):
    wanted = lucca.add_purchase(supplier={"id": 77, "name": "Dune"})
    assert run(filters={"supplier.id": "77"}) == [wanted]
    assert run(filters={"supplier.id": 77}) == [wanted]
    assert run(filters={"supplier.id": "077"}) == []


def test_a_field_within_one_that_is_null_is_null_and_not_misspelt(lucca):
    for number in lucca.purchase_ids:
        lucca.set_purchase(number, supplier=None)
    assert run(filters={"supplier.name": None}) == ids_in(lucca, "Ongoing")
    assert run(filters={"supplier.name": "Dune"}) == []
    assert {found["supplier.name"] for found in run(fields=["supplier.name"])} == {None}


def test_the_predicate_is_given_luccas_object_and_only_after_the_state(lucca):
    given = []

    def is_even(purchase: Any) -> bool:
        given.append(purchase)
        return bool(purchase["id"] % 2 == 0)

    assert run(states=["Closed"], predicate=is_even) == [n for n in ids_in(lucca, "Closed") if n % 2 == 0]
    assert given == [lucca.purchase(number) for number in ids_in(lucca, "Closed")]


def test_the_purchase_that_a_predicate_fails_for_is_named_and_the_error_stays_as_it_was(lucca, logged):
    with pytest.raises(KeyError, match="no_such_member"):
        run(predicate=lambda purchase: purchase["no_such_member"])
    assert f"predicate: it failed for purchase {ids_in(lucca, 'Ongoing')[0]}" in logged()


def test_purchases_without_a_state_are_left_out_and_named(lucca, logged):
    number = ids_in(lucca, "Ongoing")[0]
    lucca.set_purchase(number, state=None)
    assert number not in run()
    assert f"1 purchase without a state in Lucca's list: {number}" in logged()


def test_query_parameters_are_sent_along(lucca):
    run(query={"ownerId": [416, "417"], "withDrafts": False, "unused": None})
    query = lucca.requests[0].query
    assert query["ownerId"] == "416,417"
    assert query["withDrafts"] == "false"
    assert "unused" not in query


# -- what is returned ------------------------------------------------------------------------------------------------


def test_chosen_fields_come_as_objects_with_the_id(lucca):
    number = lucca.add_purchase(state="Processing", title="Rent", supplier={"id": 77, "name": "Dune"})
    assert run(states=["Processing"], fields=["title", "supplier.name"]) == [
        {"id": number, "title": "Rent", "supplier.name": "Dune"}
    ]
    assert run(states=["Processing"], fields=()) == [{"id": number}]


def test_a_field_that_some_purchases_lack_is_none_for_those(lucca):
    first = lucca.add_purchase(state="Processing", project="P1")
    second = lucca.add_purchase(state="Processing")
    assert run(states=["Processing"], fields=["project"]) == [
        {"id": first, "project": "P1"},
        {"id": second, "project": None},
    ]


def test_a_result_above_the_stated_size_is_refused_with_what_to_do(lucca):
    size = len(repr(run()))
    assert run(max_bytes=size)
    with pytest.raises(AirflowFailException, match=rf"takes {size} bytes .* max_bytes={size - 1}. Choose fewer"):
        run(max_bytes=size - 1)


def test_the_log_says_how_many_of_how_many(lucca, logged):
    found = run()
    assert f"Returning {len(found)} of 30 purchases." in logged()


# -- what cannot be used ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"states": []}, "states is empty; name at least one"),
        ({"states": 5}, "states: 5 is not a list of names of Lucca's states"),
        ({"states": "Ongoing, Created"}, "states: 'Ongoing, Created' is not the name of a state; give one, or a list"),
        ({"filters": {"type": ["OneTime"]}}, r"filters: 'type' has several values, \['OneTime'\]. Give one"),
        ({"predicate": _later}, "predicate: .*_later.* is not a plain function"),
        ({"states": ["Ongoing", None]}, "states: None is not the name of a state"),
        ({"filters": "type=OneTime"}, "filters: 'type=OneTime' is not a mapping"),
        ({"filters": []}, r"filters: \[\] is not a mapping"),
        ({"filters": {1: 2}}, "filters: {1: 2} is not a mapping of field names"),
        ({"predicate": "type"}, "predicate: 'type' is not a plain function"),
        ({"fields": "title"}, "fields: 'title' is not a list of field names"),
        ({"fields": 5}, "fields: 5 is not a list of field names"),
        ({"fields": ["title", 5]}, r"fields: \['title', 5\] is not a list of field names"),
        ({"query": "state=Ongoing"}, "query: 'state=Ongoing' is not a mapping"),
        ({"query": {"page": 2}}, "query: 'page' cannot be given"),
        ({"query": {"since": {}}}, "query: 'since' has a value of type dict"),
        ({"max_bytes": 0}, "max_bytes: 0 is not a number of bytes"),
        ({"max_bytes": True}, "max_bytes: True is not a number of bytes"),
        ({"max_bytes": "1000"}, "max_bytes: '1000' is not a number of bytes"),
    ],
)
def test_bad_arguments_fail_for_good_before_anything_is_sent(lucca, arguments, message):
    with pytest.raises(AirflowFailException, match=message):
        run(**arguments)
    assert lucca.requests == []


def test_a_bad_connection_fails_for_good_naming_it(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_ACME", "lucca://:some-api-key@acme.ilucca.net/http")
    with pytest.raises(AirflowFailException, match=r"'lucca_acme': Schema"):
        run(lucca_conn_id="lucca_acme")


@pytest.mark.parametrize("states", ["ongoing", ["Ongoing", "Open"]])
def test_a_misspelt_state_is_told_from_an_empty_month(lucca, states):
    with pytest.raises(AirflowFailException, match=r"states: no purchase is '.*', .* Correct the name; Lucca has Can"):
        run(states=states)


def test_a_state_that_is_new_in_lucca_can_be_listed(lucca):
    number = lucca.add_purchase(state="Archived")
    assert run(states=["Archived"]) == [number]


@pytest.mark.parametrize("arguments", [{"fields": ["titel"]}, {"filters": {"titel": "Rent"}}])
def test_a_misspelt_field_is_told_from_an_empty_month(lucca, arguments):
    with pytest.raises(AirflowFailException, match=r"filters and fields: no purchase has 'titel'. Correct the name"):
        run(**arguments)


def test_an_empty_tenant_misspells_nothing(monkeypatch):
    with Sandbox(purchases=0) as empty:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", empty.connection_uri)
        assert run(states=["Archived"], fields=["titel"]) == []


def test_a_list_that_cannot_be_read_is_an_error_and_never_an_empty_list(lucca, monkeypatch):
    lucca.behaviour.list_status = 403
    with pytest.raises(LuccaForbiddenError):
        run()
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri.replace("sandbox-key", "another-key"))
    with pytest.raises(LuccaAccessError):
        run()
