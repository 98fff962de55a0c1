"""Paired comparison: the difference of two methods on the same samples and the same resamples."""

from collections.abc import Sequence

import numpy as np

from ehr_jax.evaluation import bootstrap, metrics, scorer

COMPARED = (*metrics.RANKING, "brier")


def difference(
    first: np.ndarray,
    second: np.ndarray,
    labels: np.ndarray,
    subjects: np.ndarray,
    label_names: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
    protocol: str = "strict",
) -> dict[str, dict[str, float | int | None]]:
    """Headline metrics of `first` minus those of `second` that need no threshold, each a mean over
    its own seeds.

    Args:
        first, second: [seeds, samples, labels] float; the number of seeds may differ.
        labels, subjects, label_names, resamples, seed, protocol: as in `evaluate.evaluate`.

    Returns:
        {metric of COMPARED: {"value", "low", "high", "undefined_resamples"}}. An interval that
        leaves out zero says that the methods differ at the 5 % level, one comparison taken alone.

    Raises:
        ConfigError, UserError, ValueError: as `evaluate.evaluate`.
    """
    bootstrap.check(resamples, seed)
    scores = []
    for probabilities in (first, second):
        checked = scorer.check(probabilities, labels, label_names, 0.5, protocol)
        scores.append(scorer.prepare(*checked, protocol))

    def differ(weights: np.ndarray) -> dict[str, np.ndarray]:
        one, two = (score(weights) for score in scores)
        keys = {name: (scorer.HEADLINE, name) for name in COMPARED}
        return {name: one[key].mean(axis=1) - two[key].mean(axis=1) for name, key in keys.items()}

    point = differ(np.ones((1, len(labels)), np.int32))
    rng = np.random.default_rng(seed)
    drawn = bootstrap.resample(differ, subjects, resamples, rng, len(label_names))
    return {name: _entry(point[name][0], drawn[name]) for name in COMPARED}


def _entry(value: float, drawn: np.ndarray) -> dict[str, float | int | None]:
    low, high, undefined = bootstrap.interval(drawn)
    entry = {"value": float(value), "low": low, "high": high}
    entry = {key: None if np.isnan(number) else number for key, number in entry.items()}
    return entry | {"undefined_resamples": undefined}
