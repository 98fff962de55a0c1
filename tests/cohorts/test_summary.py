import json

import hospital
import polars as pl
import pytest

from ehr_jax import errors
from ehr_jax.cohorts import cohort, summary, tasks


@pytest.fixture(scope="module")
def records():
    visits = []
    for subject in range(50):
        visits.append(hospital.visit(subject, 0, 5))
        visits.append(hospital.visit(subject, 20 if subject % 5 == 0 else 90, 99))
    visits.append(hospital.visit(99, 0, 5, disposition="died"))
    return hospital.records(visits)


def test_summary_counts_what_the_samples_hold(records):
    built = tasks.build(records, "readmission30")
    found = json.loads(json.dumps(summary.summary(built)))
    assert (found["patients"], found["samples"], found["labelled"]) == (50, 100, 100)
    assert found["excluded"]["died in hospital"] == 1
    assert found["patients_in_several_splits"] == 0
    assert found["faults"] == []
    parts = [found["splits"][name] for name in cohort.SPLITS]
    assert [part["patients"] for part in parts] == [35, 5, 10]
    assert [part["positives"]["readmission"] for part in parts] == [7, 1, 2]
    assert [part["prevalence"]["readmission"] for part in parts] == [0.1, 0.1, 0.1]


def test_summary_of_the_published_protocol_names_its_faults(records):
    found = summary.summary(tasks.build(records, "readmission30", "paper"))
    assert found["patients_in_several_splits"] > 10
    assert any("random over visits" in fault for fault in found["faults"])


def test_a_stored_split_is_read_again(records, tmp_path):
    first = tasks.build(records, "readmission30", split_seed=1)
    path = tmp_path / "deep" / "split.parquet"
    summary.save_split(first, path)
    assert pl.read_parquet(path).columns == ["subject_id", "visit_id", "split"]
    assert [file.name for file in path.parent.iterdir()] == ["split.parquet"]
    stored = first.samples.select("subject_id", "visit_id", "split").sort("visit_id")
    assert summary.read_split(path).equals(stored)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (None, "no stored split here"),
        (lambda path: path.write_bytes(b"PAR1 cut"), "not readable as parquet"),
        (lambda path: pl.DataFrame({"visit_id": [1]}).write_parquet(path), "columns"),
        (
            lambda path: pl.DataFrame(
                {"subject_id": [1], "visit_id": [1], "split": ["tset"]}
            ).write_parquet(path),
            "1 row\\(s\\) with a split other than train, validation, test",
        ),
    ],
)
def test_a_file_that_is_no_split_is_refused(tmp_path, write, message):
    path = tmp_path / "split.parquet"
    if write:
        write(path)
    with pytest.raises(errors.CohortError, match=message):
        summary.read_split(path)
