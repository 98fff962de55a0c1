"""A cohort before its split: visits with prediction times and labels, as a Spec says."""

import dataclasses
import datetime
from collections.abc import Mapping

import polars as pl

from ehr_jax.cohorts import labels, phenotypes, rules
from ehr_jax.cohorts import spec as specs
from ehr_jax.records.common import tables

TRANSFER_GAP = datetime.timedelta(hours=24)
# An admission so soon after an emergency visit continues it.
AT_ONCE = datetime.timedelta(hours=1)
# If an emergency visit lasts longer, the source means the admission itself by it.
LONGEST_EMERGENCY = datetime.timedelta(days=3)
JOINED = "not the last part of an episode (structure only)"
AFTER_DEATH = "began at or after the patient's death"


@dataclasses.dataclass(frozen=True)
class Draft:
    """Visits that take part in a task, with their labels.

    `rows` has visit_id, prediction_time and one nullable Boolean column a label, named as the
    label; a visit whose labels are null gives structure only. `excluded` counts visits by reason.
    """

    rows: pl.DataFrame
    labels: tuple[str, ...]
    excluded: Mapping[str, int]


def draft(records: tables.Records, spec: specs.Spec) -> Draft:
    """Finds the visits of a task, their prediction times and labels."""
    chosen = [rules.find(name) for name in spec.exclude]
    unseen = {rule.reason(spec): rule.holds(spec) for rule in chosen if rule.unseen}
    left_out = {rule.reason(spec): rule.holds(spec) for rule in chosen if not rule.unseen}
    found, excluded = _drop(
        _alive(records, visits(records, spec)), {AFTER_DEATH: pl.col("dead")} | unseen
    )
    found, more = _drop(_with_next(found, spec), left_out)
    excluded |= more
    if spec.at_discharge:
        excluded[JOINED] = int(found["goes_on"].sum())
    label = labels.find(spec.label)
    names = labels.names_of(spec)
    columns = zip(label.names(spec), names, strict=True)
    rows = label.make(records, found, spec).select(
        "visit_id", "prediction_time", *(pl.col(column).alias(name) for column, name in columns)
    )
    return Draft(rows, names, excluded)


def visits(records: tables.Records, spec: specs.Spec) -> pl.DataFrame:
    """Returns the visits with what rules and labels ask of them.

    Beside the columns of `tables.VISITS`: death_time, coded (has an ICD-9-CM diagnosis),
    index_start and index_end (of the visit, or of its first ICU stay), stays (their count) and
    prediction_time.
    """
    coded = records.codes.filter(pl.col("code").str.starts_with(phenotypes.SYSTEM))["visit_id"]
    found = records.visits.join(
        records.patients.select("subject_id", "death_time"), on="subject_id", how="left"
    ).with_columns(coded=pl.col("visit_id").is_in(coded.unique().implode()))
    if spec.index == "icu_stay" and not records.stays.is_empty():
        stays = tables.sorted_stays(records.stays)
        first = stays.group_by("visit_id", maintain_order=True).agg(
            index_start=pl.col("start").first(), index_end=pl.col("end").first(), stays=pl.len()
        )
        found = found.join(first, on="visit_id", how="left")
    else:
        found = found.with_columns(index_start="start", index_end="end", stays=pl.lit(1, pl.UInt32))
    after = datetime.timedelta(hours=spec.after_hours)
    return found.with_columns(prediction_time=pl.col(f"index_{spec.predict}") + after)


def describe(spec: specs.Spec, note: str) -> str:
    """Says a task in words: what, of whom, when, how far ahead, who is left out."""
    where = "visit" if spec.index == "visit" else "first ICU stay (of the visit where none is)"
    when = f"{spec.after_hours:g} h after the {spec.predict} of the {where}"
    if spec.at_discharge and not spec.after_hours:
        when = "at discharge"
    bounds = []
    if spec.gap_hours:
        bounds.append(f"no earlier than {spec.gap_hours:g} h after that")
    if spec.horizon_days is not None:
        bounds.append(f"at most {spec.horizon_days:g} days after that")
    says = ", ".join([labels.find(spec.label).says(spec), " and ".join(bounds)]).rstrip(", ")
    parts = [f"One sample a visit, predicted {when}: {says}."]
    if spec.exclude:
        reasons = "; ".join(rules.find(name).reason(spec) for name in spec.exclude)
        parts.append(f"Left out: {reasons}.")
    if spec.join_transfers:
        parts.append(
            "Visits joined by a transfer are one episode, and its discharge is that of the part "
            "that ends last: the next visit starts at most 24 h after this one ended, and this one "
            "ended in a transfer, or the next began with one and the patient had not gone home; "
            "visits that overlap are joined as well."
        )
    return " ".join([*parts, note])


