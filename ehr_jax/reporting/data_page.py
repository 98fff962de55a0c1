"""The parts of a report that tell of the data: counts, splits, exclusions, notes."""

from collections.abc import Mapping

from ehr_jax import disclosure
from ehr_jax.reporting import page, tables

NOTES = {
    "own": "Notes: the source's own; the protocol decides which of them a sample may use.",
    "record": (
        "Notes: no clinician's notes. In their place stands each visit's own structured record, "
        "known at the prediction time, written out as plain text."
    ),
    "none": "Notes: none; the model saw codes alone.",
}


_CLASSES = ("positive", "negative")


def section(data: Mapping) -> str:
    """Splits, records, exclusions, what was mended, features: data.json as a section."""
    if not data:
        return page.section("Data", page.text("data.json is not there.", "missing"))
    cohort, records = data.get("cohort") or {}, data.get("records") or {}
    everyone, chosen = records.get("patients"), cohort.get("patients")
    parts = []
    splits = cohort.get("splits") or {
        f"test, {name.replace('_', ' ')}": one["splits"]["test"]
        for name, one in (data.get("folds") or {}).items()
    }
    if splits:
        parts += [page.heading("Splits"), _splits(splits)]
    # Knowledge has a section of its own.
    features = data.get("features")
    if features:
        features = {key: value for key, value in features.items() if key != "knowledge"}
    excluded = cohort.get("excluded")
    blocks = (
        ("Records", data.get("records"), everyone),
        (
            "Left out of the cohort",
            None if excluded is None else disclosure.block(excluded, everyone),
            everyone,
        ),
        ("Mended or left out while reading", data.get("oddities"), everyone),
        *(
            (f"Rows of {name}", _account(of, everyone), everyone)
            for name, of in (data.get("tables") or {}).items()
        ),
        ("Features", features, chosen),
    )
    shown = [
        page.heading(title) + page.facts(values, counts=True, patients=patients)
        for title, values, patients in blocks
        if values is not None
    ]
    parts.append(page.columns(*shown))
    told = ("title", "description", "faults", "labels", "excluded", "splits")
    rest = {key: value for key, value in cohort.items() if key not in told}
    known = ("records", "cohort", "oddities", "notes", "encoder", "terms", "features", "source",
             "folds", "tables", "internal")  # fmt: skip
    rest |= {key: value for key, value in data.items() if key not in known}
    parts += [
        page.folded("More on cohort and data", page.facts(rest, counts=True, patients=chosen))
    ]
    if data.get("encoder"):
        parts += [page.folded("Text encoder", page.facts(data["encoder"], counts=False))]
    small = (
        f"Counts of 1 to {disclosure.SMALLEST - 1} are shown as {disclosure.FEW}; what rests on "
        f"so few patients, or would tell such a count, as {tables.NONE}."
    )
    return page.section("Data", *parts, page.text(small, "note"))


def _account(counts: Mapping[str, int], patients: int | None) -> dict[str, str]:
    """The rows of a table, as shown: their sum is not, where it would tell a part that is small."""
    shown = {name: disclosure.shown(count, patients) for name, count in counts.items()}
    return shown | ({"read": tables.NONE} if disclosure.FEW in shown.values() else {})


def notes_section(results: Mapping, data: Mapping) -> str:
    """Where the notes came from, in a sentence and in counts."""
    notes = data.get("notes") or {}
    source = results.get("notes") or notes.get("source")
    if source is None:
        return page.section("Notes", page.text("No note source was recorded.", "missing"))
    said = page.text(NOTES.get(source, f"Notes: source '{source}'."))
    patients = fewest(data, notes, "patients_with_text", "samples_with_text")
    told = {key: value for key, value in notes.items() if key != "patients_with_text"}
    if "samples_with_text" in told:
        told["samples_with_text"] = part(data, told["samples_with_text"], patients)
    return page.section("Notes", said, page.facts(told, True, patients) if told else "")


def fewest(data: Mapping, counts: Mapping, *keys: str) -> int | None:
    """The fewest patients that counts may be of: those of the cohort, or of `keys` of `counts`."""
    behind = [(data.get("cohort") or {}).get("patients"), *(counts.get(key) for key in keys)]
    return min((count for count in behind if count is not None), default=None)


def part(data: Mapping, samples: int | None, patients: int | None) -> str:
    """How many of the cohort's samples have something, so many `patients` among them."""
    without = ((data.get("cohort") or {}).get("samples") or 0) - (samples or 0)
    if disclosure.is_few(without) and not disclosure.is_few(patients):
        return f"all but {disclosure.FEW}"
    return disclosure.shown(samples, patients)


def prevalence(
    positives: int | None, samples: int | None, patients: tuple[int | None, int | None]
) -> tuple[str, str]:
    """A label's count and share; both hidden where few patients of either class stand behind it.

    Args:
      patients: with a positive, and with a negative.
    """
    if positives is None or not samples:
        return disclosure.shown(positives), tables.NONE
    # Of few patients in all, "<10" or "0" would tell that all of them, or none, are positive.
    if disclosure.is_few(samples) or disclosure.is_few(sum(count or 0 for count in patients)):
        return tables.NONE, tables.NONE
    if disclosure.is_few(samples - positives):
        return f"all but {disclosure.FEW}", tables.NONE
    if disclosure.is_few(positives):
        return disclosure.FEW, tables.NONE
    # Where the patients were not counted, there may be few.
    if any(count is None or disclosure.is_few(count) for count in patients):
        return tables.NONE, tables.NONE
    return disclosure.shown(positives), f"{100 * positives / samples:.1f} %"


def _splits(splits: Mapping[str, Mapping]) -> str:
    header = ["", *splits]
    patients = [of.get("patients") or 0 for of in splits.values()]
    concealed = disclosure.hidden([disclosure.is_few(count) for count in patients], patients)
    rows = []
    for name in ("patients", "samples", "labelled"):
        cells = [
            tables.NONE
            if is_hidden and not disclosure.is_few(of.get(name))
            else disclosure.shown(of.get(name))
            for of, is_hidden in zip(splits.values(), concealed, strict=True)
        ]
        rows.append([name.capitalize(), *cells])
    labels = dict.fromkeys(name for of in splits.values() for name in of.get("positives") or {})
    positives = []
    for label in labels:
        cells = []
        for of, is_hidden in zip(splits.values(), concealed, strict=True):
            each = [(of.get(f"{kind}_patients") or {}).get(label) for kind in _CLASSES]
            count = (of.get("positives") or {}).get(label)
            count, share = prevalence(count, of.get("labelled"), tuple(each))
            told = count if share == tables.NONE else f"{count} ({share})"
            cells.append(tables.NONE if is_hidden else told)
        positives.append([f"Positive: {label}", *cells])
    if len(positives) <= 3:
        return page.table(header, rows + positives)
    return page.table(header, rows) + page.folded(
        "Positives per label", page.table(header, positives)
    )
