"""
The trial: a few requests that find out how a tenant of Lucca behaves, where Lucca's documentation leaves it open.

:mod:`~lucca_provider.trial.trial` asks, :mod:`~lucca_provider.trial.rows` compares the answers with what the provider
assumes, and :mod:`~lucca_provider.trial.table` writes them down. None of them repeats a word of an answer.
"""

from __future__ import annotations

from lucca_provider.trial.answers import Head, Source
from lucca_provider.trial.table import write_table
from lucca_provider.trial.trial import Trial, run_trial

__all__ = ["Head", "Source", "Trial", "run_trial", "write_table"]
