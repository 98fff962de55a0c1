"""FHIR R4 bulk export (NDJSON): encounters as visits, with their codes, observations and notes.

Which encounters take part: those of the classes in `admissions.HOSPITAL` that took place. The
others are counted by class. Where a data set holds none of them, every encounter takes part. One
that is part of another is no visit of its own: what happened in it belongs to the outermost one.

Times with a zone are turned to UTC, those without are taken as UTC; a date alone is a day by the
clock of its encounter, which the zone of its end or start tells. Of a partial date ("2012-05") a
start is its first moment, an end, a death or the time at which something is known its last one; a
birth is in the middle of its year or month.

Ids are texts in FHIR; the numbers here are hashes of them (`resources.identifier`).
"""

import pathlib

import polars as pl

from ehr_jax import errors
from ehr_jax.records.common import encounters, parsing, reading, tables, tally
from ehr_jax.records.fhir import admissions, coded, events, resources, versions

KINDS = (
    "Patient",
    "Encounter",
    "Condition",
    "Procedure",
    "MedicationRequest",
    "MedicationAdministration",
    "Medication",
    "Location",
    "Observation",
    "DocumentReference",
)

# Discharge dispositions by the codes of HL7 and of the US claim form (patient discharge status).
DISPOSITIONS = {
    "home": "home",
    "alt-home": "home",
    "other-hcf": "facility",
    "hosp": "transfer",
    "long": "facility",
    "aadvice": "other",
    "exp": "died",
    "psy": "transfer",
    "rehab": "facility",
    "snf": "facility",
    "oth": "other",
    **dict.fromkeys(("01", "06", "81", "86"), "home"),
    **dict.fromkeys(("02", "05", "43", "65", "66", "82", "85", "93", "94"), "transfer"),
    **dict.fromkeys(("03", "04", "61", "62", "63", "64", "83", "84", "90", "91", "92"), "facility"),
    **dict.fromkeys(("20", "40", "41", "42"), "died"),
    **dict.fromkeys(("50", "51"), "hospice"),
    **dict.fromkeys(("07", "21", "69", "70", "95"), "other"),
    "30": "unknown",  # still a patient
}
_EXTENSION = pl.Struct(
    {
        "url": pl.String,
        "valueString": pl.String,
        "valueCoding": pl.Struct({"display": pl.String}),
    }
)
_PATIENT = {
    "id": pl.String,
    "gender": pl.String,
    "birthDate": pl.String,
    "deceasedDateTime": pl.String,
    "deceasedBoolean": pl.Boolean,
    "extension": pl.List(pl.Struct({"url": pl.String, "extension": pl.List(_EXTENSION)})),
}


def read(root: str | pathlib.Path) -> tables.Records:
    """Reads the NDJSON files (.ndjson or .ndjson.gz, any number a kind) of the folder `root`.

    Needs Patient, Encounter and Condition; takes Procedure, MedicationRequest,
    MedicationAdministration, Medication, Location, Observation and DocumentReference where they are
    there. `coded` and `events` say what becomes a code, a measurement or a note, and when it is
    known;
    `versions` which of several versions of a resource counts.

    Raises RecordsError for a missing kind, a damaged file, a line that is not a resource of its
    file's kind, or two resources of one id that contradict each other.
    """
    oddities = tally.Ledger()
    files = resources.find(root, KINDS)
    for kind in ("Patient", "Encounter", "Condition"):
        if not files[kind]:
            raise errors.RecordsError(
                f"{root}: no file of {kind} resources ('{kind}.ndjson', '{kind}.000.ndjson.gz' or "
                "the like). Is this the folder of a FHIR bulk export?"
            )
    persons = _persons(files["Patient"], oddities)
    units = admissions.locations(files["Location"], oddities)
    raw = admissions.read(files["Encounter"], persons, units, oddities)
    visits = _visits(raw.filter("part"), persons, oddities)
    moves = admissions.moves(raw, visits)
    places = admissions.places(raw, moves)
    codes, code_names = coded.codes(files, places, oddities)
    kind = pl.col("kind").replace_strict(admissions.HOSPITAL, default=None, return_dtype=pl.String)
    return encounters.records(
        persons,
        visits,
        moves,
        kind,
        oddities,
        source="fhir",
        codes=codes,
        code_names=code_names,
        measurements=events.measurements(files["Observation"], places, oddities),
        notes=events.notes(files["DocumentReference"], places, oddities),
        terms=reading.terms(root),
    )


