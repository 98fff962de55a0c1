"""OMOP Common Data Model 5.3 and 5.4: hospital encounters, their ICU stays, codes and notes.

Files may be .csv, .csv.gz or .parquet, named as the CDM names its tables, in any letter case.

Which visits take part: hospital encounters, that is visits of the kinds in
`vocabulary.HOSPITAL`, and visits of any other kind that say where the patient was admitted from.
The others are counted by kind. Without any hospital encounter in a data set, all visits take part.
"""

import pathlib

import polars as pl

from ehr_jax.records.common import encounters, icd9, reading, repeats, tables, tally, when
from ehr_jax.records.omop import coded, events, people, vocabulary

# Columns that CDM 5.4 renamed: ours, then the name in 5.4, then in 5.3.
_RENAMED = {
    "from_id": ("admitted_from_concept_id", "admitting_source_concept_id"),
    "from_text": ("admitted_from_source_value", "admitting_source_value"),
    "to_id": ("discharged_to_concept_id", "discharge_to_concept_id"),
    "to_text": ("discharged_to_source_value", "discharge_to_source_value"),
}


def read(root: str | pathlib.Path) -> tables.Records:
    """Reads the CDM tables of the folder `root`.

    Needs PERSON, VISIT_OCCURRENCE and CONDITION_OCCURRENCE; takes PROCEDURE_OCCURRENCE,
    DRUG_EXPOSURE, DEATH, VISIT_DETAIL, CARE_SITE, OBSERVATION_PERIOD, MEASUREMENT, NOTE and CONCEPT
    where they are there. `coded.codes` says how a row becomes a code and when it is known.
    A birth of which only the year is told is taken at 1 July, one of year and month at the 15th.
    A visit's end given as a date is the end of that day.

    Raises RecordsError for a missing table or column, a damaged file, or two rows of one visit or
    person that contradict each other.
    """
    oddities = tally.Ledger()
    raw = _visit_rows(root, oddities)
    persons = people.read(root, oddities)
    raw = _of_persons(raw, persons, oddities)
    kept = raw.filter("part")
    found = coded.collect(root, raw, oddities)
    concepts = vocabulary.load(root, _used_concepts(kept, persons, found))
    visits = _visits(kept, persons, concepts, oddities)
    moves = events.moves(root, visits, concepts, oddities)
    codes, code_names = coded.codes(found, concepts, icd9.load(root), oddities)
    _count_unobserved(root, visits, oddities)
    return encounters.records(
        persons,
        visits,
        moves,
        pl.coalesce("type_text", "kind_text"),
        oddities,
        source="omop",
        codes=codes,
        code_names=code_names,
        measurements=events.measurements(root, visits, moves, concepts, oddities),
        notes=events.notes(root, visits, oddities),
        terms=reading.terms(root),
    )


def _visit_rows(root, oddities: dict) -> pl.DataFrame:
    """Returns VISIT_OCCURRENCE as visit_id, subject_id, start, end and what else is used of it;
    `part` says which rows take part."""
    path = reading.find_table(root, "visit_occurrence")
    ids = ("visit_occurrence_id", "person_id", "visit_concept_id")
    times = [f"visit_{side}_{form}" for side in ("start", "end") for form in ("date", "datetime")]
    schema = dict.fromkeys(ids, pl.Int64) | dict.fromkeys(times, tables.TIME)
    optional = dict.fromkeys(("visit_source_concept_id", "visit_type_concept_id"), pl.Int64)
    for name, spellings in _RENAMED.items():
        optional |= dict.fromkeys(spellings, pl.Int64 if name.endswith("_id") else pl.String)
    datetimes = ("visit_start_datetime", "visit_end_datetime")
    raw = reading.read(path, schema | optional, optional=(*optional, *datetimes))
    reading.check_filled(path, raw, ids[:2])
    oddities.begin("visit_occurrence", raw.height)
    raw = repeats.once(raw, ids[0], "visit_occurrence", oddities, path.name)
    raw = raw.select(
        pl.col("visit_occurrence_id").alias("visit_id"),
        pl.col("person_id").alias("subject_id"),
        pl.col("visit_concept_id").fill_null(0).alias("kind"),
        pl.col("visit_source_concept_id").replace(0, None).alias("source_kind"),
        pl.coalesce("visit_start_datetime", "visit_start_date").alias("start"),
        _visit_end().alias("end"),
        "visit_type_concept_id",
        *(pl.coalesce(*spellings).alias(name) for name, spellings in _RENAMED.items()),
    ).with_columns(pl.col("from_id", "to_id").replace(0, None))
    raw = _without_open_ends(raw, oddities)
    dated = pl.col("start").is_not_null()
    raw = oddities.sift("visit_occurrence", raw, dated, "visits without a start, left out")
    oddities["visits ending before they start, set to end at the start"] = raw.select(
        (pl.col("end") < pl.col("start")).sum()
    ).item()
    end = pl.when(pl.col("end").is_not_null()).then(pl.max_horizontal("start", "end"))
    raw = when.believed_visits(raw.with_columns(end=end), "visit_occurrence", "visits", oddities)
    return _with_part(raw, oddities)


