"""The resources of an export as they are now: of several versions the newest, repeats once.

A folder may hold two exports, a whole one and then one of what changed since. A resource whose id
stands more than once is then one resource, of which the newest version counts, by its
meta.lastUpdated and then its meta.versionId as a number. What that version says holds, also that
the resource was entered in error.
"""

import hashlib
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping

import polars as pl

from ehr_jax import errors
from ehr_jax.records.common import tally
from ehr_jax.records.fhir import resources

_META = pl.Struct({"versionId": pl.String, "lastUpdated": pl.String})
_PLACE = {"file": pl.String, "line": pl.Int64}


def collect(
    paths: list[pathlib.Path],
    kind: str,
    fields: Mapping[str, pl.DataType],
    flatten: Callable[[pl.DataFrame], pl.DataFrame],
    oddities: tally.Ledger,
) -> pl.DataFrame:
    """Returns `flatten` of every batch, one below the other; of an empty one without files."""
    empty = pl.DataFrame(schema=dict(fields) | _PLACE)
    current = batches(paths, kind, fields, outdated(paths, kind, oddities))
    return pl.concat([flatten(empty), *map(flatten, current)])


def batches(
    paths: list[pathlib.Path], kind: str, fields: Mapping[str, pl.DataType], old: pl.DataFrame
) -> Iterator[pl.DataFrame]:
    """Yields what `resources.batches` does, without the `outdated` resources of the files."""
    for batch in resources.batches(paths, kind, fields):
        if old.is_empty():
            yield batch
        else:
            yield batch.join(old, on=["file", "line"], how="anti", maintain_order="left")


def outdated(paths: list[pathlib.Path], kind: str, oddities: tally.Ledger) -> pl.DataFrame:
    """Returns the file and line of every resource that repeats another or has a newer version.

    Resources without an id are not compared. Opens the account of the kind in `oddities`, and
    counts there what is left out.

    Raises RecordsError for two resources of one id that differ and do not say which is newer.
    """
    ids = [batch["id"] for batch in resources.batches(paths, kind, _only("id"))]
    oddities.begin(kind, sum(map(len, ids)))
    hashes = [held.drop_nulls().hash() for held in ids]
    hashes = pl.concat(hashes) if ids else pl.Series(dtype=pl.UInt64)
    repeated = hashes.filter(hashes.is_duplicated()).unique()
    if repeated.is_empty():
        return pl.DataFrame(schema=_PLACE)
    versions = pl.concat(
        _versions(batch.filter(pl.col("id").hash().is_in(repeated.implode())))
        for batch in resources.batches(paths, kind, _only("id", "meta"))
    )
    # A mark of time or number orders the versions of a resource only if all of them have it.
    of_all = [
        pl.when(pl.col(mark).null_count().over("id") == 0).then(mark).alias(mark)
        for mark in ("updated", "version")
    ]
    versions = versions.with_columns(of_all).sort(
        "id", "updated", "version", nulls_last=False, maintain_order=True
    )
    newest = versions.unique("id", keep="last", maintain_order=True)
    _check(versions, newest, kind)
    old = versions.join(newest, on=["file", "line"], how="anti", maintain_order="left")
    same = versions.height - versions.unique(["id", "content"]).height
    counts = {"standing more than once, taken once": same}
    counts["with a newer version, left out"] = old.height - same
    for rule, n in counts.items():
        oddities.leave_out(kind, f"{kind} resources {rule}", n)
    return old.select(*_PLACE)


def _only(*names: str) -> dict[str, pl.DataType]:
    return {name: {"id": pl.String, "meta": _META}[name] for name in names}


def _versions(batch: pl.DataFrame) -> pl.DataFrame:
    """Returns id, file, line, updated (a time), version (a number) and content (a hash)."""
    meta = pl.col("meta").struct
    updated = resources.times(batch, meta.field("lastUpdated"), "meta.lastUpdated")["low"]
    content = [_content(text) for text in batch["whole"]]
    return batch.select(
        "id",
        *_PLACE,
        updated=updated,
        version=meta.field("versionId").str.extract(r"^(\d+)$").cast(pl.Int64, strict=False),
        content=pl.Series(content, dtype=pl.String),
    )


def _content(text: str) -> str:
    """Returns a hash of a resource, the same whatever the order of its fields and its blanks."""
    return hashlib.blake2b(json.dumps(json.loads(text), sort_keys=True).encode()).hexdigest()


def _check(versions: pl.DataFrame, newest: pl.DataFrame, kind: str) -> None:
    """Raises RecordsError where the newest versions of a resource contradict each other."""
    marks = ("id", "updated", "version")
    rivals = versions.join(newest.select(*marks, best="content"), on=marks, nulls_equal=True)
    rivals = rivals.filter(pl.col("content") != pl.col("best"))
    if rivals.height:
        file, line = newest.join(rivals, on="id", how="semi").select("file", "line").row(0)
        raise errors.RecordsError(
            f"{file}: line {line} repeats the id of another {kind} with other content, and neither "
            "meta.lastUpdated nor meta.versionId says which is newer. Are exports of two servers "
            "in one folder? Read each from its own folder, or remove the older resource"
        )
