"""FHIR's encounters: which are visits, which belong to others, and the time in intensive care."""

import datetime
import pathlib

import polars as pl

from ehr_jax import errors
from ehr_jax.records.common import encounters, parsing, tables, tally, when
from ehr_jax.records.fhir import coding, resources, versions

# Classes of an encounter (HL7 ActCode) that are hospital encounters.
HOSPITAL = {
    "IMP": "inpatient encounter",
    "ACUTE": "inpatient acute",
    "NONAC": "inpatient non-acute",
    "EMER": "emergency",
    "OBSENC": "observation encounter",
    "SS": "short stay",
}
BEFORE_ADMISSION = ("EMER", "OBSENC")  # that may lead to an admission of their own
_GOING_ON = ("arrived", "triaged", "in-progress", "onleave")
_STILL_PATIENT = ("30",)  # the claim form's disposition of who was not discharged yet
_NOT_HAPPENED = ("planned", "cancelled", "entered-in-error")

_LOCATION = {"id": pl.String, "name": pl.String, "physicalType": resources.CONCEPT}
_ENCOUNTER = {
    "id": pl.String,
    "contained": pl.List(pl.Struct(_LOCATION)),
    "meta": pl.Struct({"profile": pl.List(pl.String)}),
    "status": pl.String,
    "class": resources.CODING,
    "type": pl.List(resources.CONCEPT),
    "serviceType": resources.CONCEPT,
    "priority": resources.CONCEPT,
    "subject": resources.REFERENCE,
    "period": resources.PERIOD,
    "partOf": resources.REFERENCE,
    "hospitalization": pl.Struct(
        {"admitSource": resources.CONCEPT, "dischargeDisposition": resources.CONCEPT}
    ),
    "location": pl.List(
        pl.Struct(
            {
                "location": resources.REFERENCE,
                "physicalType": resources.CONCEPT,
                "period": resources.PERIOD,
            }
        )
    ),
}
_UNIT = pl.Struct({"unit": pl.String, "start": tables.TIME, "end": tables.TIME})


def locations(paths: list[pathlib.Path], oddities: tally.Ledger) -> pl.DataFrame:
    """Returns the columns place (the id of a Location), name and kind, in words."""

    def flatten(batch: pl.DataFrame) -> pl.DataFrame:
        kind = coding.said(pl.col("physicalType"))
        return batch.select(pl.col("id").alias("place"), "name", kind.alias("kind"))

    return versions.collect(paths, "Location", _LOCATION, flatten, oddities)


def read(
    paths: list[pathlib.Path],
    persons: pl.DataFrame,
    locations: pl.DataFrame,
    oddities: tally.Ledger,
) -> pl.DataFrame:
    """Returns the encounters of known `persons` with what visits are made of, one row each.

    `root` is the outermost encounter that each is part of, `visit_id` its number; `part` says which
    are visits.

    Raises RecordsError for an encounter without an id, or two of one id that contradict each other.
    """
    raw = versions.collect(
        paths, "Encounter", _ENCOUNTER, lambda batch: _flatten(batch, locations), oddities
    )
    return _checked(raw, persons, oddities)


def moves(raw: pl.DataFrame, visits: pl.DataFrame) -> pl.DataFrame:
    """Returns the time of `visits` in intensive care: whole encounters that say so, and places."""
    columns = ("encounter", "visit_id", "start", "end", "unit")
    whole = raw.filter(pl.col("about").str.contains(encounters.INTENSIVE))
    placed = raw.select("encounter", "visit_id", "start", "end", "units").explode("units")
    placed = placed.drop_nulls("units").rename({"start": "since", "end": "until"}).unnest("units")
    placed = placed.with_columns(pl.coalesce("start", "since"), pl.coalesce("end", "until"))
    both = pl.concat([whole.rename({"types": "unit"}).select(columns), placed.select(columns)])
    both = both.join(visits.select("visit_id", "subject_id"), on="visit_id").drop_nulls("start")
    both = both.sort("visit_id", "start", "encounter", "unit").with_columns(
        nth=pl.int_range(pl.len()).over("encounter").cast(pl.String)
    )
    key = both.select(pl.col("encounter") + "#" + pl.col("nth")).to_series()
    return encounters.join_moves(both.with_columns(move_id=resources.identifiers(key)))


