"""Sensors: what a DAG waits for in Lucca."""
