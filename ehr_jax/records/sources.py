"""The sources by name: which reader, where the folder is found, and a fingerprint of what was read.

The generated hospital is not here: it has no folder, and `synthetic.hospital` makes it of numbers.
"""

import dataclasses
import hashlib
import importlib
import os
import pathlib
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ehr_jax import errors, plugins
from ehr_jax.records import settings as records_settings

if TYPE_CHECKING:  # polars and the readers are imported when a source is read
    import polars as pl

    from ehr_jax.records.common import tables

# Endings of the files of any source.
_DATA = (".csv", ".csv.gz", ".parquet", ".ndjson", ".ndjson.gz", ".txt", ".tar.gz", ".zip")
_ENDS = 1 << 16  # bytes of a file's beginning and end that are looked at


class Source(NamedTuple):
    module: str | types.ModuleType  # or its name; its `read(root)` gives Records
    folders: tuple[str, ...]  # names of its data folder, the best first
    origin: str  # where the data may be had
    streamed: bool = True  # has tables that are read when they are asked for, not at once
    modules: tuple[str, ...] = ()  # folders of a release that may be named in its place
    hourly: bool = False  # its `read` takes a folder of hourly values too (config.data.series)


SOURCES = {
    "diabetes130": Source(
        "ehr_jax.records.diabetes130.reader",
        ("diabetes_130",),
        "UCI Machine Learning Repository, open: https://archive.ics.uci.edu/dataset/296",
        streamed=False,
    ),
    "eicu": Source(
        "ehr_jax.records.eicu.reader",
        ("eicu_2.0", "eicu_demo_2.0.1"),
        "PhysioNet: the open demo at https://physionet.org/content/eicu-crd-demo/2.0.1/, the full "
        "release, for credentialed users, at https://physionet.org/content/eicu-crd/2.0/",
        hourly=True,
    ),
    "fhir": Source(
        "ehr_jax.records.fhir.reader",
        ("fhir", "synthea_fhir_10"),
        "a FHIR R4 bulk export ($export) of your own; an open synthetic one: "
        "https://github.com/smart-on-fhir/sample-bulk-fhir-datasets",
    ),
    "meds": Source(
        "ehr_jax.records.meds.reader",
        ("meds",),
        "a MEDS 0.4 data set of your own: of MIMIC-IV by the package MIMIC_IV_MEDS, of any records "
        "by --mode=meds",
    ),
    "mimic3": Source(
        "ehr_jax.records.mimic.mimic3",
        ("mimic_iii_1.4", "mimic_iii_demo_1.4"),
        "PhysioNet: the open demo at https://physionet.org/content/mimiciii-demo/1.4/, the full "
        "release, for credentialed users, at https://physionet.org/content/mimiciii/1.4/",
    ),
    "mimic4": Source(
        "ehr_jax.records.mimic.mimic4",
        ("mimic_iv_3.1", "mimic_iv_2.2", "mimic_iv_demo_2.2"),
        "PhysioNet: the open demo at https://physionet.org/content/mimic-iv-demo/2.2/, the full "
        "release, for credentialed users, at https://physionet.org/content/mimiciv/3.1/",
        modules=("hosp", "core", "icu", "note"),
    ),
    "omop": Source(
        "ehr_jax.records.omop.reader",
        ("omop", "mimic_iv_demo_omop"),
        "an OMOP CDM 5.3 or 5.4 of your own; the open demo of MIMIC-IV in it: "
        "https://physionet.org/content/mimic-iv-demo-omop/0.9/",
    ),
    "physionet2012": Source(
        "ehr_jax.records.physionet2012.reader",
        ("physionet_2012",),
        "PhysioNet, open: https://physionet.org/content/challenge-2012/1.0.0/",
    ),
}


# Sources of files; `settings.NAMES` has the generated hospital too.
NAMES = plugins.Names(records_settings.GROUP, SOURCES)


def read(source: str, root: str | None = None, series: str = "") -> "tables.Records":
    """Returns the Records of `source`, read from `root` or else `default_root(source)`.

    `series` is a folder of hourly values made from the same stays, which only "eicu" has; a
    relative one is looked for in $EHR_JAX_DATA as well.

    Raises ConfigError for an unknown source or a `series` of one that has none, RecordsError for
    files that cannot be read.
    """
    known = _known(source)
    folder, read_folders = default_root(source, root), folders(source, root, series)
    named = isinstance(known.module, str)
    module = importlib.import_module(known.module) if named else known.module
    records = module.read(folder, *read_folders[1:])
    if not known.streamed and not series:
        return records  # the values of its tables are the fingerprint, whatever the files
    return dataclasses.replace(records, files=digest(*read_folders))


