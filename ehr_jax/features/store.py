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
from ehr_jax.features import prepare, series
from ehr_jax.nn import bipartite
from ehr_jax.records.common import identifiers

NAME, VERSION = "ehr_samples", "1.0.0"  # of the layout: another one is refused
SHARD = 16_384  # examples in a file
CHUNK = 1_024  # examples between two updates of the files that describe the store

# What of a config shapes a store, and which keys only say where something lies or how fast.
SECTIONS = ("data", "synthetic", "cohort", "task", "features", "notes", "text", "series")
PLACES = ("data.root", "text.cache", "text.download", "text.token_budget", "text.model_shards")


def write(
    folder: str | os.PathLike,
    cohort: cohorts.Cohort,
    arrays: prepare.Arrays,
    grid: series.Series | None,
    config,
    records: str,
    terms: str,
) -> None:
    """Writes the store to the new folder `folder`, which appears whole or not at all, mode 0700.

    Args:
      arrays, grid: made of `cohort`; no grid leaves the features `series_*` out, and samples
        without a single note the features `note` and `has_note`.
      config: of the whole experiment.
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
            _write_examples(
                unfinished, cohort, arrays, grid, _metadata(cohort, arrays, grid, config, records)
            )
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


def settings(config) -> dict[str, Any]:
    """Returns the keys of a config that shape a store, flat: {"cohort.task": "mortality", ...}."""
    return {
        f"{section}.{key}": list(value) if isinstance(value, tuple) else value
        for section in SECTIONS
        for key, value in config[section].items()
        if f"{section}.{key}" not in PLACES
    }


def fingerprint(config) -> str:
    """Returns 64 hex digits that change with any of `settings`."""
    return hashlib.sha256(json.dumps(settings(config), sort_keys=True).encode()).hexdigest()


def _write_examples(
    folder: pathlib.Path,
    cohort: cohorts.Cohort,
    arrays: prepare.Arrays,
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
        features=_features(arrays, grid),
        metadata=tfds.core.MetadataDict(metadata),
        disable_shuffling=True,  # the order says which row of the cohort an example is
    )
    writer = tfds.core.SequentialWriter(info, SHARD, file_format="array_record")
    # A split without examples would keep tfds from opening the others all at once.
    rows = {split: np.flatnonzero(arrays.split == split) for split in cohorts.SPLITS}
    rows = {split: found for split, found in rows.items() if found.size}
    writer.initialize_splits(list(rows))
    example = _examples(cohort, arrays, grid)
    with progress.progress("store", arrays.split.size) as bar:
        for split, found in rows.items():
            for start in range(0, found.size, CHUNK):
                chunk = found[start : start + CHUNK]
                writer.add_examples({split: [example(row) for row in chunk]})
                bar.advance(chunk.size, split)
            writer.close_splits([split])


def _features(arrays: prepare.Arrays, grid: series.Series | None) -> tfds.features.FeaturesDict:
    def tensor(shape, dtype, doc):
        return tfds.features.Tensor(shape=shape, dtype=dtype, doc=doc)

    features = {
        "sample_id": tfds.features.Scalar(np.int64, doc="row of the cohort, as in split.parquet"),
        "subject_id": tfds.features.Text(doc="the patient: 12 hex digits, a hash"),
        "prediction_time": tfds.features.Scalar(
            np.int64,
            doc="microseconds since 1970-01-01 in the records' own time; the least int64 (numpy's "
            "NaT) where the source has no dates",
        ),
        "nodes": tensor(
            (None,),
            np.int32,
            "positions in metadata['nodes'] of what the visit holds, ascending",
        ),
        "labels": tensor(
            (len(arrays.label_names),),
            np.float32,
            "in the order of metadata['labels']: 0, 1, or nan where the sample has none",
        ),
    }
    if arrays.has_note.any():
        features["note"] = tensor(
            (arrays.notes.shape[1],), np.float32, "vector of the notes; zero without one"
        )
        features["has_note"] = tfds.features.Scalar(np.bool_, doc="is there a note?")
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


def _examples(cohort: cohorts.Cohort, arrays: prepare.Arrays, grid: series.Series | None):
    """Returns the function from a row of the cohort to its example."""
    node, sample, _, _ = bipartite.unpack(arrays.visits)
    order = np.lexsort((node, sample))
    nodes = np.asarray(node)[order].astype(np.int32)
    starts = np.searchsorted(np.asarray(sample)[order], np.arange(arrays.split.size + 1))
    samples = cohort.samples
    ids = samples["sample_id"].to_list()
    subjects = identifiers.hashed(samples["subject_id"]).to_list()
    never = np.iinfo(np.int64).min
    times = samples["prediction_time"].to_physical().fill_null(never).to_list()

    def example(row: int) -> dict[str, Any]:
        made = {
            "sample_id": ids[row],
            "subject_id": subjects[row],
            "prediction_time": times[row],
            "nodes": nodes[starts[row] : starts[row + 1]],
            "labels": arrays.labels[row],
        }
        if arrays.has_note.any():
            made |= {"note": arrays.notes[row], "has_note": bool(arrays.has_note[row])}
        if grid is not None:
            made |= {
                "series_values": grid.values[row],
                "series_observed": grid.observed[row],
                "series_hours_since": grid.hours_since[row],
                "series_present": grid.present[row],
            }
        return made

    return example


def _metadata(cohort, arrays, grid, config, records: str) -> dict[str, Any]:
    nodes = arrays.vocabulary
    held = np.bincount(bipartite.unpack(arrays.visits)[1], minlength=1)
    return {
        "task": cohort.task,
        "protocol": cohort.protocol,
        "faults": list(cohort.faults),
        "source": config.data.source,
        "labels": list(arrays.label_names),
        "nodes": list(nodes.names),
        "node_codes": list(nodes.codes),
        "node_kinds": [str(kind) for kind in nodes.kinds],
        "most_nodes": int(held.max()),
        "series": None if grid is None else _described(grid),
        "samples": dict(_counts(cohort)),
        "config": settings(config),
        "config_fingerprint": fingerprint(config),
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