def places(raw: pl.DataFrame, moves: pl.DataFrame) -> pl.DataFrame:
    """Returns where an encounter's events belong: encounter, visit_id, stay_id (of an encounter
    that is one), part, how far its clock is `ahead` of UTC, and the visit's start and end."""
    own = raw.filter(pl.col("root") == pl.col("encounter"))
    own = own.select("root", "part", "start", "end")
    stays = moves.unique("encounter", keep="first", maintain_order=True)
    inner = raw.filter(pl.col("root") != pl.col("encounter")).select("encounter")
    stays = stays.join(inner, on="encounter", how="semi").select("encounter", "stay_id")
    return (
        raw.select("encounter", "root", "visit_id", "ahead")
        .join(own, on="root")
        .join(stays, on="encounter", how="left")
    )


def _checked(raw: pl.DataFrame, persons: pl.DataFrame, oddities: dict) -> pl.DataFrame:
    nameless = raw["encounter"].is_null().arg_true()
    if len(nameless):
        file, line = raw.select("file", "line").row(nameless[0])
        raise errors.RecordsError(
            f"{file}: line {line} has no id; every encounter needs one, as others refer to it"
        )
    void = pl.col("status").is_in(_NOT_HAPPENED).fill_null(False)
    rule = "encounters planned, cancelled or entered in error, left out"
    raw = oddities.sift("Encounter", raw, ~void, rule)
    owners = persons.select("patient", "subject_id")
    joined = raw.join(owners, on="patient", how="left", maintain_order="left")
    rule = "encounters of unknown patients, left out"
    known = oddities.sift("Encounter", joined, pl.col("subject_id").is_not_null(), rule)
    tally.require_match("Encounter", known.height, raw.height - known.height)
    outer = dict(known.select("encounter", "within").drop_nulls().rows())
    ids = set(known["encounter"])
    known = known.with_columns(
        pl.Series("root", [_outermost(i, outer, ids) for i in known["encounter"]], pl.String)
    )
    own = pl.col("root") == pl.col("encounter")
    oddities["encounters that are part of another, taken with it"] = known.select(
        (~own).sum()
    ).item()
    undated = own & pl.col("start").is_null()
    lost = known.select(undated.sum()).item()
    oddities.leave_out("Encounter", "encounters without a start, left out", lost)
    early = (own & ~when.of_years(pl.col("start"))).fill_null(False)
    lost = known.select(early.sum()).item()
    oddities.leave_out("Encounter", when.other_years("encounters"), lost)
    still = pl.col("status").is_in(_GOING_ON) | pl.col("to_code").is_in(_STILL_PATIENT)
    still = still.fill_null(False) | encounters.still_there(pl.col("to_text"))
    oddities["encounters still going on, end unknown"] = known.select((own & still).sum()).item()
    known = known.with_columns(
        pl.when(~still).then(name).alias(name) for name in ("end", "to_code", "to_text")
    )
    backwards = own & (pl.col("end") < pl.col("start"))
    oddities["encounters ending before they start, set to end at the start"] = known.select(
        backwards.sum()
    ).item()
    known = known.with_columns(
        pl.when(backwards).then("start").otherwise("end").alias("end"),
        visit_id=resources.identifiers(known["root"]),
    )
    known = when.without_slips(known, "encounters", oddities)
    return _with_part(known, own & ~undated & ~early, oddities)


def _outermost(encounter: str, outer: dict[str, str], known: set[str]) -> str:
    seen = {encounter}
    while (above := outer.get(encounter)) in known and above not in seen:
        seen.add(above)
        encounter = above
    return encounter


def _with_part(known: pl.DataFrame, eligible: pl.Expr, oddities: dict) -> pl.DataFrame:
    part = eligible & pl.col("kind").is_in(list(HOSPITAL))
    with_part = known.with_columns(part=part, eligible=eligible)
    if not with_part["part"].any():
        oddities["encounters of no hospital class, taken part as there are no others"] = with_part[
            "eligible"
        ].sum()
        return with_part.with_columns(part="eligible")
    left = with_part.filter(pl.col("eligible") & ~pl.col("part"))
    # A class is a short code; anything else that stands there is not for a report.
    code = pl.col("kind").str.contains(r"^[A-Za-z]{1,12}$")
    left = left.with_columns(pl.when(code).then("kind").otherwise(pl.lit("of odd spelling")))
    for kind, n in left["kind"].value_counts().sort("kind").rows():
        rule = f"encounters of class {kind}, no hospital encounters, left out"
        oddities.leave_out("Encounter", rule, n)
    return with_part


