"""eICU's large tables of measurements, lazily.

vitalPeriodic has 147 million rows in the full release. Nothing is read before a frame is collected,
and then in batches; filter by `variable` first, and collect with `engine="streaming"`. Every row is
timed by when it was known, so that no prediction sees what was entered after it.
"""

import pathlib

import polars as pl

from ehr_jax import errors
from ehr_jax.records.common import reading, tables, when

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
