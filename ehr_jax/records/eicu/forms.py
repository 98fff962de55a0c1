"""Texts of eICU, assembled from what was picked in forms, lazily.

Every text is timed by when it was known, so that no prediction sees what was entered after it.
"""

import pathlib
from typing import NamedTuple

import polars as pl

from ehr_jax.records.common import reading, tables, tally, when
from ehr_jax.records.eicu import events


class Form(NamedTuple):
    """A table of what was picked in a form: where (a path), what (value), and what was typed."""

    title: str
    path: str
    value: str
    text: str
    offset: str
    entered: str | None
    separator: str = "/"


FORMS = {
    "note": Form("Note", "notepath", "notevalue", "notetext", "noteoffset", "noteenteredoffset"),
    "physicalExam": Form(
        "Physical examination",
        "physicalexampath",
        "physicalexamvalue",
        "physicalexamtext",
        "physicalexamoffset",
        None,
    ),
    "pastHistory": Form(
        "Past history",
        "pasthistorypath",
        "pasthistoryvalue",
        "pasthistoryvaluetext",
        "pasthistoryoffset",
        "pasthistoryenteredoffset",
    ),
    "admissionDx": Form(
        "Admission diagnosis",
        "admitdxpath",
        "admitdxname",
        "admitdxtext",
        "admitdxenteredoffset",
        None,
        "|",
    ),
}

# How the form was filled in, printed or billed: nothing about the patient.
_CLERICAL = (
    r"^notes/Shared/|/View Options/|/Include Rx/|/Skip Screen Options|/Billing Options/"
    r"|Obtain Options/(Performed|Not Performed)"
)


def notes(
    root: str | pathlib.Path, units: pl.DataFrame, visits: pl.DataFrame, oddities: dict[str, int]
) -> pl.LazyFrame:
    """Returns texts of `units` as `tables.NOTES`: one a form (the category), unit stay and time.

    `time` is the later of the time a note is about and the time it was entered. physicalExam has no
    entry time of its own: it takes that of the note it belongs to (same unit stay and offset). A
    missing table gives no rows, and texts far outside their visit are left out, counted when the
    frame is collected. Collecting gathers a whole form in memory (in the full release at
    most 9 million short rows, of physicalExam), as the rows of a text may stand anywhere.
    """
    faults = {
        "without a unit stay": pl.col("stay_id").is_null(),
        "without a time": pl.col("time").is_null() & pl.col("visit_id").is_not_null(),
        "of clerical marks": pl.col("clerical"),
        "without words": pl.col("line").is_null(),
    }
    found = [
        when.within(
            _texts(root, stem, form, path, units),
            tables.NOTES,
            visits,
            f"{stem} rows",
            oddities,
            faults,
        )
        for stem, form in FORMS.items()
        if (path := reading.find_table(root, stem, required=False))
    ]
    return pl.concat(found) if found else tables.empty(tables.NOTES).lazy()


def admission_diagnosis_times(
    root: str | pathlib.Path, units: pl.DataFrame, visits: pl.DataFrame, oddities: dict[str, int]
) -> pl.DataFrame:
    """Returns `units` with `known`: when the APACHE admission diagnosis of each was entered.

    Without an entry in admissionDx, or with one far outside the visit (which is counted), 24 h
    after admission: APACHE is scored on the first day.
    """
    minutes = pl.DataFrame(schema={"stay_id": pl.Int64, "minutes": pl.Int64})
    if path := reading.find_table(root, "admissionDx", required=False):
        entered = FORMS["admissionDx"].offset
        raw = reading.read(path, dict.fromkeys(("patientunitstayid", entered), pl.Int64))
        minutes = raw.group_by(stay_id="patientunitstayid").agg(minutes=pl.col(entered).max())
    joined = units.join(minutes, on="stay_id", how="left", maintain_order="left")
    bounds = visits.select("visit_id", first="start", last="end")
    joined = joined.join(bounds, on="visit_id", how="left", maintain_order="left")
    entered = events.after("start", pl.col("minutes"))
    far = when.is_far(entered, pl.col("first"), pl.col("last"))
    rule = when.left_out("admission diagnoses entered").replace("left out", "known after 24 h")
    oddities[rule] = joined.select(far.sum()).item()
    return joined.with_columns(
        known=pl.coalesce(pl.when(~far).then(entered), events.after("start", pl.lit(24 * 60)))
    )


