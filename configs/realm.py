"""REALM on stays: series, notes and retrieved knowledge; one variant a task and source.

Command: python -m ehr_jax.main --config=configs/realm.py:VARIANT --workdir=RUN
         add --mode=benchmark to run every method of config.benchmark on the same split and seeds
Expect:  the tables of README.md, each with its command.
"""

from ehr_jax import config


def get_config(variant: str = "synthetic_mortality"):
    """Returns the config of `variant`, a key of VARIANTS."""
    return config.variant_of("configs/realm.py", VARIANTS, variant, _COMMON)


_COMMON = {
    "model.name": "realm",
    "benchmark.reference": "realm",
    "cohort.task": "mortality",
    "series.variables": "mimic17",
    "train.learning_rate": 1e-3,
    "train.weight_decay": 1e-5,
    "train.steps": 3000,
    "train.eval_every": 50,
    "train.patience": 12,
}
_MODALITIES = (
    "lightgbm_windows",
    "realm_series",
    "realm_notes",
    "realm_knowledge",
    "realm_no_knowledge",
    "realm_no_notes",
    "realm",
)

VARIANTS = {
    # In-hospital death, 48 hours into the ICU stay.
    "synthetic_mortality": {"data.source": "synthetic", "benchmark.methods": _MODALITIES},
    "mimic3_mortality": {"data.source": "mimic3", "benchmark.methods": _MODALITIES},
    "mimic4_mortality": {"data.source": "mimic4", "benchmark.methods": _MODALITIES},
    # In-hospital death of the challenge's stays, which have series and descriptors alone.
    "physionet2012_mortality": {
        "data.source": "physionet2012",
        "series.variables": "physionet37",
        "notes.source": "none",
        "realm.use_notes": False,
        "realm.use_knowledge": False,
        "realm.series_summary": True,
        "realm.dropout": 0.5,
        "train.learning_rate": 5e-4,
        "train.steps": 1000,
        "train.eval_every": 25,
        "benchmark.methods": ("lightgbm_windows", "concat", "realm"),
    },
}
