"""--mode=predict: a finished run scores other records, or those it was trained on again.

predictions.parquet has every sample, with the split of patients that the run itself had. Results
are of the others alone: of new patients, and of those that the run tested.
"""

import dataclasses
import pathlib

import ml_collections
import numpy as np

from ehr_jax import disclosure, stored
from ehr_jax.evaluation import evaluate
from ehr_jax.experiment import fitting, own_patients, stages, trained
from ehr_jax.modes import together
from ehr_jax.reporting import tables
from ehr_jax.training import run_folder


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int:
    """Writes WORKDIR/predictions.parquet, and results.json where outcomes are known."""
    together.check_run(config.run)
    of_run, folder, learned = trained.read(config)
    workdir = run_folder.claim(workdir, config.to_dict())
    others = stages.load_others(of_run, learned, workdir)
    cohort, own = others.cohort, own_patients.splits(folder, others)
    found = own_patients.counts(cohort.samples, own)
    samples = own_patients.marked(cohort.samples, own)
    split = samples["split"].to_numpy().astype(str)
    arrays = dataclasses.replace(others.arrays, split=split)
    seeds = trained.score(of_run, arrays, folder)
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
    of_training = stored.read_object(folder / "results.json", trained.RESULTS, trained.AGAIN)
    results = {
        **{
            key: of_training[key]
            for key in ("task", "model", "label", "protocol", "seeds", "notes")
        },
        "source": of_run.data.source,
        "run": str(folder),
        "patients": found,
        "thresholds_from": of_training.get("thresholds_from"),
        "test": evaluate.evaluate(
            np.stack([seed.probabilities for seed in seeds])[:, rows],
            arrays.labels[rows],
            arrays.subjects[rows],
            cohort.labels,
            thresholds=np.asarray(of_training["thresholds"]),
            resamples=of_run.evaluation.resamples,
            seed=of_run.evaluation.seed,
            protocol=cohort.protocol,
        ),
    }
    run_folder.write_json(workdir / "results.json", results)
    print(tables.results_table(results))
    return 0