def _alive(records: tables.Records, found: pl.DataFrame) -> pl.DataFrame:
    """Adds `dead`: had the patient died before the visit?

    By times, or by the order of visits where no time of death is known. Null where the times of
    different visits do not compare and a time of death is known.
    """
    over = pl.when(rules.DIED).then(pl.coalesce("end", "death_time")).min().over("subject_id")
    death = pl.min_horizontal("death_time", over)
    first = pl.when(rules.DIED).then("order").min().over("subject_id")
    by_order = pl.when(death.is_null()).then(pl.col("order") > first)
    by_time = pl.when(pl.lit(records.dated)).then(pl.col("start") >= death)
    return found.with_columns(dead=pl.coalesce(by_time, by_order))


def _with_next(found: pl.DataFrame, spec: specs.Spec) -> pl.DataFrame:
    """Adds episode, next_episode (the patient's, null at the last), gap (to its start) and goes_on
    (the visit is not the one of its episode that ends last)."""
    found = found.sort("subject_id", "order")
    # An earlier visit that ended later than this one (they overlap) keeps the patient in hospital.
    latest_end = pl.col("end").cum_max().forward_fill().over("subject_id", order_by="order")
    gap = labels.next_of_patient("start") - latest_end
    disposition = pl.col("disposition").fill_null("unknown")
    joined = gap < datetime.timedelta(0)
    emergency = pl.col("emergency") & (pl.col("end") - pl.col("start") <= LONGEST_EMERGENCY)
    to_ward = ~labels.next_of_patient("emergency").fill_null(False)
    left = disposition.is_in(["home", "facility", "hospice"])
    joined |= emergency & ((gap <= AT_ONCE) | ((gap <= TRANSFER_GAP) & to_ward & ~left))
    if spec.join_transfers:
        came_by_transfer = labels.next_of_patient("transferred_in").fill_null(False)
        transfer = (disposition == "transfer") | (came_by_transfer & (disposition != "home"))
        joined |= (gap <= TRANSFER_GAP) & transfer
    joined = joined.fill_null(False) & pl.col("readmitted_30d").is_null()
    found = found.with_columns(joined=joined).with_columns(
        episode=(~pl.col("joined").shift(1).over("subject_id").fill_null(False)).cum_sum()
    )
    # A part without an end may be the last to end.
    never = pl.lit(datetime.datetime(9999, 1, 1), tables.TIME)
    end = pl.when(pl.col("start").is_not_null()).then(pl.coalesce("end", never))
    rank = pl.struct(end.alias("end"), "order").rank("ordinal").over("episode")
    found = found.with_columns(goes_on=rank < pl.len().over("episode"))
    first = found.group_by("episode", maintain_order=True).agg(
        pl.col("subject_id", "start").first()
    )
    following = pl.col("episode", "start").shift(-1).over("subject_id").name.prefix("next_")
    after = first.with_columns(following).select("episode", "next_episode", "next_start")
    found = found.join(after, on="episode", how="left", maintain_order="left")
    return found.with_columns(gap=pl.col("next_start") - pl.col("end")).drop("next_start", "joined")


def _drop(
    frame: pl.DataFrame, reasons: Mapping[str, pl.Expr]
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Leaves out the rows for which a reason holds; each counts under its first reason."""
    counts = {}
    for reason, holds in reasons.items():
        kept = frame.filter(~holds.fill_null(False))
        counts[reason] = frame.height - kept.height
        frame = kept
    return frame, counts
