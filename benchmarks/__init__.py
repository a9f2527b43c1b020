"""Measures what the project claims: ``python -m benchmarks`` runs every row and writes ``docs/benchmarks.md``."""
