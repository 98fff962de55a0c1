"""What FHIR's codes mean: the systems they are of, by any of their addresses, and what they say."""

import polars as pl

from ehr_jax.records.common import code_systems

# Addresses of code systems to the names this project gives them, in lower case, without "http://",
# "www.", a slash at the end, a version behind "|" and "urn:oid:". A system that neither stands here
# nor ends in a known name keeps the last part of its address: "http://x.org/CodeSystem/local-drug"
# gives "LOCAL-DRUG".
SYSTEMS = {
    "snomed.info/sct": "SNOMED",
    "nlm.nih.gov/research/umls/rxnorm": "RXNORM",
    "loinc.org": "LOINC",
    "hl7.org/fhir/sid/icd-9-cm": "ICD9CM",
    "hl7.org/fhir/sid/icd-9-cm/diagnosis": "ICD9CM",
    "hl7.org/fhir/sid/icd-9-cm/procedure": "ICD9PROC",
    "hl7.org/fhir/sid/icd-10-cm": "ICD10CM",
    "hl7.org/fhir/sid/icd-10-us": "ICD10CM",
    "hl7.org/fhir/sid/icd-10": "ICD10",
    "hl7.org/fhir/sid/icd-10-pcs": "ICD10PCS",
    "hl7.org/fhir/sid/ndc": "NDC",
    "hl7.org/fhir/sid/cvx": "CVX",
    "ama-assn.org/go/cpt": "CPT4",
    "whocc.no/atc": "ATC",
    "cms.gov/medicare/coding/icd9": "ICD9PROC",
    "cms.gov/medicare/coding/icd10": "ICD10PCS",
    "2.16.840.1.113883.6.2": "ICD9CM",
    "2.16.840.1.113883.6.42": "ICD9CM",
    "2.16.840.1.113883.6.103": "ICD9CM",
    "2.16.840.1.113883.6.104": "ICD9PROC",
    "2.16.840.1.113883.6.3": "ICD10",
    "2.16.840.1.113883.6.90": "ICD10CM",
    "2.16.840.1.113883.6.4": "ICD10PCS",
    "2.16.840.1.113883.6.96": "SNOMED",
    "2.16.840.1.113883.6.88": "RXNORM",
    "2.16.840.1.113883.6.1": "LOINC",
    "2.16.840.1.113883.6.12": "CPT4",
    "2.16.840.1.113883.6.69": "NDC",
    "2.16.840.1.113883.6.73": "ATC",
    "2.16.840.1.113883.12.292": "CVX",
}

# By the last part of an address: the systems of MIMIC-IV on FHIR, as its own tables are read.
_MIMIC = {
    r"diagnosis-icd-?9": "ICD9CM",
    r"diagnosis-icd-?10": "ICD10CM",
    r"procedure-icd-?9": "ICD9PROC",
    r"procedure-icd-?10": "ICD10PCS",
    r"(d-)?lab-?items": "LAB",
    r"(chartevents|outputevents|datetimeevents)-d-items": "CHART",
    r"((procedureevents|inputevents)-d-items|d-items|medication-icu)": "ITEM",
    r"medication-name": "DRUG",
    r"medication-ndc": "NDC",
    r"hcpcs-cd": "HCPCS",
}


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
    prefix = pl.coalesce(named(pl.col("system")), pl.lit("CODE"))
    if procedure:
        prefix = prefix.replace("ICD9CM", "ICD9PROC")
    code = pl.col("code").str.strip_chars()
    icd = pl.col("prefix").is_in(code_systems.ICD)
    codings = (
        rows.select("row", pl.col("concept").struct.field("coding"))
        .explode("coding")
        .unnest("coding")
        .with_columns(prefix=prefix)
        .with_columns(code=pl.when(icd).then(code_systems.plain(code)).otherwise(code), icd=icd)
        .filter(pl.col("code").str.len_bytes() > 0)
        .sort("row", ~pl.col("icd"), maintain_order=True)
        .unique("row", keep="first", maintain_order=True)
        .select("row", code=pl.col("prefix") + ":" + pl.col("code"), display="display")
    )
    text = rows.select("row", pl.col("concept").struct.field("text"))
    joined = text.join(codings, on="row", how="left", maintain_order="left")
    return joined.select("code", pl.coalesce("display", "text").alias("name"))


def named(system: pl.Expr) -> pl.Expr:
    """Returns the names of code systems given by their addresses; null where there is none.

    Addresses are compared without their scheme and letter case: "HTTPS://snomed.info/sct/" and
    "http://snomed.info/sct|2024" are one system, as are "urn:oid:" and the number alone.
    """
    address = system.str.strip_chars().str.to_lowercase().str.replace(r"\|.*$", "")
    address = address.str.replace(r"^(https?://(www\.)?|urn:oid:|oid:)", "")
    address = address.str.strip_chars_end("/#")
    # An edition of SNOMED has its module and date behind the address.
    address = address.str.replace(r"^(snomed\.info/sct)/.*$", "${1}")
    last = address.str.extract(r"([^/:]+)$")
    of_mimic = pl.when(last.is_null()).then(pl.lit(None, pl.String))
    for pattern, name in _MIMIC.items():
        of_mimic = of_mimic.when(last.str.contains(f"^(mimic-)?{pattern}$")).then(pl.lit(name))
    known = address.replace_strict(SYSTEMS, default=None, return_dtype=pl.String)
    return pl.coalesce(
        known, of_mimic.otherwise(None), code_systems.named(last), last.str.to_uppercase()
    )
