"""A first run: MINGLE with notes on a generated hospital, nothing to download.

Command: python -m ehr_jax.main --config=configs/quickstart.py
Expect:  a result table and report.html within ten minutes on two CPU cores.
"""

from ehr_jax import config as base


def get_config():
    """1,500 generated patients, the 25 phenotypes of the next visit, two seeds."""
    config = base.defaults()
    config.train.seeds = (0, 1)
    config.train.steps = 300
    config.train.learning_rate = 3e-3
    return config
