"""The canonical tables every source is read into, and the check that they are what they claim.

Identifiers are int64. Times are naive datetimes at microsecond resolution, as the source gives
them (de-identified releases shift them per patient); a source without dates leaves them null and
orders visits by `visits.order` alone.
"""

import dataclasses
import types
from collections.abc import Mapping

import polars as pl

from ehr_jax import errors, notebook

TIME = pl.Datetime("us")
NO_TIME = pl.lit(None, TIME)
DAYS_A_YEAR = 365.2425

# One row a patient. Negative or masked ages are mended by the reader, never kept.
PATIENTS = {"subject_id": pl.Int64, "sex": pl.String, "birth_time": TIME, "death_time": TIME}

# What became of a visit's patient at its end, in the words of this project.
DISPOSITIONS = ("home", "facility", "transfer", "hospice", "died", "other", "unknown")

# One row a hospital encounter, sorted by (subject_id, order).
VISITS = {
    "visit_id": pl.Int64,
    "subject_id": pl.Int64,
    "order": pl.Int32,  # 0 for a patient's first visit
    "start": TIME,
    "end": TIME,
    "age": pl.Float32,  # years at the start; null where unknown
    "disposition": pl.String,  # one of DISPOSITIONS
    "planned": pl.Boolean,  # an elective admission
    "transferred_in": pl.Boolean,  # arrived from another hospital
    "emergency": pl.Boolean,  # emergency or observation, apart from an admission it may lead to
    "readmitted_30d": pl.Boolean,  # as the source states it; null where dates tell it
}

# One row an intensive-care stay, sorted by visit and start; of those that start together the one
# that the source names first comes first.
STAYS = {
    "stay_id": pl.Int64,
    "visit_id": pl.Int64,
    "subject_id": pl.Int64,
    "start": TIME,
    "end": TIME,
    "unit": pl.String,
}

# One row a code of a visit. `time` is when the code is known; null means at the end of the visit
# (billing diagnoses and procedures). `position` is its rank in the source, from 1.
CODES = {"visit_id": pl.Int64, "code": pl.String, "time": TIME, "position": pl.Int32}

# One row a distinct code: "ICD9CM:4280", "ICD9PROC:3961", "DRUG:heparin". `kind` is one of KINDS.
CODE_NAMES = {"code": pl.String, "kind": pl.String, "name": pl.String}
KINDS = ("diagnosis", "procedure", "drug")

# One row a structured fact of a visit that is not a code (admission type, prior use, a laboratory
# category): either `text` or `number` is set. `time` as in CODES. `name` reads well in a sentence.
ATTRIBUTES = {
    "visit_id": pl.Int64,
    "name": pl.String,
    "text": pl.String,
    "number": pl.Float64,
    "time": TIME,
}

# One row a numeric observation, in the unit it was recorded in. Lazy: read only when asked for.
MEASUREMENTS = {
    "visit_id": pl.Int64,
    "stay_id": pl.Int64,
    "time": TIME,
    "variable": pl.String,
    "value": pl.Float64,
    "unit": pl.String,
}

# One row a note. `date_only` says that `time` is a date at midnight, not a clock time. Lazy.
NOTES = {
    "visit_id": pl.Int64,
    "time": TIME,
    "date_only": pl.Boolean,
    "category": pl.String,
    "text": pl.String,
}

# One row a patient whom the source itself assigns to "train", "validation" or "test".
GIVEN_SPLIT = {"subject_id": pl.Int64, "split": pl.String}

# One row a prediction that the source itself has of a visit: the probability of what `name` says,
# known from `time` on. What a model is compared with, never what it is given.
SCORES = {"visit_id": pl.Int64, "name": pl.String, "probability": pl.Float64, "time": TIME}


