"""Percentile bootstrap over patients: whole patients are drawn, never single samples."""

from collections.abc import Callable, Hashable, Iterator, Mapping

import numpy as np

from ehr_jax import errors

LEVEL = 0.95
CHUNK_CELLS = 2**22  # weighted cells worked on at once: some 100 MB with what a statistic builds

Statistic = Callable[[np.ndarray], Mapping[Hashable, np.ndarray]]


def check(resamples: int, seed: int) -> None:
    """Raises ConfigError unless so many resamples can be drawn with that seed."""
    for key, value, least in (("resamples", resamples, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise errors.ConfigError(
                f"config.evaluation.{key} is {value!r}; expected a whole number, {least} or more"
            )


def weights(
    subjects: np.ndarray, resamples: int, rng: np.random.Generator, labels: int = 1
) -> Iterator[np.ndarray]:
    """Yields resamples as sample weights: how often each sample's patient was drawn.

    A resample draws as many patients as there are, with replacement, and takes all samples of
    each. The draws depend on `rng` alone, not on the size of the chunks.

    Args:
        subjects: [samples] the patient of each sample, any sortable type.
        resamples: number of resamples over all chunks.
        rng: an explicit generator.
        labels: cells of a sample; the more, the smaller the chunks.

    Yields:
        [chunk, samples] int32.
    """
    patients, places = np.unique(np.asarray(subjects), return_inverse=True)
    chunk = max(1, CHUNK_CELLS // max(1, places.size * labels))
    for done in range(0, resamples, chunk):
        rows = min(chunk, resamples - done)
        drawn = rng.integers(max(1, patients.size), size=(rows, patients.size))
        drawn += np.arange(rows)[:, None] * patients.size
        times = np.bincount(drawn.ravel(), minlength=rows * patients.size)
        times = times.reshape(rows, patients.size).astype(np.int32)
        yield np.take(times, places, axis=1)


def resample(
    statistic: Statistic,
    subjects: np.ndarray,
    resamples: int,
    rng: np.random.Generator,
    labels: int = 1,
) -> dict[Hashable, np.ndarray]:
    """Evaluates `statistic` ([chunk, samples] weights -> {key: [chunk, ...]}) on every resample.

    Returns:
        {key: [resamples, ...]}.
    """
    parts = [statistic(chunk) for chunk in weights(subjects, resamples, rng, labels)]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def interval(values: np.ndarray) -> tuple[float, float, int]:
    """The 95 % percentile interval of resampled values.

    Args:
        values: [resamples] float; nan where the metric was undefined, which are left out.

    Returns:
        (low, high, number left out); low and high are nan where fewer than half are defined, since
        the rest would tell of resamples unlike those drawn.
    """
    defined = values[~np.isnan(values)]
    undefined = int(values.size - defined.size)
    if 2 * defined.size < values.size or not defined.size:
        return float("nan"), float("nan"), undefined
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high), undefined
