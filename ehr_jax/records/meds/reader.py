"""MEDS 0.4 data sets: those of other makers by the conventions of the MIMIC-IV MEDS ETL, our own
(`writer.write`) exactly.

MEDS knows events of subjects, not visits. A visit begins at a HOSPITAL_ADMISSION and ends at the
HOSPITAL_DISCHARGE of the same `hadm_id` (or `visit_id`, `encounter_id`) or, where no admission has
one, at the next discharge before the next admission. An event belongs to the visit it names, else
to the one open at its time (`admissions.spans`). What the codes mean is the table of `patterns`.
"""

import pathlib

import polars as pl

from ehr_jax import errors
from ehr_jax.records.common import (
    ages,
    attributes,
    code_spelling,
    code_systems,
    icd9,
    tables,
    tally,
    when,
)
from ehr_jax.records.meds import admissions, files, layout, patterns
from ehr_jax.records.mimic import mimic4

# Column to its names in data sets, the best first; attributes stand on the admission.
ALIASES = {
    "visit_id": ("hadm_id", "visit_id", "encounter_id"),
    "stay_id": ("icustay_id", "stay_id"),
    "position": ("seq_num", "position"),
    "race": ("race", "ethnicity"),
}
_COLUMNS = files.EVENTS | dict.fromkeys(("visit_id", "stay_id", "position"), pl.Int64)
_COLUMNS |= dict.fromkeys(("insurance", "marital_status", "race"), pl.String)

_FACTS = ("birth", "death", "sex", "admission", "discharge", "unit entry", "unit exit")


def read(root: str | pathlib.Path) -> tables.Records:
    """Reads the MEDS data set of the folder `root` (which holds `data` and `metadata`).

    ICD codes come undotted with their version ("ICD9CM:4280", "ICD10CM:I509"), without a time:
    they are billed after the discharge, whatever time the ETL gave them. So do other diagnoses and
    procedures stamped with the start of their visit, or its day alone. Numeric events become
    measurements ("LAB:50868", "CHART:220045", else under their own code).

    Raises RecordsError for a missing or damaged shard, one of another schema, a subject in two
    splits, or a data set without hospital admissions.
    """
    shards = files.find(root)
    about = files.read_json(root, layout.ABOUT)
    if about is not None:
        return layout.read(root, shards, about)
    events = files.scan(root, shards, _COLUMNS, ALIASES)
    oddities = tally.Ledger()
    meanings = _meanings(events, oddities)
    totals = dict(meanings.group_by("role").agg(pl.col("events").sum()).rows())
    events = events.drop_nulls(["subject_id", "code"])
    facts = _of(events, meanings, *_FACTS).collect(engine="streaming")
    if facts.filter(role="admission")["visit_id"].is_null().all():
        # Visits get numbers of our own, with which those of other events have nothing to do.
        events, facts = (f.with_columns(visit_id=pl.lit(None, pl.Int64)) for f in (events, facts))
    visits = admissions.visits(facts, oddities)
    patients = _patients(events, facts, visits, oddities)
    visits = admissions.aged(visits, patients)
    spans = admissions.spans(visits)
    codes, code_names = _codes(root, _of(events, meanings, "code", "billed"), spans, oddities)
    given = files.splits(root, oddities)
    known = given.join(patients, on="subject_id", how="semi", maintain_order="left")
    oddities["subjects with a split and without events, left out"] = given.height - known.height
    return tables.check(
        tables.Records(
            source="meds",
            patients=tables.conform(patients, tables.PATIENTS),
            visits=tables.conform(visits, tables.VISITS),
            stays=admissions.stays(facts, spans, oddities),
            codes=codes,
            code_names=code_names,
            attributes=_attributes(visits, patients),
            measurements=_measurements(
                _of(events, meanings, "measurement"), spans, oddities, totals.get("measurement", 0)
            ),
            notes=_notes(_of(events, meanings, "note"), spans, oddities, totals.get("note", 0)),
            terms=_terms(files.dataset(root)),
            oddities=tally.standing(oddities),
            accounts=oddities.tables,
            given_split=known,
        )
    )


def _meanings(events: pl.LazyFrame, oddities: tally.Ledger) -> pl.DataFrame:
    """Returns what the codes mean (`patterns.meanings`), and how many `events` have each."""
    counted = events.group_by("code").agg(
        pl.len().alias("events"),
        numbers=pl.col("numeric_value").count(),
        nobody=pl.col("subject_id").null_count(),
    )
    inventory = counted.sort("code").collect(engine="streaming")
    oddities.begin("events", int(inventory["events"].sum()))
    nobody = int(inventory["nobody"].sum())
    oddities.leave_out("events", "events without a subject_id, left out", nobody)
    inventory = inventory.with_columns(pl.col("events") - pl.col("nobody"))
    codeless = int(inventory.filter(pl.col("code").is_null())["events"].sum())
    oddities.leave_out("events", "events without a code, left out", codeless)
    inventory = inventory.drop_nulls("code")
    meanings = patterns.meanings(inventory)
    if "admission" not in meanings["role"]:
        raise errors.RecordsError(
            "the MEDS data set has no HOSPITAL_ADMISSION// event, so its visits cannot be told. "
            "This reader follows the codes of the MIMIC-IV MEDS ETL; of the data set's "
            f"{inventory.height} codes the most frequent begin {_heads(inventory)}"
        )
    unused = inventory.join(meanings.filter(role="none"), on="code")
    if unused.height:
        rule = (
            f"events of codes that mean nothing here, the most frequent {_heads(unused)}, left out"
        )
        oddities.leave_out("events", rule, int(unused["events"].sum()))
    return meanings.join(inventory.select("code", "events"), on="code", maintain_order="left")