def empty(schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Returns a table of `schema` without rows."""
    return pl.DataFrame(schema=dict(schema))


@dataclasses.dataclass(frozen=True)
class Records:
    """What a source holds, whatever its format.

    `oddities` counts what the reader mended or left out, by a short description of the rule, for
    data.json and the report. `terms` names the licence or agreement that binds the data.
    `given_split` is empty where the source assigns no patient to a split. `dated` is False where
    times compare within a visit only (a source of offsets from admission, put on arbitrary dates):
    the days between two visits then mean nothing, and only `visits.order` relates them.
    """

    source: str
    patients: pl.DataFrame
    visits: pl.DataFrame
    stays: pl.DataFrame
    codes: pl.DataFrame
    code_names: pl.DataFrame
    attributes: pl.DataFrame
    measurements: pl.LazyFrame
    notes: pl.LazyFrame
    terms: str
    oddities: Mapping[str, int] = dataclasses.field(
        default_factory=lambda: types.MappingProxyType({})
    )
    given_split: pl.DataFrame = dataclasses.field(default_factory=lambda: empty(GIVEN_SPLIT))
    dated: bool = True
    # Table of the source to rows read, kept and, by rule, left out (`tally.Ledger`).
    accounts: Mapping[str, Mapping[str, int]] = dataclasses.field(
        default_factory=lambda: types.MappingProxyType({})
    )
    scores: pl.DataFrame = dataclasses.field(default_factory=lambda: empty(SCORES))
    # A digest of the files that were read (`sources.digest`); '' where there are none.
    files: str = ""

    def _repr_html_(self) -> str:
        """Shows counts in a notebook."""
        names = ("patients", "visits", "stays", "codes", "code_names", "attributes")
        rows = [(name.replace("_", " "), getattr(self, name).height) for name in names]
        return notebook.table(f"{self.source} ({self.terms})", ("table", "rows"), rows)


def sorted_stays(stays: pl.DataFrame) -> pl.DataFrame:
    """Returns `stays` as `STAYS`, those of a visit by their start; of equal ones in given order."""
    by_start = stays.sort("visit_id", "start", nulls_last=True, maintain_order=True)
    return conform(by_start, STAYS)


def conform(frame: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Returns `frame` with exactly the columns and dtypes of `schema`, in its order."""
    return frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def check(records: Records) -> Records:
    """Returns `records` unchanged, or raises RecordsError naming the first broken rule."""
    eager = {
        "patients": PATIENTS,
        "visits": VISITS,
        "stays": STAYS,
        "codes": CODES,
        "code_names": CODE_NAMES,
        "attributes": ATTRIBUTES,
        "given_split": GIVEN_SPLIT,
        "scores": SCORES,
    }
    for name, schema in eager.items():
        _check_schema(records.source, name, getattr(records, name).schema, schema)
    for name, schema in {"measurements": MEASUREMENTS, "notes": NOTES}.items():
        _check_schema(records.source, name, getattr(records, name).collect_schema(), schema)
    _check_unique(records, "patients", "subject_id")
    _check_unique(records, "visits", "visit_id")
    _check_unique(records, "code_names", "code")
    _check_unique(records, "given_split", "subject_id")
    _check_refers(records, "visits", "subject_id", "patients")
    _check_refers(records, "codes", "visit_id", "visits")
    _check_refers(records, "codes", "code", "code_names")
    _check_refers(records, "attributes", "visit_id", "visits")
    _check_refers(records, "stays", "visit_id", "visits")
    _check_refers(records, "given_split", "subject_id", "patients")
    _check_refers(records, "scores", "visit_id", "visits")
    if records.visits.height == 0:
        raise errors.RecordsError(f"{records.source}: no visit was read; is this the right folder?")
    return records


def _check_schema(source, table, found, wanted) -> None:
    if dict(found) != dict(wanted):
        raise errors.RecordsError(
            f"{source}: canonical table '{table}' has columns {dict(found)}, "
            f"expected {dict(wanted)}"
        )


def _check_unique(records: Records, table: str, key: str) -> None:
    frame = getattr(records, table)
    repeated = frame.height - frame[key].n_unique()
    if repeated:
        raise errors.RecordsError(
            f"{records.source}: table '{table}' repeats {repeated} value(s) of '{key}'; "
            "every row needs its own"
        )


def _check_refers(records: Records, table: str, key: str, to: str) -> None:
    lost = getattr(records, table).join(getattr(records, to).select(key), on=key, how="anti").height
    if lost:
        raise errors.RecordsError(
            f"{records.source}: {lost} row(s) of '{table}' name a '{key}' that '{to}' does not hold"
        )
