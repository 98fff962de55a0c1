"""How well inputs tell the outcome: each alone, and all together by a few trees."""

from typing import NamedTuple

import numpy as np
import polars as pl
import scipy.stats
import sklearn.ensemble

from ehr_jax import disclosure
from ehr_jax.audit import columns, evidence
from ehr_jax.features import arrays as features

PERFECT, STRONG = 0.95, 0.85  # AUROC of one input: a failure, a warning
ODDS, COVERED = 10.0, 0.1  # least odds ratio (lower bound) and share of positives of a warning
BEYOND_CHANCE = 0.01  # over all inputs and labels (Bonferroni)
SHOWN = 5  # inputs a label
FEW = f"fewer than {disclosure.SMALLEST} patients of a class"
ROWS, WIDTH, LABELS = 5000, 200, 3  # of the probe, at most


def findings(given: evidence.Evidence) -> list[evidence.Finding]:
    """Returns the findings of this file."""
    inputs, labels = given.arrays.columns(), columns.labels(given)
    return [_single(given, inputs, labels), _together(given, inputs, labels)]


def _single(given, inputs: features.Columns, labels: np.ndarray) -> evidence.Finding:
    """The strongest inputs, and those so strong that a person should look at them."""
    check, rows, best = "strongest single inputs", [], None
    for k, label in enumerate(given.cohort.labels):
        known = ~np.isnan(labels[:, k])
        truth, subjects = labels[known, k] == 1, columns.subjects(given)[known]
        if not disclosure.enough(truth, subjects):
            continue
        strengths = _nodes(inputs, known, truth, subjects) + _numbers(inputs, known, truth)
        strengths.sort(key=lambda one: -one.auroc)
        if strengths and (best is None or strengths[0].auroc > best[0]):
            best = strengths[0].auroc, strengths[0].name
        chance = BEYOND_CHANCE / (len(strengths) * len(given.cohort.labels) or 1)
        strong = [one for one in strengths if one.chance < chance and _stands_out(one)]
        rows += [(one.name, label, *one[1:-1]) for one in strong[:SHOWN]]
    if best is None:
        return evidence.Finding(check, "skip", FEW)
    schema = {
        "input": pl.String,
        "label": pl.String,
        "auroc": pl.Float64,
        "odds_ratio": pl.Float64,
        "from": pl.Float64,
        "to": pl.Float64,
        "share_of_positives": pl.Float64,
    }
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return evidence.found(
        check,
        frame.with_columns(pl.col(pl.Float64).round(3)),
        f"{{count}} input(s) tell an outcome strongly (an AUROC of {STRONG}, or odds of {ODDS:g} "
        f"with {COVERED:.0%} of positives): known by then, or its trace?",
        f"the strongest input is '{best[1]}', alone an AUROC of {best[0]:.3f}",
        "fail" if (frame["auroc"] >= PERFECT).any() else "warn",
    )


def _together(given, inputs: features.Columns, labels: np.ndarray) -> evidence.Finding:
    """Trees on all inputs, fitted to training samples, judged on the others."""
    check = "inputs together"
    split, rows, said = given.arrays.split, [], []
    table = _table(inputs, split == "train")
    for k, label in enumerate(given.cohort.labels):
        known = ~np.isnan(labels[:, k])
        fitted = np.flatnonzero(known & (split == "train"))[:ROWS]
        judged = np.flatnonzero(known & (split != "train"))[:ROWS]
        truth, subjects = labels[:, k] == 1, columns.subjects(given)
        are_enough = all(
            disclosure.enough(truth[part], subjects[part]) for part in (fitted, judged)
        )
        if not are_enough or len(said) == LABELS or not table.shape[1]:
            continue
        trees = sklearn.ensemble.HistGradientBoostingClassifier(
            max_iter=50, max_leaf_nodes=15, early_stopping=False, random_state=0
        )
        trees.fit(table[fitted], truth[fitted])
        scores = trees.predict_proba(table[judged])[:, 1:]
        together = float(columns.auroc(scores, truth[judged])[0])
        alone = float(columns.auroc(table[judged], truth[judged]).max())
        said.append(f"{label}: {together:.3f} together, {alone:.3f} the best alone")
        if together >= PERFECT:
            rows.append((label, round(together, 3), round(alone, 3)))
    if not said:
        return evidence.Finding(check, "skip", FEW)
    frame = pl.DataFrame(rows, schema=("label", "together", "best_alone"), orient="row")
    return evidence.found(
        check,
        frame,
        f"{{count}} label(s) are told nearly perfectly (an AUROC of {PERFECT}) by a few trees on "
        "all inputs: what do they know?",
        f"a few trees on all inputs tell no label nearly perfectly ({'; '.join(said)})",
        "warn",
    )


class Told(NamedTuple):
    """What one input tells of an outcome; odds with their 95 % interval, of nodes alone."""

    name: str
    auroc: float
    odds: float | None
    low: float | None
    high: float | None
    share_of_positives: float | None
    chance: float  # of so much in either direction, if it told nothing


def _nodes(inputs, known: np.ndarray, truth: np.ndarray, subjects: np.ndarray) -> list[Told]:
    held = inputs.incidence[known]
    positives, negatives = truth.sum(), (~truth).sum()
    a = np.asarray(held[truth].sum(axis=0)).ravel()
    b = np.asarray(held[~truth].sum(axis=0)).ravel()
    strength = columns.auroc_of_nodes(held, truth)
    # Half a sample is added to each cell, so that none is empty (Haldane).
    cells = np.stack([a, positives - a, b, negatives - b]) + 0.5
    log_odds = np.log(cells[0] * cells[3] / (cells[1] * cells[2]))
    error = np.sqrt((1 / cells).sum(axis=0))
    low, high = (np.exp(log_odds + side * 1.96 * error) for side in (-1, 1))
    chance = 2 * scipy.stats.norm.sf(np.abs(log_odds) / error)
    columns_of = (strength, np.exp(log_odds), low, high, a / positives, chance)
    return [
        Told(inputs.node_names[n], *(float(column[n]) for column in columns_of))
        for n in np.flatnonzero(columns.holders(held, subjects) >= disclosure.SMALLEST)
    ]


def _numbers(inputs, known: np.ndarray, truth: np.ndarray) -> list[Told]:
    if not inputs.numbers.shape[1]:
        return []
    strength = columns.auroc(inputs.numbers[known], truth)
    positives, negatives = truth.sum(), (~truth).sum()
    error = np.sqrt((truth.size + 1) / (12 * positives * negatives))  # of Mann and Whitney
    chance = 2 * scipy.stats.norm.sf((strength - 0.5) / error)
    return [
        Told(name, float(one), None, None, None, None, float(p))
        for name, one, p in zip(inputs.number_names, strength, chance, strict=True)
    ]


def _stands_out(one: Told) -> bool:
    """Is the AUROC large, or are the odds, of many positives?"""
    stated = one.low is not None and one.low >= ODDS and one.share_of_positives >= COVERED
    return one.auroc >= STRONG or stated


def _table(inputs: features.Columns, train: np.ndarray) -> np.ndarray:
    """[sample, column] float32: the most frequent nodes of training samples, and all numbers."""
    often = np.asarray(inputs.incidence[train].sum(axis=0)).ravel()
    chosen = np.argsort(-often, kind="stable")[:WIDTH]
    numbers = columns.filled(inputs.numbers[:, :WIDTH])
    table = np.concatenate([inputs.incidence[:, chosen].toarray(), numbers], axis=1)
    return table[:, np.ptp(table[train], axis=0) > 0]
