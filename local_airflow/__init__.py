"""
An Airflow on this machine, started in one way for all: the demo, ``make ui``, the system tests and the benchmarks.

:mod:`local_airflow.deployment` starts it, whole or as single commands; :mod:`local_airflow.api` speaks to it.
"""
