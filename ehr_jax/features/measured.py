"""All that is wanted of the measurements of a cohort, in one pass over their table.

The table may have hundreds of millions of rows, so each batch is cut to what is wanted and let go.
"""

from typing import NamedTuple

import polars as pl

from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import cells, known, variable
from ehr_jax.records.common import tables

_BATCH_ROWS = 1 << 18  # measurements taken at once
FIRST = {"visit_id": pl.Int64, "variable": pl.String, "time": tables.TIME}


class Wanted(NamedTuple):
    """What is taken of the measurements.

    Attributes:
      variables, step_hours, length: the grid whose cells are filled; no variables, no grid.
      last: whether each variable's last value is taken, and the first time it was measured.
      visits: those whose rows are kept as they are; of the grid's variables alone, unless `last`.
    """

    variables: tuple[variable.Variable, ...] = ()
    step_hours: float = 1.0
    length: int = 0
    last: bool = False
    visits: pl.Series | None = None


class Measured(NamedTuple):
    """What was taken.

    Attributes:
      cells: of the grid; None without one.
      last: as of `known.last_values`.
      first: FIRST: when each variable was first measured in a visit of the cohort or of `visits`.
      rows: `tables.MEASUREMENTS` of `visits`.
    """

    cells: cells.Cells | None
    last: pl.DataFrame
    first: pl.DataFrame
    rows: pl.DataFrame


def read(records: tables.Records, cohort: cohorts.Cohort, wanted: Wanted) -> Measured:
    """Goes through the measurements once."""
    grid = None
    if wanted.variables:
        grid = cells.Cells(cohort, wanted.variables, wanted.step_hours, wanted.length)
    none = tables.empty(tables.MEASUREMENTS)
    looked_at = pl.Series(dtype=pl.Int64) if wanted.visits is None else wanted.visits
    visits = pl.concat([cohort.samples["visit_id"], looked_at.rename("visit_id")]).unique()
    rows = records.measurements.filter(pl.col("visit_id").is_in(visits.implode()))
    if not wanted.last:
        rows = rows.filter(pl.col("variable").is_in(cells.items_of(wanted.variables)))
    last, first = known.last_values(none.lazy(), cohort), tables.empty(FIRST)
    kept = [none]
    # Joined batch by batch, so that it is not left to a query's plan which side is kept whole.
    batches = rows.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=False, engine="streaming")
    for batch in batches if grid or wanted.last else ():
        if grid:
            grid.take(batch)
        if wanted.last:
            last = known.latest(pl.concat([last, known.last_values(batch.lazy(), cohort)]))
            times = pl.concat([first, batch.drop_nulls("time").select(*FIRST)])
            first = times.group_by("visit_id", "variable").agg(pl.col("time").min())
        if looked_at.len():
            kept.append(batch.filter(pl.col("visit_id").is_in(looked_at.implode())))
    return Measured(grid, last, first, pl.concat(kept))
