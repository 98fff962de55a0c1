"""Reporting: tables, plots and the one-file report of a run folder. Aggregates only."""
