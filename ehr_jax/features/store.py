"""The store: prepared samples on disk as a tfds data set, which tfds reads without this package.

    source = tfds.builder_from_directory("RUN/store").as_data_source("train")

One split each of train, validation and test that has samples, one example a sample, in the order
of the cohort, as array_record: no TensorFlow writes or reads it. What an example holds is said
beside each feature (`builder.info.features`); names, settings and fingerprints are in
`builder.info.metadata`. `features.loader` reads batches of it.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
import tensorflow_datasets as tfds

from ehr_jax import data_use, errors, progress, storage, stored
from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import arrays as contract
from ehr_jax.features import series
from ehr_jax.records.common import identifiers

NAME, VERSION = "ehr_samples", "2.0.0"  # of the layout: another one is refused
SHARD = 16_384  # examples in a file
CHUNK = 1_024  # examples between two updates of the files that describe the store


def write(
    folder: str | os.PathLike,
    cohort: cohorts.Cohort,
    arrays: contract.Arrays,
    grid: series.Series | None,
    settings: Mapping[str, Any],
    records: str,
    terms: str,
) -> None:
    """Writes the store to the new folder `folder`, which appears whole or not at all, mode 0700.

    Args:
      arrays: made of `cohort`, of any kind of input; what holds nothing is left out.
      grid: of `cohort`; None leaves the features `series_*` out.
      settings: the config keys that shape the samples, by full name.
      records: fingerprint of the records.
      terms: that bind the records.

    Raises RunFolderError where `folder` exists, or cannot be written.
    """
    folder = pathlib.Path(folder).absolute()
    if folder.exists():
        raise errors.RunFolderError(f"{folder} already exists; remove it to prepare it again")
    try:
        with storage.new_folder(folder) as unfinished:
            data_use.note(unfinished, data_use.STORE.format(terms=terms))
            layout = arrays.stored()
            metadata = _metadata(cohort, arrays, layout, grid, settings, records)
            _write_examples(unfinished, cohort, arrays, layout, grid, metadata)
    except (OSError, RuntimeError) as error:  # array_record's own are RuntimeError
        raise errors.RunFolderError(
            f"{folder} could not be written: {storage.reason(error)}. Nothing of it is left; mend "
            "this and start the same command again"
        ) from error


def open_folder(folder: str | os.PathLike) -> tfds.core.DatasetBuilder:
    """Returns the tfds builder of a store; RunFolderError where there is none or not all of it."""
    folder = pathlib.Path(folder)
    again = f"put it back from a copy, or move {folder} away and make it anew with --mode=prepare"
    for name in ("dataset_info.json", "features.json", "metadata.json"):
        described = stored.read_object(folder / name, way_out=again)
        if name == "dataset_info.json":
            _check_layout(folder, described)
    with stored.in_form(folder / "dataset_info.json or features.json", again):
        builder = tfds.builder_from_directory(folder)
    for split in builder.info.splits.values():
        for path in split.filepaths:
            if not path.exists():
                raise errors.RunFolderError(f"{path} is missing; {again}")
    return builder


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Returns 64 hex digits that change with any of the settings that shape a store."""
    return hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode()).hexdigest()


def _write_examples(
    folder: pathlib.Path,
    cohort: cohorts.Cohort,
    arrays: contract.Arrays,
    layout: contract.Stored,
    grid: series.Series | None,
    metadata: Mapping[str, Any],
) -> None:
    identity = tfds.core.dataset_info.DatasetIdentity(
        name=NAME,
        version=tfds.core.Version(VERSION),
        data_dir=os.fspath(folder),
        module_name=__name__,
    )
    info = tfds.core.DatasetInfo(
        builder=identity,
        description=f"{cohort.task}, protocol {cohort.protocol}. {cohort.description}",
        features=_features(arrays, layout, grid),
        metadata=tfds.core.MetadataDict(metadata),
        disable_shuffling=True,  # the order says which row of the cohort an example is
    )
    writer = tfds.core.SequentialWriter(info, SHARD, file_format="array_record")
    # A split without examples would keep tfds from opening the others all at once.
    rows = {split: np.flatnonzero(arrays.split == split) for split in cohorts.SPLITS}
    rows = {split: found for split, found in rows.items() if found.size}
    writer.initialize_splits(list(rows))
    example = _examples(cohort, arrays, layout, grid)
    with progress.progress("store", arrays.split.size) as bar:
        for split, found in rows.items():
            for start in range(0, found.size, CHUNK):
                chunk = found[start : start + CHUNK]
                writer.add_examples({split: [example(row) for row in chunk]})
                bar.advance(chunk.size, split)
            writer.close_splits([split])


