"""Static features of a stay: numbers and levels of attributes, fitted to training samples."""

from typing import NamedTuple

import numpy as np
import polars as pl

RARE = 10  # training samples with a level of an attribute, below which it counts as none


class Static(NamedTuple):
    """A static feature: a number of an attribute in standard deviations, whether it is there, or
    whether the attribute is at a level."""

    attribute: str
    kind: str  # number, known or level
    level: str = ""
    mean: float = 0.0
    std: float = 1.0

    @property
    def name(self) -> str:
        return self.attribute + {"known": " is known", "level": f" = {self.level}"}.get(
            self.kind, ""
        )


def fit(facts: pl.DataFrame, training: pl.DataFrame) -> tuple[Static, ...]:
    """Numbers that vary, and levels that at least `RARE` training samples have."""
    of_training = facts.join(training.select("sample_id"), on="sample_id", how="semi")
    found: list[Static] = []
    for attribute in of_training["name"].unique().sort():
        rows = _last(of_training, attribute)
        number = rows["number"].fill_nan(None).drop_nulls().to_numpy()
        if number.size >= RARE and number.std() > 0:
            mean, std = float(number.mean()), float(number.std())
            found += [Static(attribute, "number", "", mean, std), Static(attribute, "known")]
        levels = rows.group_by("text").len().filter(pl.col("len") >= RARE)["text"]
        found += [Static(attribute, "level", level) for level in levels.drop_nulls().sort()]
    return tuple(found)


def columns(facts, samples: pl.DataFrame, chosen: tuple[Static, ...]) -> np.ndarray:
    """[sample, static] float32; an unknown number stands at its mean."""
    filled = np.zeros((samples.height, len(chosen)), np.float32)
    for attribute in {static.attribute for static in chosen}:
        rows = samples.select("sample_id").join(
            _last(facts, attribute), on="sample_id", how="left", maintain_order="left"
        )
        number = rows["number"].fill_nan(None)
        for at, static in enumerate(chosen):
            if static.attribute != attribute:
                continue
            if static.kind == "number":
                z = (number.fill_null(static.mean).to_numpy() - static.mean) / static.std
                filled[:, at] = np.clip(z, -10, 10)
            elif static.kind == "known":
                filled[:, at] = number.is_not_null().to_numpy()
            else:
                filled[:, at] = (rows["text"] == static.level).fill_null(False).to_numpy()
    return filled


def _last(facts: pl.DataFrame, attribute: str) -> pl.DataFrame:
    """(sample_id, text, number) of an attribute, in the order of samples, so that sums over them
    are the same bits each time."""
    rows = facts.filter(name=attribute).group_by("sample_id", maintain_order=True)
    return rows.agg(pl.col("text", "number").last()).sort("sample_id")
