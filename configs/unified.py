"""MINGLE and REALM in one network: series, notes, knowledge and codes; one variant a source.

Command: python -m ehr_jax.main --config=configs/unified.py:VARIANT --workdir=RUN
         add --mode=benchmark to compare it with REALM, without codes, and with the codes alone
Expect:  the tables of README.md, each with its command.
"""

from ehr_jax import config


def get_config(variant: str = "synthetic_mortality"):
    """Returns the config of `variant`, a key of VARIANTS."""
    return config.variant_of("configs/unified.py", VARIANTS, variant, _COMMON)


_COMMON = (
    config.STAYS | config.UNIFIED | {"benchmark.methods": ("realm", "unified_codes", "unified")}
)

VARIANTS = {
    # In-hospital death, 48 hours into the ICU stay: codes are those with a time by then.
    "synthetic_mortality": {"data.source": "synthetic"},
    "mimic3_mortality": {"data.source": "mimic3"},
    "mimic4_mortality": {"data.source": "mimic4"},
    # Readmission within 30 days of discharge, where all codes of the visit are known.
    "synthetic_readmission": {"data.source": "synthetic", "cohort.task": "readmission30"},
    "mimic3_readmission": {"data.source": "mimic3", "cohort.task": "readmission30"},
    "mimic4_readmission": {"data.source": "mimic4", "cohort.task": "readmission30"},
    # 24 hours into the ICU stay; configs/realm.py:eicu_mortality compares it with every part of it.
    "eicu_mortality": config.EICU_MORTALITY,
}