def _features(
    arrays: contract.Arrays, layout: contract.Stored, grid: series.Series | None
) -> tfds.features.FeaturesDict:
    def tensor(shape, dtype, doc):
        if shape == ():
            return tfds.features.Scalar(dtype, doc=doc)
        return tfds.features.Tensor(shape=shape, dtype=dtype, doc=doc)

    features = {
        "sample_id": tensor((), np.int64, "row of the cohort, as in split.parquet"),
        "subject_id": tfds.features.Text(doc="the patient: 12 hex digits, a hash"),
        "prediction_time": tensor(
            (),
            np.int64,
            "microseconds since 1970-01-01 in the records' own time; the least int64 (numpy's "
            "NaT) where the source has no dates",
        ),
        "labels": tensor(
            (len(arrays.label_names),),
            np.float32,
            "in the order of metadata['labels']: 0, 1, or nan where the sample has none",
        ),
    }
    for name, array in _written(layout).items():
        features[name] = tensor(array.shape[1:], array.dtype.type, layout.meanings.get(name, ""))
    for name, (_, values) in layout.ragged.items():
        meaning = layout.meanings.get(name, "")
        features[name] = tensor((None, *values.shape[1:]), values.dtype.type, meaning)
    if grid is not None:
        shape = grid.values.shape[1:]
        features |= {
            "series_values": tensor(
                shape,
                np.float32,
                "[step, variable]: (value - mean) / std, carried forward; categories as they are. "
                "The last step ends at the prediction time",
            ),
            "series_observed": tensor(shape, np.bool_, "[step, variable]: measured in the step"),
            "series_hours_since": tensor(
                shape, np.float32, "[step, variable]: hours from the last measurement"
            ),
            "series_present": tensor(
                shape[:1], np.bool_, "[step]: False before the visit began; all else is 0 there"
            ),
        }
    return tfds.features.FeaturesDict(features)


def _written(layout: contract.Stored) -> dict[str, np.ndarray]:
    """The arrays of samples that hold something."""
    return {name: array for name, array in layout.samples.items() if array.size}


def _examples(
    cohort: cohorts.Cohort,
    arrays: contract.Arrays,
    layout: contract.Stored,
    grid: series.Series | None,
):
    """Returns the function from a row of the cohort to its example."""
    samples = cohort.samples
    ids = samples["sample_id"].to_list()
    subjects = identifiers.hashed(samples["subject_id"]).to_list()
    never = np.iinfo(np.int64).min
    times = samples["prediction_time"].to_physical().fill_null(never).to_list()
    by_row = {"labels": arrays.labels, **_written(layout)}
    if grid is not None:
        by_row |= {
            "series_values": grid.values,
            "series_observed": grid.observed,
            "series_hours_since": grid.hours_since,
            "series_present": grid.present,
        }
    lists = {
        name: np.split(values, np.cumsum(lengths)[:-1])
        for name, (lengths, values) in layout.ragged.items()
    }

    def example(row: int) -> dict[str, Any]:
        made = {
            "sample_id": ids[row],
            "subject_id": subjects[row],
            "prediction_time": times[row],
        }
        return made | {name: array[row] for name, array in (by_row | lists).items()}

    return example


def _metadata(cohort, arrays, layout: contract.Stored, grid, settings, records) -> dict[str, Any]:
    vocabulary = layout.facts.get("vocabulary") or {"names": (), "codes": (), "kinds": ()}
    return {
        "task": cohort.task,
        "protocol": cohort.protocol,
        "faults": list(cohort.faults),
        "source": settings["data.source"],
        "labels": list(arrays.label_names),
        "nodes": list(vocabulary["names"]),
        "node_codes": list(vocabulary["codes"]),
        "node_kinds": [str(kind) for kind in vocabulary["kinds"]],
        "most": {name: int(part.lengths.max()) for name, part in layout.ragged.items()},
        "features": list(layout.facts.get("variables", ())),
        "series": None if grid is None else _described(grid),
        "samples": dict(_counts(cohort)),
        "config": dict(settings),
        "config_fingerprint": fingerprint(settings),
        "records_fingerprint": records,
    }


def _described(grid: series.Series) -> dict[str, Any]:
    """What has to be known of a grid to read it, and to undo its scale."""
    return {
        "variables": [v.name for v in grid.variables],
        "units": [v.unit for v in grid.variables],
        "categories": [v.category for v in grid.variables],
        "mean": grid.scale.mean.tolist(),
        "std": grid.scale.std.tolist(),
        "median": grid.scale.median.tolist(),
        "step_hours": grid.step_hours,
        "length": grid.values.shape[1],
    }


def _counts(cohort: cohorts.Cohort) -> Iterator[tuple[str, dict[str, int]]]:
    for split in cohorts.SPLITS:
        rows = cohort.samples.filter(pl.col("split") == split)
        labelled = int(rows["labelled"].sum())
        patients = rows["subject_id"].n_unique()
        yield split, {"samples": rows.height, "labelled": labelled, "patients": patients}


def _check_layout(folder: pathlib.Path, described: Any) -> None:
    found = tuple(described.get(key) for key in ("name", "version"))
    if found != (NAME, VERSION):
        raise errors.RunFolderError(
            f"{folder} holds the data set '{found[0]}' {found[1]}; expected '{NAME}' {VERSION}. "
            "Remove the folder and prepare it again, or name another"
        )
