"""Diabetes 130-US hospitals 1999-2008 (UCI data set 296): inpatient encounters of diabetics.

`read` gives 101,766 encounters with three ICD-9-CM diagnoses, 23 diabetes drugs and the columns
known at discharge. The set has no dates: visits are ordered by encounter_id, as its authors say.
"""

import pathlib
import re

import polars as pl

from ehr_jax import errors
from ehr_jax.records.common import icd9, parsing, reading, repeats, tables, tally
from ehr_jax.records.diabetes130 import ids

MISSING = ("?",)  # the publisher's mark for no value, in any column

TERMS = (
    "Diabetes 130-US Hospitals for Years 1999-2008, UCI Machine Learning Repository, CC BY 4.0. "
    "Cite Strack et al., BioMed Research International 2014, doi 10.1155/2014/781670."
)

DRUGS = (
    "metformin repaglinide nateglinide chlorpropamide glimepiride acetohexamide glipizide "
    "glyburide tolbutamide pioglitazone rosiglitazone acarbose miglitol troglitazone tolazamide "
    "examide citoglipton insulin glyburide-metformin glipizide-metformin "
    "glimepiride-pioglitazone metformin-rosiglitazone metformin-pioglitazone"
).split()

# What the drug columns say beside "No" (not prescribed), and how a name tells it.
STATUSES = {"Up": "dose increased", "Down": "dose decreased", "Steady": "dose unchanged"}

# Column to the attribute's name. `readmitted` is an outcome and the two identifiers say nothing.
TEXTS = {
    "race": "race",
    "gender": "sex",
    "age": "age band",
    "weight": "weight band in pounds",
    "admission_type_id": "admission type",
    "discharge_disposition_id": "discharge disposition",
    "admission_source_id": "admission source",
    "payer_code": "payer",
    "medical_specialty": "specialty of the admitting physician",
    "max_glu_serum": "highest serum glucose in mg/dL",
    "a1cresult": "hemoglobin A1c in percent",
    "change": "change of diabetes medication",
    "diabetesmed": "diabetes medication prescribed",
}
NUMBERS = {
    "time_in_hospital": "days in hospital",
    "num_lab_procedures": "number of laboratory tests",
    "num_procedures": "number of procedures other than laboratory tests",
    "num_medications": "number of distinct medications",
    "number_outpatient": "number of outpatient visits in the year before",
    "number_emergency": "number of emergency visits in the year before",
    "number_inpatient": "number of inpatient visits in the year before",
    "number_diagnoses": "number of diagnoses entered",
}

# Values in words of our own; every other text is kept as it stands, and '?' is no value at all.
# "None" of the two laboratory columns is a fact (nobody measured it), not a gap.
WORDS = {
    "race": {"AfricanAmerican": "African American"},
    "gender": {"Unknown/Invalid": None},
    "max_glu_serum": {
        "None": "not measured",
        "Norm": "normal",
        ">200": "above 200",
        ">300": "above 300",
    },
    "a1cresult": {"None": "not measured", "Norm": "normal", ">7": "above 7", ">8": "above 8"},
    "change": {"Ch": "yes", "No": "no"},
    "diabetesmed": {"Yes": "yes", "No": "no"},
}


def read(root: str | pathlib.Path) -> tables.Records:
    """Reads `diabetic_data` (and `IDs_mapping.csv`, if there) of the folder `root`.

    A diagnosis is "ICD9CM:<undotted, leading zeros restored>", a drug "DRUG:<name> up|down|steady".
    Raises RecordsError for whatever in the files cannot be read as described by the publisher.
    """
    path = reading.find_table(root, "diabetic_data")
    oddities = tally.Ledger()
    raw = _raw(path, oddities)
    decoding = ids.decoding(root)
    visits = _visits(path, raw, oddities)
    codes, code_names = _codes(path, raw, icd9.load(root), oddities)
    return tables.check(
        tables.Records(
            source="diabetes130",
            patients=_patients(raw, oddities),
            visits=visits,
            stays=tables.empty(tables.STAYS),
            codes=codes,
            code_names=code_names,
            attributes=_attributes(path, raw, decoding),
            measurements=tables.empty(tables.MEASUREMENTS).lazy(),
            notes=tables.empty(tables.NOTES).lazy(),
            terms=TERMS,
            oddities=tally.standing(oddities),
            accounts=oddities.tables,
        )
    )


