"""Static features of a stay, made of its attributes and fitted to training samples."""

from typing import NamedTuple

import numpy as np
import polars as pl

RARE = 10  # an attribute or level of fewer training samples becomes no feature


class Static(NamedTuple):
    """A static feature of an attribute.

    Attributes:
      attribute: the name of the attribute.
      kind: "number" (a z-score), "known" (1 if there is a number) or "level" (1 if the attribute is
        at `level`).
      mean, std: of the number over training samples.
    """

    attribute: str
    kind: str
    level: str = ""
    mean: float = 0.0
    std: float = 1.0

    @property
    def name(self) -> str:
        """The name of the feature's column."""
        return self.attribute + {"known": " is known", "level": f" = {self.level}"}.get(
            self.kind, ""
        )


def fit(facts: pl.DataFrame, training: pl.DataFrame) -> tuple[Static, ...]:
    """Returns features for numbers that vary, and for levels, of at least `RARE` training samples.

    Args:
      facts: (sample_id, name, text, number) of attributes of samples.
      training: (sample_id) of the training samples.
    """
    of_training = facts.join(training.select("sample_id"), on="sample_id", how="semi")
    statics: list[Static] = []
    for attribute in of_training["name"].unique().sort():
        rows = _last(of_training, attribute)
        number = rows["number"].fill_nan(None).drop_nulls().to_numpy()
        if number.size >= RARE and number.std() > 0:
            mean, std = float(number.mean()), float(number.std())
            statics += [Static(attribute, "number", "", mean, std), Static(attribute, "known")]
        levels = rows.group_by("text").len().filter(pl.col("len") >= RARE)["text"]
        statics += [Static(attribute, "level", level) for level in levels.drop_nulls().sort()]
    return tuple(statics)


def columns(facts, samples: pl.DataFrame, chosen: tuple[Static, ...]) -> np.ndarray:
    """Returns the features `chosen`, [sample, static] float32; an unknown number has z-score 0."""
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
    """Returns (sample_id, text, number): an attribute's latest value of each sample, in order of
    sample_id, so that sums over them are the same bits each time."""
    rows = facts.filter(name=attribute).group_by("sample_id", maintain_order=True)
    return rows.agg(pl.col("text", "number").last()).sort("sample_id")
