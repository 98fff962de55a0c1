"""When things are known, and which times are not believed: the rules that every source shares.

A value is known from the later of the times at which it was taken and stored. A date without a
clock time is a day: what it dates is known at the end of that day. A diagnosis that is stamped with
the start of its visit, or with that day alone, sums the visit up and is known at its end.

A mistyped year puts an event far from its visit, and a placeholder stands in the year 50 or 9999.
What lies more than `EVENT_DAYS` before the start or after the end of its visit is left out and
counted. The margin is wide enough for whatever belongs to a visit in the open demos (at most 25
days, of a procedure's date), and the nearest slip there is 112 days off. A diagnosis may be dated
by the onset of the disease, long before the visit that names it. A visit itself is left out if it
begins outside `YEARS`, and its end is unknown if it would last longer than `VISIT_DAYS`.
"""

import datetime
import types
from collections.abc import Mapping

import polars as pl

from ehr_jax import errors
from ehr_jax.records.common import tables, tally

EVENT_DAYS = 30
YEARS = (1900, 2300)  # a visit begins from the first of them on, before the second; our choice
VISIT_DAYS = 3653  # what lasts longer, ten years, ends by a slip; our choice
STAY_DAYS = 1  # how far from its visit an intensive-care stay may begin or end
OPEN_DAYS = 366  # how long a visit without an end may hold events
ONSET_DAYS = 130 * 366  # how long before a visit a disease that it names may have begun
STAMP = datetime.timedelta(minutes=1)  # a time up to this after the start stands for it; our choice

_OUTSIDE = f"more than {EVENT_DAYS} days outside their visit"


def end_of_day(time: pl.Expr) -> pl.Expr:
    """Returns the last second of a time's day."""
    return time.dt.truncate("1d") + pl.duration(hours=23, minutes=59, seconds=59)


def is_midnight(time: pl.Expr) -> pl.Expr:
    """Says whether a time is exactly midnight, which is how exports fill an unknown clock time."""
    return time.dt.time() == pl.time(0)


