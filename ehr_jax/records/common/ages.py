"""Ages: how they are counted, and which are not believed."""

import polars as pl

from ehr_jax.records.common import tables

OLDEST = 130  # years; an age above is an error


def years(birth: pl.Expr, at: pl.Expr) -> pl.Expr:
    """Returns the years between two times."""
    return (at - birth).dt.total_days() / tables.DAYS_A_YEAR


def believed(age: pl.Expr) -> pl.Expr:
    """Says whether an age in years may be one."""
    return age.is_between(0, OLDEST)
