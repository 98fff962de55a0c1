"""Reads predictions.parquet of a run folder back into arrays, and writes it as MEDS has it."""

import os
import pathlib
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from ehr_jax import errors, storage, stored

# What the evaluation tools of MEDS read: a row a prediction of one label.
MEDS = {
    "subject_id": pl.Int64,
    "prediction_time": pl.Datetime("us"),
    "boolean_value": pl.Boolean,
    "predicted_boolean_value": pl.Boolean,
    "predicted_boolean_probability": pl.Float32,
}


class Predictions(NamedTuple):
    """Predictions of every seed on the samples of one split, in the order of sample_id."""

    label_names: tuple[str, ...]
    seeds: tuple[int, ...]
    probabilities: np.ndarray  # [seeds, samples, labels] float32
    labels: np.ndarray  # [samples, labels] float64, nan where a sample has no such label
    subjects: np.ndarray  # [samples] int64
    samples: np.ndarray  # [samples] int64, increasing: their sample_id

    def only(self, samples: np.ndarray) -> "Predictions":
        """Returns the predictions of these sample_ids [kept] alone; all must be among them."""
        rows = np.searchsorted(self.samples, np.sort(samples))
        return self._replace(
            probabilities=self.probabilities[:, rows],
            labels=self.labels[rows],
            subjects=self.subjects[rows],
            samples=self.samples[rows],
        )


def read(path: str | os.PathLike, split: str) -> Predictions:
    """Reads the rows of `split`.

    Raises:
        RunFolderError: the file is missing or damaged, has no label, or a seed lacks samples.
    """
    frame, names = _rows(path, split)
    seeds = frame["seed"].unique().sort().to_list()
    samples = frame["sample_id"].n_unique()
    if (
        frame.height != len(seeds) * samples
        or frame.select("seed", "sample_id").n_unique() != frame.height
    ):
        raise errors.RunFolderError(
            f"{path}: {frame.height} rows of split '{split}' for {len(seeds)} seed(s) of {samples} "
            "sample(s); expected one row a sample and seed"
        )
    frame = frame.sort("seed", "sample_id")
    shape = (len(seeds), samples, len(names))
    probabilities = frame.select(f"probability.{name}" for name in names).to_numpy().reshape(shape)
    first = frame.head(samples)
    labels = first.select(pl.col(f"label.{name}").cast(pl.Float64) for name in names)
    return Predictions(
        label_names=tuple(names),
        seeds=tuple(seeds),
        probabilities=probabilities,
        labels=labels.fill_null(np.nan).to_numpy().reshape(samples, len(names)),
        subjects=first["subject_id"].to_numpy(),
        samples=first["sample_id"].to_numpy(),
    )


def write_meds(
    run: str | os.PathLike, folder: str | os.PathLike, split: str = "test"
) -> list[pathlib.Path]:
    """Writes the predictions of the run folder `run` in the MEDS evaluation layout.

    Each label and seed gets a file of its own, `<folder>/<label>/seed_<seed>.parquet`, in the
    columns MEDS; samples without that label are left out. A positive is predicted at or above the
    threshold that results.json gives, else at 0.5.

    Returns the paths written. Raises:
        RunFolderError: as `read`; no row of `split`; or the source has no dates, for a prediction
          of MEDS needs its time.
    """
    run = pathlib.Path(run)
    path = run / "predictions.parquet"
    frame, names = _rows(path, split)
    if "fold" not in frame.columns:
        frame = frame.with_columns(fold=pl.lit(0, pl.Int64))
    if frame.is_empty():
        raise errors.RunFolderError(f"{path}: has no row of split '{split}'")
    if undated := frame["prediction_time"].null_count():
        raise errors.RunFolderError(
            f"{path}: {undated} prediction(s) have no prediction_time, which MEDS needs; the "
            "source has no dates"
        )
    cuts, written = _thresholds(run, split), []
    for label, file in zip(names, _file_names(names), strict=True):
        for (seed,), rows in sorted(frame.partition_by("seed", as_dict=True).items()):
            target = pathlib.Path(folder) / file / f"seed_{seed}.parquet"
            storage.make_folder(target.parent)
            probability = pl.col(f"probability.{label}")
            cut = {fold: cuts.get((label, seed, fold), 0.5) for fold in rows["fold"].unique()}
            predictions = rows.drop_nulls(f"label.{label}").with_columns(
                boolean_value=f"label.{label}",
                predicted_boolean_value=probability
                >= pl.col("fold").replace_strict(cut, return_dtype=pl.Float64),
                predicted_boolean_probability=probability,
            )
            predictions = predictions.select(pl.col(n).cast(dtype) for n, dtype in MEDS.items())
            predictions = predictions.sort("subject_id", "prediction_time")
            storage.write_file(target, predictions.write_parquet)
            written.append(target)
    return written


def _rows(path: str | os.PathLike, split: str) -> tuple[pl.DataFrame, list[str]]:
    """Returns the rows of a split and the names of the labels."""
    try:
        frame = pl.scan_parquet(path, glob=False).filter(pl.col("split") == split).collect()
    except FileNotFoundError as fault:
        raise errors.RunFolderError(f"{path}: no such file; has the run finished?") from fault
    except pl.exceptions.PolarsError as fault:
        raise errors.RunFolderError(
            f"{path}: not readable as predictions ({type(fault).__name__}); run the same command "
            "again to write it anew"
        ) from fault
    names = [column[6:] for column in frame.columns if column.startswith("label.")]
    needed = ["sample_id", "subject_id", "seed", *(f"probability.{name}" for name in names)]
    missing = [column for column in needed if column not in frame.columns]
    if missing or not names:
        raise errors.RunFolderError(
            f"{path}: lacks column(s) {missing or 'label.<name>'}; run the same command again to "
            "write it anew"
        )
    numbers = [column for column in needed if not frame.schema[column].is_numeric()]
    labels = [f"label.{name}" for name in names]
    words = [column for column in labels if frame.schema[column] not in (pl.Boolean, pl.Null)]
    if numbers or words:
        kind = frame.schema[(numbers + words)[0]]
        raise errors.RunFolderError(
            f"{path}: column(s) {numbers + words} hold {kind}; run the same command again to "
            "write it anew"
        )
    return frame, names


def _file_names(labels: list[str]) -> list[str]:
    """Returns a distinct name for each label that every file system takes."""
    plain = [re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_") for label in labels]
    return [f"{name}_{k}" if plain.count(name) > 1 else name for k, name in enumerate(plain)]


def _thresholds(run: pathlib.Path, split: str) -> dict[tuple[str, int, int], float]:
    """Returns (label, seed, fold) to the threshold in results.json; empty where it has none."""
    path = run / "results.json"
    if not path.exists():
        return {}
    way_out = "run the same command again to write it anew"
    results = stored.read_object(path, way_out=way_out)
    with stored.in_form(path, way_out):
        return {
            (label, seed, fold): cut
            for label, scores in results.get(split, {}).get("per_label", {}).items()
            for fold in range(results.get("folds") or 1)
            for seed, cut in zip(results["seeds"], _of_fold(scores, fold), strict=False)
        }


def _of_fold(scores: Mapping, fold: int) -> list[float]:
    """The thresholds of a label in one fold, a seed each; those of all folds where they are one."""
    each = scores.get("fold_thresholds")
    return each[fold] if each else scores.get("thresholds", [])
