"""Links from tasks to Lucca."""