def _heads(inventory: pl.DataFrame) -> str:
    """Returns how the most frequent codes begin, without any part that may be of one patient."""
    # The rest of a code, or a code of one part, may hold a result's text.
    head = pl.col("code").str.extract(r"^([A-Za-z][A-Za-z0-9_-]{1,29})(/|$)")
    heads = inventory.with_columns(head=head, whole=pl.col("code") == head)
    heads = heads.filter(~pl.col("whole") | pl.col("head").str.contains("^[A-Z_]+$"))
    counted = heads.group_by("head").agg(pl.sum("events"))
    names = counted.sort("events", "head", descending=[True, False])["head"][:5]
    return ", ".join(names) or "otherwise"


def _of(events: pl.LazyFrame, meanings: pl.DataFrame, *roles: str) -> pl.LazyFrame:
    """Returns the events that play one of `roles`, with what they mean."""
    wanted = meanings.filter(pl.col("role").is_in(roles)).drop("events")
    return events.join(wanted.lazy(), on="code", maintain_order="left")


def _patients(events, facts, visits: pl.DataFrame, oddities: dict) -> pl.DataFrame:
    """Returns `tables.PATIENTS` of every subject that has an event."""
    everyone = events.select("subject_id").unique().collect(engine="streaming").sort("subject_id")
    births = facts.filter(role="birth").drop_nulls("time")
    births = births.group_by("subject_id").agg(birth_time=pl.col("time").min())
    sexes = facts.filter(role="sex").with_columns(sex=pl.col("to").str.head(1).str.to_uppercase())
    sexes = sexes.filter(pl.col("sex").is_in(["F", "M"]))
    sexes = sexes.group_by("subject_id").agg(pl.col("sex").min(), told=pl.col("sex").n_unique())
    oddities["patients given two sexes, sex unknown"] = int((sexes["told"] > 1).sum())
    sexes = sexes.filter(told=1).drop("told")
    own = visits.group_by("subject_id").agg(pl.col("death").last(), first=pl.col("start").min())
    found = everyone
    for facts_of in (births, admissions.deaths_told(facts), sexes, own):
        found = found.join(facts_of, on="subject_id", how="left", maintain_order="left")
    _count_outside(events, found, oddities)
    age = ages.years(pl.col("birth_time"), pl.col("first"))
    odd = found.select(unborn=age < 0, old=age > ages.OLDEST).sum()
    odd = odd.row(0, named=True)
    oddities["births after admission, age and birth unknown"] = odd["unborn"]
    oddities[f"ages over {ages.OLDEST} at admission, age and birth unknown"] = odd["old"]
    return found.select(
        "subject_id",
        "sex",
        birth_time=pl.when(ages.believed(age) | age.is_null()).then("birth_time"),
        death_time=pl.when(pl.col("first").is_null()).then("death_time").otherwise("death"),
    )


def _attributes(visits: pl.DataFrame, patients: pl.DataFrame) -> pl.DataFrame:
    joined = visits.join(patients.select("subject_id", "sex"), on="subject_id")
    named = {name: pl.col(column) for column, name in mimic4.ATTRIBUTES.items()}
    texts = attributes.texts(joined, named | {"sex": attributes.SEX})
    return attributes.table([texts], joined)


def _count_outside(events: pl.LazyFrame, patients: pl.DataFrame, oddities: dict) -> None:
    known = patients.lazy().select("subject_id", "birth_time", "death_time")
    # Birth is often known by its year alone and death by its day.
    late = pl.col("time") >= pl.col("death_time").dt.truncate("1d") + pl.duration(days=1)
    counts = (
        events.select("subject_id", "time")
        .join(known, on="subject_id")
        .select(before=(pl.col("time") < pl.col("birth_time")).sum(), after=late.sum())
        .collect(engine="streaming")
        .row(0, named=True)
    )
    oddities["events before the patient's birth, kept where a visit holds them"] = counts["before"]
    oddities["events after the day of the patient's death, kept where a visit holds them"] = counts[
        "after"
    ]


