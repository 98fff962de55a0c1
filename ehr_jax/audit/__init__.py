"""Checks that no outcome leaks into an input: of a cohort, its inputs and what was fitted."""
