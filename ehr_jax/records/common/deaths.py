"""A patient's death, decided once for all visits of the patient, and the same in every source.

Two things tell of a death: a visit that says that it ended in one, and a date in the table of
persons, with a clock time or without.

- What a visit says is believed. The death is at the clock time that is told, where that lies within
  a day of the visit, else at the visit's end. Of several such visits the first is believed.
- A date alone is believed unless the patient came to hospital after it. A visit that begins at once
  after a death in hospital is no coming back: so are organ donors admitted.
- A visit that says nothing ended in death if it ended on the day of death.
- A visit that holds the death ended in it, whatever it says, also where another visit told the
  death: visits overlap, and one lies within another.

A death is a span of time: a clock time is one moment, a date alone any moment of its day.
"""

import datetime

import polars as pl

AT_ONCE = datetime.timedelta(hours=24)  # after a death in hospital; our choice
# How far outside its visit a death that the visit states may be told; our choice.
NEAR = datetime.timedelta(hours=24)


def settle(visits: pl.DataFrame, oddities: dict[str, int]) -> pl.DataFrame:
    """Returns `visits` with `died`, whether each ended in death, `death`, when the patient died
    (null where that is not known), and the `end` of those who died where it was unknown.

    Args:
      visits: subject_id, visit_id, start, end, and
        stated: the disposition that the visit tells, "unknown" where it tells none;
        survived: does the source say that the patient left the visit alive?
        death_first, death_time: the first and last moment that the told death may mean, by the
          clock of the visit's own times; null where no death is told.
    """
    start, end, stated = pl.col("start"), pl.col("end"), pl.col("stated")
    last = pl.col("death_time")
    says_died = stated == "died"
    visits = visits.sort("subject_id", "start", "visit_id").with_columns(
        own=pl.when(says_died).then(_own_death()),
        held=pl.when(_holds()).then(pl.min_horizontal(end, last)),
    )
    by_visit = pl.col("own").min().over("subject_id")
    held = pl.col("held").max().over("subject_id")
    by_date = pl.coalesce(held, last.last().over("subject_id"))
    at_once = (start <= by_date + AT_ONCE) & (
        held.is_not_null() | stated.is_in(["died", "unknown"])
    )
    back = (start > by_date) & ~at_once
    refuted = back.fill_null(False).any().over("subject_id") & ~says_died.any().over("subject_id")
    visits = visits.with_columns(by_visit=by_visit, refuted=refuted).with_columns(
        death=pl.coalesce("by_visit", pl.when(~pl.col("refuted")).then(by_date))
    )
    death = pl.col("death")
    believed = ~pl.col("survived") | pl.col("by_visit").is_not_null()
    holds = ((start < death) & (death <= end) & believed).fill_null(False)
    by_own = pl.when(pl.col("own").is_not_null()).then(pl.max_horizontal(start, "own"))
    visits = visits.with_columns(died=says_died | holds, end=pl.coalesce(end, by_own))
    by_patient = visits.unique("subject_id", keep="first")
    counts = {
        "hospital deaths told by the date of death and not by the discharge": visits.select(
            (holds & ~stated.is_in(["died", "unknown"])).sum()
        ),
        "deaths before the last visit, death time unknown": by_patient.select(
            (pl.col("refuted") & last.is_not_null()).sum()
        ),
        "deaths told inside a visit that the source says was survived, its outcome kept": (
            visits.select(((start < death) & (death <= end) & ~says_died & ~holds).sum())
        ),
        "deaths told more than a day outside the visit that ended in death, taken at its end": (
            visits.select((says_died & ~_near()).sum())
        ),
        "visits that begin at or after the patient's death, no samples": visits.select(
            (start >= death).sum()
        ),
        "visits without an end, outcome unknown": visits.select(
            (pl.col("end").is_null() & start.is_not_null()).sum()
        ),
    }
    oddities |= {rule: int(count.item()) for rule, count in counts.items()}
    return visits.drop("own", "held", "by_visit", "refuted")


def of_patients(settled: pl.DataFrame) -> pl.DataFrame:
    """Returns (subject_id, settled_death), one row a patient of the `settled` visits."""
    return settled.group_by("subject_id").agg(settled_death=pl.col("death").last())


def _own_death() -> pl.Expr:
    """Returns when the patient of a visit that ended in death died.

    The told clock time if it is near the visit; else, if the told day lies in the visit, the end of
    the day or of the visit, whichever is first; else the end of the visit.
    """
    start, end = pl.col("start"), pl.col("end")
    first, last = pl.col("death_first"), pl.col("death_time")
    clock = _near() & (first == last)
    day = (last >= start) & (first <= pl.coalesce(end, last))
    return (
        pl.when(clock.fill_null(False))
        .then(first)
        .when(day.fill_null(False))
        .then(pl.min_horizontal(end, last))
        .otherwise(end)
    )


def _near() -> pl.Expr:
    """Does the told death lie in the visit, or at most a day outside it?"""
    last = pl.coalesce("end", "death_time")
    return (pl.col("death_time") >= pl.col("start") - NEAR) & (pl.col("death_first") <= last + NEAR)


def _holds() -> pl.Expr:
    """Does the told death lie in the visit, or on the last day of one that states no outcome?"""
    start, end = pl.col("start"), pl.col("end")
    first, last = pl.col("death_first"), pl.col("death_time")
    of_a_day = last - first < datetime.timedelta(days=1)  # not of a month or year alone
    silent = (pl.col("stated") == "unknown") & of_a_day & end.is_between(first, last)
    silent &= last >= start
    return (last.is_between(start, end) | silent) & ~pl.col("survived")
