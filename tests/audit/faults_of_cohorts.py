"""Faults in cohorts: of patients, splits, prediction times and labels; and in what is learned."""

import dataclasses
import datetime

import numpy as np
import polars as pl

from ehr_jax.models.baselines import logistic_regression, table
from ehr_jax.training import loss, stay_problem, teacher
from tests.audit import scenes

HOUR = datetime.timedelta(hours=1)


def a_patient_in_two_splits(scene, patch):
    of_test = scene.cohort.samples.filter(split="test")["subject_id"][0]
    twice = scene.cohort.samples.filter(split="train")["sample_id"][0]
    subject = pl.when(pl.col("sample_id") == twice).then(of_test).otherwise("subject_id")
    changed = scenes.with_samples(scene, subject_id=subject.cast(pl.Int64))
    return scenes.look(scene)._replace(cohort=changed.cohort)


def a_patient_under_two_ids(scene, patch):
    records, samples = scene.records, scene.cohort.samples
    train = samples.filter(split="train")["subject_id"].unique().sort()[0]
    old = samples.filter(split="test")["subject_id"].unique().sort()[0]
    copied = records.visits.filter(subject_id=train)
    moved = datetime.timedelta(days=400)
    visits = copied.with_columns(
        pl.lit(old, pl.Int64).alias("subject_id"),
        pl.col("visit_id") + 900_000,
        pl.col("start", "end") + moved,
    )
    person = records.patients.filter(subject_id=train).with_columns(
        pl.lit(old, pl.Int64).alias("subject_id"), pl.col("birth_time", "death_time") + moved
    )
    codes = records.codes.filter(pl.col("visit_id").is_in(copied["visit_id"].implode()))
    twice = scenes.with_records(
        scene,
        patients=pl.concat([records.patients.filter(pl.col("subject_id") != old), person]),
        visits=pl.concat([records.visits.filter(pl.col("subject_id") != old), visits]),
        codes=pl.concat([records.codes, codes.with_columns(pl.col("visit_id") + 900_000)]),
    )
    return scenes.look(scene)._replace(records=twice.records)


def a_split_that_follows_the_label(scene, patch):
    some = pl.col("sample_id") % 2 == 0
    split = pl.when(pl.col("label.readmission") & some).then(pl.lit("test")).otherwise("split")
    return scenes.look(scene)._replace(cohort=scenes.with_samples(scene, split=split).cohort)


def a_longer_window_of_survivors(scene, patch):
    late = pl.when("label.mortality").then(24 * HOUR).otherwise(0 * HOUR)
    changed = scenes.with_samples(scene, prediction_time=pl.col("prediction_time") - late)
    return scenes.look(changed)


def predictions_two_hours_late(scene, patch):
    time = pl.col("prediction_time") + 2 * HOUR
    return scenes.look(scenes.with_samples(scene, prediction_time=time))


def deaths_before_the_prediction(scene, patch):
    died = scene.cohort.samples.filter("label.mortality").select("subject_id", "prediction_time")
    patients = scene.records.patients.join(died, on="subject_id", how="left").with_columns(
        death_time=pl.coalesce(pl.col("prediction_time") - 3 * HOUR, "death_time")
    )
    return scenes.look(scenes.with_records(scene, patients=patients.drop("prediction_time")))


def labels_of_other_patients(scene, patch):
    label = pl.col("label.mortality").shift(1).fill_null(False)
    changed = scenes.with_samples(scene, label.alias("label.mortality"))
    return scenes.look(changed)


def deaths_labelled_as_survived(scene, patch):
    label = pl.col("label.mortality") & (pl.col("sample_id") % 2 == 0)
    return scenes.look(scenes.with_samples(scene, label.alias("label.mortality")))


def readmissions_of_half_a_year(scene, patch):
    visits = scene.records.visits.sort("subject_id", "order")
    gap = pl.col("start").shift(-1).over("subject_id") - pl.col("end")
    soon = visits.select("visit_id", soon=(gap <= 180 * 24 * HOUR).fill_null(False))
    joined = scene.cohort.samples.join(soon, on="visit_id", maintain_order="left")
    label = pl.when("labelled").then("soon").alias("label.readmission")
    samples = joined.with_columns(label).select(scene.cohort.samples.columns)
    changed = dataclasses.replace(scene.cohort, samples=samples)
    return scenes.look(scene._replace(cohort=changed))


def weights_of_all_labels(scene, patch):
    right = stay_problem.build

    def build(arrays, weight, *more):
        made = right(arrays, weight, *more)
        return made.replace(positive_weight=loss.positive_weights(arrays.labels, weight))

    patch.setattr(stay_problem, "build", build)
    return scenes.look(scenes.with_config(scene, train__positive_weight="balanced"))


def a_teacher_that_knows_the_labels_it_teaches(scene, patch):
    right = teacher.out_of_fold

    def in_fold(config, arrays):
        scores = right(config, arrays)
        return (0.9 * scores + 0.1 * arrays.targets).astype(np.float32)

    patch.setattr(teacher, "out_of_fold", in_fold)
    return scenes.look(_taught(scene, patch))


def a_teacher_whose_folds_cut_patients(scene, patch):
    right = teacher.out_of_fold

    def by_sample(config, arrays):
        alone = dataclasses.replace(arrays, subjects=np.arange(len(arrays.subjects)))
        return right(config, alone)

    patch.setattr(teacher, "out_of_fold", by_sample)
    return scenes.look(_taught(scene, patch))


def a_teacher_fitted_to_test_patients(scene, patch):
    right = _ridge

    def of_all(arrays, config, seed):
        split = np.where(arrays.split == "test", "train", arrays.split)
        return right(dataclasses.replace(arrays, split=split), config, seed)

    patch.setattr(logistic_regression, "fit_predict", of_all)
    return scenes.look(_taught(scene, patch))


def no_fault_with_a_teacher(scene, patch):
    return scenes.look(_taught(scene, patch))


def _taught(scene, patch):
    """The scene with a teacher that fits a ridge, in place of one that takes its time."""
    if logistic_regression.fit_predict.__module__ == logistic_regression.__name__:
        patch.setattr(logistic_regression, "fit_predict", _ridge)
    return scenes.with_config(scene, train__teacher="logistic_regression")


def _ridge(arrays, config, seed: int) -> np.ndarray:
    x = table.multi_hot(arrays)[:, -60:].toarray()  # the last nodes are facts
    train = (arrays.split == "train") & ~np.isnan(arrays.labels).all(axis=1)
    gram = x[train].T @ x[train] + np.eye(x.shape[1])
    return x @ np.linalg.solve(gram, x[train].T @ np.nan_to_num(arrays.labels[train]))
