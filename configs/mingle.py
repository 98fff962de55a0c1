"""MINGLE on hospital records, one variant a task and source.

Command: python -m ehr_jax.main --config=configs/mingle.py:VARIANT --workdir=RUN
         add --mode=benchmark to run every method of config.benchmark on the same split and seeds
Expect:  the tables of README.md, each with its command.
"""

from ehr_jax import config


def get_config(variant: str = "synthetic_phenotype"):
    """Returns the config of `variant`, a key of VARIANTS."""
    return config.variant_of("configs/mingle.py", VARIANTS, variant, _COMMON)


_COMMON = {"train.learning_rate": 3e-3}

# Most of this source's diagnoses are categories already and the rest say more: no cutting.
_DIABETES = {
    "data.source": "diabetes130",
    "notes.source": "record",
    "features.categories": False,
    "features.main_diagnosis": True,
    "features.min_visits": 5,
    "model.depth": 1,
    "model.dropout": 0.5,
    # The published 1e-3 outweighs the small gradients of a rare label and stalls training for long.
    "train.weight_decay": 3e-4,
    "train.steps": 150,
    "train.patience": 12,
}
# All columns are nodes, with names: a text of the same columns would only repeat them.
_FULL = {"features.columns": "full", "notes.source": "none"}

# What a patient had before says more of the next encounter than how this one is told.
_HISTORY = {"features.history": True, "notes.source": "none"}

VARIANTS = {
    # 30-day readmission from diagnosis and drug codes alone; and with all columns.
    "diabetes130_readmission": {**_DIABETES, "cohort.task": "readmission30"},
    "diabetes130_readmission_full": {**_DIABETES, **_FULL, "cohort.task": "readmission30"},
    # A cardiovascular code in the next encounter of patients free of one.
    "diabetes130_cvd": {**_DIABETES, **_HISTORY, "cohort.task": "cvd_next"},
    "diabetes130_cvd_full": {**_DIABETES, **_HISTORY, **_FULL, "cohort.task": "cvd_next"},
    # The 25 phenotypes of the next visit.
    "mimic3_phenotype": {"data.source": "mimic3", "cohort.task": "phenotype_next"},
    "mimic3_readmission": {"data.source": "mimic3", "cohort.task": "readmission30"},
    # In-hospital death, 48 hours into the ICU stay: drugs given, last measurements, notes so far.
    "mimic3_mortality": {
        "data.source": "mimic3",
        "cohort.task": "mortality",
        "features.columns": "full",
        "features.measurements": True,
        "features.min_visits": 3,
    },
    "synthetic_phenotype": {"data.source": "synthetic", "cohort.task": "phenotype_next"},
    # Five hospitals with codes of their own: what their names and notes say is worth more than the
    # codes themselves. The benchmark's methods hypehr, mingle_no_notes and mingle tell how much.
    "synthetic_sites": {
        "data.source": "synthetic",
        "synthetic.patients": 2500,
        "synthetic.sites": 5,
        "synthetic.note_signal": 2.0,
        "cohort.task": "phenotype_next",
        "model.depth": 1,
        "model.dropout": 0.5,
        "train.weight_decay": 3e-4,
        "train.steps": 300,
    },
    "synthetic_readmission": {"data.source": "synthetic", "cohort.task": "readmission30"},
    "synthetic_mortality": {
        "data.source": "synthetic",
        "cohort.task": "mortality",
        "features.columns": "full",
        "features.measurements": True,
    },
}
