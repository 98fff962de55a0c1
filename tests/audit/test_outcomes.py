"""The audit tells labels again whatever a task calls them."""

import json

import pytest

from ehr_jax import config as base
from ehr_jax.audit import verdict
from ehr_jax.cohorts import labels as cohort_labels
from ehr_jax.cohorts import spec
from ehr_jax.experiment import stages


@pytest.mark.parametrize("task", ["phenotype_next", "cvd_next", "readmission30"])
def test_renamed_labels_are_told_again_and_titled(task, tmp_path):
    config = base.defaults()
    config.model.name, config.notes.source = "gru_visits", "none"
    config.synthetic.patients, config.cohort.task = 150, task
    names = cohort_labels.names_of(spec.find(task, "strict"))
    config.task.label_names = tuple(f"outcome {number}" for number in range(len(names)))
    config.task.title = "Outcomes of ours"
    base.check(config, "train")
    _, arrays = stages.load(config, tmp_path)
    assert arrays.label_names == config.task.label_names
    found = verdict.from_json(json.loads((tmp_path / "audit.json").read_text()))
    told = {one.check: one.status for one in found}
    assert told["labels told again"] == told["outcome after the prediction"] == "pass"
    cohort = json.loads((tmp_path / "data.json").read_text())["cohort"]
    assert cohort["title"] == "Outcomes of ours" and cohort["task"] == task
