"""What the events of a closing's assets say to the DAGs that wait for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lucca_provider.assets.lucca import SCHEME
from lucca_provider.outcomes import Outcome

if TYPE_CHECKING:
    from lucca_provider.compat import Context

__all__ = ["announce"]


def announce(context: Context, outlets: Sequence[Any], report: Mapping[str, Any]) -> None:
    """
    Put what was closed into the event of each outlet of the scheme ``lucca``. Airflow sends it if the task succeeds.

    :param context: Airflow's context
    :param outlets: of the task
    :param report: the closing's
    """
    for outlet in outlets:
        if str(getattr(outlet, "uri", "")).startswith(f"{SCHEME}://"):
            ti: Any = context["ti"]
            context["outlet_events"][outlet].extra.update(
                {
                    "dag_id": ti.dag_id,
                    "run_id": ti.run_id,
                    "task_id": ti.task_id,
                    "counts": {outcome: len(purchases) for outcome, purchases in report.items()},
                    # Without a journal a retry calls already closed what the try before it has closed.
                    **{outcome.value: report[outcome.value] for outcome in Outcome if outcome.is_closed},
                }
            )
