"""eICU's large tables, lazily: measurements, and texts assembled from what was picked in forms.

vitalPeriodic has 147 million rows in the full release. Nothing is read before a frame is collected,
and then in batches; filter by `variable` first, and collect with `engine="streaming"`. Every row is
timed by when it was known, so that no prediction sees what was entered after it.
"""

import pathlib
from typing import NamedTuple

import polars as pl

from ehr_jax import errors
from ehr_jax.records.common import reading, tables, tally, when

FURTHEST_MINUTES = 10 * 365 * 24 * 60  # of a hospital stay's two ends from the unit admission
_CENTURY_MINUTES = 100 * 365 * 24 * 60

# Column to unit, null where the release does not say.
PERIODIC = {"temperature": "degrees C", "sao2": "%", "heartrate": "bpm", "respiration": "/min"}
PERIODIC |= dict.fromkeys(("cvp", "etco2", "icp"), "mmHg")
PERIODIC |= dict.fromkeys(("systemicsystolic", "systemicdiastolic", "systemicmean"), "mmHg")
PERIODIC |= dict.fromkeys(("pasystolic", "padiastolic", "pamean"), "mmHg")
PERIODIC |= dict.fromkeys(("st1", "st2", "st3"))
APERIODIC = dict.fromkeys(("noninvasivesystolic", "noninvasivediastolic"), "mmHg")
APERIODIC |= dict.fromkeys(("noninvasivemean", "paop"), "mmHg") | {"cardiacoutput": "L/min"}
APERIODIC |= dict.fromkeys(("cardiacinput", "svr", "svri", "pvr", "pvri"))
WIDE = {"vitalPeriodic": PERIODIC, "vitalAperiodic": APERIODIC}

LAB_STEMS = ("lab", "lab.subset-169-stays")  # the second: a part of it that is passed around


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


def after(start: str, minutes: pl.Expr) -> pl.Expr:
    """Returns the time that lies `minutes` after the column `start`; null where either is.

    More than a century is taken as one: such an offset is an error, and a time must hold it.
    """
    held = minutes.clip(-_CENTURY_MINUTES, _CENTURY_MINUTES)
    return pl.col(start) + pl.duration(minutes=held, time_unit="us")


def measurements(
    root: str | pathlib.Path,
    units: pl.DataFrame,
    visits: pl.DataFrame,
    series: str | pathlib.Path,
    oddities: dict[str, int],
) -> pl.LazyFrame:
    """Returns the numeric observations of `units` as `tables.MEASUREMENTS`.

    `variable` is "VITAL:heartrate", "LAB:<labname>", "NURSE:<name>" or, of the hourly series,
    "YAIB:hr". A laboratory value is timed by its last revision, a nurse's by its entry: the value
    as it stands was known no earlier. A row of hour h of the series holds what was seen from h to
    h + 1, and is timed at h + 1. A missing table gives no rows. Rows far outside their visit are
    left out, and counted when the frame is collected.

    Raises RecordsError where `series` holds no dyn.parquet or none of the unit stays.
    """
    found = {stem: _wide(root, stem, units) for stem in WIDE}
    found |= {"lab": _labs(root, units), "nurseCharting": _nurses(root, units)}
    if series:
        found["dyn"] = _hourly(series, units, oddities)
    faults = {
        "without a unit stay": pl.col("stay_id").is_null(),
        "without a number, time or name": (
            pl.any_horizontal(pl.col("minutes", "variable", "value").is_null())
            | pl.col("value").is_infinite()
        ),
    }
    # A row of a wide table has several values, each of which may be left out.
    near = [
        when.within(
            rows,
            tables.MEASUREMENTS,
            visits,
            f"{stem} {'values' if stem in (*WIDE, 'dyn') else 'rows'}",
            oddities,
            faults,
        )
        for stem, rows in found.items()
        if rows is not None
    ]
    return pl.concat(near) if near else tables.empty(tables.MEASUREMENTS).lazy()


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
    entered = after("start", pl.col("minutes"))
    far = when.is_far(entered, pl.col("first"), pl.col("last"))
    rule = when.left_out("admission diagnoses entered").replace("left out", "known after 24 h")
    oddities[rule] = joined.select(far.sum()).item()
    return joined.with_columns(
        known=pl.coalesce(pl.when(~far).then(entered), after("start", pl.lit(24 * 60)))
    )


def _wide(root, stem: str, units: pl.DataFrame) -> pl.LazyFrame | None:
    path = reading.find_table(root, stem, required=False)
    if path is None:
        return None
    variables = WIDE[stem]
    schema = dict.fromkeys(("patientunitstayid", "observationoffset"), pl.Int64)
    schema |= dict.fromkeys(variables, pl.Float64)
    rows = reading.scan(path, schema, optional=variables)
    rows = rows.rename({"patientunitstayid": "stay_id", "observationoffset": "minutes"})
    named = {f"VITAL:{name}": unit for name, unit in variables.items()}
    long = _long(rows, {name: f"VITAL:{name}" for name in variables})
    # `replace_strict` would hold every row before it looks at the first.
    unit = pl.coalesce(
        pl.when(pl.col("variable") == name).then(pl.lit(unit)) for name, unit in named.items()
    )
    return _measured(long.with_columns(unit=unit), units)


