"""Fitting: device arrays, the step, the loop with early stopping, checkpoints, the run folder."""
