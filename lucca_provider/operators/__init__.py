"""Operators: what a DAG does in Lucca."""
