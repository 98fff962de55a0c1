"""Writes any Records as a MEDS 0.4 data set, from which `meds.read` gives equal Records back.

Events follow the conventions of the MIMIC-IV MEDS ETL where it has one: HOSPITAL_ADMISSION//type//
location, HOSPITAL_DISCHARGE//disposition, ICU_ADMISSION//unit, DIAGNOSIS//ICD//9//4280,
MEDICATION//START//heparin, LAB//50868//mEq/L, MEDS_BIRTH, MEDS_DEATH, GENDER//F. Attributes are
ATTRIBUTE//name//text, notes NOTE//category, other variables MEASUREMENT//name//unit.

What the schema has no place for stands in further columns (`layout.COLUMNS`). Three rules keep
the future out of the events themselves:
- `time` says when an event is known, `ehr_jax_time` what the Records say. A billing code, which
  they leave without a time, is put at the end of its visit, a note with a date alone at the end of
  its day.
- How a visit ended stands on its discharge. A visit without an end has no discharge event; its
  admission then carries what is known of the end, in columns that are no event.
- Where the source has no dates every event is static (`time` null), and `ehr_jax_position` of an
  admission keeps the order of visits. The codes of all visits are then known from the beginning to
  any other MEDS tool: such a data set serves to carry the records, not to predict with.
"""

import importlib.metadata
import json
import pathlib
import shutil
from collections.abc import Iterator

import polars as pl

from ehr_jax import errors, storage
from ehr_jax.records.common import tables
from ehr_jax.records.meds import as_events, files, layout, parquet

SUBJECTS_A_SHARD = 1000

# (kind, system) to the head of a code; others are KIND//system//code.
HEADS = {
    ("diagnosis", "ICD9CM"): "DIAGNOSIS//ICD//9",
    ("diagnosis", "ICD10CM"): "DIAGNOSIS//ICD//10",
    ("procedure", "ICD9PROC"): "PROCEDURE//ICD//9",
    ("procedure", "ICD10PCS"): "PROCEDURE//ICD//10",
    ("drug", "DRUG"): "MEDICATION//START",
}
_KINDS = {"diagnosis": "DIAGNOSIS", "procedure": "PROCEDURE", "drug": "MEDICATION"}

# The order of events at one time.
_RANKS = {"patients": 0, "births": 0, "visits": 1, "stays": 2, "stay ends": 4, "ends": 5}
_RANKS |= {"deaths": 6}
_CHUNK_ROWS = 1 << 20


def write(
    records: tables.Records,
    folder: str | pathlib.Path,
    subjects_a_shard: int = SUBJECTS_A_SHARD,
) -> pathlib.Path:
    """Writes `records` to the new folder `folder`, which appears whole or not at all, mode 0700.

    Measurements and notes are streamed: at any time about a million of their rows, or one shard,
    are in memory.

    Raises RecordsError where the folder already holds something, or for records this layout cannot
    hold: two codes of one MEDS spelling, a repeated stay, a row of an unknown visit or patient.
    """
    folder = pathlib.Path(folder).expanduser().absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise errors.RecordsError(f"{folder.name} already exists and is not empty; name a new one")
    if subjects_a_shard < 1:
        raise errors.RecordsError(f"subjects_a_shard is {subjects_a_shard}; expected 1 or more")
    if records.stays["stay_id"].is_duplicated().any():
        raise errors.RecordsError(
            f"{records.source}: a stay_id stands twice in 'stays'; MEDS joins the two ends of a "
            "stay by it, so every stay needs its own"
        )
    names = _code_names(records)
    with storage.new_folder(folder) as unfinished:
        used = _write_shards(records, names, unfinished, subjects_a_shard)
        _write_metadata(records, names, used, unfinished / "metadata")
    return folder


def _code_names(records: tables.Records) -> pl.DataFrame:
    """Returns code_names with `spelling`, each code's in MEDS."""
    parts = pl.col("code").str.splitn(":", 2)
    system, rest = parts.struct.field("field_0"), parts.struct.field("field_1")
    heads = [(kind, system, head) for (kind, system), head in HEADS.items()]
    heads = pl.DataFrame(heads, schema=["kind", "system", "head"], orient="row")
    kind = pl.col("kind").replace(_KINDS).str.to_uppercase()
    names = records.code_names.with_columns(system=system).join(
        heads, on=["kind", "system"], how="left", maintain_order="left"
    )
    head = pl.coalesce("head", pl.concat_str(kind, "system", separator="//"))
    spelling = pl.concat_str(head, rest, separator="//", ignore_nulls=True)
    names = names.with_columns(spelling=spelling).drop("system", "head")
    twice = names.filter(pl.col("spelling").is_duplicated())
    if twice.height:
        raise errors.RecordsError(
            f"{records.source}: the codes {', '.join(twice['code'][:2])} would both be "
            f"'{twice['spelling'][0]}' in MEDS; rename one of them"
        )
    return names


