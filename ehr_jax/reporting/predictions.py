"""Reads predictions.parquet of a run folder back into arrays."""

import os
from typing import NamedTuple

import numpy as np
import polars as pl

from ehr_jax import errors


class Predictions(NamedTuple):
    """Predictions of every seed on the samples of one split, in the order of sample_id."""

    label_names: tuple[str, ...]
    seeds: tuple[int, ...]
    probabilities: np.ndarray  # [seeds, samples, labels] float32
    labels: np.ndarray  # [samples, labels] float64, nan where a sample has no such label
    subjects: np.ndarray  # [samples] int64


def read(path: str | os.PathLike, split: str) -> Predictions:
    """Reads the rows of `split`.

    Raises:
        RunFolderError: the file is missing or damaged, has no label, or a seed lacks samples.
    """
    try:
        frame = pl.scan_parquet(path).filter(pl.col("split") == split).collect()
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
    )
