"""Apache Airflow provider for Lucca Invoices."""

__version__ = "0.1.0"
