"""The systems that clinical codes are of: this project's names for them, and how others write them.

One table for all sources, so that "ICD9CM//428.0", "http://x.org/CodeSystem/icd-9-cm" and a
vocabulary called "ICD9CM" name one system and their codes meet.
"""

import re
from typing import NamedTuple

import polars as pl


class System(NamedTuple):
    """A code system: how it is spelled, as a pattern of the whole name in lower case, and the kind
    of what it codes, one of `tables.KINDS`; of LOINC, which names what is measured, none."""

    spelled: str
    kind: str | None


_CM = r"[-_ .]?cm([-_ ]?diagnosis)?([-_ ]?codes?)?"
SYSTEMS = {
    "ICD9CM": System(rf"icd[-_ .]?9{_CM}", "diagnosis"),
    "ICD10CM": System(rf"icd[-_ .]?10{_CM}", "diagnosis"),
    "ICD9PROC": System(
        r"icd[-_ .]?9[-_ .]?(cm[-_ ]?)?(proc|pcs|procedures?)([-_ ]?codes?)?", "procedure"
    ),
    "ICD10PCS": System(r"icd[-_ .]?10[-_ .]?(pcs|proc)([-_ ]?codes?)?", "procedure"),
    "ICD10": System(r"icd[-_ .]?10([-_ ]?who)?", "diagnosis"),
    "SNOMED": System(r"snomed([-_ ]?ct)?|sct", "diagnosis"),
    "CPT4": System(r"cpt[-_]?4?", "procedure"),
    "HCPCS": System(r"hcpcs", "procedure"),
    "RXNORM": System(r"rx[-_ ]?norm", "drug"),
    "NDC": System(r"ndc", "drug"),
    "ATC": System(r"atc", "drug"),
    "CVX": System(r"cvx", "drug"),
    "LOINC": System(r"loinc", None),
}
ICD = ("ICD9CM", "ICD9PROC", "ICD10CM", "ICD10PCS")

_COMPILED = {name: re.compile(system.spelled) for name, system in SYSTEMS.items()}


def find(spelled: str) -> str | None:
    """Returns this project's name of a system that someone writes otherwise, None if unknown."""
    lower = spelled.strip().lower()
    return next((name for name, spells in _COMPILED.items() if spells.fullmatch(lower)), None)


def named(spelled: pl.Expr) -> pl.Expr:
    """Returns what `find` does, of a column."""
    lower = spelled.str.strip_chars().str.to_lowercase()
    found = pl.when(lower.is_null()).then(pl.lit(None, pl.String))
    for name, system in SYSTEMS.items():
        found = found.when(lower.str.contains(f"^({system.spelled})$")).then(pl.lit(name))
    return found.otherwise(None)


def plain(code: pl.Expr) -> pl.Expr:
    """Returns ICD codes in this project's spelling: capitals, without dots and blanks."""
    return code.str.to_uppercase().str.replace_all(r"[.\s]", "")