def _texts(root, stem: str, form: Form, path: pathlib.Path, units: pl.DataFrame) -> pl.LazyFrame:
    offsets = [form.offset] + ([form.entered] if form.entered else [])
    schema = dict.fromkeys(("patientunitstayid", *offsets), pl.Int64)
    schema |= dict.fromkeys((form.path, form.value, form.text), pl.String)
    rows = reading.scan(path, schema).rename({"patientunitstayid": "stay_id"})
    if stem == "physicalExam":
        keys = ["stay_id", form.offset]
        rows = rows.join(_entries(root), left_on=keys, right_on=["stay_id", "about"], how="left")
        offsets.append("entered")
    minutes = pl.max_horizontal(*offsets)
    lines = pl.col("line").sort_by(form.path, "line").unique(maintain_order=True)
    clerical = pl.col(form.path).str.contains(_CLERICAL)
    worded = pl.col(form.path).is_not_null() & pl.col("line").is_not_null()
    return (
        rows.with_columns(minutes=minutes, line=_line(form), clerical=clerical)
        .with_columns(line=pl.when(worded & ~pl.col("clerical")).then("line"))
        .with_columns(worded=pl.col("line").is_not_null())
        .group_by("stay_id", "minutes", "clerical", "worded")
        .agg(pl.when(pl.col("worded").first()).then(lines.str.join("; ")), pl.len().alias(tally.N))
        .join(units.lazy().select("stay_id", "visit_id", "start"), on="stay_id", how="left")
        .select(
            "stay_id",
            "visit_id",
            "clerical",
            "line",
            tally.N,
            events.after("start", pl.col("minutes")).alias("time"),
            pl.lit(False).alias("date_only"),
            pl.lit(stem).alias("category"),
            pl.format("{}: {}.", pl.lit(form.title), "line").alias("text"),
        )
    )


def _entries(root) -> pl.LazyFrame:
    """Returns stay_id, about and entered: when the note about an offset was last entered."""
    path, form = reading.find_table(root, "note", required=False), FORMS["note"]
    if path is None:
        schema = dict.fromkeys(("stay_id", "about", "entered"), pl.Int64)
        return pl.LazyFrame(schema=schema)
    rows = reading.scan(
        path, dict.fromkeys(("patientunitstayid", form.offset, form.entered), pl.Int64)
    )
    return (
        rows.drop_nulls()
        .group_by(stay_id="patientunitstayid", about=form.offset)
        .agg(entered=pl.col(form.entered).max())
    )


def _line(form: Form) -> pl.Expr:
    """Returns what was picked as words: "Smoking Status: denies smoking", "HR Current 88"."""
    value = _tidy(pl.col(form.value))
    path = _tidy(pl.col(form.path).str.replace('/Print "Negative"', "", literal=True))
    for _ in range(2):  # the value ends the path, at times twice ("…/CAD/CAD")
        path = path.str.strip_suffix(value).str.strip_chars_end(form.separator + " ")
    label = path.str.split(form.separator).list.last().str.strip_chars(" :?")
    # What was typed is told where it is more than the value itself ("NotPerformed" is not).
    typed = _tidy(pl.col(form.text))
    more = typed.str.replace_all(" ", "") != value.str.replace_all(" ", "")
    words = pl.when(more).then(pl.concat_str(value, pl.lit(" "), typed)).otherwise(value)
    repeated = words.str.to_lowercase().str.starts_with(label.str.to_lowercase())
    return pl.when(repeated).then(words).otherwise(pl.concat_str(label, pl.lit(": "), words))


def _tidy(text: pl.Expr) -> pl.Expr:
    # " / " and "&&" are inside names ("Social History / Family History", "I&&O"), "(R)" is a mark.
    text = text.str.replace_all(" / ", " and ", literal=True)
    text = text.str.replace_all("&&", "&", literal=True).str.replace_all(" (R)", "", literal=True)
    return text.str.replace_all(r"\s+", " ").str.strip_chars()