def _without_open_ends(raw: pl.DataFrame, oddities: dict) -> pl.DataFrame:
    """Returns visits without the ends of those still going on, which are the day of the extract."""
    still = (pl.col("visit_type_concept_id") == vocabulary.STILL_PATIENT).fill_null(False)
    still |= (pl.col("to_id") == vocabulary.STILL_PATIENT).fill_null(False)
    still |= encounters.still_there(pl.col("to_text"))
    oddities["visits still going on at the extract, end unknown"] = raw.select(still.sum()).item()
    return raw.with_columns(
        pl.when(~still).then(name).alias(name) for name in ("end", "to_id", "to_text")
    )


def _visit_end() -> pl.Expr:
    """A date alone lasts to the end of its day; so does a midnight where the start is one too,
    which is how an export fills the clock time that it does not know."""
    start, end = pl.col("visit_start_datetime"), pl.col("visit_end_datetime")
    return pl.coalesce(when.last_moment(start, end), when.end_of_day(pl.col("visit_end_date")))


def _with_part(raw: pl.DataFrame, oddities: dict) -> pl.DataFrame:
    hospital = pl.col("kind").is_in(list(vocabulary.HOSPITAL))
    admitted = pl.col("from_id").is_not_null() | pl.col("from_text").is_not_null()
    raw = raw.with_columns(part=hospital | admitted)
    if raw["part"].any():
        oddities["visits of another kind that were admitted from somewhere, taken part"] = (
            raw.select((admitted & ~hospital).sum()).item()
        )
        for kind, n in raw.filter(~pl.col("part"))["kind"].value_counts().sort("kind").rows():
            rule = f"visits of kind {kind}, no hospital encounters, left out"
            oddities.leave_out("visit_occurrence", rule, n)
        return raw
    oddities["visits of no hospital kind, taken part as there are no others"] = raw.height
    return raw.with_columns(part=True)


def _of_persons(raw: pl.DataFrame, persons: pl.DataFrame, oddities: dict) -> pl.DataFrame:
    # A visit of a kind that takes no part is counted as that.
    known = pl.col("subject_id").is_in(persons["subject_id"].implode())
    unknown = raw.filter(~known & pl.col("part")).height
    oddities.leave_out("visit_occurrence", "visits of unknown persons, left out", unknown)
    found = raw.filter(known)
    tally.require_match("visit_occurrence", found.height, raw.height - found.height, "person")
    return found


def _used_concepts(visits: pl.DataFrame, persons: pl.DataFrame, found: pl.DataFrame) -> pl.Series:
    columns = [visits[name] for name in ("kind", "source_kind", "from_id", "to_id")]
    columns += [persons[name] for name in ("race_id", "ethnicity_id")]
    columns += [found[name] for name in ("concept", "source_concept")]
    return pl.concat([column.rename("id") for column in columns]).drop_nulls().unique()


def _visits(kept, persons, concepts, oddities: dict) -> pl.DataFrame:
    """Returns the rows of `tables.VISITS` with the columns that attributes are made of, sorted."""
    names = concepts.names()
    origins = names | vocabulary.ORIGINS
    joined = kept.join(persons, on="subject_id").with_columns(
        to_text=pl.coalesce("to_text", vocabulary.name_of("to_id", names)),
        from_text=pl.coalesce("from_text", vocabulary.name_of("from_id", names)),
        type_text=vocabulary.name_of("source_kind", names),
        kind_text=vocabulary.name_of("kind", names | vocabulary.HOSPITAL),
        race=pl.coalesce(vocabulary.name_of("race_id", origins), "race"),
        ethnicity=pl.coalesce(vocabulary.name_of("ethnicity_id", origins), "ethnicity"),
    )
    place = vocabulary.name_of("to_id", vocabulary.DISPOSITIONS)
    other = pl.col("from_id").is_in(vocabulary.ANOTHER_HOSPITAL)
    kind = pl.col("type_text")
    joined = joined.with_columns(
        encounters.disposition(place, pl.col("to_text"), _told("to")).alias("stated"),
        encounters.from_hospital(other, pl.col("from_text"), _told("from")).alias("transferred_in"),
        pl.when(kind.str.contains(r"(?i)\belective|\bplanned|\bsame day"))
        .then(True)
        .when(kind.str.contains(r"(?i)emer|urgent|unplanned|observation"))
        .then(False)
        .when(pl.col("kind").is_in(vocabulary.EMERGENCY))
        .then(False)
        .alias("planned"),
        pl.col("kind").is_in(vocabulary.BEFORE_ADMISSION).alias("emergency"),
    )
    return encounters.finish(joined, oddities)


def _told(side: str) -> pl.Expr:
    return pl.col(f"{side}_id").is_not_null() | pl.col(f"{side}_text").is_not_null()


def _count_unobserved(root, visits: pl.DataFrame, oddities: dict) -> None:
    path = reading.find_table(root, "observation_period", required=False)
    if path is None:
        return
    dates = ("observation_period_start_date", "observation_period_end_date")
    raw = reading.read(path, {"person_id": pl.Int64} | dict.fromkeys(dates, tables.TIME))
    first, last = (pl.col(name) for name in dates)
    within = pl.col("start").is_between(first, when.end_of_day(last))
    seen = visits.join(raw, left_on="subject_id", right_on="person_id").filter(within)
    oddities["visits outside the patient's observation periods, kept"] = (
        visits.height - seen["visit_id"].n_unique()
    )