def _flatten(batch: pl.DataFrame, locations: pl.DataFrame) -> pl.DataFrame:
    start = resources.times(batch, pl.col("period").struct.field("start"), "period.start")
    end = resources.times(batch, pl.col("period").struct.field("end"), "period.end")
    ahead = end["ahead"].zip_with(end["ahead"].is_not_null(), start["ahead"])
    ahead = ahead.fill_null(datetime.timedelta(0))
    stay, kind = pl.col("hospitalization").struct, pl.col("class").struct.field("code")
    going, coming = stay.field("dischargeDisposition"), stay.field("admitSource")
    types_said = pl.col("type").list.eval(coding.said(pl.element())).list.join("; ")
    profile = pl.col("meta").struct.field("profile").list.join(" ")
    return batch.select(
        pl.col("id").alias("encounter"),
        resources.referred(pl.col("partOf").struct.field("reference")).alias("within"),
        resources.referred(pl.col("subject").struct.field("reference")).alias("patient"),
        parsing.tidy(pl.col("status")).alias("status"),
        kind.str.strip_chars().str.to_uppercase().fill_null("none").alias("kind"),
        _first_code(pl.col("priority")).alias("priority"),
        types_said.alias("types"),
        pl.concat_str(
            types_said, coding.said(pl.col("serviceType")), profile,
            separator="; ", ignore_nulls=True,
        ).alias("about"),
        _by_clock(start, ahead)["low"].alias("start"),
        _by_clock(end, ahead)["high"].alias("end"),
        ahead,
        _first_code(going).alias("to_code"),
        coding.said(going).alias("to_text"),
        _first_code(coming).alias("from_code"),
        coding.said(coming).alias("from_text"),
        _units(batch, locations).alias("units"),
        "file",
        "line",
    )  # fmt: skip


def _by_clock(span: pl.DataFrame, ahead: pl.Series) -> pl.DataFrame:
    """Returns the moments of dates without a clock time by the clock of the encounter."""
    dated = pl.col("high") > pl.col("low")
    return span.with_columns(ahead=ahead).select(
        pl.when(dated).then(pl.col(name) - pl.col("ahead")).otherwise(name).alias(name)
        for name in ("low", "high")
    )


def _first_code(concept: pl.Expr) -> pl.Expr:
    first = concept.struct.field("coding").list.get(0, null_on_oob=True)
    return first.struct.field("code").str.strip_chars()


def _units(batch: pl.DataFrame, locations: pl.DataFrame) -> pl.Series:
    """Returns the intensive-care places of each encounter with the times spent there.

    A place is named by the reference to it, else by the Location it refers to, which may stand
    inside the encounter.
    """
    inside = resources.inside(batch).select(
        "row", place="reference", name="name", kind=coding.said(pl.col("physicalType"))
    )
    rows = batch.select("file", "line", "location").with_row_index("row")
    rows = rows.explode("location").unnest("location")
    reference = pl.col("location").struct
    rows = rows.with_columns(place=resources.referred(reference.field("reference")))
    rows = rows.join(inside, on=["row", "place"], how="left", maintain_order="left")
    rows = rows.join(locations, on="place", how="left", maintain_order="left", suffix="_apart")
    name = pl.coalesce(reference.field("display"), "name", "name_apart")
    kind = pl.coalesce(coding.said(pl.col("physicalType")), "kind", "kind_apart")
    both = pl.concat_str(name, kind, ignore_nulls=True, separator=" ")
    rows = rows.with_columns(unit=pl.coalesce(name, kind)).filter(
        both.str.contains(encounters.INTENSIVE)
    )
    for side, moment in (("start", "low"), ("end", "high")):
        at = pl.col("period").struct.field(side)
        found = resources.times(rows, at, f"location.period.{side}")
        rows = rows.with_columns(found[moment].alias(side))
    grouped = rows.group_by("row").agg(pl.struct("unit", "start", "end").alias("units"))
    whole = batch.select("line").with_row_index("row")
    joined = whole.join(grouped, on="row", how="left", maintain_order="left")
    return joined["units"].cast(pl.List(_UNIT))


def by_clock(first: str, last: str) -> list[pl.Expr]:
    """Returns the columns of the two moments that a time may mean; those of a date by the clock
    that is `ahead` of UTC."""
    dated = pl.col(last) > pl.col(first)
    moved = (
        pl.when(dated).then(pl.col(name) - pl.col("ahead")).otherwise(name)
        for name in (first, last)
    )
    return [moment.alias(name) for moment, name in zip(moved, (first, last), strict=True)]


def require_match(kind: str, oddities: tally.Ledger) -> None:
    """Raises RecordsError for files of a kind of which no resource names a known encounter."""
    account = oddities.tables[kind]
    unknown = account.get(f"{kind} resources of unknown encounters, left out", 0)
    nameless = account.get(f"{kind} resources without an encounter, left out", 0)
    tally.require_match(kind, account["read"] - unknown - nameless, unknown)
