"""What was last seen in each cell of a grid of series, taken from measurements batch by batch."""

import numpy as np
import polars as pl

from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import variable

UNSEEN = np.iinfo(np.int64).min
_COUNTS = {
    "index": pl.Int32,
    "fault": pl.Int8,
    "unit": pl.String,
    "rows": pl.Int64,
    "clipped": pl.Int64,
}


class Cells:
    """The last value of each cell of the samples of a cohort, whatever the order of the rows.

    Attributes:
      values: [sample, length + 1, variable] float32, NaN where nothing was seen; the first step is
        what was seen before the window.
      elapsed: of the same shape, int64 microseconds from the window's start, or UNSEEN.
      counts: of rows, by variable, fault and unit.
    """

    def __init__(
        self,
        cohort: cohorts.Cohort,
        variables: tuple[variable.Variable, ...],
        step_hours: float,
        length: int,
    ):
        shape = (cohort.samples.height, length + 1, len(variables))
        self.values = np.full(shape, np.nan, np.float32)
        self.elapsed = np.full(shape, UNSEEN)
        self.counts = pl.DataFrame(schema=_COUNTS)
        self._cohort, self._variables = cohort, variables
        self._items = items_of(variables)
        self._step, self._length = microseconds(step_hours), length

    def take(self, rows: pl.DataFrame) -> None:
        """Takes rows of `tables.MEASUREMENTS`, of any visits, variables and times."""
        chosen = rows.filter(
            pl.col("variable").is_in(self._items),
            pl.col("time").is_not_null(),
            pl.col("value").is_finite(),
        )
        batch = _in_time(chosen, self._cohort, self._step, self._length)
        found = variable.in_common_units(batch.lazy(), self._variables).collect()
        unit = pl.when(pl.col("fault") == 1).then("spelling").alias("unit")
        counted = (
            found.group_by("index", "fault", unit)
            .agg(rows=pl.len().cast(pl.Int64), clipped=pl.col("clipped").sum().cast(pl.Int64))
            .select(*_COUNTS)
        )
        self.counts = pl.concat([self.counts, counted])
        _enter(found.filter(pl.col("fault") == 0), self.values, self.elapsed)


def items_of(variables: tuple[variable.Variable, ...]) -> list[str]:
    """Returns the names that measurements give the variables."""
    return sorted({item.name for v in variables for item in v.items})


def microseconds(hours: float) -> int:
    """Returns how many there are in so many hours."""
    return round(hours * 3.6e9)


def _in_time(rows: pl.DataFrame, cohort, step: int, length: int) -> pl.DataFrame:
    """Returns the measurements that samples have up to their prediction times.

    `step` is -1 for what was seen before the window; `elapsed` counts microseconds from its start.
    """
    samples = cohort.samples.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("sample"), "visit_id", "prediction_time"
    )
    elapsed = (pl.col("time") - pl.col("prediction_time")).dt.total_microseconds() + step * length
    # A step is closed on its right, so that the last ends with the prediction time.
    at = pl.when(pl.col("elapsed") == 0).then(0).otherwise((pl.col("elapsed") - 1).floordiv(step))
    return (
        rows.lazy()
        .join(samples.lazy(), on="visit_id")
        .filter(pl.col("time") <= pl.col("prediction_time"))
        .with_columns(elapsed=elapsed)
        .select("sample", "elapsed", "variable", "value", "unit", step=at.clip(lower_bound=-1))
        .collect()
    )


def _enter(good: pl.DataFrame, values: np.ndarray, elapsed: np.ndarray) -> None:
    """Enters rows into the cells for which they are the last seen so far."""
    _, steps, num_variables = values.shape
    cell = (pl.col("sample") * steps + pl.col("step") + 1) * num_variables + pl.col("index")
    # Of values of one instant the largest, whatever the order of the rows.
    ordered = good.select(cell.alias("cell"), "elapsed", pl.col("value").cast(pl.Float32))
    ordered = ordered.sort("cell", "elapsed", "value")
    last = ordered.filter((pl.col("cell") != pl.col("cell").shift(-1)).fill_null(True))
    at, when, value = (last[name].to_numpy() for name in ("cell", "elapsed", "value"))
    held, held_when = values.reshape(-1), elapsed.reshape(-1)
    newer = (when > held_when[at]) | ((when == held_when[at]) & (value > held[at]))
    held[at[newer]] = value[newer]
    held_when[at[newer]] = when[newer]
