"""Prepared samples as a folder of files: written once, opened memory-mapped, checked when opened.

about.json        settings, cohort, data.json and audit.json of the run; each file's checksum
cohort.parquet    the samples, with the identifiers of patients and visits
visits.parquet    the patient of each visit of the records
whole/NAME.npy    arrays without a sample axis
part-NNNNN/       the samples of some patients: rows.npy says which; an array a file
"""

import dataclasses
import json
import os
import pathlib
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ehr_jax import data_use, errors, storage, stored
from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import arrays as features

FORMAT = 1
ABOUT = "about.json"
FORM = {
    "format": int, "settings": dict, "reads": [str], "inputs": str, "cohort": dict, "data": dict,
    "audit": dict, "facts": dict, "meanings": dict, "arrays": dict, "parts": int, "sum": int,
    "files": {...: [int]},
}  # fmt: skip
TABLES = ("cohort.parquet", "visits.parquet")
BLOCK = 1 << 24  # bytes that are checked at once


@dataclasses.dataclass(frozen=True)
class Prepared:
    """The samples of a cohort, ready for a method.

    Attributes:
      cohort: what the samples are.
      arrays: what a method is given of them.
      data: content of data.json.
      audit: content of audit.json; empty where the samples have not been audited.
      visits: (subject_id, visit_id) of all visits of the records.
      reads: what `arrays` were made for.
      settings: the config keys that shape `arrays`, by full name.
    """

    cohort: cohorts.Cohort
    arrays: features.Arrays
    data: Mapping[str, Any]
    audit: Mapping[str, Any]
    visits: pl.DataFrame
    reads: features.Reads
    settings: Mapping[str, Any]


class Content(NamedTuple):
    """A folder that `write` wrote, with its arrays memory-mapped where it has a single part."""

    about: dict[str, Any]
    cohort: cohorts.Cohort
    visits: pl.DataFrame
    stored: features.Stored
    folder: pathlib.Path
    way_out: str

    @property
    def reads(self) -> features.Reads:
        """What the arrays were made for."""
        return features.Reads(**dict.fromkeys(self.about["reads"], True))

    def restored(self, kind: Any) -> Prepared:
        """Returns the samples; `kind` is the `training.kinds.Kind` of their arrays.

        Raises:
          RunFolderError: about.json is not of the form that `write` gives it.
        """
        about = self.about
        with stored.in_form(self.folder / ABOUT, self.way_out):
            arrays = kind.restore(self.stored, self.cohort)
            facts = about["data"], about["audit"], self.visits, self.reads, about["settings"]
            return Prepared(self.cohort, arrays, *facts)


def narrowed(samples: Prepared, reads: features.Reads) -> Prepared:
    """Returns samples as they are made for `reads`, of which `samples` has as much or more."""
    arrays = samples.arrays.only(reads)
    data = {**samples.data, **described(arrays)}
    return dataclasses.replace(samples, arrays=arrays, reads=reads, data=data)


def described(arrays: features.Arrays) -> dict[str, Any]:
    """Returns what data.json says of the inputs."""
    counts = dict(arrays.counts)
    return {"notes": counts.pop("notes"), "encoder": counts.pop("encoder"), "features": counts}


def write(
    folder: pathlib.Path, prepared: Prepared, inputs: str, part_samples: int | None = None
) -> None:
    """Writes the new folder `folder`, which appears whole or not at all, mode 0700.

    Args:
      inputs: the name of the kind of input, which the folder is checked by.
      part_samples: samples of a part, except that a patient's samples stay together; None writes
        one part.

    Raises:
      OSError: it cannot be written, or exists.
    """
    layout, samples = prepared.arrays.stored(), prepared.cohort.samples
    files: dict[str, list[int]] = {}
    with storage.new_folder(folder) as unfinished, storage.disk_errors(folder):
        data_use.note(unfinished, data_use.PREPARED.format(terms=prepared.data["terms"]))

        def save(name: str, array: np.ndarray) -> None:
            path = unfinished / name
            path.parent.mkdir(exist_ok=True)
            _save(path, np.ascontiguousarray(array))
            files[name] = _sum(path)

        for name, frame in (("cohort", samples), ("visits", prepared.visits)):
            path = unfinished / f"{name}.parquet"
            frame.write_parquet(path)
            files[path.name] = _sum(path)
        for name, array in layout.whole.items():
            save(f"whole/{name}.npy", array)
        parts = list(_parts(samples["subject_id"].to_numpy(), part_samples))
        for number, rows in enumerate(parts):
            at = _part(number)
            save(f"{at}/rows.npy", rows)
            for name, array in layout.samples.items():
                save(f"{at}/{name}.npy", array if len(parts) == 1 else array[rows])
            for name, (lengths, values) in layout.ragged.items():
                save(f"{at}/{name}.lengths.npy", lengths[rows])
                save(f"{at}/{name}.npy", values[_places(lengths, rows)])
        names = {"samples": layout.samples, "ragged": layout.ragged, "whole": layout.whole}
        about = {
            "internal": data_use.INTERNAL,
            "format": FORMAT,
            "settings": dict(prepared.settings),
            "reads": [name for name, is_read in prepared.reads._asdict().items() if is_read],
            "inputs": inputs,
            "cohort": _described(prepared.cohort),
            "data": dict(prepared.data),
            "audit": dict(prepared.audit),
            "facts": dict(layout.facts),
            "meanings": dict(layout.meanings),
            "arrays": {kind: list(arrays) for kind, arrays in names.items()},
            "parts": len(parts),
            "files": files,
        }
        about["sum"] = _text_sum(about)
        (unfinished / ABOUT).write_text(json.dumps(about), encoding="utf-8")
        storage.tighten(unfinished)


