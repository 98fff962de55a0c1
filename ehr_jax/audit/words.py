"""Words that state an outcome, in names of inputs and in notes: for a person to judge.

Only words of the label's own list (`cohorts/labels.py`) are told, with shares of samples. No
sentence of a note leaves the records.
"""

import numpy as np
import polars as pl
import scipy.stats

from ehr_jax import disclosure
from ehr_jax.audit import columns, evidence
from ehr_jax.cohorts import labels
from ehr_jax.cohorts import spec as specs

BEYOND_CHANCE = 0.001


def findings(given: evidence.Evidence) -> list[evidence.Finding]:
    """Returns the findings of this file."""
    words = _words(given.cohort.spec)
    return [_in_names(given, words), _in_notes(given, words)]


def _words(spec) -> tuple[str, ...]:
    """Returns the words of a task's label; of death where the task is unknown, none of a query."""
    if spec is None:
        return labels.DEATH_WORDS
    return labels.find(spec.label).words if isinstance(spec, specs.Spec) else ()


def _in_names(given, words: tuple[str, ...]) -> evidence.Finding:
    """Inputs whose name states the outcome."""
    check = "names that state the outcome"
    if not words:
        return evidence.Finding(check, "skip", "the outcome has no words of its own")
    inputs = given.arrays.columns()
    truth = _any_positive(columns.labels(given))
    names = pl.DataFrame({"node": range(len(inputs.node_names)), "input": inputs.node_names})
    named = names.cast({"input": pl.String}).filter(
        pl.col("input").str.to_lowercase().str.contains(_pattern(words))
    )
    rows = []
    for node, name in named.select("node", "input").iter_rows():
        held = np.asarray(inputs.incidence[:, [node]].todense()).ravel() > 0
        rows += [(name, *shares) for shares in _shares(held, truth, columns.subjects(given))]
    schema = {"input": pl.String, **_SHARES}
    return evidence.found(
        check,
        pl.DataFrame(rows, schema=schema, orient="row"),
        "{count} input(s) are named by words that state the outcome, and are held more often by "
        "one class",
        f"no input that {disclosure.SMALLEST} patients hold and that tells the classes apart is "
        "named by a word that states the outcome",
        "warn",
    )


def _in_notes(given, words: tuple[str, ...]) -> evidence.Finding:
    """Words in the notes that samples are given, which state the outcome."""
    check = "words in notes that state the outcome"
    if not words or not given.reads.notes:
        return evidence.Finding(check, "skip", "no notes are used, or the outcome has no words")
    used = given.known.notes
    if used.is_empty():
        return evidence.Finding(check, "skip", "the records have no notes")
    lowered = used.with_columns(pl.col("text").str.to_lowercase())
    lowered = lowered.filter(pl.col("text").str.contains(_pattern(words)))
    truth = _any_positive(columns.labels(given))
    rows = []
    for word in words:
        samples = lowered.filter(pl.col("text").str.contains(_pattern((word,))))["sample_id"]
        held = np.zeros(truth.size, bool)
        held[samples.to_numpy()] = True
        rows += [(word, *shares) for shares in _shares(held, truth, columns.subjects(given))]
    schema = {"word": pl.String, **_SHARES}
    return evidence.found(
        check,
        pl.DataFrame(rows, schema=schema, orient="row"),
        "{count} word(s) that state the outcome stand more often in the notes of one class",
        f"no word of the list that stands in the notes of {disclosure.SMALLEST} patients tells the "
        "classes apart",
        "warn",
    )


_SHARES = {"of_positives": pl.Float64, "of_negatives": pl.Float64}


def _shares(
    held: np.ndarray, truth: np.ndarray, subjects: np.ndarray
) -> list[tuple[float | None, float | None]]:
    """The shares of positives and negatives that hold it; none where chance explains them.

    Where few patients of a class hold it, or few do not, the share is not told.
    """
    known = ~np.isnan(truth)
    positive, negative = truth == 1, truth == 0
    if evidence.patients(subjects, held & known) < disclosure.SMALLEST:
        return []
    if not disclosure.enough(positive[known], subjects[known]):
        return []
    a, b = int((held & positive).sum()), int((held & negative).sum())
    table = [[a, int(positive.sum()) - a], [b, int(negative.sum()) - b]]
    if scipy.stats.fisher_exact(table).pvalue >= BEYOND_CHANCE:
        return []
    return [tuple(_share(held, each, subjects) for each in (positive, negative))]


def _share(held: np.ndarray, of_class: np.ndarray, subjects: np.ndarray) -> float | None:
    parts = (held & of_class, ~held & of_class)
    if any(disclosure.is_few(evidence.patients(subjects, part)) for part in parts):
        return None
    return round(float(held[of_class].mean()), 3)


def _any_positive(labels: np.ndarray) -> np.ndarray:
    """[sample] float32: 1 where any label is positive, 0 where all known are not, nan without."""
    unknown = np.isnan(labels).all(axis=1)
    return np.where(unknown, np.nan, (labels == 1).any(axis=1)).astype(np.float32)


def _pattern(words: tuple[str, ...]) -> str:
    return r"\b(" + "|".join(words) + r")\b"
