"""Checks of patients: none is there under two ids, and outcomes are as frequent in each split."""

import numpy as np
import polars as pl
import scipy.stats

from ehr_jax import disclosure
from ehr_jax.audit import evidence

ALIKE = 0.5  # of the codes of two patients of the same birth, sex and visits


def findings(given: evidence.Evidence) -> list[evidence.Finding]:
    """Returns the findings of this file."""
    return [patients_twice(given), prevalence_by_split(given)]


def patients_twice(given: evidence.Evidence) -> evidence.Finding:
    """No two patients of different splits are the same by birth, sex, times of visits and codes.

    The times are those between the starts and ends of visits, as a copy may be moved in time.
    Visits of whole days alone say too little: birth or a clock time has to be there.
    """
    check = "patients under two ids"
    samples = given.cohort.samples
    splits = samples.group_by("subject_id").agg(pl.col("split").min())
    courses = _courses(given.records).join(splits, on="subject_id")
    clear = courses.filter("clear")
    if clear.is_empty():
        return evidence.Finding(check, "skip", "the records have no times that tell patients apart")
    key = ["sex", "course"]
    groups = (
        clear.group_by(key).agg("subject_id", "split").filter(pl.col("split").list.n_unique() > 1)
    )
    codes = _code_sets(given.records, groups["subject_id"].explode().unique())
    rows = []
    for subjects, placed in groups.select("subject_id", "split").iter_rows():
        first, of_first = subjects[0], placed[0]
        for other, of_other in zip(subjects[1:], placed[1:], strict=True):
            if of_other != of_first and _alike(codes.get(first, set()), codes.get(other, set())):
                rows.append((other, of_other, first, of_first))
    schema = {"subject_id": pl.Int64, "split": pl.String, "like": pl.Int64, "in_split": pl.String}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return evidence.found(
        check,
        frame.drop("like"),
        "{count} patient(s) have the birth, sex, times of visits and codes of a patient of another "
        "split: one patient may be there under two ids",
        "no patient has the birth, sex, times of visits and codes of one of another split",
    )


def prevalence_by_split(given: evidence.Evidence) -> evidence.Finding:
    """No label is more frequent in one split than chance explains (chi-square, p < 0.001)."""
    check = "prevalence by split"
    rows = []
    samples = given.cohort.samples.filter("labelled")
    for name in given.cohort.labels:
        label, subject = pl.col(f"label.{name}"), pl.col("subject_id")
        counts = (
            samples.drop_nulls(f"label.{name}")
            .group_by("split")
            .agg(
                positive=label.sum(),
                negative=(~label).sum(),
                with_it=subject.filter(label).n_unique(),
                without=subject.filter(~label).n_unique(),
            )
            .sort("split")
        )
        counts = counts.filter(pl.min_horizontal("with_it", "without") >= disclosure.SMALLEST)
        table = counts.select("positive", "negative").to_numpy()
        if counts.height < 2:
            continue
        test = scipy.stats.chi2_contingency(table)
        if test.pvalue < 0.001 / len(given.cohort.labels):
            shares = dict(zip(counts["split"], table[:, 0] / table.sum(axis=1), strict=True))
            rows.append((name, *(round(float(shares.get(s, np.nan)), 4) for s in _SPLITS)))
    frame = pl.DataFrame(rows, schema=("label", *_SPLITS), orient="row")
    return evidence.found(
        check,
        frame,
        "{count} label(s) are more frequent in one split than chance explains",
        "labels are as frequent in each split, as far as there are samples to tell",
        "warn",
    )


_SPLITS = ("train", "validation", "test")


def _courses(records) -> pl.DataFrame:
    """(subject_id, sex, course, clear): birth and visits as minutes from the first start."""
    first = pl.col("start").min().over("subject_id")
    minutes = [
        (pl.col(name) - first).dt.total_minutes().cast(pl.String).fill_null("?")
        for name in ("start", "end")
    ]
    midnight = pl.col("start") == pl.col("start").dt.truncate("1d")
    timed = (~midnight & pl.col("end").is_not_null()).fill_null(False)
    visits = records.visits.sort("subject_id", "order").with_columns(
        visit=pl.concat_str(*minutes, separator="-"), timed=timed, first=first
    )
    patients = visits.group_by("subject_id", maintain_order=True).agg(
        pl.col("visit").str.join(","), pl.col("timed").any(), pl.col("first").first(),
        pl.col("age").first().round(0),
    )  # fmt: skip
    joined = patients.join(
        records.patients.select("subject_id", "sex", "birth_time"), on="subject_id"
    )
    age = (pl.col("first") - pl.col("birth_time")).dt.total_days().cast(pl.String)
    born = pl.coalesce(age, pl.col("age").cast(pl.String)).fill_null("?")
    return joined.select(
        "subject_id",
        pl.col("sex").fill_null("?"),
        course=pl.concat_str(born, "visit", separator=":"),
        clear=pl.col("timed"),
    )


def _code_sets(records, subjects: pl.Series) -> dict[int, set[str]]:
    visits = records.visits.filter(pl.col("subject_id").is_in(subjects.implode()))
    codes = records.codes.join(visits.select("visit_id", "subject_id"), on="visit_id")
    return {s: set(c) for s, c in codes.group_by("subject_id").agg("code").iter_rows()}


def _alike(one: set[str], other: set[str]) -> bool:
    union = one | other
    return not union or len(one & other) >= ALIKE * len(union)
