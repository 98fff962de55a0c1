"""Drugs in FHIR: what an order or an administration gives, by a code of its own or a Medication."""

import pathlib

import polars as pl

from ehr_jax.records.common import tally
from ehr_jax.records.fhir import coding, resources, versions

_MEDICATION = {"id": pl.String, "code": resources.CONCEPT}
# The fields by which a resource says which drug it is about.
GIVEN = {
    "contained": pl.List(pl.Struct(_MEDICATION)),
    "medicationCodeableConcept": resources.CONCEPT,
    "medicationReference": resources.REFERENCE,
}


def given(batch: pl.DataFrame, drugs: pl.DataFrame) -> pl.DataFrame:
    """Returns code and name of what each resource of a batch gives or orders: as it says itself,
    else by the Medication it names, inside it or of the `drugs`, else by the words of its
    reference."""
    own = _drug(batch["medicationCodeableConcept"])
    reference = pl.col("medicationReference").struct
    inside = resources.inside(batch)
    inside = inside.select("row", "reference", *_drug(inside["code"]))
    joined = (
        batch.with_row_index("row")
        .select(
            "row",
            reference=resources.referred(reference.field("reference")),
            display=reference.field("display").str.strip_chars(),
        )
        .join(inside, on=["row", "reference"], how="left", maintain_order="left")
        .join(
            drugs, left_on="reference", right_on="medication", how="left", maintain_order="left",
            suffix="_apart",
        )
    )  # fmt: skip
    said = pl.when(pl.col("display").str.len_bytes() > 0).then("DRUG:" + pl.col("display"))
    return joined.select(
        pl.coalesce(own["code"], "code", "code_apart", said).alias("code"),
        pl.coalesce(own["name"], "name", "name_apart", "display").alias("name"),
    )


def medications(paths: list[pathlib.Path], oddities: tally.Ledger) -> pl.DataFrame:
    """Returns the columns medication (an id), code and name of Medication resources."""

    def flatten(batch: pl.DataFrame) -> pl.DataFrame:
        wrong = (pl.col("status") == "entered-in-error").fill_null(False)
        rule = "Medication resources entered in error, left out"
        sound = oddities.sift("Medication", batch, ~wrong, rule)
        return _drug(sound["code"]).select(sound["id"].alias("medication"), "code", "name")

    fields = _MEDICATION | {"status": pl.String}
    read = versions.collect(paths, "Medication", fields, flatten, oddities)
    named = pl.col("medication").is_not_null()
    return oddities.sift("Medication", read, named, "Medication resources without an id, left out")


def _drug(concepts: pl.Series) -> pl.DataFrame:
    text = pl.col("name").str.strip_chars()
    said = pl.when(text.str.len_bytes() > 0).then("DRUG:" + text)
    return coding.coded(concepts).with_columns(pl.coalesce("code", said).alias("code"))
