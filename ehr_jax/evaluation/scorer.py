"""All metrics of one method's predictions under any sample weights, for every seed at once."""

from collections.abc import Callable, Sequence

import numpy as np

from ehr_jax import errors
from ehr_jax.evaluation import metrics

LABEL, MACRO, MICRO, HEADLINE = "per_label", "macro", "micro", "headline"
PROTOCOLS = ("strict", "paper")

Scores = dict[tuple[str, str], np.ndarray]  # (group, metric) -> [resamples, seeds(, labels)]


def prepare(
    probabilities: np.ndarray, labels: np.ndarray, thresholds: np.ndarray, protocol: str
) -> Callable[[np.ndarray], Scores]:
    """Sorts predictions once and returns the function of weights that scores them.

    Args:
        probabilities: [seeds, samples, labels] float in [0, 1].
        labels: [samples, labels] float64 with nan for cells without a label.
        thresholds: [seeds, labels] float.
        protocol: which convention the headline follows, one of PROTOCOLS (see `conventions`).

    Returns:
        A function of [resamples, samples] weights to {(group, metric): array}: [resamples, seeds,
        labels] for the group "per_label", else [resamples, seeds].
    """
    seeds, samples, number = probabilities.shape
    rows = np.repeat(np.arange(samples), number)
    cells = metrics.tally(probabilities, labels, thresholds)
    by_label = [
        [metrics.rank(probabilities[s, :, k], labels[:, k]) for k in range(number)]
        for s in range(seeds)
    ]
    pooled = [metrics.rank(probabilities[s].ravel(), labels.ravel(), rows) for s in range(seeds)]

    def each_label(counts: metrics.Counts, weights: np.ndarray) -> dict[str, np.ndarray]:
        ranked = [[metrics.ranking_metrics(r, weights) for r in s] for s in by_label]
        return _decide(counts) | _stack(ranked)

    # The labels of a macro mean: the same in every resample, or intervals would be of means of
    # other labels than the value is.
    alone = np.ones((1, samples), np.int32)
    defined = {
        name: ~np.isnan(value).any(axis=(0, 1))
        for name, value in each_label(metrics.count(cells, alone), alone).items()
    }

    def score(weights: np.ndarray) -> Scores:
        counts = metrics.count(cells, weights)
        per_label = each_label(counts, weights)
        macro = {n: metrics.mean_of(value[..., defined[n]]) for n, value in per_label.items()}
        if number == 1:
            micro = {name: value[..., 0] for name, value in per_label.items()}
        else:
            micro = _decide(metrics.pool(counts))
            micro |= _stack([metrics.ranking_metrics(r, weights) for r in pooled])
        headline = macro if protocol == "strict" else _paper(per_label, macro, micro, counts)
        groups = {LABEL: per_label, MACRO: macro, MICRO: micro, HEADLINE: headline}
        return {(group, name): of[name] for group, of in groups.items() for name in of}

    return score


def conventions(protocol: str, labels: int) -> dict[str, str]:
    """What each headline metric is, in words."""
    if labels == 1:
        said = dict.fromkeys(metrics.METRICS, "of the one label")
        if protocol == "paper":
            said["f1"] = "mean of the F1 of class 0 and of class 1, threshold 0.5"
            said["accuracy"] = "of the one label, threshold 0.5"
        return said
    said = dict.fromkeys(
        metrics.METRICS, "macro: mean over the labels where the whole split defines it"
    )
    if protocol == "paper":
        said["auroc"] = said["auprc"] = "micro: all (sample, label) cells together"
        said["accuracy"] = "element-wise: share of right (sample, label) cells, threshold 0.5"
        said["f1"] = "mean over all labels of the F1 of the positive class (0/0 = 0), threshold 0.5"
    return said


def check(
    probabilities: np.ndarray,
    labels: np.ndarray,
    label_names: tuple[str, ...] | list[str],
    thresholds: np.ndarray | float,
    protocol: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (probabilities, labels, thresholds) as `prepare` wants them.

    Raises:
        ConfigError: the protocol is unknown.
        UserError: a probability is not a number from 0 to 1, or a label is not 0, 1 or null.
        ValueError: the shapes do not belong together.
    """
    if protocol not in PROTOCOLS:
        raise errors.ConfigError(
            f"protocol: '{protocol}' is not known, expected one of {', '.join(PROTOCOLS)}."
            + errors.did_you_mean(protocol, PROTOCOLS)
        )
    probabilities, labels = np.asarray(probabilities), np.asarray(labels, np.float64)
    if probabilities.ndim != 3 or probabilities.shape[1:] != labels.shape:
        raise ValueError(
            f"probabilities {probabilities.shape} must be [seeds, samples, labels] "
            f"with labels {labels.shape} [samples, labels]"
        )
    if labels.shape[1] != len(label_names):
        raise ValueError(f"{len(label_names)} label names for {labels.shape[1]} label columns")
    check_labels(labels, label_names)
    bad = ~((probabilities >= 0) & (probabilities <= 1)) & ~np.isnan(labels)
    if bad.any():
        seed, _, label = np.argwhere(bad)[0]
        raise errors.UserError(
            f"predictions: {int(bad.sum())} probabilities are not a number from 0 to 1, the first "
            f"of label '{label_names[label]}' under seed number {seed}. If training diverged, a "
            "smaller learning rate or gradient clipping mends it."
        )
    seeds = probabilities.shape[0]
    wanted = 0.5 if protocol == "paper" else thresholds  # the authors' code knows no other
    return probabilities, labels, np.broadcast_to(wanted, (seeds, labels.shape[1]))


def check_labels(labels: np.ndarray, label_names: Sequence[str]) -> None:
    """Raises UserError unless all of `labels` [samples, labels] are 0, 1 or nan."""
    for column, name in zip(np.asarray(labels, np.float64).T, label_names, strict=True):
        other = ~np.isin(column, (0, 1)) & ~np.isnan(column)
        if other.any():
            raise errors.UserError(
                f"label '{name}': {int(other.sum())} of {other.size} values are neither 0, 1 nor "
                "null, so that it is not known which of them are positive; make them 0 (no), 1 "
                "(yes) or null (not known)"
            )


def _decide(counts: metrics.Counts) -> dict[str, np.ndarray]:
    return {name: getattr(metrics, name)(counts) for name in metrics.DECISION}


def _stack(nested: list) -> dict[str, np.ndarray]:
    """Nested lists of {name: [resamples]} to {name: [resamples, ...]}."""
    return {name: np.moveaxis(np.array(_pick(nested, name)), -1, 0) for name in metrics.RANKING}


def _pick(nested, name: str):
    return nested[name] if isinstance(nested, dict) else [_pick(one, name) for one in nested]


def _paper(per_label, macro, micro, counts: metrics.Counts) -> dict[str, np.ndarray]:
    """The headline of the authors' code; reference: the evaluation of CACHE, HypEHR, TACCO."""
    if counts.cells.shape[-1] == 1:
        return macro | {"f1": (metrics.f1(counts) + metrics.f1_negative(counts))[..., 0] / 2}
    f1 = np.nan_to_num(per_label["f1"]).mean(axis=-1)
    return macro | {name: micro[name] for name in ("auroc", "auprc", "accuracy")} | {"f1": f1}
