"""Fetches open data sets into the user cache, where every source looks for them.

Command: python -m ehr_jax.main --config=configs/download.py:NAME --mode=download
         NAME: diabetes130, physionet2012, mimic3_demo, mimic4_demo, eicu_demo, disease_ontology,
         hetionet or primekg
Expect:  the folder, and the terms of the data. A second call fetches only what is missing.
"""

from ehr_jax import config as base


def get_config(name: str = ""):
    """Returns the config that fetches `name`."""
    config = base.defaults()
    config.download.name = name
    return config
