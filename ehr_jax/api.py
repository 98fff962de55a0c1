"""The library to import: records, cohorts, configs, runs and vectors, for notebooks and programs.

Everything here is what the command line does, with the same errors (`ehr_jax.errors.UserError`) and
the same files. `ehr_jax` exports it.
"""

import dataclasses
import functools
import html
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
import numpy as np
import polars as pl

from ehr_jax import config as configs
from ehr_jax import config_files, errors, storage, stored
from ehr_jax.cohorts import tasks
from ehr_jax.cohorts.cohort import Cohort
from ehr_jax.experiment import explanations, own_patients, prepared, stages, trained
from ehr_jax.modes import train as train_mode
from ehr_jax.records import sources
from ehr_jax.records.common import tables
from ehr_jax.records.common.tables import Records
from ehr_jax.reporting import tables as text_tables
from ehr_jax.synthetic import hospital
from ehr_jax.text import encode as encoding
from ehr_jax.text import encoders
from ehr_jax.training import kinds, run_folder

NOTES = ("visit_id", "time", "category", "text")  # columns of notes of one's own
Config = ml_collections.ConfigDict | Mapping[str, Any]


def read_records(
    source: str,
    path: str | os.PathLike | None = None,
    notes: pl.DataFrame | pl.LazyFrame | None = None,
) -> Records:
    """Reads the records of a hospital, or generates one.

    Example:
      records = ehr_jax.read_records("mimic4", "mimic-iv-3.1")
      records.visits  # a polars frame

    Args:
      source: "mimic3", "mimic4", "eicu", "omop", "fhir", "meds", "physionet2012", "diabetes130",
        "synthetic" for the generated hospital, or a source of another package.
      path: the folder of the source's files; None looks in $EHR_JAX_DATA and in the user cache.
      notes: texts in place of the source's own, with the columns visit_id, time (when a text became
        known; null is at the end of the visit), category and text.

    Returns:
      Tables with the columns that `ehr_jax.records.common.tables` describes. Large ones
      (measurements, notes) are lazy: they are read when they are collected.

    Raises:
      ConfigError: there is no such source.
      RecordsError: a file is missing or cannot be read; it names file, column and value.
    """
    _check(source, str, "source", "the name of a source")
    if source == "synthetic":
        records = hospital.generate(configs.defaults().synthetic.patients, 0)
    else:
        records = sources.read(source, None if path is None else os.fspath(path))
    if notes is None:
        return records
    _check(notes, pl.DataFrame | pl.LazyFrame, "notes", "a polars frame")
    schema = notes.lazy().collect_schema()
    for name in NOTES:
        dtype, expected = schema.get(name), tables.NOTES[name]
        is_whole = dtype is not None and dtype.is_integer() and expected == pl.Int64
        if not is_whole and dtype not in (expected, pl.Null):
            raise errors.RecordsError(
                f"notes: column '{name}' is {dtype or 'missing'}; expected {expected}"
            )
    dated = {"date_only": pl.lit(False)} | {name: pl.col(name) for name in NOTES}
    own_notes = notes.lazy().select(**dated)
    return tables.check(dataclasses.replace(records, notes=tables.conform(own_notes, tables.NOTES)))


def build_cohort(
    records: Records,
    task: str,
    protocol: str = "strict",
    split: str = "patient",
    split_seed: int = 0,
    **changes: Any,
) -> Cohort:
    """Builds the samples of a task: which visits take part, their labels and their split.

    Example:
      cohort = ehr_jax.build_cohort(records, "mortality", after_hours=24.0)
      cohort.samples.group_by("split").len()

    Args:
      records: of `read_records`.
      task: "mortality", "readmission30", "phenotype_next", ...; `ehr-jax --list=tasks` names all.
      protocol: "strict", or "paper" for the published one with its faults (`Cohort.faults`).
      split: "patient" (at random, each patient in one split), "source" (as the source has it) or
        "none" (all samples are of the split "test").
      split_seed: of the random split.
      changes: of the task: after_hours, gap_hours (hours), horizon_days, more_than_days (days),
        codes, exclude.

    Returns:
      A cohort. Its `samples` have the columns sample_id, subject_id, visit_id, prediction_time,
      split, labelled, and a Boolean label.NAME for each label.

    Raises:
      CohortError: the task does not exist, or the records do not have what it needs.
    """
    _check(records, Records, "records", "what read_records returns")
    _check(task, str, "task", "the name of a task")
    if not isinstance(split_seed, int | np.integer) or split_seed < 0:
        raise errors.ConfigError(f"split_seed is {split_seed!r}; expected a number from 0")
    return tasks.build(records, task, protocol, split_seed, split=split, changes=changes)