def _codes(root, events: pl.LazyFrame, spans, oddities: dict):
    """Returns the tables of codes and of their names."""
    columns = ("subject_id", "visit_id", "time", "code", "role", "to", "kind", "position")
    events = events.select(columns)
    rows = events.select(pl.len()).collect(engine="streaming").item()
    oddities.begin("coded events", rows)
    found = admissions.linked(events, spans).collect(engine="streaming")
    oddities.leave_out("coded events", "coded events of no visit, left out", rows - found.height)
    tally.require_match("coded events", found.height, rows - found.height)
    bounds = spans.select("visit_id", start="since")
    found = found.join(bounds, on="visit_id", how="left", maintain_order="left")
    disease = pl.col("kind") == "diagnosis"
    before = {when.ONSET_DAYS: disease, when.EVENT_DAYS: ~disease}
    far = pl.any_horizontal(
        of & when.is_far(pl.col("time"), pl.col("start"), pl.col("end"), days)
        for days, of in before.items()
    )
    far = far.fill_null(False)
    found = oddities.sift("coded events", found, ~far, when.left_out("coded events"))
    billed, late = pl.col("role") == "billed", pl.col("time") > pl.col("end")
    oddities["coded events after the discharge, taken as known at discharge"] = int(
        found.select((~billed & late).sum()).item()
    )
    found = _without_points(found, oddities)
    system, rest = _split(pl.col("to"))
    plain = system + ":" + code_systems.plain(rest)
    spelled = pl.when(system.is_in(code_systems.ICD)).then(plain).otherwise("to")
    # A diagnosis or procedure stamped with the start of its visit, or that day alone, sums it up.
    dated, _ = when.known(pl.col("time"), pl.col("time"))
    stamp = when.sums_up(pl.col("time"), pl.col("start"))
    of_stay = pl.col("kind") != "drug"
    known = pl.when(of_stay & ~stamp).then(dated).when(~of_stay).then("time")
    known = pl.when(~billed & known.is_not_null()).then(pl.min_horizontal(known, "end"))
    found = found.with_columns(given="code", code=spelled, time=known)
    found = code_spelling.joined(found, oddities)
    names = files.codes(root).rename({"code": "given"})
    named = found.select("code", "kind", "given").unique(maintain_order=True).sort("code", "given")
    named = named.join(names, on="given", how="left", maintain_order="left")
    named = named.group_by("code", maintain_order=True).agg(
        pl.col("kind").first(), name=pl.col("description").drop_nulls().first()
    )
    titles = icd9.load(root)
    own = [icd9.code_name(code, titles) for code in named["code"]]
    named = named.with_columns(name=pl.coalesce("name", pl.Series(own, dtype=pl.String)))
    codes = code_spelling.table([found.select(*tables.CODES)], oddities)
    return codes, tables.conform(named, tables.CODE_NAMES)


def _without_points(found: pl.DataFrame, oddities: tally.Ledger) -> pl.DataFrame:
    """Returns coded events without the ".0" that a writer of numbers put behind codes of ICD."""
    parts = []
    for (system,), part in found.group_by(_split(pl.col("to"))[0].alias("s"), maintain_order=True):
        codes = part.select(_split(pl.col("to"))[1].alias("to"))["to"]
        if system in code_systems.ICD:
            plain = icd9.without_shown_point(codes, 2 if system == "ICD9PROC" else 3)
            rule = f"{system} events whose code was written as a number, its '.0' left out"
            oddities[rule] = plain.ne_missing(codes).sum()
            part = part.with_columns(to=f"{system}:" + plain)
        parts.append(part)
    return pl.concat(parts) if parts else found


def _split(code: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    parts = code.str.splitn(":", 2)
    return parts.struct.field("field_0"), parts.struct.field("field_1")


def _measurements(
    events: pl.LazyFrame, spans: pl.DataFrame, oddities: tally.Ledger, total: int
) -> pl.LazyFrame:
    columns = ("subject_id", "visit_id", "stay_id", "time", "to", "unit", "numeric_value")
    found = admissions.linked(events.select(columns), spans)
    found = found.with_columns(variable="to", value="numeric_value")
    visits = spans.select("visit_id", "end", start="since")
    found = tables.conform(found, tables.MEASUREMENTS)
    value = pl.col("value")
    lacking = pl.col("time").is_null() | value.is_null() | ~value.is_finite()
    faults = {"without a number or time": lacking}
    by = ("visit_id", "time")  # a data set holds the events of a subject in order of time
    return when.within(
        found, tables.MEASUREMENTS, visits, "measured events", oddities, faults, total, by
    )


def _notes(
    events: pl.LazyFrame, spans: pl.DataFrame, oddities: tally.Ledger, total: int
) -> pl.LazyFrame:
    events = events.select("subject_id", "visit_id", "time", "to", text="text_value")
    found = admissions.linked(events, spans)
    visits = spans.select("visit_id", "end", start="since")
    midnight = when.is_midnight(pl.col("time"))
    found = tables.conform(found.with_columns(category="to", date_only=midnight), tables.NOTES)
    faults = {"without a time or text": pl.any_horizontal(pl.col("time", "text").is_null())}
    return when.within(found, tables.NOTES, visits, "note events", oddities, faults, total)


def _terms(about: dict) -> str:
    name = about.get("dataset_name") or "a data set without a name"
    version = f" {about['dataset_version']}" if about.get("dataset_version") else ""
    licence = about.get("license") or (
        "licence not stated; treat it as credentialed: no sharing, no attempt to identify anybody"
    )
    return f"MEDS copy of {name}{version}: {licence}"