def _write_shards(records, names, folder: pathlib.Path, size: int) -> pl.Series:
    """Writes data/<number>.parquet; returns the distinct codes in them."""
    subjects = records.patients.select("subject_id").sort("subject_id")
    subjects = subjects.with_columns(shard=pl.int_range(pl.len()) // size)
    visits = records.visits.select("visit_id", "subject_id", closing=pl.coalesce("end", "start"))
    small = _placed(records, as_events.small(records, names, visits), subjects)
    small = small.partition_by("shard", as_dict=True)
    parts = folder / "parts"
    streamed = ((records.measurements, as_events.measured), (records.notes, as_events.written))
    for lazy, make in streamed:
        for events in _chunks(lazy):
            _put_away(_placed(records, make(events, visits), subjects), parts)
    (folder / "data").mkdir()
    used = []
    for number in subjects["shard"].unique().sort():
        found = [small[(number,)]]
        paths = sorted(parts.glob(f"*/{number}.parquet"))
        found += [pl.read_parquet(path, glob=False) for path in paths]
        events = pl.concat(found).sort("subject_id", "time", "rank", maintain_order=True)
        events = events.select(*layout.COLUMNS)
        parquet.write(events, folder / "data" / f"{number}.parquet", large=("text_value",))
        used.append(events["code"].unique())
    shutil.rmtree(parts, ignore_errors=True)
    return pl.concat(used).unique().sort()


def _chunks(lazy: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """Yields the rows in their order, about a million at a time."""
    held, rows = [], 0
    for batch in lazy.collect_batches(maintain_order=True):
        held.append(batch)
        rows += batch.height
        if rows >= _CHUNK_ROWS:
            yield pl.concat(held)
            held, rows = [], 0
    if rows:
        yield pl.concat(held)


def _put_away(events: pl.DataFrame, parts: pathlib.Path) -> None:
    folder = parts / f"{len(list(parts.glob('*'))):06d}"
    folder.mkdir(parents=True)
    for (number,), part in events.partition_by("shard", as_dict=True).items():
        part.write_parquet(folder / f"{number}.parquet")


def _placed(records, events: pl.DataFrame, subjects: pl.DataFrame) -> pl.DataFrame:
    """Returns events in the columns of a shard, with `rank` and `shard`."""
    absent = [n for n in layout.COLUMNS if n not in events.columns]
    events = events.with_columns(
        *[pl.lit(None, layout.COLUMNS[name]).alias(name) for name in absent],
        rank=pl.col("ehr_jax_table").replace_strict(_RANKS, default=3, return_dtype=pl.Int8),
    )
    events = events.join(subjects, on="subject_id", how="left", maintain_order="left")
    if lost := events["shard"].null_count():
        tables_of = ", ".join(
            events.filter(pl.col("shard").is_null())["ehr_jax_table"].unique().sort()
        )
        raise errors.RecordsError(
            f"{records.source}: {lost} row(s) of {tables_of} are of a visit or patient that the "
            "records do not hold; leave them out before writing"
        )
    typed = [pl.col(name).cast(dtype) for name, dtype in layout.COLUMNS.items()]
    return events.select(*typed, "rank", "shard")


def _write_metadata(records, names, used: pl.Series, folder: pathlib.Path) -> None:
    folder.mkdir()
    own = names.select(
        code="spelling", description="name", ehr_jax_code="code", ehr_jax_kind="kind"
    )
    others = used.filter(~used.is_in(own["code"].implode())).to_frame("code")
    codes = pl.concat([own, others], how="diagonal").with_columns(
        parent_codes=pl.lit(None, pl.List(pl.String))
    )
    parquet.write(
        codes.select("code", "description", "parent_codes", "ehr_jax_code", "ehr_jax_kind"),
        folder / "codes.parquet",
    )
    given = {ours: theirs for theirs, ours in files.SPLITS.items()}
    parquet.write(
        records.given_split.with_columns(pl.col("split").replace_strict(given)),
        folder / "subject_splits.parquet",
    )
    extra = [name for name in layout.COLUMNS if name.startswith("ehr_jax_")]
    about = {
        "dataset_name": records.source,
        "etl_name": "ehr_jax",
        "etl_version": importlib.metadata.version("ehr_jax"),
        "meds_version": "0.4.1",
        "license": records.terms,
        "raw_source_id_columns": ["visit_id", "stay_id"],
        "code_modifier_columns": ["unit"],
        "other_extension_columns": extra,
    }
    _write_json(folder / "dataset.json", about)
    exact = {
        "layout": layout.LAYOUT,
        "source": records.source,
        "terms": records.terms,
        "dated": records.dated,
        "oddities": dict(records.oddities),
    }
    _write_json(folder / layout.ABOUT, exact)


def _write_json(path: pathlib.Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
