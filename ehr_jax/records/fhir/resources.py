"""FHIR's files, read in batches: which hold what, lines into columns, references and times.

A file is bulk NDJSON, one resource a line, plain or gzip'd. Lines are decoded some megabytes at a
time, so memory stays flat whatever the size. What is wrong is told by file, line and field, never
with a word of the line's content.
"""

import gzip
import hashlib
import io
import json
import pathlib
import re
import zlib
from collections.abc import Callable, Iterator, Mapping

import polars as pl
from polars.io import plugins

from ehr_jax import errors
from ehr_jax.records.common import damage, reading

CODING = pl.Struct({"system": pl.String, "code": pl.String, "display": pl.String})
CONCEPT = pl.Struct({"coding": pl.List(CODING), "text": pl.String})
REFERENCE = pl.Struct({"reference": pl.String, "display": pl.String})
PERIOD = pl.Struct({"start": pl.String, "end": pl.String})

# Of the resources that stand inside another ("contained"), the kind that is read there.
CONTAINED = {
    "Encounter": "Location",
    "MedicationRequest": "Medication",
    "MedicationAdministration": "Medication",
    "Observation": "Observation",
    "DocumentReference": "Binary",
}

_BATCH_BYTES = 1 << 23


def find(root: str | pathlib.Path, kinds: tuple[str, ...]) -> dict[str, list[pathlib.Path]]:
    """Returns the NDJSON files of the folder `root` by the kind of resource they hold, sorted.

    A file is of the kind that its name says ("Patient.ndjson", "Patient.000.ndjson.gz",
    "1.Patient.ndjson"); where the name says none, of the kind of its first resource.

    Raises RecordsError for a missing folder.
    """
    folder = reading.data_folder(root)
    found = {kind: [] for kind in kinds}
    spelling = {kind.lower(): kind for kind in kinds}
    for path in sorted(folder.iterdir()):
        name = path.name.lower()
        if name.startswith((".", "_")):  # "._Patient.ndjson" is what a Mac writes beside a copy
            continue
        if not name.endswith((".ndjson", ".ndjson.gz")):
            continue
        said = [spelling[part] for part in re.split(r"[._-]", name) if part in spelling]
        kind = said[0] if said else _first_kind(path)
        if kind in found:
            found[kind].append(path)
    return found


def batches(
    paths: list[pathlib.Path], kind: str, fields: Mapping[str, pl.DataType]
) -> Iterator[pl.DataFrame]:
    """Yields the resources of some files as columns: `fields`, file, line and `whole`, the text.

    `fields` may ask for "contained": a list of the resources inside that are of the kind that
    CONTAINED names; others are not looked at.

    Raises RecordsError for a damaged file, a line that is not JSON, is another kind of resource, or
    does not have the form that R4 gives it.
    """
    dtype = pl.Struct({"resourceType": pl.String} | dict(fields))
    for path in paths:
        for first, lines in _blocks(path):
            numbers = [i for i, line in enumerate(lines, first) if line.strip()]
            texts = [_text(path, i, lines[i - first]) for i in numbers]
            if "contained" in fields:
                texts = [_of_one_kind(text, CONTAINED[kind]) for text in texts]
            if not texts:
                continue
            try:
                frame = pl.Series(texts).str.json_decode(dtype).struct.unnest()
            except pl.exceptions.PolarsError:
                frame = None
            if frame is None or frame.height != len(texts):
                raise _first_bad(path, numbers, texts, kind, dtype)
            strange = (frame["resourceType"] != kind).fill_null(True)
            if strange.any():
                at = strange.arg_true()[0]
                raise _wrong_kind(path, numbers[at], frame["resourceType"][at], kind)
            _check_codes(path, numbers, pl.Series(texts, dtype=pl.String))
            yield frame.drop("resourceType").with_columns(
                pl.lit(path.name).alias("file"),
                pl.Series("line", numbers, pl.Int64),
                pl.Series("whole", texts, pl.String),
            )


def _check_codes(path: pathlib.Path, numbers: list[int], texts: pl.Series) -> None:
    """Raises RecordsError for the first resource with a code that is a number of JSON."""
    written = texts.str.contains(r'"coding"\s*:\s*\[[^\]]*"code"\s*:\s*-?[0-9]')
    if written.any():
        raise errors.RecordsError(
            f"{path.name}: line {numbers[written.arg_true()[0]]} has a 'code' that is a number; in "
            "FHIR a code is text, and a number has lost the zeros and the point that tell it from "
            "another code. Write it as text from its source"
        )


