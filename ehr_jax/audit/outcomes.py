"""Checks of the outcome: it comes after the prediction, and the label says what happened.

All is told anew from visits, stays, deaths and codes. Nothing of `cohorts/labels.py`, which made
the labels, is used. Where the rules of a cohort leave room (transfers, visits within a day,
overlaps), both answers are taken, so that what is left is a contradiction.
"""

import datetime

import polars as pl

from ehr_jax.audit import evidence
from ehr_jax.cohorts import phenotypes
from ehr_jax.cohorts import spec as specs

DAY = datetime.timedelta(days=1)
NEXT_CODES = ("phenotypes_of_next_visit", "codes_of_next_visit")  # labels by codes of a visit
TIME, AFTER, AGAIN = "prediction time", "outcome after the prediction", "labels told again"


def findings(given: evidence.Evidence) -> list[evidence.Finding]:
    """Returns the findings of this file; of a query, and of a label of others, nothing is told."""
    if not isinstance(given.cohort.spec, specs.Spec):
        said = f"'{given.cohort.task}' is a query, whose times and labels are its own"
        return [evidence.Finding(check, "skip", said) for check in (TIME, AFTER, AGAIN)]
    if given.cohort.spec.label not in HAPPENS:
        said = f"the label '{given.cohort.spec.label}' is none that this audit knows"
        skipped = [evidence.Finding(check, "skip", said) for check in (AFTER, AGAIN)]
        return [_prediction_time(given), *skipped]
    return [_prediction_time(given), _outcome_after(given), _labels_again(given)]


def _prediction_time(given: evidence.Evidence) -> evidence.Finding:
    """Is every prediction time the index of the task, and so many hours after it?"""
    spec, records = given.cohort.spec, given.records
    index = records.visits.select("visit_id", "start", "end")
    if spec.index == "icu_stay" and records.stays.height:
        stays = records.stays.sort("start", "stay_id", nulls_last=True)
        index = stays.group_by("visit_id", maintain_order=True).agg(pl.first("start", "end"))
    hours = datetime.timedelta(hours=spec.after_hours)
    samples = given.cohort.samples.join(index, on="visit_id", how="left", maintain_order="left")
    expected = pl.col(spec.predict) + hours
    rows = samples.filter(pl.col("prediction_time").ne_missing(expected))
    return evidence.found(
        TIME,
        rows.select("sample_id", "subject_id", "split"),
        "{count} sample(s) are predicted at another time than the task says",
        f"every sample is predicted {spec.after_hours:g} h after the {spec.predict} of its index",
    )


def _outcome_after(given: evidence.Evidence) -> evidence.Finding:
    """Does the outcome of every positive come after its prediction time?"""
    joined = _with_course(given)
    time = pl.col("prediction_time")
    happens = HAPPENS[given.cohort.spec.label]
    late = (happens > time).fill_null(True)
    if given.cohort.spec.label not in ("death_in_hospital", "death_in_hospital_by_date"):
        late = (happens >= time).fill_null(True)
    rows = joined.filter(_positive(given), ~late)
    return evidence.found(
        AFTER,
        rows.select("sample_id", "subject_id", "split"),
        "the outcome of {count} sample(s) was there at the prediction time",
        "every outcome comes after its prediction time",
    )


def _labels_again(given: evidence.Evidence) -> evidence.Finding:
    """Does no label contradict what the records say came after?"""
    if given.cohort.protocol != "strict":
        said = f"the labels of protocol '{given.cohort.protocol}' are the published ones"
        return evidence.Finding(AGAIN, "skip", said)
    label = given.cohort.spec.label
    if label not in COURSES and label not in NEXT_CODES:
        said = f"the label '{label}' is a published one"
        return evidence.Finding(AGAIN, "skip", said)
    if label in NEXT_CODES:
        told = _of_next_codes(given)
    else:
        joined, name = _with_course(given), pl.col(f"label.{given.cohort.labels[0]}")
        said = COURSES[label](given.cohort.spec)
        wrong = (name & ~said[0]) | (~name & said[1])
        told = joined.filter(wrong.fill_null(False)).with_columns(
            label=pl.lit(given.cohort.labels[0])
        )
    return evidence.found(
        AGAIN,
        told.select("sample_id", "subject_id", "split", "label"),
        "{count} label(s) contradict what the records say came after the prediction",
        "no label contradicts what the records say came after the prediction",
    )


def _of_death(spec) -> tuple[pl.Expr, pl.Expr]:
    """May the label be true, and must it be?"""
    died, time = pl.col("disposition") == "died", pl.col("death_time")
    within = ((time >= pl.col("start") - DAY) & (time <= pl.col("end") + DAY)).fill_null(False)
    by_date = spec.label == "death_in_hospital_by_date"
    bounded = spec.horizon_days is not None or spec.gap_hours
    must = died if not (bounded or by_date) else pl.lit(False)
    return died | within, must


def _of_length(spec) -> tuple[pl.Expr, pl.Expr]:
    long = pl.col("end") - pl.col("start") > datetime.timedelta(days=spec.more_than_days)
    return long, long


