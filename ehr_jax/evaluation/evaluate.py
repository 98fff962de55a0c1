"""Results of one method on one split: metrics per label, macro and micro, with intervals."""

import math
from collections.abc import Sequence

import numpy as np

from ehr_jax.evaluation import bootstrap, metrics, scorer


def evaluate(
    probabilities: np.ndarray,
    labels: np.ndarray,
    subjects: np.ndarray,
    label_names: Sequence[str],
    thresholds: np.ndarray | float = 0.5,
    resamples: int = 1000,
    seed: int = 0,
    protocol: str = "strict",
) -> dict:
    """Scores predictions of one or several seeds.

    A value is the mean over seeds of the metric; a resample draws the same patients for all seeds
    and takes the same mean, so the interval says what other patients would have changed and
    `seed_std` (n - 1 in the denominator, null for one seed) what other seeds would have.

    Args:
        probabilities: [seeds, samples, labels] float in [0, 1].
        labels: [samples, labels] bool, or float with nan for cells without a label.
        subjects: [samples] the patient of each sample.
        label_names: one name a label.
        thresholds: for F1 and accuracy: [seeds, labels] or what broadcasts to it, fitted on
            validation predictions; the protocol "paper" always takes 0.5.
        resamples: bootstrap resamples of patients.
        seed: of the resampling.
        protocol: "strict": the headline is macro. "paper": the headline follows the authors' code.

    Returns:
        Plain JSON (nan is null): {"auroc": {"value", "low", "high", "seed_std",
        "undefined_resamples"}, ...} for each of metrics.METRICS, and beside them "conventions",
        "macro" and "micro" of the same form ("macro" entries also count the "labels" they are the
        mean of), "per_label" {name: {"samples", "positives", "patients", "positive_patients",
        "negative_patients", "thresholds", "auroc", ...}}, "samples", "patients", "resamples".
        "undefined_resamples" are left out of the interval: a macro mean is of the same labels in
        every resample, and undefined where one of them is.

    Raises:
        ConfigError, UserError, ValueError: as `scorer.check` and `bootstrap.check`.
    """
    bootstrap.check(resamples, seed)
    probabilities, labels, thresholds = scorer.check(
        probabilities, labels, label_names, thresholds, protocol
    )
    score = scorer.prepare(probabilities, labels, thresholds, protocol)
    point = {key: value[0] for key, value in score(np.ones((1, len(labels)), np.int32)).items()}
    drawn = bootstrap.resample(
        lambda weights: {key: value.mean(axis=1) for key, value in score(weights).items()},
        subjects,
        resamples,
        np.random.default_rng(seed),
        labels.shape[1],
    )

    def entries(group: str, *label: int) -> dict:
        return {
            name: _entry(point[group, name][:, *label], drawn[group, name][:, *label])
            for name in metrics.METRICS
        }

    macro = entries(scorer.MACRO)
    for name in metrics.METRICS:
        macro[name]["labels"] = int((~np.isnan(point[scorer.LABEL, name][0])).sum())
    per_label = {
        name: {
            "samples": int((~np.isnan(labels[:, k])).sum()),
            "positives": int((labels[:, k] > 0).sum()),
            "patients": _patients(subjects[~np.isnan(labels[:, k])]),
            "positive_patients": _patients(subjects[labels[:, k] > 0]),
            "negative_patients": _patients(subjects[labels[:, k] == 0]),
            "thresholds": thresholds[:, k].tolist(),
            **entries(scorer.LABEL, k),
        }
        for k, name in enumerate(label_names)
    }
    return entries(scorer.HEADLINE) | {
        "conventions": scorer.conventions(protocol, len(label_names)),
        "macro": macro,
        "micro": entries(scorer.MICRO),
        "per_label": per_label,
        "samples": len(labels),
        "patients": _patients(subjects),
        "resamples": resamples,
    }


def _patients(subjects: np.ndarray) -> int:
    return int(np.unique(subjects).size)


def _entry(values: np.ndarray, drawn: np.ndarray) -> dict[str, float | int | None]:
    """values: [seeds] of the metric; drawn: [resamples] of its mean over seeds."""
    low, high, undefined = bootstrap.interval(drawn)
    std = float(values.std(ddof=1)) if values.size > 1 else math.nan
    entry = {"value": float(values.mean()), "low": low, "high": high, "seed_std": std}
    entry = {key: None if math.isnan(value) else value for key, value in entry.items()}
    return entry | {"undefined_resamples": undefined}
