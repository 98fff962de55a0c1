"""MINGLE and REALM in one network: series, notes, knowledge and codes; one variant a source.

Command: python -m ehr_jax.main --config=configs/unified.py:VARIANT --workdir=RUN
         add --mode=benchmark to compare it with REALM, without codes, and with the codes alone
Expect:  the tables of README.md, each with its command.
"""

from ehr_jax import config


def get_config(variant: str = "synthetic_mortality"):
    """Returns the config of `variant`, a key of VARIANTS."""
    return config.variant_of("configs/unified.py", VARIANTS, variant, _COMMON)


_COMMON = {
    "model.name": "unified",
    "realm.use_visit": True,
    # MINGLE's half; with so few visits as a single hospital's stays, fixed node vectors do better.
    "model.depth": 1,
    "model.dropout": 0.5,
    "model.train_nodes": False,
    "features.min_visits": 3,
    "cohort.task": "mortality",
    "series.variables": "mimic17",
    "train.learning_rate": 1e-3,
    "train.weight_decay": 1e-5,
    "train.steps": 3000,
    "train.eval_every": 50,
    "train.patience": 12,
    "benchmark.methods": ("realm", "unified_codes", "unified"),
    "benchmark.reference": "unified",
}

VARIANTS = {
    # In-hospital death, 48 hours into the ICU stay: codes are those with a time by then.
    "synthetic_mortality": {"data.source": "synthetic"},
    "mimic3_mortality": {"data.source": "mimic3"},
    "mimic4_mortality": {"data.source": "mimic4"},
    # Readmission within 30 days of discharge, where all codes of the visit are known.
    "synthetic_readmission": {"data.source": "synthetic", "cohort.task": "readmission30"},
    "mimic3_readmission": {"data.source": "mimic3", "cohort.task": "readmission30"},
    "mimic4_readmission": {"data.source": "mimic4", "cohort.task": "readmission30"},
    # In-hospital death, 24 hours into the ICU stay; configs/realm.py:eicu_mortality compares this
    # network with every part of it and with APACHE IV.
    "eicu_mortality": {
        "data.source": "eicu",
        "data.series": "yaib_demo/los/eicu_demo",
        "task.after_hours": 24.0,
        "series.variables": "yaib48",
        "series.length": 24,
        "realm.series_summary": True,
        "realm.width": 64,
        "realm.feed_forward": 128,
        "realm.dropout": 0.5,
        "train.steps": 600,
        "train.eval_every": 25,
        "train.patience": 8,
    },
}
