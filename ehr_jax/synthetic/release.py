"""The synthetic hospital at the size of a release: MIMIC-III files of any number of chart rows.

Patients as many as give each intensive-care stay the rows it has in MIMIC-III v1.4; CHARTEVENTS and
LABEVENTS are made and written stay by stay, so that memory stays small. Notes are left out.
"""

import dataclasses
import pathlib
from collections.abc import Iterator

import numpy as np
import polars as pl
from polars.io import plugins

from ehr_jax import errors, progress, storage
from ehr_jax.records.common import tables
from ehr_jax.records.mimic import mimic3_writer
from ehr_jax.synthetic import charts as synthetic_charts
from ehr_jax.synthetic import course as synthetic_course
from ehr_jax.synthetic import hospital as synthetic
from ehr_jax.synthetic import series as synthetic_series

CHART_ROWS, STAYS = 330_712_483, 61_532  # of MIMIC-III v1.4
SUFFIXES = (".csv.gz", ".csv", ".parquet")

_STAYS_A_PATIENT = 1.11  # of the synthetic hospital, about
_CHUNK_ROWS = 1 << 19


def write(
    folder: str | pathlib.Path, chart_rows: int, seed: int = 0, suffix: str = ".csv.gz"
) -> pathlib.Path:
    """Writes a hospital whose CHARTEVENTS has `chart_rows` rows to the new folder `folder`.

    The folder appears whole or not at all. `suffix` is that of CHARTEVENTS and LABEVENTS; a parquet
    file has text columns, but for the identifiers. Raises RecordsError for impossible arguments and
    for a folder that holds something.
    """
    folder = pathlib.Path(folder).expanduser().absolute()
    if suffix not in SUFFIXES:
        raise errors.RecordsError(f"suffix is '{suffix}'; expected {', '.join(SUFFIXES)}")
    if chart_rows < 1:
        raise errors.RecordsError(f"chart_rows is {chart_rows}; it must be at least 1")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise errors.RecordsError(f"{folder.name} already exists and is not empty; name a new one")
    patients = max(1, round(chart_rows * STAYS / CHART_ROWS / _STAYS_A_PATIENT))
    records = synthetic.generate(patients, seed)
    bare = dataclasses.replace(
        records,
        measurements=tables.empty(tables.MEASUREMENTS).lazy(),
        notes=tables.empty(tables.NOTES).lazy(),
    )
    course = synthetic_course.simulate(
        patients, np.random.default_rng((seed, 0)), 1.0, np.zeros(patients)
    )
    stays = synthetic.unit_stays(course)
    subject_id = records.stays["subject_id"].to_numpy()
    with storage.new_folder(folder) as made:
        mimic3_writer.write(bare, made)
        for table in ("CHARTEVENTS", "LABEVENTS", "NOTEEVENTS", "D_ITEMS"):
            (made / f"{table}.csv.gz").unlink()
        _items().write_csv(made / "D_ITEMS.csv.gz", compression="gzip")
        charts = _charts(stays, subject_id, _shares(stays, chart_rows), seed)
        _sink(charts, "CHARTEVENTS", chart_rows, made, suffix)
        _sink(_laboratory(stays, subject_id, seed), "LABEVENTS", stays.stay_id.size, made, suffix)
    return folder


def _shares(stays: synthetic_series.Stays, chart_rows: int) -> np.ndarray:
    """Returns how many rows each stay has: in proportion to its length, `chart_rows` in all."""
    minutes = np.cumsum(np.maximum(stays.end - stays.start, 1))
    return np.diff(np.rint(minutes / minutes[-1] * chart_rows).astype(np.int64), prepend=0)


def _some(stays: synthetic_series.Stays, chosen: slice) -> synthetic_series.Stays:
    return synthetic_series.Stays(*(column[chosen] for column in stays))


