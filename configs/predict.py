"""Scores records with a finished run, as that run made its inputs.

Command: python -m ehr_jax.main --mode=predict --config.run=RUN --config.data.root=FOLDER
         --workdir=OUT
Expect:  OUT/predictions.parquet, and OUT/results.json where the records tell the outcomes.
"""

from ehr_jax import config as base


def get_config():
    """The run and the records; "" and None keep what the run was trained on."""
    return base.predict()
