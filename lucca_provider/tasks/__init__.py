"""What the tasks share, operators and sensors alike: their connection, arguments, results and Airflow's store."""
