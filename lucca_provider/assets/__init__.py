"""Assets of Airflow (datasets, before Airflow 3) that stand for something in Lucca."""
