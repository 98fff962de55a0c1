"""Labels are softened by a teacher that has not seen them."""

import dataclasses
import sys
import types

import numpy as np
import pytest
import stays as make

from ehr_jax import config as base
from ehr_jax import errors
from ehr_jax.experiment import fitting
from ehr_jax.experiment import stages as mode_inputs
from ehr_jax.models import registry
from ehr_jax.training import run_folder, teacher

PATIENTS = 20  # of the training samples; each has three


def asked(name: str = "fake", share: float = 0.25, model: str = "realm"):
    config = registry.configure(base.defaults(), model)
    config.train.update({"teacher": name, "teacher_share": share, "batch": 12})
    config.realm.survival_days = (30, 90)
    return config


@pytest.fixture
def arrays():
    made = make.arrays(180)
    labels = made.labels.copy()
    labels[::9] = np.nan
    survival = np.full((180, 2), np.nan, np.float32)
    survival[3::6] = 1.0
    survival[::9] = np.nan
    return dataclasses.replace(
        made, labels=labels, survival=survival, subjects=np.arange(180) // 3 % PATIENTS
    )


@pytest.fixture
def teach(monkeypatch):
    """Makes a function the method 'fake' of stays; counts how often it is called."""

    def use(fit_predict):
        calls = []

        def counted(*given):
            calls.append(given)
            return fit_predict(*given)

        teaches = (registry.STAYS, registry.STAYS_WITH_VISITS)
        entry = registry.Entry("Fake", "fake", {}, registry.STAYS, teaches=teaches)
        monkeypatch.setitem(registry.METHODS, "fake", entry)
        monkeypatch.setitem(sys.modules, "fake", types.SimpleNamespace(fit_predict=counted))
        return calls

    return use


def constant(value: float):
    return lambda arrays, config, seed: np.full(arrays.labels.shape, value, np.float32)


def test_no_score_is_of_a_fit_that_saw_the_patient(arrays, teach):
    def nosy(given, config, seed):
        """How many samples of each sample's own patient it was given to learn or choose from."""
        learned = given.subjects[np.isin(given.split, ("train", "validation"))]
        return np.tile((given.subjects[:, None] == learned).sum(1)[:, None], (1, 3))

    calls = teach(nosy)
    scores = teacher.out_of_fold(asked(), arrays)
    train_rows, labelled = arrays.split == "train", ~np.isnan(arrays.labels[:, 0])
    assert (scores[train_rows & labelled][:, 0] == 0).all()
    assert np.isnan(scores[~train_rows]).all() and np.isnan(scores[~labelled]).all()
    assert len(calls) == teacher.FOLDS
    for given, *_ in calls:
        assert 30 < (given.split == "train").sum() < 60
        assert given.label_names == ("y", "death within 30 days", "death within 90 days")


def test_the_loss_has_the_share_of_the_teacher_where_both_are_known(arrays, teach, tmp_path):
    teach(constant(0.5))
    made = teacher.softened(asked(share=0.25), arrays, tmp_path)
    rows = arrays.split == "train"
    np.testing.assert_allclose(made.labels[rows], 0.75 * arrays.labels[rows] + 0.125)
    np.testing.assert_array_equal(made.labels[~rows], arrays.labels[~rows])
    np.testing.assert_allclose(made.survival[rows], 0.75 * arrays.survival[rows] + 0.125)
    assert np.isnan(made.survival[np.isnan(arrays.survival)]).all()
    assert made.stays is arrays.stays and not np.isnan(made.survival[rows]).all()


def test_a_sample_that_the_teacher_does_not_score_keeps_its_label(arrays, teach, tmp_path):
    teach(constant(np.nan))
    made = teacher.softened(asked(), arrays, tmp_path)
    np.testing.assert_array_equal(made.labels, arrays.labels)


def test_scores_are_kept_in_the_run_folder(arrays, teach, tmp_path):
    calls = teach(constant(0.5))
    first = teacher.softened(asked(), arrays, tmp_path)
    again = teacher.softened(asked(), arrays, tmp_path)
    assert len(calls) == teacher.FOLDS
    np.testing.assert_array_equal(first.labels, again.labels)


def test_without_a_teacher_labels_are_the_labels(arrays, tmp_path):
    assert teacher.softened(asked(""), arrays, tmp_path) is arrays
    assert teacher.softened(asked("lightgbm_windows", 0.0), arrays, tmp_path) is arrays
    assert not list(tmp_path.iterdir())


def test_trees_teach_what_the_network_then_learns(tmp_path):
    arrays = make.arrays(900)
    labels = (arrays.stays["statics"][:, :1] > 0).astype(np.float32)
    config = asked("lightgbm_windows", 1.0)
    config.realm.survival_days = ()
    arrays = dataclasses.replace(arrays, labels=labels, survival=np.zeros((900, 0), np.float32))
    made = teacher.softened(config, arrays, tmp_path)
    rows = arrays.split == "train"
    told, truth = made.labels[rows, 0], labels[rows, 0]
    assert ((0 < told) & (told < 1)).all()
    assert told[truth == 1].mean() > told[truth == 0].mean() + 0.2
    config.realm.update({"width": 8, "heads": 2, "feed_forward": 8})
    data = fitting.make_task(config, made)
    np.testing.assert_array_equal(data.train_labels[:, 0], told)
    np.testing.assert_array_equal(data.validation_labels, labels[arrays.split == "validation"])


