"""Time series on a grid: what each sample had measured, step by step, up to its prediction time.

The window of a sample is `length` steps that end at its prediction time. A step holds the values
seen after its start and up to its end; the first also those at its very start. The last value of a
step counts (of several at the same instant the largest), and is carried forward until the next; a
value of the visit from before the window is carried into it. Nothing later than the prediction time
is ever read.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl

from ehr_jax import errors
from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import cells, measured, variable
from ehr_jax.records.common import tables

NEVER = -1.0  # the value of a category that was not seen so far (REALM's)
FARTHEST = 1e4  # in standard deviations; what lies beyond is set to the mean (REALM's)


class Scale(NamedTuple):
    """What is fitted on training samples, each [variable] float32; of a category (0, 1, NEVER)."""

    mean: np.ndarray
    std: np.ndarray
    median: np.ndarray  # stands for a number that was not seen so far


@dataclasses.dataclass(frozen=True)
class Series:
    """Series of the samples of a cohort, in its order.

    Padding, the steps that end before the visit began, is 0 and False throughout.

    values: [sample, step, variable] float32, numbers as (value - mean) / std, categories as they
      are; before the first observation the scaled median, NEVER for a category.
    observed: [sample, step, variable] bool: measured within the step.
    hours_since: [sample, step, variable] float32, hours from the last observation to the step's
      end; before the first, from the window's start.
    present: [sample, step] bool: not padding.
    oddities: rows left out or set to a limit, with columns variable, rule, unit, rows.
    """

    values: np.ndarray
    observed: np.ndarray
    hours_since: np.ndarray
    present: np.ndarray
    variables: tuple[variable.Variable, ...]
    scale: Scale
    step_hours: float
    oddities: pl.DataFrame


def build(
    records: tables.Records,
    cohort: cohorts.Cohort,
    variables: tuple[variable.Variable, ...],
    step_hours: float = 1.0,
    length: int = 48,
    scale: Scale | None = None,
    seen: Callable[[], cells.Cells] | None = None,
) -> Series:
    """Builds the series of a cohort; measurements are read in a stream.

    Args:
      scale: fitted before, on the samples a model was trained on; None fits it to the cohort's
        training samples.
      seen: returns what was last seen, read before; None reads the measurements.

    Memory is that of the grid and of one batch of rows, however many measurements there are.

    Raises ConfigError for an impossible grid, CohortError for samples without a prediction time and
    for records without a measurement of any of the variables.
    """
    if not variables or not step_hours > 0 or length < 1:
        raise errors.ConfigError(
            f"series: {len(variables)} variable(s), step_hours {step_hours}, length {length}; "
            "expected at least one variable, a step above 0 h and a length of 1 or more"
        )
    if undated := cohort.samples["prediction_time"].null_count():
        raise errors.CohortError(
            f"series: {undated} of {cohort.samples.height} samples have no prediction time; "
            f"{records.source} gives no dates for them"
        )
    wanted = measured.Wanted(variables, step_hours, length)
    found = seen() if seen else measured.read(records, cohort, wanted).cells
    values, elapsed, counts = found.values.copy(), found.elapsed.copy(), found.counts
    if counts.is_empty():
        raise errors.CohortError(
            f"series: {records.source} holds no measurement, by the prediction times, of any of "
            f"{', '.join(v.name for v in variables[:5])}...; choose other variables"
        )
    values, observed, hours_since = _carried(values, elapsed, step_hours)
    present = _present(records, cohort, step_hours, length)
    seen_in_time = observed & present[:, :, None]
    if scale is None:
        train = (cohort.samples["split"] == "train").to_numpy()
        scale = fit(values[train], seen_in_time[train], variables)
    padding = ~present[:, :, None]
    return Series(
        values=np.where(padding, np.float32(0), scaled(values, scale)),
        observed=seen_in_time,
        hours_since=np.where(padding, np.float32(0), hours_since),
        present=present,
        variables=tuple(variables),
        scale=scale,
        step_hours=step_hours,
        oddities=_oddities(counts, variables),
    )


def fit(
    values: np.ndarray, observed: np.ndarray, variables: tuple[variable.Variable, ...]
) -> Scale:
    """Fits mean, standard deviation and median of the observed values of each number.

    Of those strictly between the 5th and the 95th percentile (REALM's code), or of all where there
    are none between. A number that was never observed, or does not vary, keeps a deviation of 1.

    Args:
      values, observed: [sample, step, variable], of training samples alone, values unscaled.
    """
    rows = []
    for index, v in enumerate(variables):
        found = values[..., index][observed[..., index]].astype(np.float64)
        if v.category or not found.size:
            rows.append((0.0, 1.0, NEVER if v.category else 0.0))
            continue
        low, high = np.percentile(found, (5, 95))
        inner = found[(found > low) & (found < high)]
        inner = inner if inner.size else found
        # Below what float32 resolves, a spread is rounding.
        std = inner.std()
        varies = std > 1e-6 * max(1.0, abs(inner.mean()))
        rows.append((inner.mean(), std if varies else 1.0, np.median(inner)))
    mean, std, median = np.asarray(rows, np.float32).T
    return Scale(mean, std, median)


def scaled(values: np.ndarray, scale: Scale) -> np.ndarray:
    """Returns [..., variable] values in standard deviations, NaN as the median."""
    filled = np.where(np.isnan(values), scale.median, values)
    z = (filled - scale.mean) / scale.std
    return np.where(np.abs(z) > FARTHEST, 0, z).astype(np.float32)


def one_hot(series: Series) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns [sample, step, feature] float32 and the features' names: a category takes one feature
    a level, all of them NEVER before its first observation and 0 in padding; a number takes one."""
    columns, names = [], []
    for index, v in enumerate(series.variables):
        value = series.values[:, :, index]
        if not v.category:
            columns.append(value)
            names.append(v.name)
            continue
        unseen = (value == NEVER) & series.present
        for level in variable.levels(v):
            is_level = ((value == level) & series.present).astype(np.float32)
            columns.append(np.where(unseen, np.float32(NEVER), is_level))
            names.append(f"{v.name} = {level}")
    return np.stack(columns, axis=-1), tuple(names)


def _carried(values: np.ndarray, elapsed: np.ndarray, step_hours: float):
    """Returns values (NaN where nothing was seen so far), observed and hours_since."""
    length = values.shape[1] - 1
    observed = ~np.isnan(values[:, 1:])
    seen_at = np.where(elapsed == cells.UNSEEN, np.nan, elapsed / 3.6e9).astype(np.float32)
    for t in range(1, length + 1):
        unseen = ~observed[:, t - 1]
        values[:, t] = np.where(unseen, values[:, t - 1], values[:, t])
        seen_at[:, t] = np.where(unseen, seen_at[:, t - 1], seen_at[:, t])
    ends = np.arange(1, length + 1, dtype=np.float32)[None, :, None] * np.float32(step_hours)
    hours_since = ends - np.nan_to_num(seen_at[:, 1:], nan=0.0)
    return values[:, 1:], observed, hours_since


def _present(records, cohort, step_hours: float, length: int) -> np.ndarray:
    """Returns [sample, step] bool: does the step end at or after the start of the visit?"""
    starts = cohort.samples.select("visit_id", "prediction_time").join(
        records.visits.select("visit_id", "start"), on="visit_id", how="left", maintain_order="left"
    )
    before = (pl.col("prediction_time") - pl.col("start")).dt.total_microseconds()
    lived = starts.select(before).to_series().fill_null(2**62).to_numpy()
    to_prediction = np.arange(length - 1, -1, -1) * cells.microseconds(step_hours)
    return lived[:, None] >= to_prediction[None, :]


def _oddities(counts: pl.DataFrame, variables: tuple[variable.Variable, ...]) -> pl.DataFrame:
    names = dict(enumerate(v.name for v in variables))
    rules = dict(enumerate(variable.FAULTS))
    limited = counts.filter(pl.col("fault") == 0, pl.col("clipped") > 0).select(
        "index",
        pl.lit("set to the nearest limit").alias("rule"),
        pl.lit(None, pl.String).alias("unit"),
        pl.col("clipped").alias("rows"),
    )
    left_out = counts.filter(pl.col("fault") > 0).select(
        "index",
        (pl.col("fault").replace_strict(rules, return_dtype=pl.String) + ", left out").alias(
            "rule"
        ),
        pl.col("unit").str.head(16),
        "rows",
    )
    return (
        pl.concat([left_out, limited])
        .group_by("index", "rule", "unit")
        .agg(pl.col("rows").sum())
        .sort("index", "rule", "unit")
        .with_columns(pl.col("index").replace_strict(names, return_dtype=pl.String))
        .rename({"index": "variable"})
    )