def load_config(name: str, changes: Mapping[str, Any] | None = None) -> ml_collections.ConfigDict:
    """Loads the config of an experiment, and checks every value of it.

    Example:
      config = ehr_jax.load_config("configs/mingle.py:mimic4_mortality", {"train.seeds": (0,)})

    Args:
      name: "configs/NAME.py[:variant]": a file of yours, or one that comes with this package.
      changes: values by key, as on the command line without "--config.".

    Raises:
      ConfigError: no such file, variant or key, or a value that is not possible.
    """
    config = config_files.load(name, changes)
    configs.check(config)
    return config


def train(config: Config, workdir: str | os.PathLike) -> "Run":
    """Trains and scores the method of a config, as --mode=train does.

    A call with the same arguments goes on from what an earlier one has saved, also where that was
    interrupted.

    Example:
      run = ehr_jax.train(config, "runs/first")
      run.results["test"]

    Args:
      config: of `load_config`, or keys and values of such as a dict.
      workdir: the run folder; it is private to its owner.

    Raises:
      UserError: as on the command line.
    """
    config = _whole(config)
    configs.check(config, "train")
    folder = pathlib.Path(workdir)
    with storage.private_files(), storage.hold(folder):
        train_mode.run(config, folder)
    return load_run(folder)


def load_run(workdir: str | os.PathLike) -> "Run":
    """Opens a finished run.

    Raises:
      RunFolderError: there is no finished run in the folder.
    """
    folder = pathlib.Path(workdir)
    if not folder.is_dir():
        raise errors.RunFolderError(f"{folder} is no folder; expected that of a finished run")
    way_out = "name the folder of a finished run, or end it with ehr_jax.train"
    stored.read_object(folder / "results.json", way_out=way_out)
    return Run(folder)


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
      folder: the run folder.
    """

    folder: pathlib.Path

    @functools.cached_property
    def config(self) -> ml_collections.ConfigDict:
        """The config that it was trained with."""
        return trained.config_of(self.folder)

    @functools.cached_property
    def results(self) -> dict[str, Any]:
        """Metrics with their intervals: the content of results.json."""
        return stored.read_object(self.folder / "results.json")

    @property
    def report(self) -> pathlib.Path:
        """The page report.html, which shows aggregates only."""
        return self.folder / "report.html"

    @functools.cached_property
    def predictions(self) -> pl.DataFrame:
        """A row a sample and seed of validation and test, with a column probability.LABEL."""
        return pl.read_parquet(self.folder / "predictions.parquet", glob=False)

    def predict(self, records: Records) -> pl.DataFrame:
        """Scores the samples of some records, of any hospital; runs over stays (REALM) can.

        Example:
          run.predict(ehr_jax.read_records("mimic4", "new"))

        Returns:
          (sample_id, subject_id, visit_id, prediction_time, split, label, probability, low,
          high), a row a sample and label: the mean over training seeds, and the lowest and highest
          of them. `split` is "test", or that of the run for patients whom it has trained or
          validated on: leave these out of any figure.

        Raises:
          ConfigError: the run's method cannot score samples that it was not trained with.
        """
        config, samples = self._samples(records)
        seeds = trained.score(config, samples.arrays, self.folder)
        probabilities = np.stack([seed.probabilities for seed in seeds])
        run_splits = own_patients.splits(self.folder, samples)
        marked = own_patients.marked(samples.cohort.samples, run_splits)
        base = marked.select("sample_id", "subject_id", "visit_id", "prediction_time", "split")
        parts = []
        for at, label in enumerate(samples.cohort.labels):
            of_label = probabilities[:, :, at]
            spread = {"low": of_label.min(axis=0), "high": of_label.max(axis=0)}
            mean = {"label": pl.lit(label), "probability": of_label.mean(axis=0)}
            parts.append(base.with_columns(**mean, **spread))
        return pl.concat(parts).sort("sample_id", "label")

    def explain(self, records: Records, sample_ids: Sequence[int] | None = None) -> pl.DataFrame:
        """Says what weighed in predictions; runs over stays (REALM) keep such weights.

        Args:
          records: as of `predict`.
          sample_ids: of `predict`; None is all.

        Returns:
          (sample_id, part, name, hour, weight), a row a part that weighed: a "modality" by its
          name; a "step" of the series or a piece of a "note" by its hour from the start of the
          grid; an "entity" of the knowledge graph by name and hour. Words of notes are not shown.

        Raises:
          ConfigError: the run's method keeps no such weights, or there is no such sample.
        """
        config, samples = self._samples(records)
        count = samples.cohort.samples.height
        rows = np.arange(count) if sample_ids is None else np.asarray(sample_ids, np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= count):
            raise errors.ConfigError(
                f"sample_ids has {rows.max() if rows.max() >= count else rows.min()}; expected "
                f"numbers from 0 to {count - 1}, as in `predict`"
            )
        seed = config.train.seeds[0]
        params = trained.parameters(config, samples.arrays, self.folder, seed)
        job = kinds.job(config, samples.arrays)
        explained = job.kind.explain(job, params, None)
        if explained is None:
            raise errors.ConfigError(
                f"{self.folder} is a run of '{config.model.name}', which keeps no weights that "
                "explain a score; runs of 'realm' do"
            )
        lines, _, _ = explanations.weigh(*explained, samples.cohort, rows)
        return pl.DataFrame(
            [row for line in lines for row in _weighed(line)], schema=WEIGHED, orient="row"
        )

    def _samples(self, records: Records) -> tuple[ml_collections.ConfigDict, prepared.Prepared]:
        predict_config = configs.predict()
        predict_config.run = str(self.folder)
        config, _, learned = trained.read(predict_config)
        return config, stages.make_others(records, config, learned)

    def _repr_html_(self) -> str:
        table = text_tables.results_table(self.results)
        return f"<pre>{html.escape(f'{table}{chr(10)}{self.report}')}</pre>"


WEIGHED = {
    "sample_id": pl.Int64,
    "part": pl.String,
    "name": pl.String,
    "hour": pl.Float64,
    "weight": pl.Float64,
}


def encode(
    texts: Sequence[str], encoder: str | os.PathLike = encoders.DEFAULT, precision: str = "float32"
) -> np.ndarray:
    """Returns the vectors [text, width] float32 of texts by a frozen encoder, through the cache.

    Example:
      ehr_jax.encode(["chest pain", "no fever"]).shape  # (2, 384)

    Args:
      encoder: a name (`ehr-jax --list=encoders`) or a checkpoint's folder.
      precision: "float32" or "bfloat16", of the operands of matrix products.

    Raises:
      TextError: the encoder is not there; the message tells how to get it.
    """
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise errors.TextError("texts: expected a list of texts")
    loaded = encoders.load(os.fspath(encoder), precision)
    return encoding.encode(list(texts), loaded)


def _check(value: Any, kind: Any, name: str, expected: str) -> None:
    """Raises ConfigError unless an argument is of the kind that is expected."""
    if not isinstance(value, kind):
        raise errors.ConfigError(f"{name} is a {type(value).__name__}; expected {expected}")


def _weighed(line: Mapping[str, Any]):
    """Yields the rows of `WEIGHED` of a line of evidence.jsonl."""
    sample = line["sample_id"]
    for name, weight in line["modalities"].items():
        yield sample, "modality", name, None, weight
    for part, key in (("step", "steps"), ("note", "notes")):
        for one in line[key]:
            yield sample, part, None, one["hour"], one["weight"]
    for entity in line["entities"]:
        yield sample, "entity", entity["name"], entity["hour"], entity["weight"]


def _whole(config: Config) -> ml_collections.ConfigDict:
    """A config with every key: those of a dict are changes of the defaults."""
    if isinstance(config, ml_collections.ConfigDict):
        return config
    _check(config, Mapping, "config", "a config of load_config, or values by key")
    return config_files.changed(configs.defaults(), run_folder.flat(config))
