"""Evaluation: metrics of predictions, patient-level intervals, paired comparison of methods."""