def read(folder: pathlib.Path, way_out: str) -> Content:
    """Opens a folder that `write` wrote; every file of it is checked by its checksum.

    Raises:
      RunFolderError: it is of another format, or a file is missing or damaged, which is named; the
        message ends with `way_out`.
    """
    about = stored.read_object(folder / ABOUT, FORM, way_out)
    if about["format"] != FORMAT:
        raise errors.RunFolderError(
            f"{folder} has the format {about['format']}, and this program reads {FORMAT}; {way_out}"
        )
    if about.pop("sum") != _text_sum(about):
        raise errors.RunFolderError(
            f"{folder / ABOUT} is damaged: its checksum is another; {way_out}"
        )
    for name, expected in about["files"].items():
        _check(folder, name, expected, way_out)
    with stored.in_form(folder / ABOUT, way_out):
        frames = [pl.read_parquet(folder / name, glob=False) for name in TABLES]
        cohort = _cohort(about["cohort"], frames[0])
        arrays = about["arrays"]
        layout = features.Stored(
            *_parted(folder, arrays["samples"], arrays["ragged"], about["parts"]),
            {name: _mapped(folder / "whole" / f"{name}.npy") for name in arrays["whole"]},
            about["facts"],
            about["meanings"],
        )
    return Content(about, cohort, frames[1], layout, folder, way_out)


def _parts(patients: np.ndarray, most: int | None) -> Iterator[np.ndarray]:
    """Yields the rows of each part, ascending: all of some patients, about `most` samples."""
    if most is None or len(patients) <= most:
        yield np.arange(len(patients))
        return
    by_patient = np.argsort(patients, kind="stable")
    starts = np.flatnonzero(np.diff(patients[by_patient], prepend=patients[by_patient[0]] - 1))
    part_of = np.searchsorted(starts, np.arange(len(patients)), side="right") - 1
    part_of = starts[part_of] // most  # a patient belongs where their first sample lies
    for part in np.unique(part_of):
        yield np.sort(by_patient[part_of == part])


def _places(lengths: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The positions of the values of the samples `rows` within those of all samples."""
    starts = np.cumsum(lengths) - lengths
    chosen = lengths[rows]
    before = np.cumsum(chosen) - chosen
    return np.repeat(starts[rows] - before, chosen) + np.arange(chosen.sum())


def _parted(
    folder: pathlib.Path, samples: list[str], ragged: list[str], parts: int
) -> tuple[dict[str, np.ndarray], dict[str, features.Ragged]]:
    """Reads the arrays of all parts; those of a single one are memory-mapped."""
    at = [folder / _part(number) for number in range(parts)]
    rows = [_mapped(part / "rows.npy") for part in at]
    count = sum(map(len, rows))

    def joined(name: str) -> np.ndarray:
        arrays = [_mapped(part / f"{name}.npy") for part in at]
        if parts == 1:
            return arrays[0]
        whole = np.empty((count, *arrays[0].shape[1:]), arrays[0].dtype)
        for one, array in zip(rows, arrays, strict=True):
            whole[one] = array
        return whole

    def joined_lists(name: str) -> features.Ragged:
        lengths = joined(f"{name}.lengths")
        arrays = [_mapped(part / f"{name}.npy") for part in at]
        if parts == 1:
            return features.Ragged(lengths, arrays[0])
        whole = np.empty((int(lengths.sum()), *arrays[0].shape[1:]), arrays[0].dtype)
        for one, array in zip(rows, arrays, strict=True):
            whole[_places(lengths, one)] = array
        return features.Ragged(lengths, whole)

    return {name: joined(name) for name in samples}, {name: joined_lists(name) for name in ragged}


def _part(number: int) -> str:
    return f"part-{number:05d}"


def _save(path: pathlib.Path, array: np.ndarray) -> None:
    """Writes a file .npy; numpy's own writer does not say why a disk took only a part of it."""
    with path.open("wb") as file:
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(array.reshape(-1).view(np.uint8).data)


def _mapped(path: pathlib.Path) -> np.ndarray:
    """An array of a file as a read-only view of its bytes."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array.view(np.ndarray)


def _sum(path: pathlib.Path) -> list[int]:
    """[bytes, CRC-32] of a file: it tells a failing disk's bits, and is as fast as the disk."""
    size, total = 0, 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            size, total = size + len(block), zlib.crc32(block, total)
    return [size, total]


def _text_sum(about: Mapping[str, Any]) -> int:
    """The CRC-32 of what about.json holds beside it."""
    return zlib.crc32(json.dumps(about).encode())


def _check(folder: pathlib.Path, name: str, expected: list[int], way_out: str) -> None:
    path = folder / name
    part = f" (of {pathlib.PurePath(name).parts[0]})" if "/" in name else ""
    if not path.is_file():
        raise errors.RunFolderError(f"{path}{part} is missing; {way_out}")
    size = os.path.getsize(path)
    if size != expected[0]:
        raise errors.RunFolderError(
            f"{path}{part} has {size} bytes in place of {expected[0]}; {way_out}"
        )
    if _sum(path) != expected:
        raise errors.RunFolderError(f"{path}{part} is damaged: its checksum is another; {way_out}")


def _described(cohort: cohorts.Cohort) -> dict[str, Any]:
    """A cohort without its samples, and without its task, which data.json describes."""
    fields = [field.name for field in dataclasses.fields(cohort)]
    about = {name: getattr(cohort, name) for name in fields if name not in ("samples", "spec")}
    return about | {"excluded": dict(cohort.excluded)}


def _cohort(about: Mapping[str, Any], samples: pl.DataFrame) -> cohorts.Cohort:
    tuples = {name: tuple(about[name]) for name in ("labels", "faults")}
    return cohorts.Cohort(samples=samples, **{**about, **tuples})
