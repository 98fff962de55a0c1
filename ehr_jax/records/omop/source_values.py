"""Which edition of ICD the source values of an OMOP table are of, where no vocabulary says it.

A CDM keeps the code that a hospital wrote ("4280", "I50.9", "ICD10CM:I50.9") beside the concept it
was mapped to. Without the vocabulary tables the concept is a bare number, and the code tells more.
Its system is what stands before it, else what its form can be of alone: "4280" is ICD-9-CM, "I509"
ICD-10-CM, "02HV33Z" ICD-10-PCS. Codes that begin with E or V may be of either ("V4581", "E875"):
they are of the edition in which the other diagnoses of the visit are written. Where these do not
tell, and for procedures of digits alone ("3961"), which may be any hospital's numbers, the code is
left as it is and counted.
"""

import polars as pl

from ehr_jax.records.common import code_systems, icd9

# Where a smaller share of a column's codes has a form of ICD, the codes are a hospital's own.
_SHARE = 0.9

_UNCLEAR = "unclear"
# Forms of a code in capitals, the first that matches the whole; a dot tells where a category ends.
_FORMS = {
    "diagnosis": {
        r"\d{3}(\.?\d{1,2})?|E9\d{2}(\.?\d)?|E(8\d{2}|0[0-3]\d)\.\d": "ICD9CM",
        r"E(8\d{2}\d?|0[0-3]\d{1,2})|V\d{2}(\.?\d{1,2})?": _UNCLEAR,
        r"[A-Z]\d[0-9A-Z](\.?[0-9A-Z]{1,4})?": "ICD10CM",
    },
    "procedure": {
        r"\d{2}\.\d{1,2}": "ICD9PROC",
        r"\d{2,4}": _UNCLEAR,
        r"[0-9BCDFGHX][0-9A-HJ-NP-Z]{6}": "ICD10PCS",
    },
}
_PREFIXED = r"^([A-Z][\w .-]*?)\s*(?://|[/:|^])\s*(\S+)$"
_SHORT = {
    "diagnosis": {"ICD9": "ICD9CM", "ICD10": "ICD10CM"},
    "procedure": {"ICD9": "ICD9PROC", "ICD9CM": "ICD9PROC", "ICD10": "ICD10PCS"},
}


def coded(rows: pl.DataFrame, kind: str, stem: str, oddities: dict[str, int]) -> pl.Series:
    """Returns the ICD codes ("ICD10CM:I509") that `rows` of a kind have by their source values.

    Null where there is none, and where the row has a `code` by a vocabulary.

    Args:
      rows: visit_id, source_value, n, and `code`, by a vocabulary or null.
      stem: of the table, for the counts.
    """
    plain = icd9.without_shown_point(rows["source_value"], 3 if kind == "diagnosis" else 2)
    rule = f"{stem} source values written as numbers, their '.0' left out"
    oddities[rule] = rows.filter(plain.ne_missing(rows["source_value"]))["n"].sum()
    rows = rows.with_columns(plain)
    value = pl.col("source_value").str.to_uppercase()
    apart = value.str.extract_groups(_PREFIXED).struct
    system = apart.field("1").str.replace_all(r"[-_ .]", "")
    told = pl.coalesce(
        system.replace_strict(_SHORT[kind], default=None, return_dtype=pl.String),
        code_systems.named(apart.field("1")),
    )
    told = pl.when(told.is_in(code_systems.ICD)).then(told)
    form = pl.when(value.is_null()).then(pl.lit(None, pl.String))
    for pattern, edition in _FORMS[kind].items():
        fits = value.str.contains(f"^({pattern})$")
        if edition == "ICD10PCS":
            fits &= value.str.contains("[A-Z]") & value.str.contains("[0-9]")
        form = form.when(fits).then(pl.lit(edition))
    marked = rows.with_columns(
        told=told,
        form=form.otherwise(None),
        word=value.str.contains(r"^[^\s]*\d[^\s]*$"),
        bare=pl.when(told.is_not_null()).then(apart.field("2")).otherwise(value),
        open=pl.col("code").is_null(),
    )
    marked = marked.with_columns(edition=pl.coalesce("told", "form"))
    if kind == "diagnosis" and not _is_icd(marked):
        marked = marked.with_columns(edition="told")
    marked = _by_other_codes(marked) if kind == "diagnosis" else marked
    unclear = marked.filter(pl.col("open") & (pl.col("edition") == _UNCLEAR))
    oddities[f"{stem} codes of no sure edition of ICD, left as they are"] = unclear["n"].sum()
    sure = pl.col("open") & (pl.col("edition") != _UNCLEAR)
    code = pl.col("edition") + ":" + code_systems.plain(pl.col("bare"))
    result = marked.select(code=pl.when(sure).then(code))["code"]
    taken = rows.filter(result.is_not_null())["n"].sum()
    oddities[f"{stem} rows whose concept is not named, taken by the ICD code of their source"] = (
        taken
    )
    return result


def _is_icd(marked: pl.DataFrame) -> bool:
    """Says whether the codes of a column without a vocabulary have forms of ICD."""
    words = marked.filter(pl.col("open") & pl.col("word") & pl.col("told").is_null())
    fits = words.filter(pl.col("form").is_not_null())["n"].sum()
    return fits >= _SHARE * words["n"].sum()


def _by_other_codes(marked: pl.DataFrame) -> pl.DataFrame:
    """Gives unclear codes the edition of the visit's other codes, if that is one."""
    own = pl.coalesce(
        pl.col("code").str.extract(r"^(ICD9CM|ICD10CM):"),
        pl.when(pl.col("edition") != _UNCLEAR).then("edition"),
    )
    editions = marked.select("visit_id", own=own).drop_nulls().group_by("visit_id")
    editions = editions.agg(n_own=pl.col("own").n_unique(), own=pl.col("own").first())
    joined = marked.join(editions.filter(n_own=1), on="visit_id", how="left", maintain_order="left")
    unclear = pl.col("edition") == _UNCLEAR
    return joined.with_columns(
        edition=pl.when(unclear).then(pl.coalesce("own", "edition")).otherwise("edition")
    )
