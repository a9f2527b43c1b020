"""Policies: how tasks that use Lucca are retried."""
