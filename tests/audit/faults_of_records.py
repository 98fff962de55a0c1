"""Faults in records: inputs that are the outcome or its trace, texts that repeat, times moved."""

import datetime

import polars as pl

from ehr_jax.features import known
from tests.audit import scenes

HOUR = datetime.timedelta(hours=1)


def a_column_that_is_the_outcome(scene, patch):
    return scenes.look(scenes.with_attribute(scene, pl.col("label.mortality")))


def a_column_named_as_the_outcome(scene, patch):
    text = pl.when(pl.col("visit_id") % 2 == 0).then(pl.lit("yes")).otherwise(pl.lit("no"))
    return scenes.look(scenes.with_attribute(scene, text, "hospital_death flag"))


def a_column_recorded_for_the_dead(scene, patch):
    rare = pl.col("sample_id") % 10 == 0
    seen = pl.when(pl.col("label.mortality") | rare).then(pl.lit("seen"))
    return scenes.look(scenes.with_attribute(scene, seen))


def a_column_that_nearly_tells(scene, patch):
    seen = pl.col("label.mortality") ^ (pl.col("sample_id") % 9 == 0)
    return scenes.look(scenes.with_attribute(scene, seen))


def two_columns_that_tell_together(scene, patch):
    coin, label = pl.col("sample_id") % 2 == 0, pl.col("label.readmission").fill_null(False)
    once = scenes.with_attribute(scene, coin & label, "one half")
    return scenes.look(scenes.with_attribute(once, ~coin & label, "the other half"))


def a_series_that_is_the_outcome(scene, patch):
    dead = scene.cohort.samples.filter("label.mortality")["visit_id"].implode()
    measurements = scene.records.measurements.collect()
    name = measurements["variable"].mode().sort()[0]
    value = pl.when(pl.col("visit_id").is_in(dead)).then(140.0).otherwise(60.0)
    changed = pl.when(pl.col("variable") == name).then(value).otherwise("value")
    made = measurements.with_columns(value=changed)
    return scenes.look(scenes.with_records(scene, measurements=made.lazy()))


def a_code_that_states_the_outcome(scene, patch):
    some = pl.col("label.mortality") & (pl.col("sample_id") % 4 != 0)
    rows = scene.cohort.samples.filter(some).select(
        "visit_id", code=pl.lit("ICD9CM:V667"), time="prediction_time",
        position=pl.lit(9, pl.Int32),
    )  # fmt: skip
    name = pl.DataFrame(
        {"code": ["ICD9CM:V667"], "kind": ["diagnosis"], "name": ["Encounter for palliative care"]}
    )
    names = scene.records.code_names.filter(pl.col("code") != "ICD9CM:V667")
    return scenes.look(
        scenes.with_records(
            scene,
            codes=pl.concat([scene.records.codes, rows]),
            code_names=pl.concat([names, name]),
        )
    )


def notes_that_state_the_outcome(scene, patch):
    some = scene.cohort.samples.filter(pl.col("label.mortality"), pl.col("sample_id") % 4 != 0)
    return scenes.look(_with_notes(scene, some, "Family met. Now Comfort Measures only."))


def notes_in_other_words(scene, patch):
    """No list of words is whole."""
    some = scene.cohort.samples.filter(pl.col("label.mortality"), pl.col("sample_id") % 4 != 0)
    return scenes.look(_with_notes(scene, some, "The priest came and the family said goodbye."))


def notes_copied_across_splits(scene, patch):
    texts = known.notes(scene.records, scene.cohort).join(scene.cohort.samples, on="sample_id")
    longest = texts.filter(split="train").sort(pl.col("text").str.len_chars())["text"][-1]
    one = texts.filter(split="test").head(1)["visit_id"]
    others = scene.records.notes.filter(~pl.col("visit_id").is_in(one.implode()))
    bare = scenes.with_records(scene, notes=others)
    of_test = scene.cohort.samples.filter(pl.col("visit_id").is_in(one.implode()))
    return scenes.look(_with_notes(bare, of_test, longest + " Reviewed."))


def series_stamped_two_days_early(scene, patch):
    moved = scene.records.measurements.with_columns(pl.col("time") - 48 * HOUR)
    return scenes.look(scenes.with_records(scene, measurements=moved.collect().lazy()))


def results_stamped_an_hour_early(scene, patch):
    """Nobody can tell from the records when a result was really known."""
    moved = scene.records.measurements.with_columns(pl.col("time") - HOUR)
    return scenes.look(scenes.with_records(scene, measurements=moved.collect().lazy()))


def billed_codes_stamped_at_the_admission(scene, patch):
    starts = scene.records.visits.select("visit_id", "start")
    codes = scene.records.codes.join(starts, on="visit_id", maintain_order="left")
    stamped = codes.with_columns(time=pl.coalesce("time", "start")).drop("start")
    return scenes.look(scenes.with_records(scene, codes=stamped))


def deaths_that_the_source_does_not_know(scene, patch):
    """Records and labels agree, and both are wrong."""
    lost = scene.cohort.samples.filter("label.mortality").gather_every(5)
    visits = pl.col("visit_id").is_in(lost["visit_id"].implode())
    people = pl.col("subject_id").is_in(lost["subject_id"].implode())
    other = pl.when(visits).then(pl.lit("home")).otherwise("disposition")
    alive = pl.when(~people).then("death_time")
    label = pl.col("label.mortality") & ~visits
    changed = scenes.with_samples(scene, label.alias("label.mortality"))
    return scenes.look(
        scenes.with_records(
            changed,
            visits=scene.records.visits.with_columns(disposition=other),
            patients=scene.records.patients.with_columns(death_time=alive),
        )
    )


def one_person_with_two_birthdays(scene, patch):
    """A person whose sex, times and codes differ from one id to the other is two persons."""
    return scenes.look(scene)


def _with_notes(scene, samples: pl.DataFrame, text: str):
    rows = samples.select(
        "visit_id", time=pl.col("prediction_time") - HOUR, date_only=pl.lit(False),
        category=pl.lit("Nursing"), text=pl.lit(text),
    )  # fmt: skip
    notes = pl.concat([scene.records.notes.collect(), rows])
    return scenes.with_records(scene, notes=notes.lazy())
