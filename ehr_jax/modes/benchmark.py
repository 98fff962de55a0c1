"""--mode=benchmark: many methods, the same samples, split and seeds; one table with intervals."""

import pathlib

import ml_collections
import numpy as np

from ehr_jax.evaluation import paired
from ehr_jax.experiment import finished, fitting, folds, stages
from ehr_jax.models import registry
from ehr_jax.modes import together
from ehr_jax.reporting import predictions, tables
from ehr_jax.training import run_folder


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int:
    """Runs config.benchmark.methods, each in a folder of its own; finished ones are kept."""
    methods = tuple(config.benchmark.methods)
    together.check_benchmark(config)
    for name in methods:
        fitting.check_method(registry.configure(config, name))
    workdir = run_folder.claim(workdir, config.to_dict())
    reads = stages.read_by(registry.configure(config, name) for name in methods)
    every = stages.load_folds(config, workdir, reads)
    prepared = [(samples.cohort, samples.arrays) for samples in every]
    cohort, arrays = prepared[0]
    rows = []
    for name in methods:
        folder = workdir / "methods" / name
        made = registry.configure(config, name)
        folder = run_folder.claim(folder, made.to_dict())
        fits = [folder / f"fold_{k}" for k in range(len(prepared))] if len(prepared) > 1 else []
        ended = [finished.results(fit) for fit in (folder, *fits)]
        if all(one is not None for one in ended):
            result = ended[0]
        elif len(prepared) == 1:
            result = fitting.fit_and_score(made, cohort, arrays, folder)
        else:
            result = folds.fit_and_score(made, prepared, folder)
        rows.append(
            {
                "name": name,
                "label": result["label"],
                "test": result["test"],
                "thresholds_from": result.get("thresholds_from"),
                "seconds": result["seconds"],
                "samples": len(predictions.read(folder / "predictions.parquet", "test").samples),
            }
        )
        print(f"{result['label']}: {tables.headline(result)}")
    results = {
        "task": cohort.task,
        "protocol": cohort.protocol,
        "source": config.data.source,
        "columns": config.features.columns,
        "notes": arrays.counts["notes"]["source"],
        "seeds": list(config.train.seeds),
        "folds": config.cohort.folds,
        "methods": rows,
        "paired": _differences(config, cohort, workdir, methods),
    }
    run_folder.write_json(workdir / "results.json", results)
    from ehr_jax.reporting import report  # it plots: a second of imports, after training

    report.write_comparison(workdir)
    print((workdir / "table.md").read_text())
    print(f"report: {workdir / 'report.html'}")
    return 0


def _differences(config, cohort, workdir: pathlib.Path, methods: tuple[str, ...]) -> dict:
    """Ranking metrics of the reference method minus those of each other, on the test split.

    Each difference is over the samples that both methods score; of folds, the mean of those within
    each, as the scores of different fits do not rank together.
    """
    reference = config.benchmark.reference
    if reference not in methods:
        return {}
    fits = [f"fold_{k}" for k in range(config.cohort.folds)] if config.cohort.folds > 1 else [""]

    def predicted(name: str) -> list[predictions.Predictions]:
        at = workdir / "methods" / name
        return [predictions.read(at / fit / "predictions.parquet", "test") for fit in fits]

    def differ(one: predictions.Predictions, two: predictions.Predictions) -> dict:
        both = np.intersect1d(one.samples, two.samples)
        first, other = one.only(both), two.only(both)
        found = paired.difference(
            first.probabilities,
            other.probabilities,
            first.labels,
            first.subjects,
            cohort.labels,
            resamples=config.evaluation.resamples,
            seed=config.evaluation.seed,
            protocol=cohort.protocol,
        )
        return {"auroc": found["auroc"], "auprc": found["auprc"], "samples": len(both)}

    differences, own = {}, predicted(reference)
    for name in methods:
        if name == reference:
            continue
        found = [differ(one, two) for one, two in zip(own, predicted(name), strict=True)]
        differences[name] = found[0] if len(found) == 1 else folds.join(found, folds.COUNTS)
    return {"reference": reference, "reference_minus": differences}
