"""A whole Airflow, run the way its users run it, against tenants of the sandbox."""