def lazy(
    schema: Mapping[str, pl.DataType], produce: Callable[[], Iterator[pl.DataFrame]]
) -> pl.LazyFrame:
    """Returns a frame whose batches `produce` makes when it is collected."""

    def source(with_columns, predicate, n_rows, batch_size) -> Iterator[pl.DataFrame]:
        del batch_size
        left = n_rows
        for batch in produce():
            if left is not None:
                batch = batch.head(left)
                left -= batch.height
            batch = batch if predicate is None else batch.filter(predicate)
            yield batch if with_columns is None else batch.select(with_columns)
            if left == 0:
                return

    return plugins.register_io_source(source, schema=dict(schema))


def referred(reference: pl.Expr) -> pl.Expr:
    """Returns the id that a reference ends in: of "Patient/x", "urn:uuid:x", "http://h/Patient/x",
    "Patient/x/_history/1"."""
    whole = reference.str.replace(r"/_history/[^/]*$", "").str.replace(r"^urn:(uuid|oid):", "")
    return whole.str.extract(r"([^/]+)$")


def identifier(text: str) -> int:
    """Returns the number that stands for an id, the same everywhere: 63 bits of a BLAKE2b hash."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def identifiers(ids: pl.Series) -> pl.Series:
    """Returns the numbers that stand for ids."""
    return pl.Series(ids.name, [None if i is None else identifier(i) for i in ids], pl.Int64)


def inside(batch: pl.DataFrame) -> pl.DataFrame:
    """Returns the resources that stand inside those of a batch, one a row.

    The columns are the fields of them that were asked for, `row` of the batch, and `reference`
    ("#med"), which means them in that row alone.
    """
    rows = batch.select("contained").with_row_index("row").explode("contained").unnest("contained")
    rows = rows.drop_nulls("id").with_columns(reference="#" + pl.col("id"))
    return rows.unique(["row", "reference"], keep="first", maintain_order=True)


def times(batch: pl.DataFrame, text: pl.Expr, field: str) -> pl.DataFrame:
    """Returns the first and last moment (`low`, `high`) that a date or dateTime may mean, and how
    far its own clock is `ahead` of UTC (null where no clock but that of UTC is told).

    A time with a zone is turned to UTC; one without is taken as UTC. "2012-05" is any moment of
    that May, so its `high` is 2012-05-31 23:59:59; a clock time has equal ones.

    Raises RecordsError for a text that is neither, naming `field`.
    """
    given = batch.select(text.str.strip_chars().alias("t")).to_series()
    t, length = pl.col("t"), pl.col("t").str.len_bytes()
    day = pl.concat_str(t.str.slice(0, 10), pl.lit("-01-01").str.slice(length - 4)).str.to_date(
        "%Y-%m-%d", strict=False
    )
    clock = pl.concat_str(
        t.str.slice(0, 10),
        t.str.extract(r"T(\d{2}:\d{2})"),
        pl.coalesce(t.str.extract(r"T\d{2}:\d{2}:(\d{2}(?:\.\d+)?)"), pl.lit("00")),
        separator=" ",
    ).str.to_datetime("%Y-%m-%d %H:%M %S%.f", time_unit="us", strict=False)
    zone = t.str.extract_groups(r"([+-])(\d{2}):(\d{2})$")
    hours, minutes = (zone.struct.field(n).cast(pl.Int64).fill_null(0) for n in ("2", "3"))
    ahead = pl.duration(hours=hours, minutes=minutes)
    ahead = pl.when(zone.struct.field("1") == "-").then(-ahead).otherwise(ahead)
    utc = clock - ahead
    start = day.cast(pl.Datetime("us"))
    after = pl.when(length == 4).then(start.dt.offset_by("1y"))
    after = after.when(length == 7).then(start.dt.offset_by("1mo"))
    after = after.otherwise(start.dt.offset_by("1d"))
    form = r"^\d{4}(-\d{2}(-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?)?)?)?$"
    good = t.str.contains(form)
    found = given.to_frame("t").select(
        pl.when(good & (length > 10)).then(utc).when(good).then(start).alias("low"),
        pl.when(good & (length > 10))
        .then(utc)
        .when(good)
        .then(after - pl.duration(seconds=1))
        .alias("high"),
        pl.when(t.str.contains(r"[+-]\d{2}:\d{2}$")).then(ahead).alias("ahead"),
    )
    bad = given.is_not_null() & found["low"].is_null()
    if bad.any():
        row = bad.arg_true()[0]
        raise errors.RecordsError(
            f"{batch['file'][row]}: line {batch['line'][row]}, field '{field}': a text of "
            f"{len(given[row])} character(s) is not a FHIR date or dateTime (YYYY, YYYY-MM, "
            "YYYY-MM-DD or YYYY-MM-DDThh:mm:ss+zz:zz)"
        )
    return found


def _blocks(path: pathlib.Path) -> Iterator[tuple[int, list[bytes]]]:
    """Yields the lines of a file some megabytes at a time, with the number of the first of them."""
    try:
        with damage.unchanged(path), _open(path) as file:
            first = 1
            while lines := file.readlines(_BATCH_BYTES):
                yield first, lines
                first += len(lines)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise errors.RecordsError(
            f"{path.name}: the gzip file is cut short or damaged; fetch it again, compare its "
            "checksum"
        ) from None
    except OSError as error:
        raise errors.RecordsError(f"{path.name}: cannot be opened ({error.strerror})") from None


def _open(path: pathlib.Path) -> io.BufferedIOBase:
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else open(path, "rb")


def _text(path: pathlib.Path, number: int, line: bytes) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError:
        raise errors.RecordsError(
            f"{path.name}: line {number} is not UTF-8 text; convert the file (iconv -t utf-8)"
        ) from None


def _of_one_kind(text: str, kind: str) -> str:
    """Returns a resource's text with those of the resources inside it that are of a kind."""
    if '"contained"' not in text:
        return text
    try:
        resource = json.loads(text)
        held = [one for one in resource["contained"] if one.get("resourceType") == kind]
        return json.dumps(resource | {"contained": held})
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return text  # of another form, which the decoder tells