def _of_readmission(spec) -> tuple[pl.Expr, pl.Expr]:
    stated = pl.col("readmitted_30d")
    horizon = datetime.timedelta(days=spec.horizon_days or 36_500)
    if spec.horizon_days != 30 or spec.gap_hours:
        stated = pl.lit(None, pl.Boolean)
    soonest = pl.col("next_start") - pl.col("prediction_time")
    surely = pl.col("next_sure_start") - pl.col("prediction_time")
    least = DAY + datetime.timedelta(hours=spec.gap_hours)
    may = pl.coalesce(stated, soonest <= horizon).fill_null(False)
    must = pl.coalesce(stated, (surely > least) & (surely <= horizon)).fill_null(False)
    return may, must


def _of_next_codes(given: evidence.Evidence) -> pl.DataFrame:
    """Labels that no later visit bears out, or that every later visit contradicts."""
    spec, records = given.cohort.spec, given.records
    if spec.label == "phenotypes_of_next_visit":
        names = dict(zip(phenotypes.LABELS, given.cohort.labels, strict=True))
        groups = phenotypes.table(records.codes["code"].unique()).select(
            "code", label=pl.col("phenotype").replace_strict(names, return_dtype=pl.String)
        )
    else:
        codes = [c for c in records.codes["code"].unique() if _matches(c, spec.codes)]
        groups = pl.DataFrame({"code": codes}, schema={"code": pl.String})
        groups = groups.with_columns(label=pl.lit(given.cohort.labels[0]))
    held = records.codes.join(groups, on="code").select("visit_id", "label").unique()
    visits = records.visits.select("visit_id", "subject_id", "order")
    own = given.cohort.samples.filter("labelled").join(
        visits.select("visit_id", own="order"), on="visit_id"
    )
    later = own.select("sample_id", "subject_id", "own").join(visits, on="subject_id")
    later = later.filter(pl.col("order") > pl.col("own"))
    parts = []
    for name in given.cohort.labels:
        having = held.filter(label=name)["visit_id"].implode()
        marked = later.with_columns(has=pl.col("visit_id").is_in(having))
        counts = marked.group_by("sample_id").agg(
            some=pl.col("has").any(), every=pl.col("has").all()
        )
        joined = own.join(counts, on="sample_id", how="left")
        some = pl.col("some").fill_null(False)
        every = pl.col("every").fill_null(False)
        if spec.horizon_days is not None or spec.gap_hours:
            every = pl.lit(False)
        label = pl.col(f"label.{name}")
        wrong = (label & ~some) | (~label & every)
        parts.append(joined.filter(wrong.fill_null(False)).with_columns(label=pl.lit(name)))
    columns = ("sample_id", "subject_id", "split", "label")
    return pl.concat([part.select(columns) for part in parts])


def _matches(code: str, wanted: tuple[str, ...]) -> bool:
    for one in wanted:
        system, _, rest = one.partition(":")
        low, dash, high = rest.partition("-")
        if dash and code.startswith(f"{system}:"):
            category = code[len(system) + 1 :][:3]
            if low <= category <= high:
                return True
        elif not dash and code.startswith(one):
            return True
    return False


def _with_course(given: evidence.Evidence) -> pl.DataFrame:
    """Samples with their visit, the patient's death and the starts of later visits.

    next_start and last_start are of any later visit; next_sure_start is of one that is dated, no
    emergency visit, and begins before the patient's death.
    """
    records = given.records
    visits = records.visits.join(
        records.patients.select("subject_id", "death_time"), on="subject_id", how="left"
    )
    own = given.cohort.samples.join(
        visits.select("visit_id", "order", "start", "end", "disposition", "readmitted_30d",
                      "death_time"),
        on="visit_id", how="left", maintain_order="left",
    )  # fmt: skip
    later = own.select("sample_id", "subject_id", own="order", own_time="prediction_time").join(
        visits.filter(pl.lit(records.dated)), on="subject_id"
    )
    later = later.filter(pl.col("order") > pl.col("own"))
    sure = (
        pl.col("end").is_not_null()
        & ~pl.col("emergency").fill_null(False)
        & (pl.col("start") < pl.col("death_time")).fill_null(True)
    )
    starts = later.group_by("sample_id").agg(
        next_start=pl.col("start").min(),
        last_start=pl.col("start").max(),
        next_sure_start=pl.col("start").filter(sure & (pl.col("start") > pl.col("own_time"))).min(),
    )
    return own.join(starts, on="sample_id", how="left", maintain_order="left")


def _positive(given: evidence.Evidence) -> pl.Expr:
    return pl.any_horizontal(
        pl.col(f"label.{name}").fill_null(False) for name in given.cohort.labels
    )


def _end_of_day(name: str) -> pl.Expr:
    """A time at midnight is a date alone, and the day ends a day later."""
    time = pl.col(name)
    return pl.when(time == time.dt.truncate("1d")).then(time + DAY).otherwise(time)


_DEATH = pl.coalesce(_end_of_day("death_time"), "end")
# By label: when its outcome happens at the latest.
HAPPENS = {
    "death_in_hospital": _DEATH,
    "death_in_hospital_by_date": _DEATH,
    "long_stay": pl.col("end"),
    **dict.fromkeys(("readmission", "readmission_or_death", *NEXT_CODES), pl.col("last_start")),
}
# By label that is told again from the course of a patient: may it be true, and must it be?
COURSES = {
    "death_in_hospital": _of_death,
    "long_stay": _of_length,
    "readmission": _of_readmission,
}
