"""Entities of time series: what was measured far from the training samples' mean, and when.

REALM and EMERGE name a variable "low" or "high" where its z-score is beyond a threshold, 2 in
EMERGE (arXiv 2406.00036v2); REALM's own is not known. Neither says over what mean and deviation are
taken; here, inferred, over all that was observed of training samples. Categories have no z-score,
so they give no entity (inferred), and what was only carried forward gives none.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from ehr_jax import errors

THRESHOLD = 2.0  # EMERGE's; inferred for REALM

ABNORMAL = {
    "sample": pl.Int64,  # row of the grid
    "hour": pl.Float64,  # end of the step, from the window's start
    "variable": pl.String,
    "direction": pl.String,  # "low" or "high"
    "z": pl.Float64,
}


class Usual(NamedTuple):
    """Mean and deviation of each variable, [variable] float64; NaN where none can be told."""

    mean: np.ndarray
    std: np.ndarray


def fit(
    values: np.ndarray, observed: np.ndarray, category: Sequence[bool], robust: bool = False
) -> Usual:
    """Fits what is usual of each variable; give training samples alone.

    Args:
      values, observed: [sample, step, variable], values in any affine scale, bool.
      category: [variable], True for those without an order.
      robust: median and 1.4826 times the median absolute deviation in place of mean and standard
        deviation (inferred: neither paper has it).

    Raises:
      KnowledgeError: the shapes do not fit.
    """
    _check(values, observed, category)
    mean = np.full(values.shape[-1], np.nan)
    std = np.full(values.shape[-1], np.nan)
    for index in np.flatnonzero(~np.asarray(category, bool)):
        found = values[..., index][observed[..., index]].astype(np.float64)
        found = found[np.isfinite(found)]
        if not found.size:
            continue
        centre = np.median(found) if robust else found.mean()
        spread = 1.4826 * np.median(np.abs(found - centre)) if robust else found.std()
        # Below what float32 resolves, a spread is rounding: nothing can be far from such a mean.
        if spread > 1e-6 * max(1.0, abs(centre)):
            mean[index], std[index] = centre, spread
    return Usual(mean, std)


def find(
    values: np.ndarray,
    observed: np.ndarray,
    usual: Usual,
    names: Sequence[str],
    step_hours: float,
    threshold: float = THRESHOLD,
) -> pl.DataFrame:
    """Returns ABNORMAL: every observed value beyond the threshold, by sample, hour and variable.

    Args:
      values, observed: [sample, step, variable], in the scale of `usual`.
      usual: of `fit`.
      names: [variable].
      step_hours: length of a step.
      threshold: in standard deviations, above 0.

    Raises:
      ConfigError: the threshold is not above 0.
      KnowledgeError: the shapes do not fit.
    """
    if not threshold > 0:
        raise errors.ConfigError(
            f"threshold of abnormal values is {threshold}; expected standard deviations above 0"
        )
    _check(values, observed, names)
    # The bounds are compared, not every z-score, which would be another grid of 64 bits a cell.
    low, high = usual.mean - threshold * usual.std, usual.mean + threshold * usual.std
    with np.errstate(invalid="ignore"):
        beyond = observed & ((values < low) | (values > high)) & np.isfinite(values)
    sample, step, variable = np.nonzero(beyond)
    z = (values[sample, step, variable] - usual.mean[variable]) / usual.std[variable]
    return pl.DataFrame(
        {
            "sample": sample,
            "hour": (step + 1) * float(step_hours),
            "variable": np.asarray(names, object)[variable],
            "direction": np.where(z > 0, "high", "low").astype(object),
            "z": z,
        },
        schema=ABNORMAL,
    )


def entities(abnormal: pl.DataFrame) -> pl.DataFrame:
    """Returns (sample, hour, entity): "low heart rate" once a sample, at its first hour."""
    entity = pl.format("{} {}", "direction", "variable").alias("entity")
    first = abnormal.group_by("sample", entity).agg(pl.col("hour").min())
    return first.select("sample", "hour", "entity").sort("sample", "hour", "entity")


def _check(values: np.ndarray, observed: np.ndarray, per_variable: Sequence) -> None:
    fits = values.ndim == 3 and observed.shape == values.shape
    if not (fits and observed.dtype == bool and len(per_variable) == values.shape[-1]):
        raise errors.KnowledgeError(
            f"series of abnormal values: values {values.shape}, observed {observed.shape} "
            f"{observed.dtype}, {len(per_variable)} variables; expected [sample, step, variable] "
            "twice, observed as bool, and as many variables"
        )
