"""Diabetes 130-US hospitals 1999-2008."""
