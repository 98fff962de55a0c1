"""MEDS 0.4 data sets, read and written."""
