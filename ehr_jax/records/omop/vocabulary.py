"""What OMOP concept ids mean: the few this project knows by heart, the others by the vocabulary.

The vocabulary tables need a licence of their own and are often not shipped. Athena writes them as
tab-separated text under the name CONCEPT.csv; "2b_concept" holds a data set's own concepts.
"""

import pathlib
from typing import NamedTuple

import polars as pl

from ehr_jax.records.common import encounters, icd9, reading

# Kinds of a visit that are hospital encounters.
HOSPITAL = {
    9201: "inpatient visit",
    9203: "emergency room visit",
    262: "emergency room and inpatient visit",
    8717: "inpatient hospital",
    8870: "emergency room of a hospital",
    8971: "inpatient psychiatric facility",
    32037: "intensive care",
    581379: "inpatient critical care facility",
    581385: "observation room",
}
EMERGENCY = (9203, 262, 8870)
# Visits of an emergency room, or under observation, that may lead to an admission of their own.
BEFORE_ADMISSION = (9203, 8870, 581385)
STILL_PATIENT = 32220  # not discharged yet, as a visit's type or its place of discharge

# Units that are intensive care, as visit_detail names them.
INTENSIVE = {
    32037: "intensive care",
    581379: "inpatient critical care facility",
    763903: "trauma intensive care unit",
    4149943: "cardiac intensive care unit",
    4305366: "surgical intensive care unit",
    40481392: "medical intensive care unit",
}

SEXES = {8507: "M", 8532: "F"}
# Races and ethnicities.
ORIGINS = {
    8515: "asian",
    8516: "black or african american",
    8527: "white",
    8557: "native hawaiian or other pacific islander",
    8657: "american indian or alaska native",
    38003563: "hispanic or latino",
    38003564: "not hispanic or latino",
}

ANOTHER_HOSPITAL = (8717, 9201, 38004279)
DISPOSITIONS = {
    8536: "home",
    581476: "home",
    8615: "facility",
    8676: "facility",
    8863: "facility",
    8920: "facility",
    8970: "facility",
    38004277: "facility",
    38004285: "facility",
    8546: "hospice",
    8717: "transfer",
    8971: "transfer",
    9201: "transfer",
    38004279: "transfer",
    434489: "died",
    4216643: "died",
    4306655: "died",
    4021968: "other",
    40482021: "other",
}

# Types of records that are written as care goes on: their times are when they were known. Any other
# (bills, claims, discharge records, "EHR encounter diagnosis") says what the whole visit was about.
CHARTED = (
    32817,  # EHR
    32818,  # EHR administration record
    32819,  # EHR admission note
    32820,  # EHR ancillary report
    32822,  # EHR chief complaint
    32825,  # EHR dispensing record
    32826,  # EHR emergency room note
    32829,  # EHR inpatient note
    32831,  # EHR note
    32832,  # EHR nursing report
    32833,  # EHR order
    32836,  # EHR physical examination
    32838,  # EHR prescription
    32839,  # EHR prescription issue record
    32841,  # EHR radiology report
    32856,  # Lab
    38000177,  # Prescription written
    38000179,  # Physician administered drug
    38000180,  # Inpatient administration
    38000275,  # EHR order list entry
)

# Vocabularies whose source concepts say more than the standard ones they are mapped to.
_ICD = ("ICD9CM", "ICD9PROC", "ICD10CM", "ICD10PCS")
# Read whole, for tables that are read only when asked for.
_LAZY_DOMAINS = ("Measurement", "Unit")


class Concepts(NamedTuple):
    """Columns concept_id, code ("SNOMED:38341003"), name, and icd: is it an ICD code?"""

    table: pl.DataFrame

    def names(self) -> dict[int, str]:
        return dict(self.table.select("concept_id", "name").rows())


def name_of(column: str, names: dict[int, str]) -> pl.Expr:
    """Returns the names of the ids in a column; null where there is none."""
    return pl.col(column).replace_strict(names, default=None, return_dtype=pl.String)


def not_zero(column: str) -> pl.Expr:
    """Returns a column of concept ids, null where it is 0, which stands for none."""
    # `replace` would hold every row before it looks at the first.
    return pl.when(pl.col(column) != 0).then(pl.col(column))


def load(root: str | pathlib.Path, used: pl.Series) -> Concepts:
    """Returns what the vocabulary tables of `root` know of the `used` concept ids and of units.

    Raises RecordsError for a damaged table.
    """
    texts = ("concept_name", "domain_id", "vocabulary_id", "concept_code")
    schema = {"concept_id": pl.Int64} | dict.fromkeys(texts, pl.String)
    wanted = pl.col("concept_id").is_in(used.unique().implode())
    wanted |= pl.col("domain_id").is_in(_LAZY_DOMAINS)
    wanted |= pl.col("concept_name").str.contains(encounters.INTENSIVE)
    found = [
        reading.scan(path, schema).filter(wanted).collect(engine="streaming")
        for stem in ("concept", "2b_concept")
        if (path := reading.find_table(root, stem, required=False))
    ]
    raw = pl.concat(found) if found else pl.DataFrame(schema=schema)
    system = pl.col("vocabulary_id").str.strip_chars().str.to_uppercase().str.replace_all(" ", "_")
    icd = pl.col("system").is_in(_ICD)
    code = pl.col("concept_code")
    raw = raw.with_columns(icd9.without_shown_point(raw["concept_code"].str.strip_chars(), 3))
    return Concepts(
        raw.drop_nulls(["concept_id", "vocabulary_id", "concept_code"])
        .unique("concept_id", keep="first", maintain_order=True)
        .with_columns(system=system)
        .select(
            "concept_id",
            pl.concat_str(
                "system",
                pl.lit(":"),
                pl.when(icd).then(code.str.replace(".", "", literal=True)).otherwise(code),
            ).alias("code"),
            pl.coalesce("concept_name", "concept_code").str.strip_chars().alias("name"),
            icd.alias("icd"),
        )
    )