def _charts(stays, subject_id, rows, seed: int) -> Iterator[tuple[pl.DataFrame, int]]:
    """Yields the rows of some stays at a time, and how many units of progress they are."""
    items = synthetic_charts.catalogue()
    chunk = np.cumsum(rows) // _CHUNK_ROWS
    bounds = np.flatnonzero(np.diff(chunk, prepend=-1, append=chunk[-1] + 1))
    for number, (first, last) in enumerate(zip(bounds, bounds[1:], strict=False)):
        chosen, rng = slice(first, last), np.random.default_rng((seed, 5, number))
        frame = synthetic_charts.chart(
            _some(stays, chosen), subject_id[chosen], rows[chosen], items, rng
        )
        yield frame, frame.height


def _laboratory(stays, subject_id, seed: int) -> Iterator[tuple[pl.DataFrame, int]]:
    names = {
        name: int(item.variable.removeprefix("LAB:"))
        for name, item in mimic3_writer.ITEMS.items()
        if item.variable.startswith("LAB:")
    }
    for number, first in enumerate(range(0, stays.stay_id.size, 2000)):
        some = _some(stays, slice(first, first + 2000))
        subjects = pl.DataFrame({"stay_id": some.stay_id, "subject_id": subject_id[first:][:2000]})
        measured = synthetic_series.measure(some, (seed, 6, number))
        frame = measured.filter(pl.col("variable").is_in(list(names)))
        value = pl.col("value").cast(pl.String).str.strip_suffix(".0")
        frame = frame.join(subjects, on="stay_id", maintain_order="left").select(
            "subject_id",
            pl.col("visit_id").alias("hadm_id"),
            pl.col("variable").replace_strict(names, return_dtype=pl.Int32).alias("itemid"),
            pl.col("time").dt.strftime("%Y-%m-%d %H:%M:%S").alias("charttime"),
            value=value,
            valuenum=value,
            valueuom="unit",
            flag=pl.lit(None, pl.String),
        )
        yield frame, some.stay_id.size


def _sink(parts: Iterator, table: str, total: int, folder: pathlib.Path, suffix: str) -> None:
    """Writes a table part by part, with the column ROW_ID before the others."""
    columns = {name.upper(): pl.String for name in mimic3_writer.COLUMNS[table]}
    columns |= {name: pl.Int64 for name in columns if name == "ITEMID" or name.endswith("_ID")}
    columns |= {name: pl.Int64 for name in columns if name == "CGID"}

    def batches(with_columns, predicate, n_rows, batch_size) -> Iterator[pl.DataFrame]:
        del with_columns, predicate, n_rows, batch_size
        done = 0
        with progress.progress(f"{table}{suffix}", total) as bar:
            for frame, units in parts:
                row_id = pl.int_range(done + 1, done + 1 + frame.height, eager=True)
                frame = frame.rename(str.upper).insert_column(0, row_id.alias("ROW_ID"))
                yield frame.select(pl.col(name).cast(dtype) for name, dtype in columns.items())
                done += frame.height
                bar.advance(units)

    lazy, path = plugins.register_io_source(batches, schema=columns), folder / (table + suffix)
    if suffix == ".parquet":
        lazy.sink_parquet(path)
    elif suffix == ".csv":
        lazy.sink_csv(path)
    else:
        lazy.sink_csv(path, compression="gzip", compression_level=1)


def _items() -> pl.DataFrame:
    items = synthetic_charts.catalogue().items
    frame = pl.DataFrame(
        {
            "itemid": [item.itemid for item in items],
            "label": [item.label for item in items],
            "unitname": [item.unit for item in items],
        },
        schema_overrides={"unitname": pl.String},
    ).with_columns(pl.lit("chartevents").alias("linksto"))
    columns = [
        pl.col(name) if name in frame.columns else pl.lit(None).alias(name)
        for name in mimic3_writer.COLUMNS["D_ITEMS"]
    ]
    return frame.select(columns).rename(str.upper)
