"""ehr_jax: hypergraph and language-model prediction from health records, in JAX.

    records = ehr_jax.read_records("synthetic")
    cohort = ehr_jax.build_cohort(records, "mortality")
    config = ehr_jax.load_config("configs/realm.py:synthetic_mortality", {"train.seeds": (0,)})
    run = ehr_jax.train(config, "runs/first")
    run.predict(records)

What is here is imported when it is first used, so that `import ehr_jax` takes no time.
"""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = (
    "Cohort", "Records", "Run", "build_cohort", "encode", "load_config", "load_run",
    "read_records", "train",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'ehr_jax' has no attribute '{name}'")
    return getattr(importlib.import_module("ehr_jax.api"), name)


def __dir__() -> list[str]:
    return sorted((*__all__, "__version__"))
