"""Cross-validation of one method: fitted on every fold, the test samples of all put together."""

import pathlib
import time

import numpy as np
import polars as pl

from ehr_jax.modes import train
from ehr_jax.training import run_folder


def fit_and_score(config, prepared: list[tuple], folder: pathlib.Path) -> dict:
    """Fits config.model on each (cohort, arrays); writes what `train.fit_and_score` does.

    A value of "test" is the mean over folds and its deviation that between folds. Its interval
    takes the folds' own bootstrap intervals as independent: their half-widths' root of the sum of
    squares, by the number of folds. predictions.parquet has every sample once, from its test fold.
    """
    began = time.monotonic()
    results, parts = [], []
    for fold, (cohort, arrays) in enumerate(prepared):
        at = run_folder.claim(folder / f"fold_{fold}", config.to_dict())
        if (at / "results.json").exists():
            results.append(run_folder.read_json(at / "results.json"))
        else:
            results.append(train.fit_and_score(config, cohort, arrays, at))
        parts.append(pl.read_parquet(at / "predictions.parquet", glob=False).filter(split="test"))
    together = pl.concat(parts)
    run_folder.write_whole(folder / "predictions.parquet", together.write_parquet)
    joined = {**results[0], "folds": len(prepared), "seconds": round(time.monotonic() - began, 2)}
    joined["fits"] = [fit for result in results for fit in result["fits"]]
    for split in ("validation", "test"):
        joined[split] = mean([result[split] for result in results])
    run_folder.write_json(folder / "results.json", joined)
    return joined


def mean(found: list):
    """The mean of the entries {value, low, high}, wherever they stand, with the interval that
    `fit_and_score` tells; else what the first says."""
    first = found[0]
    if not isinstance(first, dict):
        return first
    if "value" not in first:
        return {key: mean([one[key] for one in found if key in one]) for key in first}
    known = [one for one in found if one["value"] is not None and one.get("low") is not None]
    if not known:
        return first
    values = np.array([one["value"] for one in known])
    below, above = (
        np.sqrt(sum((one[side] - one["value"]) ** 2 for one in known)) / len(known)
        for side in ("low", "high")
    )
    value = float(values.mean())
    spread = float(values.std(ddof=1)) if len(values) > 1 else None
    entry = {"value": value, "low": value - float(below), "high": value + float(above)}
    if "undefined_resamples" in first:
        entry["undefined_resamples"] = sum(one["undefined_resamples"] for one in known)
    return {**first, **entry} | ({"seed_std": spread} if "seed_std" in first else {})
