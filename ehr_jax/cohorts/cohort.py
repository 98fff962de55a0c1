"""What a cohort is: the visits that take part, what is predicted for each, and the split."""

import dataclasses
from collections.abc import Mapping

import polars as pl

from ehr_jax import notebook
from ehr_jax.cohorts import spec as specs

SPLITS = ("train", "validation", "test")

# Columns of `Cohort.samples` beside one Boolean `label.<name>` a label. One row a visit that takes
# part; labels are null for visits that give structure only.
SAMPLES = {
    "sample_id": pl.Int64,  # the row's number
    "subject_id": pl.Int64,
    "visit_id": pl.Int64,
    "prediction_time": pl.Datetime("us"),  # null where the source has no dates
    "split": pl.String,  # one of SPLITS
    "labelled": pl.Boolean,
}


@dataclasses.dataclass(frozen=True)
class Cohort:
    """Samples of one task under one protocol.

    `at_discharge` says that the prediction time is the end of the visit, so that everything the
    visit recorded is known; otherwise only what carries a time up to `prediction_time` is.
    `excluded` counts visits left out, by reason. `faults` says what the protocol gets wrong
    (empty for `strict`). `spec` is the task as data, or the query that stands for it. `title`
    stands for the task in reports; "" is its name.
    """

    task: str
    protocol: str
    description: str
    labels: tuple[str, ...]
    samples: pl.DataFrame
    at_discharge: bool
    excluded: Mapping[str, int]
    faults: tuple[str, ...] = ()
    spec: specs.Spec | specs.Query | None = None
    title: str = ""

    def _repr_html_(self) -> str:
        """Shows counts by split in a notebook."""
        rows = []
        for split in SPLITS:
            of_split = self.samples.filter(pl.col("split") == split)
            labelled = int(of_split["labelled"].sum())
            rows.append((split, of_split["subject_id"].n_unique(), of_split.height, labelled))
        title = f"{self.task}, protocol {self.protocol}. {self.description}"
        return notebook.table(title, ("split", "patients", "samples", "labelled"), rows)
