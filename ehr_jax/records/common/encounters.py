"""From dated encounters and persons, as standard data models tell them, to visits and patients.

OMOP and FHIR read their files each in their own way and meet here: order and age of visits, how
they ended, deaths, ICU stays made of moves between units, and codes each once a visit.
"""

from typing import Any

import polars as pl

from ehr_jax.records.common import ages, attributes, code_spelling, deaths, tables, tally, when

INTENSIVE = r"(?i)intensive care|critical care|coronary care unit|\b[a-z]{0,3}icu\b"

# For places that no known code names: the first pattern found in their text decides.
_DISPOSITIONS = {
    r"\bdied\b|\bdead\b|expired|deceased|death": "died",
    r"hospice": "hospice",
    r"psych": "transfer",
    r"skilled|\bsnf\b|nursing|rehab|long.?term|facility|assisted|\bicf\b": "facility",
    r"hosp": "transfer",
    r"home|self.?care": "home",
}


def disposition(known: pl.Expr, text: pl.Expr, told: pl.Expr) -> pl.Expr:
    """Returns one of `tables.DISPOSITIONS`: the `known` one, else what `text` says of the place;
    "unknown" where nothing was `told`."""
    said = pl.when(~told).then(pl.lit("unknown"))
    for pattern, outcome in _DISPOSITIONS.items():
        said = said.when(text.str.contains(f"(?i){pattern}")).then(pl.lit(outcome))
    return pl.coalesce(known, said.otherwise(pl.lit("other")))


def still_there(text: pl.Expr) -> pl.Expr:
    """Says whether the text of a place of discharge says that the patient had not left."""
    return text.str.contains(r"(?i)^\s*still\b.*\b(patient|hospital)").fill_null(False)


def from_hospital(known: pl.Expr, text: pl.Expr, told: pl.Expr) -> pl.Expr:
    """Says whether patients came from another hospital; null where nothing was `told`."""
    said = text.str.contains(r"(?i)transfer.*hosp").fill_null(False)
    return pl.when(told).then(known.fill_null(False) | said)


def finish(joined: pl.DataFrame, oddities: dict[str, int]) -> pl.DataFrame:
    """Returns visits sorted, with `order`, `age`, `disposition` and `death`, and what they had.

    Needs visit_id, subject_id, start, end, birth_time, dead (does the source tell of the
    patient's death, with a date or without?), and `stated`, death_first and death_time as
    `deaths.settle` takes them. If a visit states no outcome, the patient is known to have lived
    ("other") if there is a later visit, or if the source tells of deaths and this patient has no
    undated one. The outcome of a visit without an end is unknown.
    """
    joined = joined.sort("subject_id", "start", "visit_id")
    undated = pl.col("dead") & pl.col("death_time").is_null()
    later = pl.col("start").shift(-1).over("subject_id").is_not_null()
    lived = later | (joined["dead"].any() & ~undated)
    joined = joined.with_columns(lived=lived, survived=pl.lit(False))
    joined = deaths.settle(joined, oddities)
    age = ages.years(pl.col("birth_time"), pl.col("start"))
    odd = joined.select(unborn=(age < 0).sum(), old=(age > ages.OLDEST).sum()).row(0, named=True)
    oddities["visits before the patient's birth, age and birth unknown"] = odd["unborn"]
    oddities[f"visits at an age over {ages.OLDEST} years, age and birth unknown"] = odd["old"]
    return joined.with_columns(
        pl.int_range(pl.len()).over("subject_id").alias("order"),
        pl.when(ages.believed(age)).then(age).alias("age"),
        pl.when("died")
        .then(pl.lit("died"))
        .when(pl.col("end").is_null())
        .then(pl.lit("unknown"))
        .when((pl.col("stated") == "unknown") & pl.col("lived"))
        .then(pl.lit("other"))
        .otherwise("stated")
        .alias("disposition"),
        pl.lit(None).alias("readmitted_30d"),
    )


