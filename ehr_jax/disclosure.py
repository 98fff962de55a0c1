"""What may be shown of patients: no count, metric or curve that rests on fewer than SMALLEST.

Files of exact figures are internal (`data_use`). Reports, plots and what is printed show what these
functions return. Where hidden counts could be told from others by subtraction, more are hidden.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

SMALLEST = 10
FEW = f"<{SMALLEST}"
NONE = "–"  # what is not shown, undefined or not computed
GROUPS = ("macro", "micro")
# In results.json: the patients behind a label, all and those of either class.
BEHIND = ("patients", "positive_patients", "negative_patients")
_OF_PATIENTS = "patient|person|sample|visit|stay|text|label|row"
_COUNT_OF_PATIENTS = re.compile(
    rf"(?<![\w.,<-])[1-{SMALLEST - 1}](?= (?:{_OF_PATIENTS})(?:\(s\)|s|\b))"
)


def is_few(count: int | None) -> bool:
    """Whether a count of people, or of what they have, is too small to be shown."""
    return count is not None and 0 < count < SMALLEST


def shown(count: int | None, patients: int | None = None) -> str:
    """Returns a count with separators; "<10" for 1 to 9, a dash where it is of few `patients`."""
    if count is None:
        return NONE
    if is_few(count):
        return FEW
    return NONE if is_few(patients) else f"{count:,}"


def words(text: str) -> str:
    """Returns a sentence with "<10" for small numbers of patients or of what they have."""
    return _COUNT_OF_PATIENTS.sub(FEW, text)


def enough(positive: "np.ndarray", subjects: "np.ndarray") -> bool:
    """Whether either class has patients enough for a metric or a curve.

    Args:
      positive: [row] bool.
      subjects: [row], the patient of each.
    """
    classes = (subjects[positive], subjects[~positive])
    return min(len(set(each.tolist())) for each in classes) >= SMALLEST


def enough_of_any(labels: "np.ndarray", subjects: "np.ndarray") -> bool:
    """Whether a mean over labels may be shown: one of them has patients enough of either class.

    Args:
      labels: [row, label] float, nan where a row has none.
      subjects: [row], the patient of each.
    """
    known = labels == labels  # nan is not
    return any(enough(labels[rows, k] > 0, subjects[rows]) for k, rows in enumerate(known.T))


def hidden(few: Sequence[bool], counts: Sequence[int]) -> list[bool]:
    """Returns which of some counts are hidden that add up to a sum others may know.

    Beside those that are `few`, these are the next ones in order, so many that at least two are
    hidden and their sum is of SMALLEST or more. A zero is no cell to hide behind.
    """
    chosen = list(few)
    for place in range(len(chosen)):
        concealed = [count for count, is_hidden in zip(counts, chosen, strict=True) if is_hidden]
        if not concealed or (len(concealed) > 1 and sum(concealed) >= SMALLEST):
            break
        chosen[place] = chosen[place] or counts[place] > 0
    return chosen


def block(counts: Mapping[str, int], patients: int | None = None) -> dict[str, str]:
    """Returns counts that add up as they are shown, the smallest hidden first; none of few
    `patients`."""
    if is_few(patients):
        return {name: shown(count, patients) for name, count in counts.items()}
    order = sorted(counts, key=lambda name: counts[name])
    concealed = hidden([is_few(counts[name]) for name in order], [counts[name] for name in order])
    of = dict(zip(order, concealed, strict=True))
    return {
        name: NONE if of[name] and not is_few(count) else shown(count)
        for name, count in counts.items()
    }


def publishable(test: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the metrics of a split of results.json without those that rest on few patients.

    A label needs SMALLEST patients of either class. A mean over labels that hides one label alone
    would tell it, so a second one is hidden with it; where all labels are hidden, so is the mean.
    What counts no patients, as accuracies of nodes, is returned as it is.
    """
    if "published" in test or not {"per_label", "patients"} & set(test):
        return test
    labels = {name: dict(one) for name, one in (test.get("per_label") or {}).items()}
    behind = {name: min(one.get(key) or 0 for key in BEHIND) for name, one in labels.items()}
    small = {name for name in labels if behind[name] < SMALLEST}
    groups = {group: dict(test[group]) for group in GROUPS if test.get(group)}
    whole = {**test, **groups, "per_label": labels, "published": True}
    for metric in metrics_of(test):
        defined = [name for name in labels if _value(labels[name], metric) is not None]
        others = sorted(set(defined) - small, key=lambda name: (behind[name], name))
        concealed = set(small)
        if others and len(small & set(defined)) == 1:
            concealed.add(others[0])
        for name in concealed & set(labels):
            labels[name][metric] = _without_value()
        if not others:
            for group in (whole, *groups.values()):
                group[metric] = _without_value()
    for name in small:
        labels[name].pop("thresholds", None)
        labels[name].pop("fold_thresholds", None)
    return whole


def comparison(results: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns results.json of a benchmark with `publishable` metrics, and without the differences
    between methods of which either has none to show."""
    methods = [{**one, "test": publishable(one["test"])} for one in results.get("methods", [])]
    of = {one["name"]: one["test"] for one in methods}
    paired = results.get("paired") or {}
    reference = of.get(paired.get("reference"), {})
    differences = {}
    for name, one in paired.get("reference_minus", {}).items():
        differences[name] = dict(one)
        for metric in metrics_of(one):
            if None in (_value(reference, metric), _value(of.get(name, {}), metric)):
                differences[name][metric] = _without_value()
    return {**results, "methods": methods, "paired": {**paired, "reference_minus": differences}}


def metrics_of(entries: Mapping[str, Any]) -> list[str]:
    """The keys of `entries` that hold a metric: {"value", "low", "high", ...}."""
    return [
        key for key, entry in entries.items() if isinstance(entry, Mapping) and "value" in entry
    ]


def _value(entries: Mapping[str, Any], metric: str) -> float | None:
    return (entries.get(metric) or {}).get("value")


def _without_value() -> dict[str, Any]:
    return {"value": None, "low": None, "high": None}