def _first_kind(path: pathlib.Path) -> str | None:
    for _, lines in _blocks(path):
        for line in lines:
            if line.strip():
                found = re.search(rb'"resourceType"\s*:\s*"([A-Za-z]+)"', line)
                return found[1].decode() if found else None
    return None


def _first_bad(path, numbers, texts, kind: str, dtype: pl.Struct) -> errors.RecordsError:
    """Finds what the decoder of a batch stumbled over."""
    for number, text in zip(numbers, texts, strict=True):
        try:
            resource = json.loads(text)
        except RecursionError:
            return errors.RecordsError(
                f"{path.name}: line {number} is nested too deeply for a {kind} resource; fetch the "
                "file again"
            )
        except ValueError:
            return errors.RecordsError(
                f"{path.name}: line {number} is not valid JSON; bulk files have one whole resource "
                "a line. Was the file cut short, or is it indented JSON? Fetch it again"
            )
        if not isinstance(resource, dict):
            return errors.RecordsError(
                f"{path.name}: line {number} is not a JSON object; a {kind} resource was expected"
            )
        if resource.get("resourceType") != kind:
            return _wrong_kind(path, number, resource.get("resourceType"), kind)
        for field in dtype.fields:
            value = json.dumps({field.name: resource.get(field.name)})
            try:
                pl.Series([value]).str.json_decode(pl.Struct([field]))
            except pl.exceptions.PolarsError:
                return errors.RecordsError(
                    f"{path.name}: line {number}, field '{field.name}' does not have the form that "
                    f"FHIR R4 gives it in a {kind}. Is the export of another FHIR version?"
                )
    return errors.RecordsError(
        f"{path.name}: lines {numbers[0]} to {numbers[-1]} cannot be read as {kind} resources"
    )


def _wrong_kind(path: pathlib.Path, number: int, found: object, kind: str) -> errors.RecordsError:
    named = isinstance(found, str) and re.fullmatch("[A-Za-z]{1,40}", found)
    what = f"is a '{found}' resource" if named else "has no resourceType"
    return errors.RecordsError(
        f"{path.name}: line {number} {what}; this file holds {kind} resources. Put each kind into "
        "files of its own"
    )