@pytest.mark.parametrize(
    ("name", "share", "model", "words"),
    [
        ("lightgbm_window", 0.5, "realm", "teacher is 'lightgbm_window'.*mean 'lightgbm_windows'"),
        ("lightgbm", 0.5, "realm", "'realm' is given stays and can be taught by lightgbm_windows"),
        (
            "lightgbm_windows",
            0.5,
            "mingle",
            "is given visits and can be taught by logistic_regression,",
        ),
        ("lightgbm", 0.5, "gru_visits", "sequences of visits and can be taught by none; for none"),
        ("concat", 0.5, "realm", "teacher is 'concat'"),
        ("apache_iv", 0.5, "realm", "teacher is 'apache_iv'"),
        ("lightgbm_windows", 1.5, "realm", "teacher_share is 1.5; expected .* 0 to 1"),
        (
            "lightgbm_windows",
            0.5,
            "realm_notes",
            "config.realm.use_series, config.realm.use_statics is False.*set it to ''",
        ),
    ],
)
def test_what_cannot_teach_is_refused_before_anything_is_computed(name, share, model, words):
    with pytest.raises(errors.ConfigError, match=words):
        fitting.check_method(asked(name, share, model))


def test_a_package_that_is_missing_is_told_with_the_key(monkeypatch):
    def lacking(name):
        raise errors.ConfigError(f"method '{name}' needs the package 'lightgbm'")

    monkeypatch.setattr(teacher.registry, "resolve", lacking)
    with pytest.raises(
        errors.ConfigError, match="config.train.teacher is 'lightgbm_windows': .*or"
    ):
        teacher.check(asked("lightgbm_windows"))


def test_a_day_that_nobody_is_known_on_is_not_taught(arrays, teach):
    teach(constant(0.5))
    survival = arrays.survival.copy()
    survival[:, 1] = np.nan
    first = np.flatnonzero((arrays.split == "train") & ~np.isnan(arrays.labels[:, 0]))[0]
    survival[first, 1] = 1.0  # whoever teaches this one knows of no other
    scores = teacher.out_of_fold(asked(), dataclasses.replace(arrays, survival=survival))
    assert np.isnan(scores[:, 2]).all() and scores[first, 1] == 0.5


@pytest.mark.parametrize("changed", ["config", "records"])
def test_scores_of_another_config_or_of_other_records_are_not_kept(changed, tmp_path):
    run_folder.claim(tmp_path, {"train": {"select": "auc"}})
    run_folder.write_json(tmp_path / "data.json", {"fingerprint": "one"})
    (tmp_path / run_folder.TEACHER).write_bytes(b"scores")
    run_folder.claim(tmp_path, {"train": {"select": "auc"}})
    mode_inputs._check_same(tmp_path / "data.json", "one")
    assert (tmp_path / run_folder.TEACHER).exists()
    if changed == "config":
        run_folder.claim(tmp_path, {"train": {"select": "auroc"}})
    else:
        mode_inputs._check_same(tmp_path / "data.json", "other")
    assert not (tmp_path / run_folder.TEACHER).exists()


def test_one_patient_cannot_be_taught(arrays, teach, tmp_path):
    teach(constant(0.5))
    alone = dataclasses.replace(arrays, subjects=np.zeros(180, int))
    with pytest.raises(errors.ConfigError, match=r"1 training patient\(s\).*set it to ''"):
        teacher.softened(asked(), alone, tmp_path)


@pytest.mark.parametrize("fault", ["damaged", "of other samples"])
def test_a_kept_file_that_is_wrong_is_named(fault, arrays, tmp_path):
    path = tmp_path / run_folder.TEACHER
    if fault == "damaged":
        path.write_bytes(b"\x93NUMPY")
    else:
        np.save(path, np.zeros((3, 1), np.float32))
    with pytest.raises(errors.RunFolderError, match="teacher.npy"):
        teacher.softened(asked(), arrays, tmp_path)


@pytest.mark.parametrize(("source", "field"), [("series", "values"), ("statics", "statics")])
def test_a_teacher_is_not_given_what_the_network_is_not(source, field, arrays, teach):
    calls = teach(constant(0.5))
    config = asked()
    config.realm[f"use_{source}"] = False
    teacher.out_of_fold(config, arrays)
    given = calls[0][0].stays
    assert given[field].shape[1] == 0
    assert sum(x.size > 0 for x in (given["values"], given["statics"])) == 1


def test_a_teacher_that_reads_notes_teaches_no_network_without_them():
    with pytest.raises(errors.ConfigError, match="config.model.use_notes is False"):
        teacher.check(asked("logistic_regression_notes", model="mingle_no_notes"))
    teacher.check(asked("logistic_regression_notes", model="mingle"))
