"""Cross-validation of one method: fitted on every fold, the test samples of all put together.

Every key of a folded results.json is of all folds, or a list of one value a fold whose name begins
with "fold_".
"""

import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from ehr_jax import disclosure
from ehr_jax.experiment import finished, fitting
from ehr_jax.training import run_folder

# Counts, whose sums are of all folds where those share no patient: test folds, not validation ones.
COUNTS = ("samples", "positives", *disclosure.BEHIND)
# Of data.json: what each fold has of its own.
OWN = ("features", "notes")


def fit_and_score(config, prepared: list[tuple], folder: pathlib.Path) -> dict:
    """Fits config.model on each (cohort, arrays); writes what `fitting.fit_and_score` does.

    predictions.parquet has every sample once, from its test fold, and the number of that fold.
    results.json is made by `join`.
    """
    began = time.monotonic()
    results, parts = [], []
    for fold, (cohort, arrays) in enumerate(prepared):
        at = run_folder.claim(folder / f"fold_{fold}", config.to_dict())
        result = finished.results(at)
        results.append(result or fitting.fit_and_score(config, cohort, arrays, at))
        scored = pl.read_parquet(at / "predictions.parquet", glob=False).filter(split="test")
        parts.append(scored.with_columns(fold=pl.lit(fold, pl.Int64)))
    together = pl.concat(parts)
    run_folder.write_parquet(folder / "predictions.parquet", together)
    fits = [{"fold": k, **fit} for k, result in enumerate(results) for fit in result["fits"]]
    whole = [
        {key: value for key, value in result.items() if key not in ("fits", "test", "seconds")}
        for result in results
    ]
    joined = join(whole) | {
        "folds": len(prepared),
        "seconds": round(time.monotonic() - began, 2),
        "fits": fits,
        "test": join([result["test"] for result in results], COUNTS),
    }
    run_folder.write_json(folder / "results.json", joined)
    return joined


def join(found: Sequence[Mapping[str, Any]], summed: Sequence[str] = ()) -> dict[str, Any]:
    """What folds say together: one mapping of all.

    An entry of a metric becomes that of `mean`, what all folds say alike stays as it is, and of
    anything else there is the list "fold_<key>".

    Args:
      found: of each fold, of one form.
      summed: of COUNTS, those of which there is the sum too.
    """
    if "value" in found[0]:
        return mean(found)
    joined: dict[str, Any] = {}
    for key in dict.fromkeys(key for one in found for key in one):
        values = [one.get(key) for one in found]
        if all(isinstance(value, Mapping) for value in values):
            joined[key] = join(values, summed)
        elif key in COUNTS:
            joined |= {f"fold_{key}": values} | ({key: sum(values)} if key in summed else {})
        else:
            joined |= _alike(key, values)
    return joined


def mean(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The entry of a metric over folds: the mean of their values, and "fold_std" between them.

    Folds without a value take no part; "fold_values" says which. The interval takes the folds' own
    bootstrap intervals as independent: their half-widths' root of the sum of squares, by the number
    of folds; there is none where a fold with a value has none. Undefined resamples are summed.
    """
    values = [one["value"] for one in found]
    known = [one for one in found if one["value"] is not None]
    entry: dict[str, Any] = {"value": None, "low": None, "high": None, "fold_std": None}
    if known:
        told = np.array([one["value"] for one in known])
        entry["value"] = float(told.mean())
        if len(told) > 1:
            entry["fold_std"] = float(told.std(ddof=1))
        if all(one["low"] is not None and one["high"] is not None for one in known):
            for side, sign in (("low", -1), ("high", 1)):
                widths = [one[side] - one["value"] for one in known]
                half = float(np.sqrt(np.square(widths).sum())) / len(known)
                entry[side] = entry["value"] + sign * half
    entry["fold_values"] = values
    entry["undefined_resamples"] = sum(one["undefined_resamples"] for one in found)
    others = [key for key in found[0] if key not in entry and key != "seed_std"]
    for key in others:
        entry |= _alike(key, [one[key] for one in found])
    return entry


def data_of(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """data.json of all folds, of that of each: what is of the whole cohort, and under "folds" the
    splits and features of each."""
    shared = {key: value for key, value in found[0].items() if key not in OWN}
    shared["cohort"] = {k: value for k, value in found[0]["cohort"].items() if k != "splits"}
    shared["notes"] = {"source": found[0]["notes"]["source"]}
    shared["folds"] = {
        f"fold_{k}": {"splits": one["cohort"]["splits"], **{key: one[key] for key in OWN}}
        for k, one in enumerate(found)
    }
    return shared


def _alike(key: str, values: list) -> dict[str, Any]:
    """The one value that all folds have, or the values of all."""
    if all(value == values[0] for value in values):
        return {key: values[0]}
    return {f"fold_{key}": values}