def _labs(root, units: pl.DataFrame) -> pl.LazyFrame | None:
    paths = [reading.find_table(root, stem, required=False) for stem in LAB_STEMS]
    path = next((path for path in paths if path), None)
    if path is None:
        return None
    offsets = ("labresultoffset", "labresultrevisedoffset")
    schema = dict.fromkeys(("patientunitstayid", *offsets), pl.Int64)
    schema |= {"labname": pl.String, "labresult": pl.Float64, "labmeasurenamesystem": pl.String}
    rows = reading.scan(
        path,
        schema,
        optional=("labresultrevisedoffset", "labmeasurenamesystem"),
        worded=("labresult",),
    )
    rows = rows.select(
        pl.col("patientunitstayid").alias("stay_id"),
        pl.max_horizontal(*offsets).alias("minutes"),
        ("LAB:" + pl.col("labname").str.strip_chars()).alias("variable"),
        pl.col("labresult").alias("value"),
        pl.col("labmeasurenamesystem").alias("unit"),
    )
    return _measured(rows, units)


def _nurses(root, units: pl.DataFrame) -> pl.LazyFrame | None:
    path = reading.find_table(root, "nurseCharting", required=False)
    if path is None:
        return None
    offsets = ("nursingchartoffset", "nursingchartentryoffset")
    labels = ("nursingchartcelltypevallabel", "nursingchartcelltypevalname")
    schema = dict.fromkeys(("patientunitstayid", *offsets), pl.Int64)
    schema |= dict.fromkeys((*labels, "nursingchartvalue"), pl.String)
    label, name = (pl.col(column).str.strip_chars() for column in labels)
    rows = reading.scan(path, schema, optional=("nursingchartentryoffset",)).select(
        pl.col("patientunitstayid").alias("stay_id"),
        pl.max_horizontal(*offsets).alias("minutes"),
        # "Temperature" is charted as "Temperature (C)" and as "Temperature Location".
        pl.when(label == name)
        .then("NURSE:" + name)
        .otherwise(pl.concat_str(pl.lit("NURSE:"), label, pl.lit(", "), name))
        .alias("variable"),
        # A chart cell holds words as well; only numbers are measurements.
        pl.col("nursingchartvalue").str.strip_chars().cast(pl.Float64, strict=False).alias("value"),
        pl.lit(None, pl.String).alias("unit"),
    )
    return _measured(rows, units)


def _hourly(folder, units: pl.DataFrame, oddities: dict) -> pl.LazyFrame:
    path = reading.find_table(folder, "dyn")
    variables = [name for name in reading.columns(path) if name not in ("stay_id", "time")]
    stays = reading.scan(path, {"stay_id": pl.Int64}).unique().drop_nulls().collect()
    unknown = stays.join(units, on="stay_id", how="anti").height
    if unknown == stays.height:
        raise errors.RecordsError(
            f"{path.name}: none of its {unknown} stay_id(s) is a unit stay of the eICU tables; "
            "is this the series of another source?"
        )
    oddities["stays of the hourly series that are unknown, left out"] = unknown
    schema = {"stay_id": pl.Int64, "time": pl.Float64} | dict.fromkeys(variables, pl.Float64)
    # The hour of a row is rounded down: its values were seen in the 60 minutes after it.
    minutes = (pl.col("time") * 60).round().cast(pl.Int64, strict=False) + 60
    rows = reading.scan(path, schema).with_columns(minutes=minutes).drop("time")
    long = _long(rows, {name: f"YAIB:{name}" for name in variables})
    return _measured(long.with_columns(unit=pl.lit(None, pl.String)), units)


def _long(rows: pl.LazyFrame, names: dict[str, str]) -> pl.LazyFrame:
    """Returns stay_id, minutes, variable, value of a table with a column a variable."""
    long = rows.rename(names).unpivot(list(names.values()), index=["stay_id", "minutes"])
    return long.drop_nulls("value")


def _measured(rows: pl.LazyFrame, units: pl.DataFrame) -> pl.LazyFrame:
    known = units.lazy().select("stay_id", "visit_id", "start")
    joined = rows.join(known, on="stay_id", how="left")
    return joined.with_columns(time=after("start", pl.col("minutes"))).select(
        "minutes", *(pl.col(name).cast(dtype) for name, dtype in tables.MEASUREMENTS.items())
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
            after("start", pl.col("minutes")).alias("time"),
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
