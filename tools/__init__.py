"""What ``make`` calls and is more than a line of it."""
