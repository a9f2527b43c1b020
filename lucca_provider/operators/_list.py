"""The operator that lists purchases."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lucca_provider.compat import AirflowFailException, BaseOperator

if TYPE_CHECKING:
    from lucca_provider.compat import Context

__all__ = ["ListPurchasesOperator"]


class ListPurchasesOperator(BaseOperator):
    """
    List the purchases that are in certain states, and return their ids, or chosen fields of them.

    All purchases are read, up to 1000 with each request, and filtered here, because Lucca documents no filter for this
    list. A purchase for which Lucca returns no state is left out, with a warning.

    The ids are also an XCom of their own, ``ids``, with or without ``fields``.

    .. seealso:: the guide :doc:`docs/validating`

    :param states: ``state`` of the purchases to return, one or several of ``Created``, ``Processing``, ``Ongoing``,
        ``Denied``, ``Closed`` and ``Cancelled``. (templated)
    :param filters: field to value: only purchases that have all these values are returned. A field within another is
        named with a dot, such as ``supplier.name``. (templated)
    :param predicate: a function that gets Lucca's JSON object; only purchases for which it returns true are returned
    :param fields: return an object for each purchase with its ``id`` and these fields, named as in ``filters``; a
        field that a purchase lacks is ``None``. Default: the ids alone. (templated)
    :param query: query parameters to send, if you know of a filter that Lucca has. (templated)
    :param max_bytes: size as JSON above which the result is refused, since XCom is not made for large ones
    :param lucca_conn_id: the Airflow connection, of type ``lucca``. (templated)
    :raises AirflowFailException: for arguments or a connection that cannot be used, before anything is sent; for a
        state that Lucca does not document and no purchase is in; for a field that no purchase has; for a result that is
        too large
    :raises LuccaError: if the list cannot be read as a whole
    """

    template_fields: Sequence[str] = ("states", "filters", "fields", "query", "lucca_conn_id")
    ui_color = "#f5d9c8"

    def __init__(
        self,
        *,
        states: Collection[str] | str = ("Ongoing",),
        filters: Mapping[str, Any] | None = None,
        predicate: Callable[[Mapping[str, Any]], object] | None = None,
        fields: Sequence[str] | None = None,
        query: Mapping[str, Any] | None = None,
        max_bytes: int = 1_000_000,
        lucca_conn_id: str = "lucca_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.states = states
        self.filters = filters
        self.predicate = predicate
        self.fields = fields
        self.query = query
        self.max_bytes = max_bytes
        self.lucca_conn_id = lucca_conn_id

    def execute(self, context: Context) -> list[Any]:
        """List the purchases."""
        # Not needed to read a DAG file, which happens far more often.
        from lucca_provider.inputs import InvalidInputError
        from lucca_provider.reading.selection import SelectionError, read_selection, select
        from lucca_provider.tasks.common import connect, push_value

        try:
            selection = read_selection(
                states=self.states,
                filters=self.filters,
                predicate=self.predicate,
                fields=self.fields,
                max_bytes=self.max_bytes,
            )
            chosen = select(selection, connect(self.lucca_conn_id).list_purchases(self.query))
        except (InvalidInputError, SelectionError) as error:
            raise AirflowFailException(str(error)) from error
        push_value(self, context, "ids", [one["id"] if isinstance(one, dict) else one for one in chosen])
        return chosen
