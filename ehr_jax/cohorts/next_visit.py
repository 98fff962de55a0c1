"""Tasks on what the patient's next visit will be coded with, predicted at discharge."""

import polars as pl

from ehr_jax.cohorts import draft, phenotypes
from ehr_jax.records import tables

FAULTS = (
    "The split cuts the labelled visits in file order and not by patient, so test patients may "
    "have trained the model.",
    "Every visit takes part in one hypergraph, test visits too: through shared codes the patient's "
    "next visit, whose codes are the label, shapes the states that predict it.",
)


def phenotype_next(records: tables.Records, protocol: str) -> draft.Draft:
    """Drafts the 25 benchmark phenotypes of the next visit (MINGLE, MIMIC-III)."""
    coded = records.codes.filter(pl.col("code").str.starts_with(phenotypes.SYSTEM))["visit_id"]
    visits = records.visits.with_columns(coded=pl.col("visit_id").is_in(coded.unique().implode()))
    visits, excluded = draft.drop(visits, {"no ICD-9-CM diagnosis code": ~pl.col("coded")})
    groups = phenotypes.table(records.codes["code"].unique())
    return draft.Draft(
        rows=_next_has(records, visits, groups, phenotypes.LABELS),
        labels=phenotypes.LABELS,
        at_discharge=True,
        description=(
            "At discharge, which of the 25 phenotypes of the MIMIC-III benchmark the patient's "
            "next visit will be coded with. Visits with an ICD-9-CM diagnosis take part; the next "
            "one is the patient's next such visit, however long after, transfers included. A visit "
            "without a next one, as every visit that ended in death, gives structure only: the "
            "task speaks of patients who survived and came back."
        ),
        published_split="by_file_order",
        excluded=excluded,
        faults=FAULTS if protocol == "paper" else (),
    )


def cvd_next(records: tables.Records, protocol: str) -> draft.Draft:
    """Drafts a cardiovascular code (ICD-9-CM 390-459) in the next visit, of those without one."""
    codes = pl.DataFrame({"code": records.codes["code"].unique().sort()})
    groups = codes.filter(_is_cardiovascular()).with_columns(phenotype=pl.lit("cvd"))
    rows = _next_has(records, records.visits, groups, ("cvd",))
    has_now = records.codes.join(groups, on="code")["visit_id"].unique().implode()
    free = ~pl.col("visit_id").is_in(has_now)
    return draft.Draft(
        rows=rows.with_columns(cvd=pl.when(free).then("cvd")),
        labels=("cvd",),
        at_discharge=True,
        description=(
            "At discharge from a visit without a cardiovascular diagnosis (ICD-9-CM 390-459), "
            "whether the patient's next visit has one. Only the visit itself has to be free of "
            "such codes, not the patient's past, so the label is not always a first diagnosis; "
            "where a source keeps few codes a visit, being free of them may also mean that there "
            "was no room. Visits with such a code, and visits without a next one, give structure "
            "only."
        ),
        published_split="by_file_order",
        faults=FAULTS if protocol == "paper" else (),
    )


def lacks(records: tables.Records) -> str:
    """Says what the records lack for these tasks, "" when nothing."""
    coded = records.codes["code"].str.starts_with(phenotypes.SYSTEM).any()
    return "" if coded else "ICD-9-CM diagnosis codes"


def _next_has(records, visits: pl.DataFrame, groups: pl.DataFrame, labels) -> pl.DataFrame:
    """Returns (visit_id, prediction_time, one column a label): does the next visit have the group?

    `groups` has one row (code, phenotype) for each code that counts.
    """
    here = (
        records.codes.join(groups, on="code")
        .group_by("visit_id")
        .agg((pl.col("phenotype") == name).any().alias(name) for name in labels)
    )
    following = visits.select(
        "visit_id", prediction_time="end", next_visit=draft.next_of_patient("visit_id")
    )
    joined = following.join(here, left_on="next_visit", right_on="visit_id", how="left")
    exists = pl.col("next_visit").is_not_null()
    return joined.select(
        "visit_id",
        "prediction_time",
        *(pl.when(exists).then(pl.col(name).fill_null(False)).alias(name) for name in labels),
    )


def _is_cardiovascular() -> pl.Expr:
    category = pl.col("code").str.extract(rf"^{phenotypes.SYSTEM}(\d{{3}})").cast(pl.Int32)
    return category.is_between(390, 459).fill_null(False)
