"""--mode=train: prepare what is missing, fit every seed, evaluate on the test split, report."""

import pathlib
import time
from typing import NamedTuple

import ml_collections
import numpy as np
import polars as pl

from ehr_jax import errors
from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.evaluation import evaluate, thresholds
from ehr_jax.features import prepare, stays
from ehr_jax.models import realm, registry
from ehr_jax.modes import explanations, inputs
from ehr_jax.reporting import report, tables
from ehr_jax.training import fit, problem, run_folder, stay_problem


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int:
    """Runs one experiment in `workdir`; returns the exit status."""
    config = registry.configure(config, config.model.name)
    check_method(config)
    workdir = run_folder.claim(workdir, config.to_dict())
    cohort, arrays = inputs.load(config, workdir)
    results = fit_and_score(config, cohort, arrays, workdir)
    report.write_report(workdir)
    print(tables.results_table(results))
    print(f"report: {workdir / 'report.html'}")
    return 0


def check_method(config: ml_collections.ConfigDict) -> None:
    """Raises ConfigError for a method that cannot be made, before anything long is done for it."""
    method = registry.load(config.model.name)
    if hasattr(method, "build"):
        method.build(config[registry.find(config.model.name).section], 1)


class Seed(NamedTuple):
    """What one training seed gave: probabilities [sample, label] and a few facts of the fit."""

    probabilities: np.ndarray
    facts: dict


def fit_and_score(
    config: ml_collections.ConfigDict,
    cohort: cohorts.Cohort,
    arrays: prepare.Arrays | stays.StayArrays,
    folder: pathlib.Path,
) -> dict:
    """Fits config.model for every seed, writes predictions.parquet and results.json to `folder`."""
    began = time.monotonic()
    _check_seeds(config.train.seeds)
    method = registry.load(config.model.name)
    if hasattr(method, "build"):
        if isinstance(arrays, stays.StayArrays):
            feeding = stay_problem
            data = feeding.build(arrays, config.train.positive_weight, config.train.batch)
        else:
            feeding, data = problem, problem.build(arrays, config.train.positive_weight)
        seeds = [
            _fit_network(method, config, cohort, arrays, feeding, data, seed, folder)
            for seed in config.train.seeds
        ]
    elif getattr(method, "USES_SEED", True):
        seeds = [Seed(method.fit_predict(arrays, config, seed), {}) for seed in config.train.seeds]
    else:
        once = Seed(method.fit_predict(arrays, config, config.train.seeds[0]), {})
        seeds = [once] * len(config.train.seeds)
    write_predictions(cohort, config.train.seeds, seeds, folder)
    probabilities = np.stack([seed.probabilities for seed in seeds])
    results = {
        "task": cohort.task,
        "model": config.model.name,
        "label": registry.find(config.model.name).label,
        "protocol": cohort.protocol,
        "source": config.data.source,
        "columns": config.features.columns,
        "notes": arrays.counts["notes"]["source"],
        "seeds": list(config.train.seeds),
        "seconds": round(time.monotonic() - began, 2),
        "fits": [seed.facts for seed in seeds],
    }
    fitted_on = rows_of(arrays, "train")
    cuts = np.stack(
        [thresholds.fit_f1(p[fitted_on], arrays.labels[fitted_on]) for p in probabilities]
    )
    results["thresholds"] = cuts.tolist()
    if hasattr(method, "build"):
        results["positive_weight"] = np.asarray(data.positive_weight).tolist()
    for split in ("validation", "test"):
        rows = rows_of(arrays, split)
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


def rows_of(arrays: prepare.Arrays | stays.StayArrays, split: str) -> np.ndarray:
    """Returns the labelled samples of `split`, [row] int."""
    return np.flatnonzero((arrays.split == split) & ~np.isnan(arrays.labels).all(axis=1))


def write_predictions(
    cohort, seeds, fitted: list[Seed], folder: pathlib.Path, labelled_only: bool = True
) -> None:
    """Writes predictions.parquet: a row a (labelled) validation or test sample and seed."""
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
        shown = pl.col("split") != "train"
        if labelled_only:
            shown = shown & pl.col("labelled")
        parts.append(part.filter(shown).drop("labelled"))
    frame = pl.concat(parts)
    run_folder.write_whole(folder / "predictions.parquet", frame.write_parquet)


def _check_seeds(seeds: tuple[int, ...]) -> None:
    if not seeds or len(set(seeds)) < len(seeds):
        raise errors.ConfigError(
            f"config.train.seeds is {tuple(seeds)}; expected one or more distinct seeds (a flag "
            "given twice adds to the first)"
        )


def _fit_network(method, config, cohort, arrays, feeding, data, seed, folder) -> Seed:
    model = method.build(config[registry.find(config.model.name).section], arrays.labels.shape[1])
    name = registry.find(config.model.name).label
    checkpoint_folder = folder / "checkpoints" / f"seed_{seed}"
    fitted = fit.fit(model, data, config.train, seed, checkpoint_folder, f"{name}, seed {seed}")
    facts = {
        "seed": seed,
        "best_step": fitted.best_step,
        "steps": fitted.steps,
        "parameters": fitted.parameters,
    }
    if isinstance(model, realm.Realm) and seed == config.train.seeds[0]:
        explanations.write(model, fitted.params, cohort, arrays, seed, folder)
    return Seed(feeding.probabilities(model, fitted.params, arrays, data), facts)