def _raw(path: pathlib.Path, oddities: tally.Ledger) -> pl.DataFrame:
    keys = ("encounter_id", "patient_nbr")
    texts = ("readmitted", "diag_1", "diag_2", "diag_3", *DRUGS, *TEXTS)
    schema = dict.fromkeys(texts, pl.String)
    schema |= dict.fromkeys(NUMBERS, pl.Float64) | dict.fromkeys((*keys, *ids.COLUMNS), pl.Int64)
    raw = reading.read(path, schema, missing=MISSING)
    reading.check_filled(path, raw, (*keys, "readmitted"))
    oddities.begin("diabetic_data", raw.height)
    raw = repeats.once(raw, "encounter_id", "diabetic_data", oddities, path.name)
    trimmed = raw.with_columns(pl.col(pl.String).str.strip_chars())
    return trimmed.sort("patient_nbr", "encounter_id")


def _visits(path: pathlib.Path, raw: pl.DataFrame, oddities: dict) -> pl.DataFrame:
    _check_known(path, raw["readmitted"], ("<30", ">30", "NO"))
    band = raw["age"].str.extract_groups(r"^\[(\d+)-(\d+)\)$")
    middle = band.to_frame().unnest("age").select(pl.all().cast(pl.Float32)).mean_horizontal()
    if (bad := raw["age"].is_not_null() & middle.is_null()).any():
        _refuse(path, "age", raw["age"].filter(bad)[0], "a ten-year band such as [70-80)")
    disposition = pl.col("discharge_disposition_id").replace_strict(
        ids.DISPOSITIONS, default="unknown"
    )
    unknown = ~raw["discharge_disposition_id"].is_in(list(ids.DISPOSITIONS))
    oddities["discharge dispositions not in the publisher's list, read as unknown"] = unknown.sum()
    return tables.conform(
        raw.select(
            pl.col("encounter_id").alias("visit_id"),
            pl.col("patient_nbr").alias("subject_id"),
            pl.int_range(pl.len()).over("patient_nbr").alias("order"),
            pl.lit(None).alias("start"),
            pl.lit(None).alias("end"),
            middle.alias("age"),
            disposition.fill_null("unknown").alias("disposition"),
            _unless(pl.col("admission_type_id"), ids.NO_TYPE).eq(ids.ELECTIVE).alias("planned"),
            _unless(pl.col("admission_source_id"), ids.NO_SOURCE)
            .is_in(list(ids.OTHER_HOSPITALS))
            .alias("transferred_in"),
            pl.lit(False).alias("emergency"),
            pl.col("readmitted").eq("<30").alias("readmitted_30d"),
        ),
        tables.VISITS,
    )


def _unless(column: pl.Expr, unknown: tuple[int, ...]) -> pl.Expr:
    return pl.when(~column.is_in(list(unknown))).then(column)


def _patients(raw: pl.DataFrame, oddities: dict) -> pl.DataFrame:
    sex = parsing.tidy(pl.col("gender")).replace_strict({"female": "F", "male": "M"}, default=None)
    known = raw.select("patient_nbr", sex.alias("sex"))
    patients = known.group_by("patient_nbr", maintain_order=True).agg(
        pl.col("sex").drop_nulls().first(), pl.col("sex").drop_nulls().n_unique().alias("sexes")
    )
    oddities["patients given two sexes, the first kept"] = (patients["sexes"] > 1).sum()
    oddities["patients of unknown sex"] = patients["sex"].null_count()
    return tables.conform(
        patients.select(
            pl.col("patient_nbr").alias("subject_id"),
            "sex",
            pl.lit(None).alias("birth_time"),
            pl.lit(None).alias("death_time"),
        ),
        tables.PATIENTS,
    )


