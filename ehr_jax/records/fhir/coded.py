"""Codes of visits from FHIR resources: what was diagnosed, done, ordered and given.

When something is known: a condition when it was recorded, a procedure at its end, an order when it
was written, a drug that was given when that began. Exports often stamp conditions and procedures
with the encounter's start though they sum it up; what is stamped with it, its day alone or earlier
is taken as known at the visit's end. Nothing is known later than that.
"""

import pathlib
from collections.abc import Mapping

import polars as pl

from ehr_jax.records.common import encounters, tables, tally, when
from ehr_jax.records.fhir import admissions, coding, medication, resources, versions

_COMMON = {"status": pl.String, "encounter": resources.REFERENCE}
_CONDITION = _COMMON | {
    "code": resources.CONCEPT,
    "verificationStatus": resources.CONCEPT,
    "recordedDate": pl.String,
}
_PROCEDURE = _COMMON | {
    "code": resources.CONCEPT,
    "performedDateTime": pl.String,
    "performedPeriod": resources.PERIOD,
}
_ORDER = (
    _COMMON
    | medication.GIVEN
    | {"intent": pl.String, "doNotPerform": pl.Boolean, "authoredOn": pl.String}
)
_ADMINISTRATION = medication.GIVEN | {
    "status": pl.String,
    "context": resources.REFERENCE,
    "effectiveDateTime": pl.String,
    "effectivePeriod": resources.PERIOD,
}
_VOID = {
    "Condition": ("entered-in-error", "refuted"),
    "Procedure": ("entered-in-error", "not-done", "preparation"),
    "MedicationRequest": ("entered-in-error", "cancelled", "draft"),
    "MedicationAdministration": ("entered-in-error", "not-done"),
}
_ROW = {
    "encounter": pl.String,
    "code": pl.String,
    "name": pl.String,
    "first": tables.TIME,
    "time": tables.TIME,
    "void": pl.Boolean,
}


def codes(
    files: Mapping[str, list[pathlib.Path]], places: pl.DataFrame, oddities: tally.Ledger
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns `tables.CODES` and `tables.CODE_NAMES` of the visits.

    "SNOMED:38341003" and so on, by `coding.coded`; a drug without a code is "DRUG:" and its
    text. `places` says which encounters are which visits.
    """
    drugs = medication.medications(files["Medication"], oddities)
    flatten = {
        "Condition": (_CONDITION, "diagnosis", _flatten_conditions),
        "Procedure": (_PROCEDURE, "procedure", _flatten_procedures),
        "MedicationRequest": (_ORDER, "drug", lambda batch: _flatten_orders(batch, drugs)),
        "MedicationAdministration": (
            _ADMINISTRATION,
            "drug",
            lambda batch: _flatten_administrations(batch, drugs),
        ),
    }
    found = []
    for kind, (fields, what, rows_of) in flatten.items():
        if not any(files[other] for other, (_, same, _) in flatten.items() if same == what):
            oddities[f"no file of {kind} resources: no {what} codes"] = 1
        rows = versions.collect(
            files[kind],
            kind,
            fields,
            lambda batch, kind=kind, rows_of=rows_of: _of_visits(
                rows_of(batch), kind, places, oddities
            ),
            oddities,
        )
        admissions.require_match(kind, oddities)
        kept = rows.with_columns(kind=pl.lit(what))
        oddities[f"{kind} resources repeating a code of the visit, the earliest kept"] = (
            kept.height - kept.select("visit_id", "code").n_unique()
        )
        found.append(kept)
    rows = pl.concat(found).with_columns(said=pl.lit(None, pl.String), n=pl.lit(1, pl.Int64))
    return encounters.codes(rows, oddities)


def _of_visits(rows: pl.DataFrame, kind: str, places: pl.DataFrame, oddities) -> pl.DataFrame:
    """Returns the rows of visits with visit_id, code, name, time; counts those left out."""
    joined = rows.join(places, on="encounter", how="left", maintain_order="left")
    reasons = {
        "not carried out or entered in error": pl.col("void").fill_null(False),
        "without an encounter": pl.col("encounter").is_null(),
        "of unknown encounters": pl.col("visit_id").is_null(),
        "of encounters that take no part": ~pl.col("part").fill_null(False),
        "without a code": pl.col("code").is_null(),
    }
    for reason, out in reasons.items():
        kept = joined.filter(~out)
        rule = f"{kind} resources {reason}, left out"
        oddities.leave_out(kind, rule, joined.height - kept.height)
        joined = kept
    joined = joined.with_columns(admissions.by_clock("first", "time"))
    before = when.ONSET_DAYS if kind == "Condition" else when.EVENT_DAYS
    far = when.is_far(pl.col("time"), pl.col("start"), pl.col("end"), before)
    joined = oddities.sift(kind, joined, ~far, when.left_out(f"{kind} resources"))
    rule = f"{kind} resources dated after the visit's end, taken as known there"
    late = (pl.col("time") > pl.col("end")).sum()
    oddities[rule] = oddities.get(rule, 0) + joined.select(late).item()
    time = pl.col("time")
    if kind in ("Condition", "Procedure"):
        time = pl.when(~when.sums_up(pl.col("first"), pl.col("start"))).then(time)
    time = pl.when(time.is_not_null()).then(pl.min_horizontal(time, "end"))
    return joined.select("visit_id", "code", "name", time.alias("time"))


def _flatten_conditions(batch: pl.DataFrame) -> pl.DataFrame:
    known = resources.times(batch, pl.col("recordedDate"), "recordedDate")
    code = coding.coded(batch["code"])
    verified = pl.col("verificationStatus").struct.field("coding")
    status = verified.list.get(0, null_on_oob=True).struct.field("code")
    return _rows(batch, code, known, status.is_in(_VOID["Condition"]))


def _flatten_procedures(batch: pl.DataFrame) -> pl.DataFrame:
    period = pl.col("performedPeriod").struct
    at = pl.coalesce(period.field("end"), period.field("start"), "performedDateTime")
    known = resources.times(batch, at, "performed")
    code = coding.coded(batch["code"], procedure=True)
    return _rows(batch, code, known, pl.col("status").is_in(_VOID["Procedure"]))


def _flatten_orders(batch: pl.DataFrame, drugs: pl.DataFrame) -> pl.DataFrame:
    known = resources.times(batch, pl.col("authoredOn"), "authoredOn")
    code = medication.given(batch, drugs)
    void = pl.col("status").is_in(_VOID["MedicationRequest"]).fill_null(False)
    void |= pl.col("intent").is_in(["proposal", "plan"]).fill_null(False)
    return _rows(batch, code, known, void | pl.col("doNotPerform").fill_null(False))


def _flatten_administrations(batch: pl.DataFrame, drugs: pl.DataFrame) -> pl.DataFrame:
    at = pl.coalesce("effectiveDateTime", pl.col("effectivePeriod").struct.field("start"))
    known = resources.times(batch, at, "effective")
    void = pl.col("status").is_in(_VOID["MedicationAdministration"])
    return _rows(batch, medication.given(batch, drugs), known, void, "context")


def _rows(
    batch, code: pl.DataFrame, known: pl.DataFrame, void: pl.Expr, place: str = "encounter"
) -> pl.DataFrame:
    encounter = resources.referred(pl.col(place).struct.field("reference"))
    rows = batch.select(
        encounter.alias("encounter"),
        code["code"],
        code["name"],
        known["low"].alias("first"),
        known["high"].alias("time"),
        void=void,
    )
    return tables.conform(rows, _ROW)
