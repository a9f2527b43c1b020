"""Writes a trial as a Markdown table that can be pasted anywhere."""

from __future__ import annotations

from lucca_provider.trial.rows import list_rows
from lucca_provider.trial.trial import Trial

__all__ = ["write_table"]

_VERDICTS = {True: "**no**", False: "yes", None: "–"}


def write_table(trial: Trial, version: str) -> str:
    """
    Write what was found out.

    It names no key, no host, no purchase, no person or company and no amount: every word in it is the provider's own,
    and every number a status, a size, a duration, or how many of something there are.

    :param trial: what was asked and answered
    :param version: of the provider
    """
    source = trial.source
    lines = [
        "### Trial of a Lucca tenant",
        "",
        f"Environment: {source.environment}. airflow-provider-lucca {version}. Requests: {source.requests}.",
        "",
        "| Asked | This tenant | The provider assumes | As assumed | What a difference costs |",
        "|---|---|---|---|---|",
    ]
    for row in list_rows(trial):
        cells = (row.asked, row.found, row.assumed, _VERDICTS[row.differs], row.costs)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
