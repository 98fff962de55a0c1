"""--mode=predict: a finished run scores other records, or those it was trained on again.

predictions.parquet has every sample, with the split of patients that the run itself had. Results
are of the others alone: of new patients, and of those that the run tested.
"""

import dataclasses
import pathlib

import jax
import ml_collections
import numpy as np

from ehr_jax import config as configs
from ehr_jax import disclosure, earlier, errors, stored
from ehr_jax.cohorts import tasks
from ehr_jax.evaluation import evaluate
from ehr_jax.experiment import fitting, own_patients, stages
from ehr_jax.features import fitted, once, stays
from ehr_jax.models import registry
from ehr_jax.modes import together
from ehr_jax.reporting import tables
from ehr_jax.training import checkpoints, fit, run_folder, stay_problem

AGAIN = own_patients.OF_THE_RUN
FITTED_AGAIN = f"{AGAIN}; the methods of a benchmark have none: train one with --mode=train"
RESULTS = {
    "task": str, "model": str, "label": str, "protocol": str, "seeds": list, "notes": str,
    "thresholds": list, "positive_weight": list,
}  # fmt: skip


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int:
    """Writes WORKDIR/predictions.parquet, and results.json where outcomes are known."""
    of_run, folder = _read_run(config)
    workdir = run_folder.claim(workdir, config.to_dict())
    records = stages.read(of_run)
    stages.bind(records, of_run, workdir)
    asked = of_run.cohort
    changes = {key: value for key, value in of_run.task.items() if value is not None}
    cohort = tasks.build(records, asked.task, asked.protocol, split="none", changes=changes)
    learned = fitted.read(folder / "fitted.json", FITTED_AGAIN)
    cache = of_run.text.cache or None
    reads = stages.read_by([of_run])
    known = once.known_of(records, cohort, of_run, reads)
    arrays = stays.prepare_stays(known, of_run, reads, cache, learned)
    own = own_patients.splits(folder, records, stages.fingerprint(records, of_run))
    found = own_patients.counts(cohort.samples, own)
    samples = own_patients.marked(cohort.samples, own)
    arrays = dataclasses.replace(arrays, split=samples["split"].to_numpy().astype(str))
    seeds = [_score(of_run, arrays, folder, seed) for seed in of_run.train.seeds]
    cohort = dataclasses.replace(cohort, samples=samples)
    fitting.write_predictions(cohort, of_run.train.seeds, seeds, workdir, everyone=True)
    patients = cohort.samples["subject_id"].n_unique()
    scored = disclosure.shown(cohort.samples.height, patients)
    print(f"{scored} samples scored by {len(seeds)} seed(s): {workdir}")
    if words := own_patients.told(found):
        print(words)
    rows = fitting.rows_of(arrays, "test")
    if not rows.size:
        print("the records tell no outcomes of other patients, so there are no results")
        return 0
    trained = stored.read_object(folder / "results.json", RESULTS, AGAIN)
    results = {
        **{key: trained[key] for key in ("task", "model", "label", "protocol", "seeds", "notes")},
        "source": of_run.data.source,
        "run": str(folder),
        "patients": found,
        "thresholds_from": trained.get("thresholds_from"),
        "test": evaluate.evaluate(
            np.stack([seed.probabilities for seed in seeds])[:, rows],
            arrays.labels[rows],
            arrays.subjects[rows],
            cohort.labels,
            thresholds=np.asarray(trained["thresholds"]),
            resamples=of_run.evaluation.resamples,
            seed=of_run.evaluation.seed,
            protocol=cohort.protocol,
        ),
    }
    run_folder.write_json(workdir / "results.json", results)
    print(tables.results_table(results))
    return 0


def _read_run(config) -> tuple[ml_collections.ConfigDict, pathlib.Path]:
    """Returns the run's config, with the records that are wanted now, and its folder."""
    folder = pathlib.Path(config.run).expanduser()
    together.check_run(config.run)
    of_run = configs.defaults()
    kept = earlier.current(stored.read_object(folder / "config.json", way_out=AGAIN))
    with stored.in_form(folder / "config.json", AGAIN):
        of_run.update(kept)
    method = registry.resolve(of_run.model.name)
    if method.is_network and method.kind.RESTS_ON_TRAINING:
        raise errors.ConfigError(
            f"{folder} is a run of '{of_run.model.name}', whose inputs rest on the training "
            "visits, and a run folder holds no records; predict with a run of 'realm'"
        )
    if not method.is_network or of_run.cohort.aces:
        raise errors.ConfigError(
            f"{folder} is a run of '{of_run.model.name}'; predict scores a task of ours with "
            "networks over stays (configs/realm.py, --mode=train): train one, and name its folder"
        )
    for key, value in config.data.items():
        if value is not None:
            of_run.data[key] = value
    return of_run, folder


def _score(config, arrays: stays.StayArrays, folder: pathlib.Path, seed: int) -> fitting.Seed:
    model = registry.build(config, arrays.labels.shape[1])
    some = stay_problem.rows(arrays, np.arange(min(2, len(arrays.labels))))
    like = jax.eval_shape(
        lambda: fit.start(model.init(jax.random.key(0), some), fit.make_optimiser(config.train))
    )
    weight = stored.read_object(folder / "results.json", RESULTS, AGAIN)["positive_weight"]
    members = []
    for number in fitting.member_seeds(config.train, seed):
        found = checkpoints.open_manager(folder / "checkpoints" / f"seed_{number}")
        restored = checkpoints.restore_latest(found, like)
        checkpoints.close(found)
        if restored is None:
            raise errors.RunFolderError(
                f"{folder / 'checkpoints' / f'seed_{number}'} holds no checkpoint; {AGAIN}"
            )
        params = restored[1].best_params
        members.append(fitting.Seed(stay_problem.score_all(model, params, arrays, weight), {}))
    return fitting.mean_of(members)
