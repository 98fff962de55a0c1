"""Each check catches the fault planted for it, and is silent on a clean cohort."""

import dataclasses
import datetime

import numpy as np
import polars as pl
import pytest

from ehr_jax import config as base
from ehr_jax import errors
from ehr_jax.audit import audit, evidence, near_duplicates
from ehr_jax.cohorts import tasks
from ehr_jax.features import known, prepare
from ehr_jax.records import synthetic


@pytest.fixture(scope="module")
def clean():
    config = base.defaults()
    config.cohort.task = "mortality"
    config.features.columns = "full"
    config.features.measurements = True
    config.features.history = True
    config.notes.source = "own"
    records = synthetic.generate(300, 3)
    records = dataclasses.replace(
        records,
        measurements=records.measurements.collect().lazy(),
        notes=records.notes.collect().lazy(),
    )
    return evidence.gather(records, tasks.build(records, "mortality"), config)


def statuses(given) -> dict[str, str]:
    return {finding.check: finding.status for finding in audit.run(given)}


def with_samples(given, **columns):
    """The evidence made anew from changed samples."""
    cohort = dataclasses.replace(given.cohort, samples=given.cohort.samples.with_columns(**columns))
    return evidence.gather(given.records, cohort, given.config)


def with_attribute(given, text: pl.Expr, name: str = "a planted fact"):
    """The evidence made anew with one more attribute, known from the start of the visit."""
    rows = given.cohort.samples.join(given.records.visits, on="visit_id").select(
        "visit_id",
        name=pl.lit(name),
        text=text.cast(pl.String),
        number=pl.lit(None, pl.Float64),
        time="start",
    )
    attributes = pl.concat([given.records.attributes, rows.drop_nulls("text")])
    records = dataclasses.replace(given.records, attributes=attributes)
    return evidence.gather(records, given.cohort, given.config)


def patient_in_two_splits(given, monkeypatch):
    of_test = given.cohort.samples.filter(split="test")["subject_id"][0]
    twice = given.cohort.samples.filter(split="train").head(1)["sample_id"][0]
    subject = pl.when(pl.col("sample_id") == twice).then(of_test).otherwise("subject_id")
    changed = given.cohort.samples.with_columns(subject_id=subject.cast(pl.Int64))
    cohort = dataclasses.replace(given.cohort, samples=changed)
    return given._replace(cohort=cohort)


def codes_of_the_future(given, monkeypatch):
    def all_of(table, cohort):
        return table.join(cohort.samples.select("sample_id", "visit_id"), on="visit_id")

    with monkeypatch.context() as leaky:
        leaky.setattr(known, "_known", all_of)
        return evidence.gather(given.records, given.cohort, given.config)


def history_of_the_future(given, monkeypatch):
    def every_visit(records, cohort):
        samples = cohort.samples.select("sample_id", "subject_id")
        joined = records.visits.join(samples, on="subject_id").join(records.codes, on="visit_id")
        return joined.select("sample_id", "code").unique()

    with monkeypatch.context() as leaky:
        leaky.setattr(known, "earlier_codes", every_visit)
        return evidence.gather(given.records, given.cohort, given.config)


def measurements_of_the_future(given, monkeypatch):
    late = dataclasses.replace(
        given.cohort,
        samples=given.cohort.samples.with_columns(
            prediction_time=pl.col("prediction_time") + datetime.timedelta(days=2)
        ),
    )

    def last(records, cohort, right=known.last_measurements):
        return right(records, late)

    # A variable first measured after the prediction.
    first = given.cohort.samples.row(0, named=True)
    row = {
        "visit_id": first["visit_id"],
        "stay_id": None,
        "time": first["prediction_time"] + datetime.timedelta(hours=1),
        "variable": "LATE:1",
        "value": 1.0,
        "unit": None,
    }
    schema = given.records.measurements.collect_schema()
    extra = pl.DataFrame([row], schema=schema)
    records = dataclasses.replace(
        given.records, measurements=pl.concat([given.records.measurements, extra.lazy()])
    )
    with monkeypatch.context() as leaky:
        leaky.setattr(known, "last_measurements", last)
        return evidence.gather(records, given.cohort, given.config)


def notes_of_the_future(given, monkeypatch):
    def all_of(records, cohort):
        samples = cohort.samples.lazy().select("sample_id", "visit_id")
        joined = records.notes.join(samples, on="visit_id").sort("sample_id", "time", "text")
        texts = pl.col("text").str.join("\n\n")
        return joined.group_by("sample_id", maintain_order=True).agg(texts).collect()

    monkeypatch.setattr(known, "notes", all_of)
    return given


def longer_window_of_survivors(given, monkeypatch):
    shift = (
        pl.when("label.mortality")
        .then(datetime.timedelta(hours=24))
        .otherwise(datetime.timedelta(0))
    )
    return with_samples(given, prediction_time=pl.col("prediction_time") - shift)