def known(clock: pl.Expr, date: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Returns the time from which a dated row is known, and whether the row has no clock time.

    Without a clock time a row is known at the end of its day. A clock time of exactly midnight
    counts as none, since exports fill an unknown one so.

    Args:
      clock: the date with a clock time, null where there is none.
      date: the date alone, used where `clock` is null.
    """
    time = pl.coalesce(clock, date)
    day_only = is_midnight(time)
    return pl.when(day_only).then(end_of_day(time)).otherwise(time), day_only


def last_moment(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    """Returns the ends of visits: a midnight is its whole day where the start is a midnight too, as
    an export fills the clock times that it does not know."""
    return pl.when(is_midnight(start) & is_midnight(end)).then(end_of_day(end)).otherwise(end)


def believed_visits(
    visits: pl.DataFrame, table: str, what: str, oddities: tally.Ledger
) -> pl.DataFrame:
    """Returns the `visits` (start, end and more) that begin in `YEARS`, with the ends believed.

    Both rules are counted under the name `what`, the first in the account of `table` too.

    Raises RecordsError where no visit begins in these years.
    """
    sound = oddities.sift(table, visits, of_years(pl.col("start")), other_years(what))
    if visits.height and not sound.height:
        raise errors.RecordsError(
            f"{table}: every one of its {visits.height} {what} begins before {YEARS[0]} or from "
            f"{YEARS[1]} on; shift the times of all tables alike, by whole weeks"
        )
    return without_slips(sound, what, oddities)


def of_years(start: pl.Expr) -> pl.Expr:
    """Says whether visits begin in `YEARS`; null without a start."""
    return start.dt.year().is_between(YEARS[0], YEARS[1] - 1)


def other_years(what: str) -> str:
    """Returns the rule by which visits, named `what`, are counted that do not."""
    return f"{what} that begin before {YEARS[0]} or from {YEARS[1]} on, left out"


def without_slips(visits: pl.DataFrame, what: str, oddities: dict[str, int]) -> pl.DataFrame:
    """Returns `visits` (start, end and more) with unknown ends where they would last longer than
    `VISIT_DAYS`; counted under the name `what`."""
    late = pl.col("end") > pl.col("start") + pl.duration(days=VISIT_DAYS)
    late = late.fill_null(False)
    rule = f"{what} that last longer than ten years, end unknown"
    oddities[rule] = int(visits.select(late.sum()).item())
    return visits.with_columns(end=pl.when(~late).then("end"))


def sums_up(first: pl.Expr, start: pl.Expr) -> pl.Expr:
    """Says whether a time is a stamp of its visit's start, or earlier.

    Args:
      first: the first moment that the time may mean: itself, or the start of a day given alone.
    """
    return first <= start + STAMP


def is_far(time: pl.Expr, start: pl.Expr, end: pl.Expr, before: int = EVENT_DAYS) -> pl.Expr:
    """Says whether an event is so far outside its visit that its time is not believed.

    False for an event without a time, and for a visit without a start.

    Args:
      before: how many days before the visit the event may lie, `ONSET_DAYS` for a diagnosis.
    """
    early = time < start - pl.duration(days=before)
    far = early | (time > _last(start, end) + pl.duration(days=EVENT_DAYS))
    return far.fill_null(False)


def _last(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    return pl.coalesce(end, start + pl.duration(days=OPEN_DAYS))


def left_out(what: str) -> str:
    """Returns the rule by which rows of a table, `what`, are counted where `is_far` holds."""
    return f"{what} {_OUTSIDE}, left out"


def near(frame: pl.DataFrame, what: str, oddities: tally.Ledger, *times: str) -> pl.DataFrame:
    """Returns the rows of `frame` whose `times` all lie near their visit's `start` and `end`,
    columns of the same row, and counts the others."""
    far = pl.any_horizontal(is_far(pl.col(time), pl.col("start"), pl.col("end")) for time in times)
    return oddities.sift(what.removesuffix(" rows"), frame, ~far, left_out(what))


def within(
    rows: pl.LazyFrame,
    schema: dict[str, pl.DataType],
    visits: pl.DataFrame,
    what: str,
    oddities: tally.Ledger,
    faults: Mapping[str, pl.Expr] = types.MappingProxyType({}),
    total: int | None = None,
    once: tuple[str, ...] = (),
) -> pl.LazyFrame:
    """Returns the `rows` of `visits` (visit_id, start, end) near their visit, as `schema`.

    The other rows are left out, and are counted when the frame is collected, each under the first
    rule that holds: it has one of `faults`, its visit is unknown, it lies far outside its visit, or
    its `value` is NaN, which stands for a text that is no number.

    Args:
      rows: has the columns of `schema`, and may have `taken`, the time at which a value was taken,
        where `time` is when it was known. Then both must be near.
      faults: words such as "without a number", each with the expression over `rows` that tells it.
      total: how many rows the table has, if `rows` lack those of unknown visits.
      once: columns by which `rows` are in order. Of equal rows that stand together in it all but
        the first are left out and counted; else a repeated value is kept, as it changes nothing.
    """
    bounds = visits.select("visit_id", _start="start", _end="end")
    times = [name for name in ("time", "taken") if name in rows.collect_schema().names()]
    far = pl.any_horizontal(
        is_far(pl.col(time), pl.col("_start"), pl.col("_end")) for time in times
    )

    unknown = f"{what} of unknown visits, left out"
    rules = {f"{what} {words}, left out": holds for words, holds in faults.items()}
    rules |= {unknown: pl.col("_known").is_null(), left_out(what): far}
    if "value" in schema:
        rules[f"{what} whose value is no number, left out"] = pl.col("value").is_nan()
    if once:
        first = pl.struct(rows.collect_schema().names()).is_first_distinct()
        rules[f"{what} standing more than once, taken once"] = ~first
    fault = pl.coalesce(
        pl.when(holds.fill_null(False)).then(pl.lit(rule)) for rule, holds in rules.items()
    )
    bounds = bounds.with_columns(_known=True)

    def judge(batch: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
        held = batch.join(bounds, on="visit_id", how="left", maintain_order="left")
        held = held.with_columns(_fault=fault)
        lost = held.filter(pl.col("_fault").is_not_null())
        counts = {str(rule): tally.count(rows) for (rule,), rows in lost.group_by("_fault")}
        return held.filter(pl.col("_fault").is_null()), counts

    table = what.removesuffix(" rows")
    return tally.streamed(rows, schema, judge, oddities, table, unknown, total, once)


def stays(
    candidates: pl.DataFrame,
    visits: pl.DataFrame,
    what: str,
    oddities: tally.Ledger,
    table: str = "",
) -> pl.DataFrame:
    """Returns the intensive-care stays of `tables.STAYS` that lie in their visits.

    A stay is left out if it begins more than `STAY_DAYS` before the start or after the end of its
    visit, or ends more than that before the start. Where a stay ends before it begins or far after
    its visit, its end becomes unknown. Both are counted under the name `what`; if the stays are the
    rows of a `table` of the source, those left out are counted in its account too.
    """
    bounds = visits.select("visit_id", _start="start", _end="end")
    joined = candidates.join(bounds, on="visit_id", how="left", maintain_order="left")
    start, end = pl.col("start"), pl.col("end")
    first = pl.col("_start")
    last = _last(first, pl.col("_end"))
    margin = pl.duration(days=STAY_DAYS)
    over = (end < first - margin) & (end >= start)
    outside = (start < first - margin) | (start > last + margin) | over
    inside = ~outside.fill_null(False)
    kept = oddities.sift(table, joined, inside, f"{what} outside their visit, left out")
    backwards = (end < start).fill_null(False)
    late = is_far(end, first, last) & ~backwards
    odd = kept.select(backwards.sum().alias("backwards"), late.sum().alias("late")).row(0)
    oddities[f"{what} ending before they begin, end unknown"] = odd[0]
    oddities[f"{what} ending {_OUTSIDE}, end unknown"] = odd[1]
    kept = kept.with_columns(end=pl.when(~(backwards | late)).then("end"))
    return tables.conform(kept, tables.STAYS)
