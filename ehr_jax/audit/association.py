"""Checks of what points at a leak: inputs that tell the outcome too well, notes that repeat."""

import re

import numpy as np
import polars as pl
import scipy.sparse
import scipy.stats

from ehr_jax import disclosure
from ehr_jax.audit import columns, evidence, near_duplicates
from ehr_jax.evaluation import metrics
from ehr_jax.features import as_columns

NEARLY_PERFECT = 0.95  # AUROC of one column
BEYOND_CHANCE = 0.01  # over all columns and labels (Bonferroni)
FEW = 0.01  # of the texts outside training: forms and templates repeat by chance
SHORT = 50  # words; a shorter text is a filled form, of which two may be the same by chance
HALF = 0.5  # a gap in presence that no measuring habit explains

# Names under which an outcome, or something known only after it, may stand among the inputs.
_ALWAYS = r"\breadmi(t|ssion)|\bsurviv|\bsaps\b|\bsofa\b"
_IN_STAY = r"\b(dead|death|died|deceased|expired?)\b|length of stay|disposition|discharged? to"


def findings(given: evidence.Evidence) -> list[evidence.Finding]:
    """Returns the findings of this file."""
    checks = (
        columns_that_encode_the_outcome,
        notes_repeated_across_splits,
        missingness_by_label,
    )
    return [check(given) for check in checks]


def columns_that_encode_the_outcome(given: evidence.Evidence) -> evidence.Finding:
    """No input alone ranks an outcome nearly perfectly, and none is named as an outcome."""
    rows = _named_as_outcome(given) + _telling_alone(given)
    schema = {"input": pl.String, "label": pl.String, "why": pl.String}
    return evidence.found(
        "columns that encode the outcome",
        pl.DataFrame(rows, schema=schema, orient="row"),
        "{count} input(s) encode an outcome, or are named as one",
        f"no input alone reaches an AUROC of {NEARLY_PERFECT}, none is named as an outcome",
    )


def notes_repeated_across_splits(given: evidence.Evidence) -> evidence.Finding:
    """No text of a sample is nearly that of a sample of another split.

    Forms and templates may repeat: texts of fewer than `SHORT` words, and up to `FEW` of the texts
    outside training, are a warning.
    """
    check = "notes repeated across splits"
    if not given.reads.notes:
        return evidence.Finding(check, "skip", evidence.NO_NOTES)
    used = given.known.notes
    if used.is_empty():
        return evidence.Finding(check, "skip", "the records have no notes")
    placed = used.join(given.cohort.samples, on="sample_id").sort("sample_id")
    pairs = near_duplicates.pairs(placed["text"].to_list(), placed["split"].to_list())
    rows = pl.DataFrame(
        {
            "sample_id": placed["sample_id"].gather([a for a, _, _ in pairs]),
            "subject_id": placed["subject_id"].gather([a for a, _, _ in pairs]),
            "split": placed["split"].gather([a for a, _, _ in pairs]),
            "like_sample_id": placed["sample_id"].gather([b for _, b, _ in pairs]),
            "in_split": placed["split"].gather([b for _, b, _ in pairs]),
            "similarity": [round(similarity, 3) for _, _, similarity in pairs],
        },
        schema_overrides={"similarity": pl.Float64},
    )
    words = placed["text"].str.count_matches(r"\S+").gather([a for a, _, _ in pairs])
    long, outside = (words >= SHORT).sum(), placed.filter(pl.col("split") != "train").height
    return evidence.found(
        check,
        rows,
        "{count} text(s) are nearly the same as a text of another split (similarity of "
        f"{near_duplicates.SIMILAR} or more)",
        f"no two of {used.height} texts of different splits are nearly the same",
        "fail" if long > FEW * outside else "warn",
    )


