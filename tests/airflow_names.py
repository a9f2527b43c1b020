"""Airflow's names that only tests use, from wherever the installed Airflow keeps them."""

from __future__ import annotations

try:
    from airflow.sdk import DAG, Asset, Connection, task
except ImportError:
    from airflow import DAG
    from airflow.datasets import Dataset as Asset
    from airflow.decorators import task
    from airflow.models import Connection

try:
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:
    from airflow.exceptions import TaskDeferred

try:
    from airflow.sdk.log import redact
except ImportError:
    try:
        from airflow.sdk.execution_time.secrets_masker import redact
    except ImportError:
        from airflow.utils.log.secrets_masker import redact

__all__ = ["DAG", "Asset", "Connection", "TaskDeferred", "redact", "task"]
