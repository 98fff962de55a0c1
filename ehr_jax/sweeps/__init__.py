"""Sweeps: what is tried, in which programs, and what became of it."""
