"""A work folder belongs to the records it was made of, in every mode that writes data."""

import pathlib

import hospital
import pytest

from ehr_jax import config as configs
from ehr_jax import errors
from ehr_jax.experiment import stages
from ehr_jax.models import registry
from ehr_jax.modes import audit, benchmark, meds
from ehr_jax.training import run_folder

WORKS = {
    audit: "audit.json",
    benchmark: "methods/mingle/config.json",
}


class Reached(Exception):
    """The mode went on past the question whose records these are."""


def records(code: str):
    return hospital.records([hospital.visit(k, 0, 3, code) for k in range(3)])


def small(**changes):
    config = configs.defaults()
    with config.unlocked():
        config.update_from_flattened_dict({"notes.source": "none", **changes})
    return config


def start(mode, config, folder: pathlib.Path, of, monkeypatch) -> None:
    def cohort_is_asked(*_):
        raise Reached

    monkeypatch.setattr(stages, "read", lambda _: of)
    monkeypatch.setattr(stages, "build_cohort", cohort_is_asked)
    mode.run(config, folder)


@pytest.mark.parametrize("mode", [audit, benchmark])
def test_work_of_other_records_is_refused(mode, tmp_path, monkeypatch):
    config = small(**{"cohort.folds": 2})
    with pytest.raises(Reached):
        start(mode, config, tmp_path, records("4280"), monkeypatch)
    path = tmp_path / WORKS[mode]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with pytest.raises(Reached):
        start(mode, config, tmp_path, records("4280"), monkeypatch)
    with pytest.raises(errors.RunFolderError, match="other records"):
        start(mode, config, tmp_path, records("4271"), monkeypatch)


@pytest.mark.parametrize("name", ["mingle", "hypehr", "gru_visits"])
def test_the_run_of_the_same_flags_is_audited_in_its_folder(name, tmp_path, monkeypatch):
    config = small(**{"model.name": name})
    run_folder.claim(tmp_path, registry.configure(config, name).to_dict())
    (tmp_path / "results.json").touch()
    with pytest.raises(Reached):
        start(audit, config, tmp_path, records("4280"), monkeypatch)


def test_meds_copy_of_other_records_is_refused(tmp_path, monkeypatch):
    start(meds, small(), tmp_path, records("4280"), monkeypatch)
    start(meds, small(), tmp_path, records("4280"), monkeypatch)
    with pytest.raises(errors.RunFolderError, match="other records"):
        start(meds, small(), tmp_path, records("4271"), monkeypatch)


def test_scores_without_outcomes_are_work(tmp_path):
    stages.bind(records("4280"), small(), tmp_path)
    stages.bind(records("4271"), small(), tmp_path)  # nothing was made yet
    (tmp_path / "predictions.parquet").touch()
    with pytest.raises(errors.RunFolderError, match="other records"):
        stages.bind(records("4280"), small(), tmp_path)
    assert run_folder.has_work(tmp_path)
