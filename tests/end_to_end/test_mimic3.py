"""The MIMIC-III demo through the main command: the published counts of its hypergraph."""

import json

import pytest

from ehr_jax import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def counts(data_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mimic3")
    command = [
        "ehr_jax.main", "--config=configs/mingle.py:mimic3_phenotype", f"--workdir={folder}",
        "--config.train.seeds=(0,)", "--config.train.steps=5", "--config.evaluation.resamples=20",
        "--config.notes.source=none",
    ]  # fmt: skip
    assert main.main(command) == 0
    return json.loads((folder / "data.json").read_text())


def test_records_have_the_demo_counts(counts):
    assert counts["records"]["patients"] == 100
    assert counts["records"]["visits"] == 129
    assert counts["records"]["distinct_codes"] == {"diagnosis": 581, "drug": 570, "procedure": 164}


def test_29_visits_have_a_labelled_next_visit(counts):
    splits = counts["cohort"]["splits"].values()
    assert sum(split["labelled"] for split in splits) == 29
    positives = {}
    for split in splits:
        for label, count in split["positives"].items():
            positives[label] = positives.get(label, 0) + count
    assert len(positives) == 25 and sum(count > 0 for count in positives.values()) == 24
    assert sum(positives.values()) / 29 == pytest.approx(6.3, abs=0.05)


def test_vocabulary_holds_training_codes_only(counts):
    assert counts["features"]["kinds"]["diagnosis"] < 275
    assert counts["features"]["incidences_of_unknown_codes_left_out"] > 0
