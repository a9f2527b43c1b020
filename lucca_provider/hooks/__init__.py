"""Hooks: how Airflow reaches Lucca."""