def folders(source: str, root: str | None = None, series: str = "") -> list[pathlib.Path]:
    """Returns the folders that `read` reads: that of the release, then that of `series`.

    Raises as `read` does.
    """
    known = _known(source)
    if series and not known.hourly:
        takers = ", ".join(f"'{name}'" for name, each in SOURCES.items() if each.hourly)
        raise errors.ConfigError(
            f"data.series: source '{source}' takes no hourly series, only {takers} does; "
            "leave it ''"
        )
    folder = default_root(source, root)
    release = folder.parent if folder.name.lower() in known.modules else folder
    if not series:
        return [release]
    beside = pathlib.Path(os.environ.get("EHR_JAX_DATA") or "").expanduser() / series
    return [release, beside if beside.is_dir() else pathlib.Path(series).expanduser()]


def state(*read_folders: pathlib.Path) -> str:
    """Returns 64 hex digits that change if a data file below the folders is written, moved, added
    or removed: by names, sizes, times and inodes. No file is opened."""
    whole = hashlib.sha256()
    for folder in read_folders:
        for path, below in _data_files(folder):
            try:
                about = path.stat()
            except OSError:
                continue
            stamp = about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino
            whole.update(f"{below}\n{stamp}\n".encode())
        whole.update(b"\n")
    return whole.hexdigest()


def digest(*read_folders: pathlib.Path) -> str:
    """Returns 64 hex digits of the data files below the folders: their sizes, beginnings and ends.

    It is cheap whatever the size, and the same for a copy that lies elsewhere, has other times or
    other names. A change of the same length deep inside a large file goes unnoticed.
    """
    found = []
    for folder in read_folders:
        for path, _ in _data_files(folder):
            size = path.stat().st_size
            try:
                with path.open("rb") as file:
                    parts = [file.read(_ENDS)]
                    file.seek(max(_ENDS, size - _ENDS))
                    parts.append(file.read(_ENDS))
            except OSError:  # a file that may not be read is none of those that were
                continue
            found.append(hashlib.sha256(b"%d\n" % size + b"".join(parts)).hexdigest())
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()


def default_root(source: str, root: str | None = None) -> pathlib.Path:
    """Returns `root` if given, else the source's folder in $EHR_JAX_DATA, else in the user cache.

    Raises RecordsError, telling what to set and where the data may be had, where there is none.
    """
    known = _known(source)
    if root:
        return pathlib.Path(root).expanduser()
    places = [cache_folder()]
    if os.environ.get("EHR_JAX_DATA"):
        places.insert(0, pathlib.Path(os.environ["EHR_JAX_DATA"]).expanduser())
    tried = [place / folder for place in places for folder in known.folders]
    for folder in tried:
        if folder.is_dir():
            return folder
    raise errors.RecordsError(
        f"no data folder for source '{source}'. Give one with --config.data.root=FOLDER, or set "
        f"EHR_JAX_DATA to a folder that holds '{known.folders[0]}'. Looked for "
        f"{', '.join(str(folder) for folder in tried)}. The data: {known.origin}"
    )


def cache_folder() -> pathlib.Path:
    """Returns the folder for downloaded data: `ehr_jax` in $XDG_CACHE_HOME or ~/.cache."""
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ehr_jax"


def fingerprint(records: "tables.Records") -> str:
    """Returns 64 hex digits that change with any value of the eager tables, not with row order.

    The lazy tables (measurements, notes) are not read for it: where `read` read the records, the
    `digest` of their files stands for them.
    """
    whole = hashlib.sha256((records.source + records.files).encode())
    names = ["patients", "visits", "stays", "codes", "code_names", "attributes", "given_split"]
    names += [] if records.scores.is_empty() else ["scores"]
    for name in names:
        frame = getattr(records, name)
        frame = frame.sort(frame.columns, nulls_last=True)
        for column in frame:
            whole.update(f"\n{name}.{column.name} {len(column)}\n".encode())
            for part in _parts(column):
                whole.update(part)
    return whole.hexdigest()


def _data_files(folder: pathlib.Path) -> Iterator[tuple[pathlib.Path, pathlib.PurePath]]:
    """Yields the data files below a folder in order, each with its path from there."""
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        hidden = any(part.startswith((".", "_")) for part in below.parts)
        if not hidden and path.name.lower().endswith(_DATA) and path.is_file():
            yield path, below


def _known(source: str) -> Source:
    return plugins.find("config.data.source", NAMES, source, Source)


def _parts(column: "pl.Series") -> list[bytes]:
    """Returns a column as bytes that are the same on every machine."""
    import numpy as np
    import polars as pl

    nulls = np.packbits(column.is_null().to_numpy()).tobytes()
    if column.dtype == pl.String:
        # Each distinct text once, then every row's rank among them.
        texts = column.drop_nulls().unique().sort()
        ranks = column.rank("dense").fill_null(0).cast(pl.Int64)
        return [nulls, "\x00".join(texts).encode(), ranks.to_numpy().astype("<i8").tobytes()]
    whole = column.dtype.is_temporal() or column.dtype.is_integer() or column.dtype == pl.Boolean
    numbers = column.to_physical().cast(pl.Int64 if whole else pl.Float64).fill_null(0)
    return [nulls, numbers.to_numpy().astype("<i8" if whole else "<f8").tobytes()]
