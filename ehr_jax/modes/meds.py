"""--mode=meds: records as a MEDS data set, and a finished run's predictions for MEDS evaluation."""

import pathlib

import ml_collections

from ehr_jax import disclosure
from ehr_jax.experiment import stages
from ehr_jax.models import registry
from ehr_jax.records.meds import writer
from ehr_jax.reporting import predictions
from ehr_jax.training import run_folder


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int:
    """Writes WORKDIR/meds, and WORKDIR/meds_predictions where the run has predictions."""
    # The config a training run of the same flags has: before or after it, in the same folder.
    config = registry.configure(config, config.model.name)
    workdir = run_folder.claim(workdir, config.to_dict())
    folder = workdir / "meds"
    records = stages.read(config)
    stages.bind(records, config, workdir)
    if folder.exists():
        print(f"{folder}: written by an earlier start, kept")
    else:
        writer.write(records, folder)
        print(f"{folder}: {disclosure.shown(records.patients.height)} patients of {records.source}")
    if (workdir / "predictions.parquet").exists():
        written = predictions.write_meds(workdir, workdir / "meds_predictions")
        print(f"{workdir / 'meds_predictions'}: {len(written)} file(s), one a label and seed")
    return 0
