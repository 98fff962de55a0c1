"""--mode=benchmark: many methods, the same samples, split and seeds; one table with intervals."""

import pathlib

import ml_collections

from ehr_jax.evaluation import paired
from ehr_jax.models import registry
from ehr_jax.modes import inputs, train
from ehr_jax.reporting import predictions, report, tables
from ehr_jax.training import run_folder


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int:
    """Runs config.benchmark.methods, each in a folder of its own; finished ones are kept."""
    methods = tuple(config.benchmark.methods)
    for name in (*methods, config.benchmark.reference):
        registry.find(name)
    for name in methods:
        registry.load(name)
    workdir = run_folder.claim(workdir, config.to_dict())
    cohort, arrays = inputs.load(config, workdir)
    rows = []
    for name in methods:
        folder = workdir / "methods" / name
        made = registry.configure(config, name)
        folder = run_folder.claim(folder, made.to_dict())
        if (folder / "results.json").exists():
            result = run_folder.read_json(folder / "results.json")
        else:
            result = train.fit_and_score(made, cohort, arrays, folder)
        rows.append(
            {
                "name": name,
                "label": result["label"],
                "test": result["test"],
                "seconds": result["seconds"],
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
        "methods": rows,
        "paired": _differences(config, cohort, workdir, methods),
    }
    run_folder.write_json(workdir / "results.json", results)
    report.write_comparison(workdir)
    print((workdir / "table.md").read_text())
    print(f"report: {workdir / 'report.html'}")
    return 0


def _differences(config, cohort, workdir: pathlib.Path, methods: tuple[str, ...]) -> dict:
    """Ranking metrics of the reference method minus those of each other, on the test split."""
    reference = config.benchmark.reference
    if reference not in methods:
        return {}
    predicted = {
        name: predictions.read(workdir / "methods" / name / "predictions.parquet", "test")
        for name in methods
    }
    first = predicted[reference]
    differences = {}
    for name in methods:
        if name == reference:
            continue
        found = paired.difference(
            first.probabilities,
            predicted[name].probabilities,
            first.labels,
            first.subjects,
            cohort.labels,
            resamples=config.evaluation.resamples,
            seed=config.evaluation.seed,
            protocol=cohort.protocol,
        )
        differences[name] = {metric: found[metric] for metric in ("auroc", "auprc")}
    return {"reference": reference, "reference_minus": differences}
