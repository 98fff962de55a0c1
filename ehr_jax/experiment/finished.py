"""Fits that an earlier start has ended: what they gave is taken, or made again where it is lost."""

import pathlib
from typing import Any

from ehr_jax import errors, stored
from ehr_jax.reporting import predictions

KEYS = {"label": str, "test": dict, "seconds": stored.NUMBER, "fits": list}


def results(folder: pathlib.Path) -> dict[str, Any] | None:
    """Returns results.json of the fit in `folder`; None where the fit is to be done.

    It is done again, from its checkpoints, where results.json or predictions.parquet is missing or
    damaged, which is told.
    """
    fit_results = stored.whole_object(
        folder / "results.json", KEYS, "it is made again from checkpoints"
    )
    if fit_results is None:
        return None
    try:
        predictions.read(folder / "predictions.parquet", "test")
    except errors.RunFolderError as error:
        print(f"{error}; it is made again from checkpoints", flush=True)
        return None
    return fit_results
