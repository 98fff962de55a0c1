"""What a sample may not see is changed, and its inputs are made again: they must be the same bits.

Two questions, by the builders that make what a method is given: does anything that became known
after the prediction time change an input; does anything of validation and test patients change what
training is given or fits? Both are asked of at most some patients (`subset.choose`), so that the
answer costs little where the data are large.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import polars as pl

from ehr_jax import disclosure, errors
from ehr_jax.audit import alter, building, evidence, subset
from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import arrays as features
from ehr_jax.features import once
from ehr_jax.records.common import tables

FUTURE = "inputs changed by the future"
HELD_OUT = "training changed by held-out patients"
# Inputs that rest on an encoder's vectors or on the vocabulary of all samples do not compare.
_OF_TEXT = ("notes", "knowledge", "note_hours", "note_mask", "knowledge_hours", "knowledge_mask")

# Makes arrays of records, a cohort and, if there are any, fitted parts.
Build = Callable[..., features.Arrays]


def findings(given: evidence.Evidence) -> list[evidence.Finding]:
    """Returns the answers to both questions."""
    records = given.some
    subjects = records.patients["subject_id"]
    quick = building.quick(given.config)
    knowledge = building.open_knowledge(quick, given.reads)

    def build(records, cohort, fitted=None):
        known = once.known_of(records, cohort, quick, given.reads)
        return building.build(known, quick, given.reads, fitted, knowledge)

    try:
        return [
            _future(given, build, records, subjects),
            _held_out(given, build, records, subjects),
        ]
    except errors.UserError as error:
        said = f"{subjects.len()} patients are too few to build from: {error}"
        return [evidence.Finding(check, "skip", said) for check in (FUTURE, HELD_OUT)]


def _future(given, build: Build, records: tables.Records, subjects: pl.Series) -> evidence.Finding:
    focal = subset.one_each(given.cohort.samples, subjects)
    cohort = subset.renumbered(given.cohort, focal)
    before = build(records, cohort)
    changed = alter.future(records, focal, given.cohort.at_discharge)
    after = _built(build, changed, cohort)
    if after is None:
        return evidence.Finding(FUTURE, "fail", "inputs cannot be built once the future is changed")
    one, other = (made.parts() for made in (before, after))
    rows = _differing(one.inputs, other.inputs, focal, np.ones(focal.height, bool))
    if given.arrays.fitted is not None:
        rows += _of_the_network(given, build, changed, cohort, focal)
    rows += [(None, None, None, name) for name in _fitted_apart(one, other)]
    return evidence.found(
        FUTURE,
        _frame(rows),
        "{count} input(s) or fitted part(s) change once what became known after the prediction "
        "time is changed",
        f"the inputs of {focal.height} samples, a patient each, are the same bits whatever came "
        "after the prediction time",
    )


def _held_out(
    given, build: Build, records: tables.Records, subjects: pl.Series
) -> evidence.Finding:
    of_patient = pl.col("subject_id").is_in(subjects.implode())
    samples = given.cohort.samples.filter(of_patient)
    train = (samples["split"] == "train").to_numpy()
    others = samples.filter(~pl.Series(train))["subject_id"].unique()
    # A patient of two splits, as the published protocols have, is in training too.
    others = others.filter(~others.is_in(samples.filter(pl.Series(train))["subject_id"].implode()))
    cohort = subset.renumbered(given.cohort, samples)
    first = build(records, cohort)
    before = first.parts()
    flipped = pl.when(pl.col("split") != "train")
    labels = [flipped.then(~pl.col(f"label.{n}")).otherwise(f"label.{n}") for n in cohort.labels]
    names = [f"label.{name}" for name in cohort.labels]
    changed = cohort.samples.with_columns(
        label.alias(name) for label, name in zip(labels, names, strict=True)
    )
    flipped_cohort = dataclasses.replace(cohort, samples=changed)
    made = _built(build, alter.people(records, others), flipped_cohort)
    if made is None:
        return evidence.Finding(HELD_OUT, "fail", "training cannot be built once others change")
    after = made.parts()
    rows = _differing(before.inputs, after.inputs, samples, train)
    rows += _differing(before.targets, after.targets, samples, train)
    rows += _told_of_others(before.targets, samples, train)
    patients = evidence.patients(samples["subject_id"].to_numpy(), train)
    trained = disclosure.shown(int(train.sum()), patients)
    one, other = (building.learned(arrays, given.config) for arrays in (first, made))
    rows += [
        (None, None, None, f"learned: {name}")
        for name, part in one.items()
        if not building.same(part, other[name])
    ]
    rows += [(None, None, None, name) for name in _fitted_apart(before, after)]
    return evidence.found(
        HELD_OUT,
        _frame(rows),
        "{count} input(s) or fitted part(s) of training change once validation and test patients "
        "are changed",
        f"inputs of {trained} training samples and all fitted parts are the same bits whatever "
        f"is recorded of {others.len()} patients of validation and test",
    )


def _of_the_network(
    given, build, changed, cohort: cohorts.Cohort, focal: pl.DataFrame
) -> list[tuple]:
    """Do the run's own arrays equal those that its fitted parts make of the changed records?"""
    made = _built(build, changed, cohort, given.arrays.fitted)
    if made is None:
        return []
    place = (
        given.cohort.samples.with_row_index("place")
        .join(focal.select("sample_id"), on="sample_id", how="semi")["place"]
        .to_numpy()
    )
    again = made.parts().inputs
    skipped = (*_OF_TEXT, "has_visit")
    of_run = {
        name: array[place]
        for name, array in given.arrays.parts().inputs.items()
        if name not in skipped and not name.startswith("visit, ")
    }
    rows = _differing(of_run, again, focal, np.ones(focal.height, bool))
    return [(*who, f"{name}, as the method is given it") for *who, name in rows]


def _built(build: Build, records, cohort, fitted=None) -> features.Arrays | None:
    try:
        return build(records, cohort, fitted)
    except errors.UserError:
        return None


def _differing(one: dict, other: dict, samples: pl.DataFrame, asked: np.ndarray) -> list[tuple]:
    """(sample_id, subject_id, split, part) of the rows `asked` [sample] bool that differ."""
    rows = []
    who = samples.select("sample_id", "subject_id", "split").rows()
    for name, array in one.items():
        apart = building.rows_that_differ(array, other[name]) if name in other else ~asked | asked
        rows += [(*who[at], name) for at in np.flatnonzero(apart & asked)]
    return rows


def _told_of_others(targets: dict, samples: pl.DataFrame, train: np.ndarray) -> list[tuple]:
    """Targets of samples that are not for training: there must be none."""
    nothing = {name: np.full_like(target, np.nan) for name, target in targets.items()}
    rows = _differing(targets, nothing, samples, ~train)
    return [(*who, f"{name} of a held-out sample") for *who, name in rows]


def _fitted_apart(one: features.Parts, other: features.Parts) -> list[str]:
    return [
        f"fitted: {name}"
        for name, part in one.fitted.items()
        if not building.same(part, other.fitted[name])
    ]


def _frame(rows: list[tuple]) -> pl.DataFrame:
    schema = {
        "sample_id": pl.Int64,
        "subject_id": pl.Int64,
        "split": pl.String,
        "part": pl.String,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")
