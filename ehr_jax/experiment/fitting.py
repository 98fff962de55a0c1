"""Fitting a method with every seed and scoring it: predictions.parquet and results.json."""

import contextlib
import pathlib
import time
from typing import NamedTuple

import jax
import ml_collections
import numpy as np
import polars as pl

from ehr_jax import disclosure, errors
from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.evaluation import evaluate, scorer, thresholds
from ehr_jax.experiment import checks, explanations
from ehr_jax.features import arrays as features
from ehr_jax.models import registry
from ehr_jax.training import (
    kinds,
    memory,
    partition,
    profile,
    run_folder,
    seeds,
    task,
    teacher,
)
from ehr_jax.training import settings as train_settings


def check_method(config: ml_collections.ConfigDict) -> None:
    """Raises ConfigError for a method that cannot be made or not on these devices, before anything
    long is done for it."""
    checks.check_method(config)
    method = registry.resolve(config.model.name)
    if not method.is_network:
        return
    method.network(config, 1)
    teacher.check(config)
    mesh, shards = partition.make_mesh(config.train.devices), config.train.shards
    if shards != 1 and mesh.size > 1:
        raise errors.ConfigError(
            f"config.train.shards is {shards}, and visits are spread over {mesh.size} "
            "devices already; leave it 1, or set config.train.devices=1"
        )


FEW_LABELS = 3  # whose uncertain thresholds are told one by one


class Seed(NamedTuple):
    """What one training seed gave: probabilities [sample, label] and a few facts of the fit."""

    probabilities: np.ndarray
    facts: dict


def fit_and_score(
    config: ml_collections.ConfigDict,
    cohort: cohorts.Cohort,
    arrays: features.Arrays,
    folder: pathlib.Path,
) -> dict:
    """Fits config.model for every seed, writes predictions.parquet and results.json to `folder`."""
    began = time.monotonic()
    scorer.check_labels(arrays.labels, arrays.label_names)
    method = registry.resolve(config.model.name)
    scored: np.ndarray | bool = True
    about = {}
    if method.is_network:
        taught = teacher.softened(config, arrays, folder)
        data = make_task(placed(config, arrays), taught)
        fitted = _fit_network(config, cohort, arrays, data, folder)
        about["positive_weight"] = np.asarray(data.positive_weight).tolist()
    elif method.uses_seed:
        fitted = [
            mean_of([Seed(method.fit_predict(arrays, config, n), {}) for n in members])
            for members in (member_seeds(config.train, seed) for seed in config.train.seeds)
        ]
    else:
        once = Seed(method.fit_predict(arrays, config, config.train.seeds[0]), {})
        fitted = [once] * len(config.train.seeds)
    write_predictions(cohort, config.train.seeds, fitted, folder)
    probabilities = np.stack([seed.probabilities for seed in fitted])
    results = {
        "task": cohort.task,
        "model": config.model.name,
        "label": label_of(config),
        "protocol": cohort.protocol,
        "source": config.data.source,
        "columns": config.features.columns,
        "notes": arrays.counts["notes"]["source"],
        "seeds": list(config.train.seeds),
        "seconds": round(time.monotonic() - began, 2),
        "fits": [seed.facts for seed in fitted],
    }
    if not method.is_network:  # may leave samples without a score
        scored = np.isfinite(probabilities).all(axis=(0, 2))
    cuts = fit_thresholds(probabilities, arrays, cohort, scored, results)
    results |= about
    for split in ("validation", "test"):
        rows = rows_of(arrays, split, scored)
        results[split] = evaluate.evaluate(
            probabilities[:, rows],
            arrays.labels[rows],
            arrays.subjects[rows],
            cohort.labels,
            thresholds=cuts,
            resamples=config.evaluation.resamples,
            seed=config.evaluation.seed,
            protocol=cohort.protocol,
        )
    run_folder.write_json(folder / "results.json", results)
    return results


def fit_thresholds(
    probabilities: np.ndarray, arrays, cohort, scored: np.ndarray | bool, results: dict
) -> np.ndarray:
    """Returns a threshold a seed and label, [seed, label]; adds to `results` what they rest on.

    Of the protocol "paper" all are 0.5, as published.
    """
    results["thresholds_from"] = "validation predictions: the highest F1"
    if cohort.protocol == "paper":
        results["thresholds_from"] = "the protocol 'paper'"
        cuts = np.full((len(probabilities), len(cohort.labels)), 0.5)
    else:
        rows = rows_of(arrays, "validation", scored)
        cuts = thresholds.fit_f1(probabilities[:, rows], arrays.labels[rows])
        results["thresholds_in_doubt"] = thresholds.doubts(arrays.labels[rows], cohort.labels)
        doubtful = results["thresholds_in_doubt"]
        if len(doubtful) > FEW_LABELS:
            print(
                f"thresholds of {len(doubtful)} of {len(cohort.labels)} labels are uncertain: "
                f"validation has fewer than {disclosure.SMALLEST} positives of each (results.json "
                "names them)"
            )
        for doubt in doubtful if len(doubtful) <= FEW_LABELS else ():
            print(f"threshold of label {doubt}")
    results["thresholds"] = cuts.tolist()
    return cuts


