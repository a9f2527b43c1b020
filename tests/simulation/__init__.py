"""
A seeded simulation: a tenant, an Airflow with many tasks, and people, in simulated time.

``python -m tests.simulation 0-19999`` runs a schedule for each seed and checks what must hold in all of them. A seed
that fails is run again by itself, with a trace: ``python -m tests.simulation --trace 12345``.

The classes under test are the real ones. What stands around them is small: :mod:`tests.simulation.tenant` is Lucca,
:mod:`tests.simulation.airflow` decides which try starts when, :mod:`tests.simulation.process` does what the operator
and the driver do without threads, and :mod:`tests.simulation.invariants` is what must hold.
"""