def vocabulary_of_all_patients(given, monkeypatch):
    # As the published protocol does: every visit shapes what is fitted.
    loose = dataclasses.replace(given.cohort, protocol="paper")
    made = prepare.fit_graph(given.records, loose, given.config.features)
    return evidence.of(given.records, given.cohort, given.config, made)


def column_that_is_the_outcome(given, monkeypatch):
    return with_attribute(given, pl.col("label.mortality"))


def column_named_as_the_outcome(given, monkeypatch):
    text = pl.when(pl.col("visit_id") % 2 == 0).then(pl.lit("yes")).otherwise(pl.lit("no"))
    return with_attribute(given, text, "hospital_death flag")


def notes_copied_across_splits(given, monkeypatch):
    texts = known.notes(given.records, given.cohort).join(given.cohort.samples, on="sample_id")
    copied = texts.filter(split="train").sort(pl.col("text").str.len_chars())["text"][-1]
    of_test = texts.filter(split="test").row(0, named=True)
    row = {
        "visit_id": of_test["visit_id"],
        "time": of_test["prediction_time"] - datetime.timedelta(hours=1),
        "date_only": False,
        "category": "Nursing",
        "text": copied + " Reviewed.",
    }
    others = given.records.notes.filter(pl.col("visit_id") != of_test["visit_id"])
    notes = pl.concat([others, pl.DataFrame([row], schema=others.collect_schema()).lazy()])
    records = dataclasses.replace(given.records, notes=notes)
    return evidence.gather(records, given.cohort, given.config)


def missing_by_label(given, monkeypatch):
    rare = pl.col("sample_id") % 10 == 0
    return with_attribute(given, pl.when(pl.col("label.mortality") | rare).then(pl.lit("seen")))


# The fault, and the check that must catch it.
PLANTED = {
    patient_in_two_splits: "patients across splits",
    codes_of_the_future: "inputs after the prediction time",
    history_of_the_future: "inputs after the prediction time",
    measurements_of_the_future: "inputs after the prediction time",
    notes_of_the_future: "notes after the prediction time",
    longer_window_of_survivors: "window length by label",
    vocabulary_of_all_patients: "fitted on training patients alone",
    column_that_is_the_outcome: "columns that encode the outcome",
    column_named_as_the_outcome: "columns that encode the outcome",
    notes_copied_across_splits: "notes repeated across splits",
    missing_by_label: "missingness by label",
}


def test_every_check_has_a_planted_fault(clean):
    assert set(PLANTED.values()) == set(statuses(clean))


def test_a_clean_cohort_passes_every_check(clean):
    assert set(statuses(clean).values()) == {"pass"}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_caught(clean, plant, monkeypatch):
    findings = {finding.check: finding for finding in audit.run(plant(clean, monkeypatch))}
    caught = findings[PLANTED[plant]]
    assert caught.status == "fail" and caught.count > 0 and caught.rows.height > 0
    for finding in findings.values():  # nothing that is written names a patient or quotes a note
        assert not {"subject_id", "visit_id", "text", "used"} & set(finding.rows.columns)


def test_what_strict_promises_stops_a_run(clean, monkeypatch):
    with pytest.raises(errors.AuditError, match="patients across splits"):
        audit.require(audit.run(patient_in_two_splits(clean, monkeypatch)))
    audit.require(audit.run(clean))


def test_paper_protocol_fails_where_it_should():
    config = base.defaults()
    config.notes.source = "none"
    records = synthetic.generate(200, 1)
    cohort = tasks.build(records, "readmission30", "paper")
    found = statuses(evidence.gather(records, cohort, config))
    assert found["patients across splits"] == "fail"
    assert found["fitted on training patients alone"] == "fail"


def test_near_duplicates_are_those_of_an_exhaustive_search():
    generator = np.random.default_rng(0)
    words = [f"w{k}" for k in range(200)]
    texts, splits = [], []
    for _ in range(30):
        text = list(generator.choice(words, 60))
        for split in ("train", "test"):
            changed = [w if generator.random() > 0.01 else "other" for w in text]
            texts.append(" ".join(changed))
            splits.append(split)
    found = {(a, b): s for a, b, s in near_duplicates.pairs(texts, splits)}

    def runs(text):
        split = text.split()
        return {tuple(split[k : k + 5]) for k in range(len(split) - 4)}

    wanted = {}
    for a in range(1, 60, 2):
        one, other = runs(texts[a]), runs(texts[a - 1])
        similarity = len(one & other) / len(one | other)
        if similarity >= near_duplicates.SIMILAR:
            wanted[a, a - 1] = similarity
    assert 5 < len(wanted) < 30
    assert found == pytest.approx(wanted)
