"""Samples by a query in the language of ACES (YAML), asked of the shards of a MEDS data set.

ACES (Automatic Cohort Extraction System for Event-Streams, arXiv 2406.19653) finds the events that
trigger a sample and the windows about them. A file for use here names in one window the
`index_timestamp`, our prediction time, and in one the `label`: a predicate, true where an event in
that window meets it. What is input is not the file's to say: it is what the visit knew by the
prediction time (`given`). So that no outcome stands among the inputs, the label's window may not
begin before the prediction time, and a sample is left out whose outcome is of that very moment.

The package is es-aces. Its release 0.7.3 declares polars below 2, this project needs polars 2.1,
and no installer takes the two together. Yet what is called here works on both: with polars 2.1 its
own doctests pass, and it finds in the MIMIC-IV demo the samples that it finds with polars 1.44. So
it is installed without its declared dependencies, and the extra `aces` brings all of those but
polars. `launch/test.sh` and `EHR_JAX_EXTRA=aces launch/local.sh` do so.
"""

import copy
import pathlib
import types
from typing import NamedTuple

import polars as pl

from ehr_jax import errors, progress
from ehr_jax.cohorts import given
from ehr_jax.cohorts import spec as specs
from ehr_jax.records.common import tables
from ehr_jax.records.meds import files

INSTALL = "pip install 'ehr_jax[aces]' && pip install --no-deps es-aces==0.7.3"
AT_ONCE = "samples whose outcome is of the prediction time itself"

# What ACES raises on a predicate or window that does not fit the events.
_MISFITS = (ValueError, KeyError, TypeError, AttributeError, OSError, pl.exceptions.PolarsError)


def find(root: str | pathlib.Path, path: str | pathlib.Path) -> given.Given:
    """Asks the query of the file `path` of the MEDS data set in `root`.

    Raises:
      ConfigError: the package is not installed, the file is missing, ACES cannot read it as a task,
        or the task has no label or no prediction time.
      CohortError: ACES cannot ask it of these events, or the label's window begins before the
        prediction time.
      RecordsError: a damaged shard, or a subject in two shards.
    """
    aces = _package()
    path, query = pathlib.Path(path).expanduser(), read(path)
    task = _load(aces, path)
    shards = files.find(root)
    _check_subjects(root, shards)
    answers = []
    with progress.progress(f"ACES, {path.name}", len(shards)) as bar:
        for shard in shards:
            answers.append(_ask(aces, path, task, shard))
            bar.advance(1)
    found = pl.concat(answers)
    early = found.filter(pl.col("opens") < pl.col("prediction_time")).height
    if early:
        raise errors.CohortError(
            f"{path.name}: the window '{task.label_window}' of the label begins before the "
            f"prediction time in {early} of {found.height} samples, so the outcome may stand among "
            f"the inputs; let it begin at the end of '{task.index_timestamp_window}' or later"
        )
    at_once = pl.col("at_once") & pl.col("label")
    kept = found.filter(~at_once.fill_null(False))
    label, when = task.windows[task.label_window], task.windows[task.index_timestamp_window]
    return given.Given(
        rows=tables.conform(kept, given.ROWS),
        task=f"aces:{path.stem}",
        label=label.label,
        says=f"Samples that the ACES file '{path.name}' finds, predicted at the "
        f"{when.index_timestamp} of its window '{task.index_timestamp_window}': whether "
        f"'{label.label}' occurs in its window '{task.label_window}'.",
        query=query,
        excluded={AT_ONCE: found.height - kept.height},
    )


