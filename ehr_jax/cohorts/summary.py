"""What a cohort holds, in figures for data.json, and its split as a file other runs reuse."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import polars as pl

from ehr_jax import data_use, errors, storage
from ehr_jax.cohorts import cohort
from ehr_jax.records.common import damage

SPLIT_FILE = {"subject_id": pl.Int64, "visit_id": pl.Int64, "split": pl.String}


def summary(built: cohort.Cohort) -> dict[str, Any]:
    """Returns task, protocol, exclusions and, for each split, counts and prevalences.

    Holds counts only, no identifier, and can be written as JSON. `prevalence` is None where a
    split has no labelled sample.
    """
    return {
        "task": built.task,
        "title": built.title,
        "protocol": built.protocol,
        "description": built.description,
        "spec": dataclasses.asdict(built.spec) if built.spec else None,
        "faults": list(built.faults),
        "labels": list(built.labels),
        "at_discharge": built.at_discharge,
        "excluded": dict(built.excluded),
        "patients": built.samples["subject_id"].n_unique(),
        "samples": built.samples.height,
        "labelled": int(built.samples["labelled"].sum()),
        "patients_in_several_splits": _shared_patients(built.samples),
        "splits": {name: _split_summary(built, name) for name in cohort.SPLITS},
    }


def save_split(built: cohort.Cohort, path: str | os.PathLike) -> None:
    """Writes (subject_id, visit_id, split) as parquet: whole or not at all."""
    storage.make_folder(pathlib.Path(path).parent)
    rows = built.samples.select(*SPLIT_FILE).sort("visit_id")
    storage.write_file(path, data_use.parquet_writer(rows, "split.parquet"))


def read_split(path: pathlib.Path, way_out: str = "delete it to split anew") -> pl.DataFrame:
    """Returns (subject_id, visit_id, split).

    Raises:
      CohortError: the file is none of ours; it ends with `way_out`.
    """
    try:
        stored = pl.read_parquet(path, glob=False)
    except FileNotFoundError as fault:
        raise errors.CohortError(f"{path}: no stored split here; {way_out}") from fault
    except damage.ERRORS as fault:
        raise errors.CohortError(
            f"{path}: not readable as parquet ({type(fault).__name__}); {way_out}"
        ) from fault
    if dict(stored.schema) != SPLIT_FILE:
        raise errors.CohortError(
            f"{path}: columns {dict(stored.schema)}, expected {SPLIT_FILE}; {way_out}"
        )
    unknown = stored.filter(~pl.col("split").is_in(cohort.SPLITS)).height
    repeated = stored.height - stored["visit_id"].n_unique()
    if unknown or repeated or stored.null_count().sum_horizontal().item():
        raise errors.CohortError(
            f"{path}: {unknown} row(s) with a split other than {', '.join(cohort.SPLITS)}, "
            f"{repeated} repeated visit(s), or empty cells; {way_out}"
        )
    return stored


def _split_summary(built: cohort.Cohort, split: str) -> dict[str, Any]:
    rows = built.samples.filter(split=split)
    labelled = rows.filter("labelled")
    positives = {name: int(labelled[f"label.{name}"].sum()) for name in built.labels}
    return {
        "patients": rows["subject_id"].n_unique(),
        "samples": rows.height,
        "labelled": labelled.height,
        "positives": positives,
        "positive_patients": _patients(labelled, built.labels, True),
        "negative_patients": _patients(labelled, built.labels, False),
        "prevalence": {
            name: count / labelled.height if labelled.height else None
            for name, count in positives.items()
        },
    }


def _patients(rows: pl.DataFrame, labels: Sequence[str], value: bool) -> dict[str, int]:
    return {
        name: rows.filter(pl.col(f"label.{name}") == value)["subject_id"].n_unique()
        for name in labels
    }


def _shared_patients(samples: pl.DataFrame) -> int:
    of_patient = samples.group_by("subject_id").agg(pl.col("split").n_unique())
    return of_patient.filter(pl.col("split") > 1).height