def patients(persons: pl.DataFrame, visits: pl.DataFrame) -> pl.DataFrame:
    """Returns `tables.PATIENTS` of `persons` (subject_id, sex, birth_time, death_time) and finished
    `visits`, which say when those who have any died."""
    own = visits.group_by("subject_id").agg(
        pl.col("death").last(), pl.col("age").null_count().alias("ageless")
    )
    found = persons.join(own, on="subject_id", how="left")
    without = pl.col("ageless").is_null()
    found = found.with_columns(
        death_time=pl.when(without).then("death_time").otherwise("death"),
        birth_time=pl.when(pl.col("ageless").fill_null(0) == 0).then("birth_time"),
    )
    return tables.conform(found.sort("subject_id"), tables.PATIENTS)


def join_moves(moves: pl.DataFrame) -> pl.DataFrame:
    """Returns `moves` (move_id, visit_id, start, end, unit) with `stay_id`: those of a visit that
    follow each other without a gap are one stay, named after the first."""
    moves = moves.sort("visit_id", "start", "move_id")
    apart = pl.col("start") > pl.col("end").cum_max().shift().over("visit_id")
    return moves.with_columns(stay_id=pl.when(apart.fill_null(True)).then("move_id").forward_fill())


def stays(moves: pl.DataFrame) -> pl.DataFrame:
    """Returns `tables.STAYS` of joined moves with their subject_id."""
    first = moves.group_by("stay_id", maintain_order=True).agg(
        pl.col("visit_id", "subject_id", "start", "unit").first(), pl.col("end").max()
    )
    return tables.sorted_stays(first.sort("stay_id"))


def codes(rows: pl.DataFrame, oddities: dict[str, int]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns `tables.CODES`, each code of a visit once and as early as known, and their names.

    `rows` has kind, visit_id, code, name (by a vocabulary), said (by the source, the name where
    there is none), time and n, the number of rows of the source.
    """
    rows = code_spelling.joined(rows, oddities, "n")
    rank = pl.col("kind").replace_strict({kind: i for i, kind in enumerate(tables.KINDS)})
    kinds = rows.group_by("code").agg(
        pl.col("kind").sort_by(rank).first(), pl.col("kind").n_unique().alias("several")
    )
    oddities["codes of more than one kind, taken as the first of diagnosis, procedure, drug"] = (
        kinds.filter(pl.col("several") > 1).height
    )
    said = rows.group_by("code", "name", "said").agg(pl.col("n").sum())
    said = said.sort("code", "n", "name", "said", descending=[False, True, False, False])
    names = said.group_by("code", maintain_order=True).agg(
        pl.coalesce(pl.col("name").drop_nulls().first(), pl.col("said").drop_nulls().first())
    )
    named = kinds.join(names, on="code").with_columns(pl.coalesce("name", "code"))
    distinct = rows.group_by("visit_id", "code").agg(pl.col("time").min())
    distinct = distinct.with_columns(position=pl.lit(None)).sort("visit_id", "code")
    return (
        tables.conform(distinct, tables.CODES),
        tables.conform(named.sort("code"), tables.CODE_NAMES),
    )


def records(
    persons: pl.DataFrame,
    visits: pl.DataFrame,
    moves: pl.DataFrame,
    kind: pl.Expr,
    oddities: tally.Ledger,
    **others: Any,
) -> tables.Records:
    """Returns checked Records of persons, finished visits, joined moves, and `others` by name.

    Args:
      visits: with sex, from_text, race and ethnicity, which are known at the start.
      kind: what the admission was, of the columns of `visits`.
    """
    named = {"admission type": kind, "admission location": pl.col("from_text")}
    named |= {"race": pl.col("race"), "ethnicity": pl.col("ethnicity"), "sex": attributes.SEX}
    return tables.check(
        tables.Records(
            patients=patients(persons, visits),
            visits=tables.conform(visits, tables.VISITS),
            stays=when.stays(stays(moves), visits, "ICU stays", oddities),
            attributes=attributes.table([attributes.texts(visits, named)], visits),
            oddities=tally.standing(oddities),
            accounts=oddities.tables,
            **others,
        )
    )
