"""From answers to estimates, tables and a report."""
