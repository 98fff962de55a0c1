"""The parts of a report that tell of the data: counts, splits, exclusions, notes."""

from collections.abc import Mapping

from ehr_jax.reporting import curves, page, tables

NOTES = {
    "own": "Notes: the source's own; the protocol decides which of them a sample may use.",
    "record": (
        "Notes: no clinician's notes. In their place stands each visit's own structured record, "
        "known at the prediction time, written out as plain text."
    ),
    "none": "Notes: none; the model saw codes alone.",
}


def section(data: Mapping) -> str:
    """Splits, records, exclusions, what was mended, features: data.json as a section."""
    if not data:
        return page.section("Data", page.text("data.json is not there.", "missing"))
    cohort = data.get("cohort") or {}
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
    blocks = (
        ("Records", data.get("records")),
        ("Left out of the cohort", cohort.get("excluded")),
        ("Mended or left out while reading", data.get("oddities")),
        *((f"Rows of {name}", of) for name, of in (data.get("tables") or {}).items()),
        ("Features", features),
    )
    shown = [
        page.heading(title) + page.facts(values, counts=True)
        for title, values in blocks
        if values is not None
    ]
    parts.append(page.columns(*shown))
    told = ("description", "faults", "labels", "excluded", "splits")
    rest = {key: value for key, value in cohort.items() if key not in told}
    known = ("records", "cohort", "oddities", "notes", "encoder", "terms", "features", "source",
             "folds", "tables", "internal")  # fmt: skip
    rest |= {key: value for key, value in data.items() if key not in known}
    parts += [page.folded("More on cohort and data", page.facts(rest, counts=True))]
    if data.get("encoder"):
        parts += [page.folded("Text encoder", page.facts(data["encoder"], counts=False))]
    small = f"Counts of 1 to {curves.SMALLEST - 1} are shown as <{curves.SMALLEST}."
    return page.section("Data", *parts, page.text(small, "note"))


def notes_section(results: Mapping, data: Mapping) -> str:
    """Where the notes came from, in a sentence and in counts."""
    notes = data.get("notes") or {}
    source = results.get("notes") or notes.get("source")
    if source is None:
        return page.section("Notes", page.text("No note source was recorded.", "missing"))
    said = page.text(NOTES.get(source, f"Notes: source '{source}'."))
    return page.section("Notes", said, page.facts(notes, counts=True) if notes else "")


def prevalence(positives: int | None, samples: int | None) -> tuple[str, str]:
    """A label's count and share; both hidden where the positives or the negatives are few."""
    if positives is None or not samples:
        return page.shown_count(positives), tables.NONE
    if 0 < samples - positives < curves.SMALLEST:
        return f"all but <{curves.SMALLEST}", tables.NONE
    if 0 < positives < curves.SMALLEST:
        return page.shown_count(positives), tables.NONE
    return page.shown_count(positives), f"{100 * positives / samples:.1f} %"


def _splits(splits: Mapping[str, Mapping]) -> str:
    header = ["", *splits]
    rows = [
        [name.capitalize(), *(page.shown_count(of.get(name)) for of in splits.values())]
        for name in ("patients", "samples", "labelled")
    ]
    labels = dict.fromkeys(name for of in splits.values() for name in of.get("positives") or {})
    positives = []
    for label in labels:
        cells = []
        for of in splits.values():
            count, share = prevalence((of.get("positives") or {}).get(label), of.get("labelled"))
            cells.append(count if share == tables.NONE else f"{count} ({share})")
        positives.append([f"Positive: {label}", *cells])
    if len(positives) <= 3:
        return page.table(header, rows + positives)
    return page.table(header, rows) + page.folded(
        "Positives per label", page.table(header, positives)
    )
