"""What the codes of a MEDS data set mean: a table of patterns, those of the MIMIC-IV MEDS ETL.

MEDS fixes the codes of birth and death alone; a code is else whatever an ETL made of its source,
its parts joined by "//". A part that had no value is "UNK". Codes of the systems of `code_systems`
are known however they are joined: "ICD9CM//428.0", "ICD10CM/I50.9", "DIAGNOSIS//ICD9//4280",
"RxNorm/5224", "LOINC//8867-4".
"""

import re
from typing import NamedTuple

import polars as pl

from ehr_jax.records.common import code_systems, tables
from ehr_jax.records.mimic import mimic3, mimic4


class Pattern(NamedTuple):
    """Codes that match `code` play `role`; `{name}` in `to` is a group of the pattern.

    The role "billed" is of a code that its hospital enters after the discharge, and that counts as
    known at the end of the visit whatever time stands at it.
    """

    code: str
    role: str
    to: str = ""  # code, variable, category, place or unit in our spelling
    kind: str = ""  # of a code
    unit: str = ""  # of a measurement


# The first pattern that matches the whole code holds.
PATTERNS = (
    Pattern(r"MEDS_BIRTH", "birth"),
    Pattern(r"MEDS_DEATH(//.*)?", "death"),
    Pattern(r"(GENDER|SEX)//(?P<sex>.+)", "sex", "{sex}"),
    Pattern(r"HOSPITAL_ADMISSION(//.*)?", "admission"),
    Pattern(r"HOSPITAL_DISCHARGE(//(?P<place>.*))?", "discharge", "{place}"),
    Pattern(r"ICU_ADMISSION(//(?P<unit>.*))?", "unit entry", "{unit}"),
    Pattern(r"ICU_DISCHARGE(//.*)?", "unit exit"),
    Pattern(r"DIAGNOSIS//ICD//9//(?P<icd>.+)", "billed", "ICD9CM:{icd}", "diagnosis"),
    Pattern(r"DIAGNOSIS//ICD//10//(?P<icd>.+)", "billed", "ICD10CM:{icd}", "diagnosis"),
    Pattern(r"PROCEDURE//ICD//9//(?P<icd>.+)", "billed", "ICD9PROC:{icd}", "procedure"),
    Pattern(r"PROCEDURE//ICD//10//(?P<icd>.+)", "billed", "ICD10PCS:{icd}", "procedure"),
    Pattern(r"DIAGNOSIS//(?P<system>[^/]+)//(?P<of>.+)", "code", "{system}:{of}", "diagnosis"),
    # Procedures and infusions of intensive care are items with a beginning and an end.
    Pattern(r"PROCEDURE//START//(?P<item>.+)", "code", "ITEM:{item}", "procedure"),
    Pattern(r"PROCEDURE//END//.+", "none"),
    Pattern(r"PROCEDURE//(?P<system>[^/]+)//(?P<of>.+)", "code", "{system}:{of}", "procedure"),
    Pattern(r"INFUSION_START//(?P<item>.+)", "code", "ITEM:{item}", "drug"),
    Pattern(r"INFUSION_END//.+", "none"),
    # Orders of a drug, then what its administration came to ("Administered", "Not Given").
    Pattern(r"MEDICATION//START//(?P<drug>.+)", "code", "DRUG:{drug}", "drug"),
    Pattern(r"MEDICATION//STOP//.+", "none"),
    Pattern(r"MEDICATION//(?P<drug>.+?)//(.*\bNot\b.*|.*Stop.*|Hold.*|Held.*|Removed.*)", "none"),
    Pattern(r"MEDICATION//(?P<drug>.+?)(//.*)?", "code", "DRUG:{drug}", "drug"),
    # MIMIC-IV numbers its laboratory items 5xxxx and its charted ones 22xxxx.
    Pattern(r"LAB//(?P<item>2\d{5})//(?P<u>.*)", "measurement", "CHART:{item}", unit="{u}"),
    Pattern(r"LAB//(?P<item>.+?)(//(?P<u>.*))?", "measurement", "LAB:{item}", unit="{u}"),
    Pattern(
        r"CHART(EVENT)?S?//(?P<item>.+?)(//(?P<u>.*))?", "measurement", "CHART:{item}", unit="{u}"
    ),
    Pattern(
        r"SUBJECT_FLUID_OUTPUT//(?P<item>.+?)(//(?P<u>.*))?", "measurement", "CHART:{item}",
        unit="{u}",
    ),
    Pattern(
        r"MEASUREMENT//(?P<variable>.+?)//(?P<u>.*)", "measurement", "{variable}", unit="{u}"
    ),  # of `meds.writer`
    Pattern(r"NOTE(//(?P<category>.*))?", "note", "{category}"),
    Pattern(r"ATTRIBUTE//.*", "none"),  # of `meds.writer`; the admission tells them too
)  # fmt: skip

