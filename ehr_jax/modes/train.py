"""--mode=train: prepare what is missing, fit every seed, evaluate on the test split, report."""

import pathlib

import ml_collections

from ehr_jax.experiment import fitting, node_splits, stages
from ehr_jax.models import registry
from ehr_jax.reporting import tables
from ehr_jax.training import run_folder


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int:
    """Runs one experiment in `workdir`; returns the exit status."""
    if registry.find(config.model.name).inputs is registry.NODES:
        node_splits.run(config, workdir)
        return 0
    config = registry.configure(config, config.model.name)
    fitting.check_method(config)
    workdir = run_folder.claim(workdir, config.to_dict())
    cohort, arrays = stages.load(config, workdir)
    results = fitting.fit_and_score(config, cohort, arrays, workdir)
    from ehr_jax.reporting import report  # it plots: a second of imports, after training

    report.write_report(workdir)
    print(tables.results_table(results))
    print(f"report: {workdir / 'report.html'}")
    return 0
