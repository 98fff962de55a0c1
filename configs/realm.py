"""REALM on stays: series, notes and retrieved knowledge; one variant a task and source.

Command: python -m ehr_jax.main --config=configs/realm.py:VARIANT --workdir=RUN
         add --mode=benchmark to run every method of config.benchmark on the same split and seeds
Expect:  the tables of README.md, each with its command.
"""

from ehr_jax import config


def get_config(variant: str = "synthetic_mortality"):
    """Returns the config of `variant`, a key of VARIANTS."""
    return config.variant_of("configs/realm.py", VARIANTS, variant, _COMMON)


_COMMON = config.STAYS | {"model.name": "realm", "benchmark.reference": "realm"}
_MODALITIES = (
    "lightgbm_windows",
    "realm_series",
    "realm_notes",
    "realm_knowledge",
    "realm_no_knowledge",
    "realm_no_notes",
    "realm",
)

_READMISSION = {"cohort.task": "readmission30", "benchmark.methods": _MODALITIES}

VARIANTS = {
    # In-hospital death, 48 hours into the ICU stay.
    "synthetic_mortality": {
        "data.source": "synthetic",
        "train.steps": 300,
        "train.eval_every": 25,
        "train.patience": 4,
        "benchmark.methods": _MODALITIES,
    },
    # Notes name a rare disease, and how dangerous it is follows from its definition, not its name;
    # no test patient's disease was trained on. With knowledge_signal=0 nothing follows from it.
    "synthetic_knowledge": {
        "data.source": "synthetic",
        "synthetic.patients": 3000,
        "synthetic.knowledge_signal": 3.0,
        "cohort.split": "source",
        "series.step_hours": 4.0,
        "series.length": 12,
        "realm.width": 32,
        "realm.feed_forward": 64,
        "realm.dropout": 0.5,
        # Some 200 deaths to learn from, and note vectors of 384 numbers: less than this overfits.
        "train.weight_decay": 1e-2,
        "train.seeds": (0, 1),
        "train.steps": 400,
        "train.eval_every": 25,
        "benchmark.methods": ("realm_no_knowledge", "realm"),
    },
    "mimic3_mortality": {"data.source": "mimic3", "benchmark.methods": _MODALITIES},
    "mimic4_mortality": {"data.source": "mimic4", "benchmark.methods": _MODALITIES},
    # Readmission within 30 days of discharge: the grid is the last 48 hours of the visit.
    "synthetic_readmission": {**_READMISSION, "data.source": "synthetic"},
    "mimic3_readmission": {**_READMISSION, "data.source": "mimic3"},
    "mimic4_readmission": {**_READMISSION, "data.source": "mimic4"},
    # The network of configs/unified.py beside every part of it, and APACHE IV.
    "eicu_mortality": config.EICU_MORTALITY
    | {
        "benchmark.methods": (
            "apache_iv",
            "lightgbm_windows",
            "realm_series",
            "realm_notes",
            "realm_knowledge",
            "unified_codes",
            "realm_no_knowledge",
            "realm_no_notes",
            "unified_series_codes",
            "unified_notes_codes",
            "realm",
            "unified",
        ),
    },
    # In-hospital death of the challenge's stays, which have series and descriptors alone.
    "physionet2012_mortality": {
        "data.source": "physionet2012",
        "series.variables": "physionet37",
        "notes.source": "none",
        "realm.use_notes": False,
        "realm.use_knowledge": False,
        "realm.variant": "concat",
        "realm.series_encoder": "transformer",
        "realm.series_summary": True,
        "realm.survival_days": (30, 90, 365),
        "realm.width": 64,
        "realm.feed_forward": 128,
        "realm.dropout": 0.5,
        "train.seeds": (0,),
        "train.members": 3,
        "train.teacher": "lightgbm_windows",
        "train.learning_rate": 5e-4,
        "train.steps": 300,
        # Few and late: the best of many validations of 400 stays is one of chance.
        "train.eval_every": 150,
        "benchmark.methods": ("lightgbm_windows", "realm"),
    },
}