def missingness_by_label(given: evidence.Evidence) -> evidence.Finding:
    """Whether something was recorded does not tell the label beyond chance.

    Sick patients are measured more often, so a difference is a warning; one of half of all samples
    is a failure.
    """
    check = "missingness by label"
    present, names = _presence(given)
    if not names:
        return evidence.Finding(check, "skip", "no attribute, measurement or note is an input")
    labels = _labels(given)
    told = []
    for k, label in enumerate(given.cohort.labels):
        positive, negative = labels[:, k] == 1, labels[:, k] == 0
        n1, n0 = positive.sum(), negative.sum()
        known = positive | negative
        if not disclosure.enough(positive[known], columns.subjects(given)[known]):
            continue
        x1, x0 = present[positive].sum(axis=0), present[negative].sum(axis=0)
        chance = BEYOND_CHANCE / (len(names) * len(given.cohort.labels))
        for name, a, b in zip(names, x1, x0, strict=True):
            if a / n1 == b / n0:
                continue
            table = [[a, n1 - a], [b, n0 - b]]
            if scipy.stats.fisher_exact(table).pvalue < chance:
                told.append((name, label, round(a / n1, 4), round(b / n0, 4)))
    schema = ("input", "label", "recorded_of_positives", "recorded_of_negatives")
    rows = pl.DataFrame(told, schema=schema, orient="row")
    gross = any(abs(a - b) >= HALF for _, _, a, b in told)
    return evidence.found(
        check,
        rows,
        "{count} input(s) are recorded more often for one class than for the other",
        f"what is recorded does not differ by label beyond chance ({len(names)} inputs)",
        "fail" if gross else "warn",
    )


def _labels(given: evidence.Evidence) -> np.ndarray:
    names = [f"label.{name}" for name in given.cohort.labels]
    return given.cohort.samples.select(pl.col(names).cast(pl.Float32)).to_numpy()


def _named_as_outcome(given: evidence.Evidence) -> list[tuple[str, str, str]]:
    pattern = _ALWAYS if given.cohort.at_discharge else f"{_ALWAYS}|{_IN_STAY}"
    return [
        (name, ", ".join(given.cohort.labels), "its name")
        for name in sorted(_facts(given))
        if re.search(pattern, name.replace("_", " ").lower())
    ]


def _telling_alone(given: evidence.Evidence) -> list[tuple[str, str, str]]:
    """Nodes, and attributes by all their nodes, whose AUROC on labelled samples is too good."""
    held, labels, facts = as_columns.incidence(given.visits), _labels(given), _facts(given)
    told = []
    for k, label in enumerate(given.cohort.labels):
        rows = np.flatnonzero(~np.isnan(labels[:, k]))
        truth, inputs = labels[rows, k] == 1, held[rows]
        if not disclosure.enough(truth, columns.subjects(given)[rows]):
            continue
        auroc = columns.auroc_of_nodes(inputs, truth)
        for index in np.flatnonzero(auroc >= NEARLY_PERFECT):
            why = f"alone an AUROC of {auroc[index]:.3f}"
            told.append((given.vocabulary.names[index], label, why))
        for fact, nodes in facts.items():
            if len(nodes) > 1:
                score = _auroc_of_rates(inputs[:, nodes], truth)
                if score >= NEARLY_PERFECT:
                    told.append((fact, label, f"alone an AUROC of {score:.3f}"))
    return told


def _auroc_of_rates(held: scipy.sparse.csr_matrix, truth: np.ndarray) -> float:
    """AUROC of the label's rate by value, rates from every other sample, judged on the rest."""
    first = np.arange(len(truth)) % 2 == 0
    value = np.where(
        np.diff(held.indptr) > 0, np.asarray(held.argmax(axis=1)).ravel(), held.shape[1]
    )
    counts = np.bincount(value[first], minlength=held.shape[1] + 1)
    positives = np.bincount(value[first], truth[first], minlength=held.shape[1] + 1)
    rate = (positives + truth.mean()) / (counts + 1)
    return metrics.auroc(rate[value[~first]], truth[~first])


def _presence(given: evidence.Evidence) -> tuple[np.ndarray, list[str]]:
    """[sample, fact] bool: is anything recorded of each attribute, measurement, or in notes?"""
    held, recorded, names = as_columns.incidence(given.visits), [], []
    for fact, nodes in _facts(given).items():
        recorded.append(np.asarray(held[:, nodes].sum(axis=1)).ravel() > 0)
        names.append(fact)
    if given.reads.notes:
        noted = given.known.notes["sample_id"].to_numpy()
        if noted.size:
            recorded.append(np.isin(np.arange(held.shape[0]), noted))
            names.append("notes")
    return np.stack(recorded, axis=1) if recorded else np.zeros((held.shape[0], 0)), names


def _facts(given: evidence.Evidence) -> dict[str, list[int]]:
    """The nodes of each attribute; a node is called "<attribute>: <value>"."""
    facts: dict[str, list[int]] = {}
    named = zip(given.vocabulary.kinds, given.vocabulary.names, strict=True)
    for index, (kind, name) in enumerate(named):
        if kind == "attribute":
            facts.setdefault(name.split(": ", 1)[0], []).append(index)
    return facts
