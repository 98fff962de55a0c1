"""The files of a MEDS 0.4 data set: its shards, found, checked and scanned, and its metadata.

    data/**/*.parquet                events: subject_id, time, code, numeric_value, text_value, ...
    metadata/codes.parquet           code, description, parent_codes
    metadata/subject_splits.parquet  subject_id, split
    metadata/dataset.json            name, version, licence

Only the shards must be there. Messages name a file by its path below the data set's folder.
"""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl
from polars.io import plugins

from ehr_jax import errors
from ehr_jax.records.common import damage, reading, tables

EVENTS = {
    "subject_id": pl.Int64,
    "time": tables.TIME,  # null for what is known from the beginning
    "code": pl.String,
    "numeric_value": pl.Float32,
    "text_value": pl.String,
}
REQUIRED = ("subject_id", "time", "code")
CODES = {"code": pl.String, "description": pl.String}

# The schema's names of splits to ours.
SPLITS = {"train": "train", "tuning": "validation", "held_out": "test"}

# The schema's types in the words of Arrow, which is what other programs show.
_ARROW = {
    pl.Int64: "int64",
    tables.TIME: "timestamp[us] without a zone",
    pl.String: "string",
    pl.Float32: "float32",
}
# Other types that hold the same.
_ALSO = {pl.String: (pl.Categorical, pl.Enum, pl.Null), pl.Float32: (pl.Null,)}


def find(root: str | pathlib.Path) -> list[pathlib.Path]:
    """Returns the shards of the data set in `root`, sorted, each with the schema's columns.

    Raises RecordsError for a missing folder, no shard, a damaged one, or one of another schema.
    """
    root = reading.data_folder(root)
    below = (path.relative_to(root) for path in (root / "data").rglob("*.parquet"))
    shards = [root / path for path in sorted(below) if not path.name.startswith(".")]
    if not shards:
        has = "has no 'data' folder" if not (root / "data").is_dir() else "has an empty 'data'"
        raise errors.RecordsError(
            f"{root}: {has}; a MEDS data set keeps its events in data/**/*.parquet. Is this the "
            "folder that holds 'data' and 'metadata'?"
        )
    for path in shards:
        _check_schema(root, path)
    return shards


def columns_of(root: str | pathlib.Path, path: pathlib.Path) -> dict[str, pl.DataType]:
    """Returns the columns of a parquet file; RecordsError for one that is damaged."""
    try:
        return dict(pl.scan_parquet(path, glob=False).collect_schema())
    except damage.ERRORS:
        raise _damaged(root, path) from None


def scan(
    root: str | pathlib.Path,
    shards: list[pathlib.Path],
    columns: Mapping[str, pl.DataType],
    aliases: Mapping[str, tuple[str, ...]] | None = None,
) -> pl.LazyFrame:
    """Returns `columns` of all shards in their order, read in batches when collected.

    A column that a shard lacks is null there. `aliases` gives other names for a column; of those a
    shard has, the first is taken.

    Raises RecordsError at once for a column of identifiers that are not whole numbers, and while
    being collected for a shard that turns out damaged.
    """
    root, parts = pathlib.Path(root).expanduser(), []
    for path in shards:
        found = columns_of(root, path)
        names = {}
        for name in columns:
            held = [n for n in (aliases or {}).get(name, (name,)) if n in found]
            names[name] = held[0] if held else None
            if held and found[held[0]].is_nested():
                raise errors.RecordsError(
                    f"{_shown(root, path)}: column '{held[0]}' holds lists or structures; expected "
                    f"{_ARROW.get(columns[name], columns[name])}"
                )
        _check_whole(root, path, columns, names, found)
        chosen = [_as(names[name], name, dtype) for name, dtype in columns.items()]
        parts.append((path, damage.stamp(path), chosen))

    def batches(with_columns, predicate, n_rows, batch_size) -> Iterator[pl.DataFrame]:
        del batch_size
        left = n_rows
        for path, since, chosen in parts:
            lazy = pl.scan_parquet(path, glob=False).select(chosen)
            if left is not None:
                lazy = lazy.head(left)
            elif predicate is not None:
                lazy = lazy.filter(predicate)
            if with_columns is not None and (predicate is None or left is None):
                lazy = lazy.select(with_columns)
            with damage.unchanged(path, since):
                try:
                    for batch in lazy.collect_batches(maintain_order=True):
                        if left is not None:
                            batch, left = batch.head(left), left - min(left, batch.height)
                            batch = batch if predicate is None else batch.filter(predicate)
                            batch = batch if with_columns is None else batch.select(with_columns)
                        yield batch
                except damage.ERRORS:
                    raise _damaged(root, path) from None

    return plugins.register_io_source(batches, schema=dict(columns))


def dataset(root: str | pathlib.Path) -> dict[str, Any]:
    """Returns metadata/dataset.json; empty where there is none."""
    return read_json(root, "dataset.json") or {}


def read_json(root: str | pathlib.Path, name: str) -> dict[str, Any] | None:
    """Returns the object in metadata/`name`, None without the file; RecordsError for damage."""
    path = pathlib.Path(root).expanduser() / "metadata" / name
    if not path.exists():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise errors.RecordsError(
            f"metadata/{name}: is not readable JSON ({type(error).__name__}); write it again"
        ) from None
    if not isinstance(value, dict):
        raise errors.RecordsError(f"metadata/{name}: holds no JSON object; write it again")
    return value


