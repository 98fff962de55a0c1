"""Deaths within so many days, which a network over stays may learn beside its label."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from ehr_jax import errors
from ehr_jax.cohorts import deaths


def targets(records, cohort, days: Sequence[float], counts: dict) -> np.ndarray:
    """[sample, day] float32; who is not known to have died is taken to have lived.

    Told of labelled training samples, of patients with no sample in another split: the published
    protocols have some in several.
    """
    samples = cohort.samples
    found = np.full((samples.height, len(days)), np.nan, np.float32)
    held_out = samples.filter(pl.col("split") != "train")["subject_id"].unique().implode()
    used = (pl.col("split") == "train") & pl.col("labelled") & ~pl.col("subject_id").is_in(held_out)
    rows = samples.select(used)[:, 0]
    if not days or not rows.any():
        return found
    if not deaths.told_after_hospital(records):
        raise errors.ConfigError(
            f"config.realm.survival_days is {tuple(days)}, but the records of {records.source} "
            "tell no death after the hospital; set it to ()"
        )
    died = deaths.within(records, samples.filter(rows), days)
    found[rows.to_numpy()] = died
    counts["deaths_learned"] = {
        f"within {count:g} days": int(n) for count, n in zip(days, died.sum(0), strict=True)
    }
    return found