# A code of a system, which may stand behind what it codes.
_OF_SYSTEM = re.compile(
    r"(?:(?P<of>DIAGNOSIS|CONDITION|PROCEDURE|MEDICATION|DRUG)//)?"
    r"(?P<system>[^/:|]+)(?://|[/:|])(?P<code>[^/].*)"
)
_BILLED = (*code_systems.ICD, "ICD10", "CPT4", "HCPCS")
_KINDS = {"DIAGNOSIS": "diagnosis", "CONDITION": "diagnosis", "PROCEDURE": "procedure"}
_KINDS |= {"MEDICATION": "drug", "DRUG": "drug"}
# Systems of which an edition is told by what is coded, or goes without saying, as in MIMIC-IV.
_EDITIONS = {
    ("ICD9", "diagnosis"): "ICD9CM",
    ("ICD9", "procedure"): "ICD9PROC",
    ("ICD9CM", "procedure"): "ICD9PROC",
    ("ICD10", "diagnosis"): "ICD10CM",
    ("ICD10", "procedure"): "ICD10PCS",
}

# Place of discharge to disposition: as MIMIC puts it, and as this project's own writer does.
PLACES = {what.upper(): what for what in tables.DISPOSITIONS}
PLACES |= mimic3.DISPOSITIONS | mimic4.DISPOSITIONS | {"": "unknown"}

_MEANINGS = {"code": pl.String, "role": pl.String, "to": pl.String, "kind": pl.String}
_MEANINGS |= {"unit": pl.String}


def meanings(inventory: pl.DataFrame) -> pl.DataFrame:
    """Returns (code, role, to, kind, unit) of the distinct codes of a data set.

    A code of no pattern and no known system is a measurement under its own spelling if it ever has
    a number. So is a code of LOINC or SNOMED that has one, under that system's name.

    Args:
      inventory: `code`, and `numbers`, how often it comes with a number.
    """
    compiled = [(re.compile(pattern.code), pattern) for pattern in PATTERNS]
    rows = []
    for code, numbers in inventory.select("code", "numbers").iter_rows():
        if told := _of_system(code, numbers):
            rows.append((code, *told, ""))
            continue
        found = ((matcher.fullmatch(code), pattern) for matcher, pattern in compiled)
        match, pattern = next((pair for pair in found if pair[0]), (None, None))
        if match is None:
            rows.append((code, "measurement" if numbers else "none", code, None, None))
            continue
        parts = {name: _value(part) for name, part in match.groupdict().items()}
        to = pattern.to.format(**parts)
        lacking = pattern.role in ("code", "billed") and "" in parts.values()
        role = "none" if lacking else pattern.role
        rows.append((code, role, to or None, pattern.kind or None, pattern.unit.format(**parts)))
    frame = pl.DataFrame(rows, schema=_MEANINGS, orient="row")
    return frame.with_columns(pl.col("unit").replace("", None))


def _of_system(code: str, numbers: int) -> tuple[str, str, str | None] | None:
    """Returns role, our spelling and kind of a code of a known system; None of any other."""
    match = _OF_SYSTEM.fullmatch(code)
    if match is None or not _value(match["code"]):
        return None
    kind = _KINDS.get(match["of"])
    short = re.sub(r"[-_ .]", "", match["system"].upper())
    system = _EDITIONS.get((short, kind)) or code_systems.find(match["system"])
    if system is None:
        return None
    spelled = f"{system}:{match['code']}"
    kind = kind or code_systems.SYSTEMS[system].kind
    if kind is None or (system == "SNOMED" and numbers and match["of"] is None):
        return ("measurement" if numbers else "none"), spelled, None
    return "billed" if system in _BILLED else "code", spelled, kind


def part(code: pl.Expr, number: int) -> pl.Expr:
    """Returns one of the parts of codes, from 0; null where it has no value."""
    found = code.str.split("//").list.get(number, null_on_oob=True).str.strip_chars()
    return pl.when(~found.is_in(["", "UNK"])).then(found)


def disposition(place: pl.Expr) -> pl.Expr:
    """Returns `Records.visits.disposition` of a place of discharge."""
    upper = pl.coalesce(place, pl.lit("")).str.strip_chars().str.to_uppercase()
    return upper.replace_strict(PLACES, default="other", return_dtype=pl.String)


def _value(found: str | None) -> str:
    return found if found and found.strip() not in ("", "UNK") else ""