def _persons(paths: list[pathlib.Path], oddities: dict) -> pl.DataFrame:
    """Returns patient (the id as written), subject_id, sex, birth_time, dead,
    death_first and death_time (the moments that the told death may mean; of a date those of its
    day wherever the patient was), race and ethnicity."""
    raw = versions.collect(paths, "Patient", _PATIENT, _flatten_patients, oddities)
    rule = "Patient resources without an id, left out"
    raw = oddities.sift("Patient", raw, pl.col("patient").is_not_null(), rule)
    return raw.with_columns(resources.identifiers(raw["patient"]).alias("subject_id"))


def _flatten_patients(batch: pl.DataFrame) -> pl.DataFrame:
    born = resources.times(batch, pl.col("birthDate"), "birthDate")
    died = resources.times(batch, pl.col("deceasedDateTime"), "deceasedDateTime")
    # The first moment of a day, the middle of a month or year.
    half = (pl.col("high") - pl.col("low")).dt.total_seconds() // 2 // 86_400
    born_at = born.select(pl.col("low") + pl.duration(days=half)).to_series()
    origins = {
        name: _origin(batch["extension"], f"us-core-{name}") for name in ("race", "ethnicity")
    }
    return batch.select(
        pl.col("id").alias("patient"),
        parsing.tidy(pl.col("gender"))
        .replace_strict({"female": "F", "male": "M"}, default=None)
        .alias("sex"),
        born_at.alias("birth_time"),
        (pl.col("deceasedDateTime").is_not_null() | pl.col("deceasedBoolean").fill_null(False))
        .fill_null(False)
        .alias("dead"),
        died["low"].alias("death_first"),
        died["high"].alias("death_time"),
        *(pl.Series(name, values, pl.String) for name, values in origins.items()),
    )


def _origin(extensions: pl.Series, name: str) -> list[str | None]:
    """Returns what the US Core extension `name` (race or ethnicity) says in words."""
    found = []
    for given in extensions.to_list():
        parts = [
            part["valueString"] or (part["valueCoding"] or {}).get("display")
            for outer in given or ()
            if outer and (outer["url"] or "").endswith(name)
            for part in outer["extension"] or ()
            if part and part["url"] in ("text", "ombCategory")
        ]
        found.append(next((part for part in reversed(parts) if part), None))
    return found


def _visits(own: pl.DataFrame, persons: pl.DataFrame, oddities: dict) -> pl.DataFrame:
    going, coming = (
        pl.col(f"{side}_code").is_not_null() | pl.col(f"{side}_text").is_not_null()
        for side in ("to", "from")
    )
    # "1" is how some write the "01" of the claim form.
    code = pl.col("to_code").str.to_lowercase()
    code = pl.when(code.str.contains(r"^\d$")).then("0" + code).otherwise(code)
    place = code.replace_strict(DISPOSITIONS, default=None, return_dtype=pl.String)
    other = pl.col("from_code").is_in(["hosp-trans", "4"])
    elective = (
        pl.col("priority")
        .str.to_uppercase()
        .replace_strict(
            {"EL": True, "EM": False, "UR": False, "A": False},
            default=None,
            return_dtype=pl.Boolean,
        )
    )
    emergency = pl.when(pl.col("kind") == "EMER").then(False)
    # A date has no zone: it is the day of the clock that hung where the patient was.
    dated = pl.col("death_time") > pl.col("death_first")
    joined = own.join(persons.drop("patient"), on="subject_id").with_columns(
        pl.when(dated).then(pl.col(name) - pl.col("ahead")).otherwise(name).alias(name)
        for name in ("death_first", "death_time")
    )
    joined = joined.with_columns(
        encounters.disposition(place, pl.col("to_text"), going).alias("stated"),
        encounters.from_hospital(other, pl.col("from_text"), coming).alias("transferred_in"),
        pl.coalesce(elective, emergency).alias("planned"),
        pl.col("kind").is_in(admissions.BEFORE_ADMISSION).alias("emergency"),
    )
    return encounters.finish(joined, oddities)
