"""Patients that a run has learned from are found by their identifiers, and test nothing."""

import types

import polars as pl
import pytest

from ehr_jax.experiment import own_patients
from ehr_jax.training import run_folder


def others(pairs, source="omop", fingerprint="other"):
    subject, visit = zip(*pairs, strict=True)
    visits = pl.DataFrame({"subject_id": subject, "visit_id": visit})
    data = {"source": source, "fingerprint": fingerprint}
    return types.SimpleNamespace(data=data, visits=visits)


@pytest.fixture
def run(tmp_path):
    """A run of four patients; the last has visits in training and in test."""
    rows = [(1, 10, "train"), (2, 20, "validation"), (3, 30, "test"), (4, 40, "test"),
            (4, 41, "train")]  # fmt: skip
    schema = {"subject_id": pl.Int64, "visit_id": pl.Int64, "split": pl.String}
    pl.DataFrame(rows, schema, orient="row").write_parquet(tmp_path / "split.parquet")

    def make(source="omop"):
        data = {"source": source, "fingerprint": "same"}
        run_folder.write_json(tmp_path / "data.json", data)
        return tmp_path

    return make


def found(folder, pairs, source="omop", fingerprint="other"):
    samples = others(pairs, source, fingerprint)
    return dict(own_patients.splits(folder, samples).iter_rows())


def test_the_runs_own_patients_are_found_in_its_records_and_in_any_that_overlap(run):
    whole = [(1, 10), (2, 20), (3, 30), (4, 40), (4, 41), (5, 50)]
    expected = {1: "train", 2: "validation", 3: "test", 4: "train"}
    assert found(run(), whole, fingerprint="same") == found(run(), whole) == expected
    # A later visit of a patient, and none of those before.
    assert found(run(), [(1, 99), (6, 60)]) == {1: "train"}


def test_the_same_numbers_of_another_source_are_of_others(run):
    assert found(run("mimic4"), [(1, 10), (2, 20)]) == {}


def test_patients_that_are_numbered_anew_are_known_by_their_visits(run):
    moved = [(2, 10), (2, 11), (1, 70)]
    assert found(run("eicu"), moved, "eicu") == {2: "train"}
    assert found(run("eicu"), [(1, 70)], "eicu", "same") == {1: "train"}


def test_samples_are_marked_counted_and_told_by_patient(run):
    own = own_patients.splits(run(), others([(k, 10 * k) for k in range(1, 6)]))
    samples = pl.DataFrame(
        {"subject_id": [5, 4, 1, 1, 3, 2], "visit_id": [50, 40, 10, 11, 30, 20]}
    ).with_columns(split=pl.lit("test"))
    marked = own_patients.marked(samples, own)
    assert marked["split"].to_list() == ["test", "train", "train", "train", "test", "validation"]
    assert marked["visit_id"].to_list() == samples["visit_id"].to_list()
    counts = own_patients.counts(samples, own)
    assert counts == {"new": 1, "tested_by_the_run": 1, "trained_on_and_left_out": 2,
                      "validated_on_and_left_out": 1}  # fmt: skip
    assert "<10 patient(s) are of the run's training split and <10" in own_patients.told(counts)
    many = counts | {"trained_on_and_left_out": 1234, "validated_on_and_left_out": 10}
    assert "1,234 patient(s) are of the run's training split and 10" in own_patients.told(many)
    assert own_patients.told(own_patients.counts(samples[:1], own)) == ""
