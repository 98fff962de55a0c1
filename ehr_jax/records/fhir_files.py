"""FHIR's files, read in batches: which hold what, lines into columns, references, codes and times.

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
from ehr_jax.records import damage

CODING = pl.Struct({"system": pl.String, "code": pl.String, "display": pl.String})
CONCEPT = pl.Struct({"coding": pl.List(CODING), "text": pl.String})
REFERENCE = pl.Struct({"reference": pl.String, "display": pl.String})
PERIOD = pl.Struct({"start": pl.String, "end": pl.String})

# Code systems by the names this project gives them. A system that is not here keeps the last part
# of its address: "http://x.org/CodeSystem/local-drug" gives "LOCAL-DRUG".
SYSTEMS = {
    "http://snomed.info/sct": "SNOMED",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "RXNORM",
    "http://loinc.org": "LOINC",
    "http://hl7.org/fhir/sid/icd-9-cm": "ICD9CM",
    "http://hl7.org/fhir/sid/icd-10-cm": "ICD10CM",
    "http://hl7.org/fhir/sid/icd-10": "ICD10",
    "http://hl7.org/fhir/sid/ndc": "NDC",
    "http://hl7.org/fhir/sid/cvx": "CVX",
    "http://www.ama-assn.org/go/cpt": "CPT4",
    "http://www.whocc.no/atc": "ATC",
    "http://www.cms.gov/Medicare/Coding/ICD9": "ICD9PROC",
    "http://www.cms.gov/Medicare/Coding/ICD10": "ICD10PCS",
    "http://hl7.org/fhir/sid/icd-10-pcs": "ICD10PCS",
    "urn:oid:2.16.840.1.113883.6.103": "ICD9CM",
    "urn:oid:2.16.840.1.113883.6.104": "ICD9PROC",
    "urn:oid:2.16.840.1.113883.6.90": "ICD10CM",
    "urn:oid:2.16.840.1.113883.6.4": "ICD10PCS",
    "urn:oid:2.16.840.1.113883.6.96": "SNOMED",
    "urn:oid:2.16.840.1.113883.6.88": "RXNORM",
    "urn:oid:2.16.840.1.113883.6.1": "LOINC",
}
_ICD = ("ICD9CM", "ICD9PROC", "ICD10CM", "ICD10PCS")

_BATCH_BYTES = 1 << 23


def find(root: str | pathlib.Path, kinds: tuple[str, ...]) -> dict[str, list[pathlib.Path]]:
    """Returns the NDJSON files of the folder `root` by the kind of resource they hold, sorted.

    A file is of the kind that its name says ("Patient.ndjson", "Patient.000.ndjson.gz",
    "1.Patient.ndjson"); where the name says none, of the kind of its first resource.

    Raises RecordsError for a missing folder.
    """
    folder = pathlib.Path(root).expanduser()
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise errors.RecordsError(f"{folder}: this data folder {what}; check the path")
    found = {kind: [] for kind in kinds}
    spelling = {kind.lower(): kind for kind in kinds}
    for path in sorted(folder.iterdir()):
        name = path.name.lower()
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
    """Yields the resources of some files as columns: `fields`, and file and line.

    Raises RecordsError for a damaged file, a line that is not JSON, is another kind of resource, or
    does not have the form that R4 gives it.
    """
    dtype = pl.Struct({"resourceType": pl.String} | dict(fields))
    for path in paths:
        for first, lines in _blocks(path):
            numbers = [i for i, line in enumerate(lines, first) if line.strip()]
            texts = [_text(path, i, lines[i - first]) for i in numbers]
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
            yield frame.drop("resourceType").with_columns(
                pl.lit(path.name).alias("file"), pl.Series("line", numbers, pl.Int64)
            )


def collect(
    paths: list[pathlib.Path],
    kind: str,
    fields: Mapping[str, pl.DataType],
    flatten: Callable[[pl.DataFrame], pl.DataFrame],
) -> pl.DataFrame:
    """Returns `flatten` of every batch, one below the other; of an empty one without files."""
    empty = pl.DataFrame(schema=dict(fields) | {"file": pl.String, "line": pl.Int64})
    return pl.concat([flatten(empty), *map(flatten, batches(paths, kind, fields))])


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


def said(concept: pl.Expr) -> pl.Expr:
    """Returns what a CodeableConcept says in words: its text, else its first display."""
    codings = concept.struct.field("coding")
    return pl.coalesce(
        concept.struct.field("text"), codings.list.get(0, null_on_oob=True).struct.field("display")
    )


def coded(concepts: pl.Series, procedure: bool = False) -> pl.DataFrame:
    """Returns the columns code ("SNOMED:38341003") and name of CodeableConcepts, row by row.

    Of several codings the first of an edition of ICD is taken, else the first; null without one.
    ICD-9-CM has one address for diagnoses and procedures, which `procedure` tells apart.
    """
    rows = pl.DataFrame({"concept": concepts}).with_row_index("row")
    system = pl.col("system").str.strip_chars_end("/")
    last = system.str.extract(r"([^/:]+)$").str.to_uppercase()
    prefix = pl.coalesce(
        system.replace_strict(SYSTEMS, default=None, return_dtype=pl.String), last, pl.lit("CODE")
    )
    if procedure:
        prefix = prefix.replace("ICD9CM", "ICD9PROC")
    code = pl.col("code").str.strip_chars()
    plain = code.str.replace_all(".", "", literal=True).str.to_uppercase()
    icd = pl.col("prefix").is_in(_ICD)
    found = (
        rows.select("row", pl.col("concept").struct.field("coding"))
        .explode("coding")
        .unnest("coding")
        .with_columns(prefix=prefix)
        .with_columns(code=pl.when(icd).then(plain).otherwise(code), icd=icd)
        .filter(pl.col("code").str.len_bytes() > 0)
        .sort("row", ~pl.col("icd"), maintain_order=True)
        .unique("row", keep="first", maintain_order=True)
        .select("row", code=pl.col("prefix") + ":" + pl.col("code"), display="display")
    )
    text = rows.select("row", pl.col("concept").struct.field("text"))
    named = text.join(found, on="row", how="left", maintain_order="left")
    return named.select("code", pl.coalesce("display", "text").alias("name"))


def times(batch: pl.DataFrame, text: pl.Expr, field: str) -> pl.DataFrame:
    """Returns the first and last moment (`low`, `high`) that a date or dateTime may mean.

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
    utc = pl.when(zone.struct.field("1") == "-").then(clock + ahead).otherwise(clock - ahead)
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
