"""Which of some records' patients a finished run has learned from: they test nothing.

A run folder keeps, in split.parquet, the visits and patients of each split by their identifiers.
Records of the same source that hold such a visit, or such a patient, hold what the run was trained
or chosen on, whether they are the run's own records or an extract that overlaps with them.
"""

import pathlib

import polars as pl

from ehr_jax import disclosure, stored
from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.cohorts import summary
from ehr_jax.experiment import prepared

# Sources that number patients in the order of their table: a number is of one extract alone, and
# visits tell whether two extracts have a patient in common.
NUMBERED = ("eicu",)
OF_THE_RUN = "put it back from a copy, or start the training of that run again"


def splits(folder: pathlib.Path, others: prepared.Prepared) -> pl.DataFrame:
    """Returns (subject_id, split) of those patients of `others` that a run has in its split.

    A patient of several splits, as the published protocols have them, is of the one that is learned
    from most: training, then validation.

    Args:
      folder: of the run.
      others: samples that the run is to score, with all visits of their records.

    Raises:
      CohortError, RunFolderError: split.parquet or data.json of the run cannot be read.
    """
    data = stored.read_object(folder / "data.json", {"fingerprint": str}, OF_THE_RUN)
    kept = summary.read_split(folder / "split.parquet", OF_THE_RUN)
    source, visits = others.data["source"], others.visits
    if data.get("source") != source:
        kept = kept.clear()
    found = [visits.join(kept.select("visit_id", "split"), on="visit_id")]
    if source not in NUMBERED or data.get("fingerprint") == others.data["fingerprint"]:
        found.append(visits.join(kept.select("subject_id", "split"), on="subject_id"))
    order = pl.Enum(cohorts.SPLITS)
    return (
        pl.concat([each.select("subject_id", pl.col("split").cast(order)) for each in found])
        .group_by("subject_id")
        .agg(pl.col("split").min().cast(pl.String))
        .sort("subject_id")
    )


def marked(samples: pl.DataFrame, own: pl.DataFrame) -> pl.DataFrame:
    """Returns `samples`, all of split "test", with the run's split for its patients `own`."""
    known = samples.select("subject_id").join(
        own, on="subject_id", how="left", maintain_order="left"
    )
    return samples.with_columns(split=known["split"].fill_null("test"))


def counts(samples: pl.DataFrame, own: pl.DataFrame) -> dict[str, int]:
    """Patients of `samples` by what the run knows of them."""
    patients = samples.select("subject_id").unique().join(own, on="subject_id", how="left")
    of_split = dict(patients["split"].fill_null("new").value_counts().iter_rows())
    return {
        "new": of_split.get("new", 0),
        "tested_by_the_run": of_split.get("test", 0),
        "trained_on_and_left_out": of_split.get("train", 0),
        "validated_on_and_left_out": of_split.get("validation", 0),
    }


def told(found: dict[str, int]) -> str:
    """What `counts` found, in a sentence; empty where no patient was learned from."""
    trained, validated = found["trained_on_and_left_out"], found["validated_on_and_left_out"]
    if not trained and not validated:
        return ""
    return (
        f"{disclosure.shown(trained)} patient(s) are of the run's training split and "
        f"{disclosure.shown(validated)} of its validation "
        "split, by their identifiers: they are scored, and left out of all results"
    )