def label_of(config: ml_collections.ConfigDict) -> str:
    """What tables call config.model, with its teacher where a network has one."""
    method = registry.resolve(config.model.name)
    label, taught = method.entry.label, method.is_network and teacher.used(config)
    return f"{label}, taught by {registry.find(config.train.teacher).label}" if taught else label


def placed(config: ml_collections.ConfigDict, arrays: features.Arrays) -> ml_collections.ConfigDict:
    """`config` with the data on one device where the members of all seeds go over the devices.

    So they do where as many train at once as there are devices, and each device holds one: nothing
    is exchanged.
    """
    training, devices = config.train, jax.local_device_count()
    spread = training.devices is None and training.shards == 1
    members = len(training.seeds) * training.members
    together = members if training.population is None else min(members, training.population)
    if not spread or jax.process_count() > 1 or not 1 < devices <= together:
        return config
    alone = ml_collections.ConfigDict(config.to_dict())
    alone.train.devices = 1
    available = memory.free()
    taken = memory.need(kinds.job(alone, arrays)).total
    return config if available is not None and taken > available else alone


def make_task(
    config: ml_collections.ConfigDict, arrays: features.Arrays, alone: bool = True
) -> task.LabelTask:
    """Places `arrays` on the device, or leaves them in host memory where they do not fit.

    Args:
      alone: see `memory.require`.

    Raises:
      ConfigError: training does not fit into the device's memory, or see `build` of the kinds.
    """
    job = kinds.job(config, arrays)
    return job.kind.build(job, memory.require(job, alone))


def rows_of(arrays: features.Arrays, split: str, scored: np.ndarray | bool = True) -> np.ndarray:
    """Returns the labelled samples of `split` that are `scored` [sample] bool: [row] int."""
    return np.flatnonzero((arrays.split == split) & ~np.isnan(arrays.labels).all(axis=1) & scored)


def shows_validation(arrays: features.Arrays) -> bool:
    """May metrics of validation be shown? Of few patients they choose a step, and are not told."""
    rows = rows_of(arrays, "validation")
    return disclosure.enough_of_any(arrays.labels[rows], arrays.subjects[rows])


def shows_loss(arrays: features.Arrays) -> bool:
    """May the training loss be shown? It is of the patients that are trained on."""
    return not disclosure.is_few(len(np.unique(arrays.subjects[rows_of(arrays, "train")])))


def write_predictions(
    cohort, seeds, fitted: list[Seed], folder: pathlib.Path, everyone: bool = False
) -> None:
    """Writes predictions.parquet: a row a (scored) sample and seed; labelled ones of validation and
    test alone, or all."""
    base = cohort.samples.select(
        "sample_id", "subject_id", "prediction_time", "split", "labelled",
        *[f"label.{name}" for name in cohort.labels],
    )  # fmt: skip
    parts = []
    for seed, one in zip(seeds, fitted, strict=True):
        columns = {
            f"probability.{name}": one.probabilities[:, k] for k, name in enumerate(cohort.labels)
        }
        part = base.with_columns(pl.lit(seed, pl.Int64).alias("seed"), **columns)
        shown = pl.all_horizontal(pl.col(list(columns)).is_finite())
        if not everyone:
            shown = shown & pl.col("labelled") & (pl.col("split") != "train")
        parts.append(part.filter(shown).drop("labelled"))
    frame = pl.concat(parts)
    run_folder.write_parquet(folder / "predictions.parquet", frame)


def member_seeds(config: ml_collections.ConfigDict, seed: int) -> list[int]:
    """The seeds of the config.train.members fits that stand for `seed`, the first its own."""
    return [seed + train_settings.APART * member for member in range(config.members)]


def mean_of(members: list[Seed]) -> Seed:
    """The mean probabilities of a seed's members, with the facts of the first."""
    if len(members) == 1:
        return members[0]
    facts = dict(members[0].facts)
    if "best_step" in facts:
        facts["best_steps_of_members"] = [member.facts["best_step"] for member in members]
    return Seed(np.mean([member.probabilities for member in members], axis=0), facts)


def _fit_network(config, cohort, arrays, data: task.LabelTask, folder) -> list[Seed]:
    job = kinds.job(config, arrays)
    name, members = registry.find(config.model.name).label, config.train.members
    numbers = [n for seed in config.train.seeds for n in member_seeds(config.train, seed)]
    log: contextlib.AbstractContextManager = contextlib.nullcontext()
    if config.profile:
        cost = profile.write(job.model, data, config.train, folder / "profile")
        print(
            f"profile: compiled in {cost['compile_seconds']:.1f} s, {cost['steps']} steps and a "
            f"validation in {cost['seconds']:.3f} s; {folder / 'profile'}"
        )
        log = profile.compile_log(folder / "profile" / "compiled.log")
    with log, memory.explained(job):
        shown = shows_validation(arrays), shows_loss(arrays)
        found = seeds.fit_seeds(job.model, data, config.train, numbers, folder, name, *shown)
    explained = job.kind.explain(job, found[0].params, data)
    if explained is not None:
        explanations.write(*explained, cohort, numbers[0], folder)
    each = [
        Seed(
            data.probabilities(job.model, fitted.params, arrays),
            {
                "seed": seed,
                "best_step": fitted.best_step,
                "steps": fitted.steps,
                "parameters": fitted.parameters,
            },
        )
        for seed, fitted in zip(numbers, found, strict=True)
    ]
    return [mean_of(each[at : at + members]) for at in range(0, len(each), members)]