def codes(
    root: str | pathlib.Path, columns: Mapping[str, pl.DataType] | None = None
) -> pl.DataFrame:
    """Returns `columns` (else CODES) of metadata/codes.parquet; no rows where there is none.

    A column that is absent, or a description that is not text, is null.
    """
    columns = CODES if columns is None else columns
    frame = _metadata(root, "codes.parquet", ("code",))
    if frame is None:
        return tables.empty(columns)
    chosen = []
    for name, dtype in columns.items():
        fits = frame.schema.get(name) in (dtype, *_ALSO.get(dtype, ()))
        chosen.append(_as(name if fits else None, name, dtype))
    return frame.select(chosen).drop_nulls("code").unique("code", keep="first", maintain_order=True)


def splits(root: str | pathlib.Path, oddities: dict[str, int]) -> pl.DataFrame:
    """Returns the rows of `tables.GIVEN_SPLIT` that metadata/subject_splits.parquet gives.

    Splits of other names than the schema's three are left out, and counted in `oddities`. Raises
    RecordsError for a subject in two splits.
    """
    frame = _metadata(root, "subject_splits.parquet", ("subject_id", "split"))
    if frame is None:
        return tables.empty(tables.GIVEN_SPLIT)
    if not frame.schema["subject_id"].is_integer():
        raise errors.RecordsError(
            "metadata/subject_splits.parquet: column 'subject_id' is "
            f"{frame.schema['subject_id']}, expected int64; write the file again"
        )
    if frame.schema["split"] not in (pl.String, *_ALSO[pl.String]):
        raise errors.RecordsError(
            f"metadata/subject_splits.parquet: column 'split' is {frame.schema['split']}, expected "
            "text; write the file again"
        )
    frame = frame.select(
        pl.col("subject_id").cast(pl.Int64),
        pl.col("split").cast(pl.String).replace_strict(SPLITS, default=None),
    )
    frame = frame.unique(maintain_order=True)
    if twice := frame.height - frame["subject_id"].n_unique():
        raise errors.RecordsError(
            f"metadata/subject_splits.parquet: {twice} subject(s) stand in two splits, which "
            "would let training patients into the test; give every subject one split"
        )
    oddities["subjects in splits other than train, tuning and held_out, without a split"] = frame[
        "split"
    ].null_count()
    return tables.conform(frame.drop_nulls(), tables.GIVEN_SPLIT)


def _metadata(root, name: str, required: tuple[str, ...]) -> pl.DataFrame | None:
    root = pathlib.Path(root).expanduser()
    path = root / "metadata" / name
    if not path.exists():
        return None
    found = columns_of(root, path)
    for column in required:
        if column not in found:
            raise errors.RecordsError(
                f"metadata/{name}: column '{column}' is missing; the file has "
                f"{damage.columns(found)}.{errors.did_you_mean(column, found)}"
            )
    try:
        return pl.read_parquet(path, glob=False)
    except damage.ERRORS:
        raise _damaged(root, path) from None


def _check_schema(root: pathlib.Path, path: pathlib.Path) -> None:
    found = columns_of(root, path)
    for name, dtype in EVENTS.items():
        if name not in found and name in REQUIRED:
            raise errors.RecordsError(
                f"{_shown(root, path)}: column '{name}' is missing; the shard has "
                f"{damage.columns(found)}.{errors.did_you_mean(name, found)} MEDS 0.4 needs "
                f"{', '.join(REQUIRED)}"
            )
        if name in found and found[name] not in (dtype, *_ALSO.get(dtype, ())):
            raise errors.RecordsError(
                f"{_shown(root, path)}: column '{name}' is of type {found[name]}, expected "
                f"{_ARROW[dtype]}; write the shard again by the MEDS 0.4 schema"
            )


def _check_whole(root, path, columns, names, found) -> None:
    """Raises RecordsError where text or a fraction stands in a column of identifiers."""
    for name, dtype in columns.items():
        held = names[name]
        if dtype != pl.Int64 or held is None or found[held].is_integer():
            continue
        same = pl.col(held).cast(pl.Float64, strict=False) == _as(held, name, dtype).cast(
            pl.Float64
        )
        lost = pl.col(held).is_not_null() & ~same.fill_null(False)
        try:
            bad = pl.scan_parquet(path, glob=False).select(lost.sum()).collect().item()
        except damage.ERRORS:
            raise _damaged(root, path) from None
        if bad:
            raise errors.RecordsError(
                f"{_shown(root, path)}: column '{held}' is of type {found[held]} and {bad} of its "
                "values are not whole numbers; expected int64"
            )


def _as(held: str | None, name: str, dtype: pl.DataType) -> pl.Expr:
    if held is None:
        return pl.lit(None, dtype).alias(name)
    return pl.col(held).cast(dtype, strict=False).alias(name)


def _shown(root: pathlib.Path, path: pathlib.Path) -> str:
    return path.relative_to(root).as_posix()


def _damaged(root: str | pathlib.Path, path: pathlib.Path) -> errors.RecordsError:
    shown = _shown(pathlib.Path(root).expanduser(), path)
    return errors.RecordsError(f"{shown}: is not a readable parquet file; fetch or write it again")