def read(path: str | pathlib.Path) -> specs.Query:
    """Returns the query of a file, not yet understood; ConfigError where it is not to be read."""
    path = pathlib.Path(path).expanduser()
    try:
        return specs.Query(path.name, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as fault:
        raise errors.ConfigError(
            f"config.cohort.aces: {path} is no text to be read ({type(fault).__name__}); expected "
            "a task of ACES, a file *.yaml"
        ) from None


class _Aces(NamedTuple):
    """The modules of es-aces that are called."""

    config: types.ModuleType
    predicates: types.ModuleType
    query: types.ModuleType


# ROWS, where the label's window begins, and whether an event of the label is at that time in it.
_FOUND = given.ROWS | {"opens": tables.TIME, "at_once": pl.Boolean}


def _package() -> _Aces:
    try:
        from aces import config, predicates, query
    except ImportError as fault:
        raise errors.ConfigError(
            f"config.cohort.aces needs the package es-aces ({fault}). Install it: {INSTALL} (its "
            "own bound on polars is older than ours, hence --no-deps)"
        ) from None
    return _Aces(config, predicates, query)


def _load(aces: _Aces, path: pathlib.Path):
    """Returns the file as a task of ACES with a label and a prediction time."""
    try:
        task = aces.config.TaskExtractorConfig.load(path)
    except Exception as fault:  # ACES raises whatever it meets: all of it is the file's
        raise errors.ConfigError(f"{path}: ACES cannot read this task. {_said(fault)}") from fault
    instants = [
        name
        for name, window in task.windows.items()
        if window.start_endpoint_expr is None and window.end_endpoint_expr is None
    ]
    if instants:
        raise errors.ConfigError(
            f"{path}: the window '{instants[0]}' begins where it ends, and ACES passes over the "
            "criteria of such a window; give it a length"
        )
    windows = ", ".join(task.windows) or "none yet"
    for name, window, value in (
        ("label", task.label_window, "PREDICATE"),
        ("index_timestamp", task.index_timestamp_window, "end"),
    ):
        if not window:
            raise errors.ConfigError(
                f"{path}: the task has no {name}; give one of its windows ({windows}) the line "
                f"'{name}: {value}'"
            )
    return task


def _check_subjects(root, shards: list[pathlib.Path]) -> None:
    each = [
        files.scan(root, [shard], {"subject_id": pl.Int64}).unique().collect() for shard in shards
    ]
    torn = pl.concat(each).filter(pl.col("subject_id").is_duplicated())["subject_id"].n_unique()
    if torn:
        raise errors.RecordsError(
            f"{torn} subject(s) have events in more than one shard of 'data'; ACES is asked a "
            "shard at a time and would see a part of their record. MEDS wants each in one: write "
            "the shards again"
        )


def _ask(aces: _Aces, path: pathlib.Path, task, shard: pathlib.Path) -> pl.DataFrame:
    # A query changes the task it is asked of (offsets of windows add up), so each gets its own.
    task = copy.deepcopy(task)
    where = types.SimpleNamespace(standard="meds", path=str(shard))
    try:
        events = aces.predicates.get_predicates_df(task, where)
        answer = aces.query.query(task, events)
    except _MISFITS as fault:
        raise errors.CohortError(
            f"{path.name}: ACES cannot ask this of {shard.name}. {_said(fault)}"
        ) from fault
    if answer.is_empty():
        return tables.empty(_FOUND)
    window = task.windows[task.label_window]
    bound = "end" if window.root_node == "start" else "start"
    found = answer.select(
        "subject_id",
        pl.col("label") > 0,
        prediction_time="index_timestamp",
        opens=pl.col(f"{task.label_window}.{bound}_summary").struct.field("timestamp_at_start"),
    )
    outcomes = events.filter(pl.col(window.label) > 0)
    outcomes = outcomes.select("subject_id", prediction_time="timestamp", at_once=pl.lit(True))
    found = found.join(outcomes, on=["subject_id", "prediction_time"], how="left")
    held = (pl.col("opens") == pl.col("prediction_time")) & window.start_inclusive
    return tables.conform(found.with_columns(pl.col("at_once") & held), _FOUND)


def _said(fault: Exception) -> str:
    """What ACES said, in a line."""
    said = str(fault.args[0]) if isinstance(fault, KeyError) and fault.args else str(fault)
    return f"It said: {type(fault).__name__}: {' '.join(said.split())}"
