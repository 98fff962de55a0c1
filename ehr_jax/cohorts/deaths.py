"""Deaths of patients within days of a prediction time, in hospital or after it: no inputs."""

import datetime
from collections.abc import Sequence

import numpy as np
import polars as pl

from ehr_jax.cohorts import rules
from ehr_jax.records.common import tables


def told_after_hospital(records: tables.Records) -> bool:
    """Do the records know of a death after the last visit of a patient?"""
    last = records.visits.group_by("subject_id").agg(pl.col("end").max(), pl.len())
    known = records.patients.join(last, on="subject_id")
    if not records.dated:  # times of different visits do not compare
        known = known.filter(pl.col("len") == 1)
    return bool((known["death_time"] > known["end"]).any())


def within(records: tables.Records, samples: pl.DataFrame, days: Sequence[float]) -> np.ndarray:
    """Did the patient die at most so many days after the prediction time?

    A patient whose records tell no death is taken to have lived. A death in hospital without a time
    is taken to be at the end of the visit, and where that is unknown too, at once. Where times of
    different visits do not compare (`Records.dated`), a patient of several dies in hospital alone.

    Args:
      samples: with visit_id, subject_id and prediction_time.

    Returns:
      [sample, day] bool.
    """
    visits = records.visits.select(
        "visit_id",
        "end",
        died=rules.DIED,
        compares=(pl.len().over("subject_id") == 1) | records.dated,
    )
    joined = samples.join(
        records.patients.select("subject_id", "death_time"),
        on="subject_id", how="left", maintain_order="left",
    ).join(visits, on="visit_id", how="left", maintain_order="left")  # fmt: skip
    told = pl.when(pl.col("compares") | pl.col("died")).then("death_time")
    in_hospital = pl.when("died").then(pl.coalesce("end", "prediction_time"))
    after = pl.coalesce(told, in_hospital) - pl.col("prediction_time")
    return joined.select(
        (after <= datetime.timedelta(days=count)).fill_null(False).alias(str(place))
        for place, count in enumerate(days)
    ).to_numpy()