def _codes(path: pathlib.Path, raw: pl.DataFrame, titles: icd9.Titles, oddities: dict):
    """Returns the tables of codes and of their names."""
    slots = [f"diag_{position}" for position in (1, 2, 3)]
    long = raw.select(pl.col("encounter_id").alias("visit_id"), *slots)
    diagnoses = long.unpivot(slots, index="visit_id", variable_name="slot", value_name="given")
    # The publisher writes no ".0": it comes from a writer that made the column one of numbers.
    diagnoses = diagnoses.drop_nulls("given").with_columns(
        pl.col("given").str.strip_chars().str.replace(r"^(\d+)\.0+$", "${1}")
    )
    spelling = {given: icd9.canonical(given) for given in diagnoses["given"].unique()}
    diagnoses = diagnoses.select(
        "visit_id",
        ("ICD9CM:" + pl.col("given").replace_strict(spelling, return_dtype=pl.String)).alias(
            "code"
        ),
        pl.col("slot").str.tail(1).cast(pl.Int32).alias("position"),
    ).sort("visit_id", "position")
    distinct = diagnoses.unique(["visit_id", "code"], keep="first", maintain_order=True)
    oddities["diagnoses entered twice for one encounter, one kept"] = (
        diagnoses.height - distinct.height
    )

    for drug in DRUGS:
        _check_known(path, raw[drug], ("No", *STATUSES))
    drugs = raw.select(pl.col("encounter_id").alias("visit_id"), *DRUGS)
    drugs = drugs.unpivot(DRUGS, index="visit_id", variable_name="drug", value_name="status")
    drugs = drugs.filter(pl.col("status").is_in(list(STATUSES)))
    code = pl.concat_str(pl.lit("DRUG:"), "drug", pl.lit(" "), pl.col("status").str.to_lowercase())
    drugs = drugs.with_columns(code.alias("code"))

    said = pl.col("status").replace_strict(STATUSES, return_dtype=pl.String)
    names = [
        pl.DataFrame(
            [
                (f"ICD9CM:{code}", "diagnosis", icd9.name_of(code, titles))
                for code in sorted(set(spelling.values()))
            ],
            schema=tables.CODE_NAMES,
            orient="row",
        ),
        drugs.unique("code").select(
            "code",
            pl.lit("drug").alias("kind"),
            pl.concat_str("drug", pl.lit(", "), said).alias("name"),
        ),
    ]
    codes = pl.concat([distinct, drugs.select("visit_id", "code")], how="diagonal")
    codes = codes.with_columns(pl.lit(None).alias("time")).sort("visit_id", "position", "code")
    return tables.conform(codes, tables.CODES), tables.conform(
        pl.concat(names).sort("code"), tables.CODE_NAMES
    )


def _attributes(path: pathlib.Path, raw: pl.DataFrame, decoding: dict) -> pl.DataFrame:
    long = []
    for column, name in TEXTS.items():
        text = pl.col(column)
        if column in decoding:
            text = text.replace_strict(
                decoding[column],
                default=pl.concat_str(pl.lit("number "), text),
                return_dtype=pl.String,
            )
        if column in WORDS:
            text = text.replace(WORDS[column])
        long.append(
            raw.select(pl.col("encounter_id"), pl.lit(name).alias("name"), text.alias("text"))
        )
    for column, name in NUMBERS.items():
        number = pl.col(column).alias("number")
        long.append(raw.select(pl.col("encounter_id"), pl.lit(name).alias("name"), number))
    return tables.conform(
        pl.concat(long, how="diagonal")
        .filter(pl.col("text").is_not_null() | pl.col("number").is_not_null())
        .with_columns(pl.col("encounter_id").alias("visit_id"), pl.lit(None).alias("time"))
        .sort("visit_id", maintain_order=True),
        tables.ATTRIBUTES,
    )


def _check_known(path: pathlib.Path, column: pl.Series, known: tuple[str, ...]) -> None:
    odd = column.filter(~column.is_in(list(known)))
    if len(odd):
        _refuse(path, column.name, odd[0], f"one of {', '.join(known)}")


def _refuse(path: pathlib.Path, column: str, value: str, expected: str) -> None:
    # Only what looks like a category is repeated: a shifted column could hold anything.
    plain = len(value) <= 12 and not re.search(r"\d{4}|\s", value)
    found = repr(value) if plain else "another value"
    raise errors.RecordsError(f"{path.name}: column '{column}' holds {found}; expected {expected}")
