"""Faults in how inputs are made: of codes, facts, measurements, notes, series and knowledge."""

import dataclasses
import datetime

import numpy as np
import polars as pl

from ehr_jax.features import (
    cells,
    hypergraph,
    known,
    prepare,
    retrieved,
    series,
    statics,
    stay_notes,
    stays,
    structure,
    survival,
    vocabulary,
)
from tests.audit import scenes

HOUR = datetime.timedelta(hours=1)


def _later(cohort, hours: float):
    """The cohort as if predictions were made so much later."""
    time = pl.col("prediction_time") + hours * HOUR
    return dataclasses.replace(cohort, samples=cohort.samples.with_columns(prediction_time=time))


def _everyone_trains(cohort):
    samples = cohort.samples.with_columns(split=pl.lit("train"))
    return dataclasses.replace(cohort, samples=samples)


def codes_of_the_whole_visit(scene, patch):
    def all_of(table, cohort):
        return table.join(cohort.samples.select("sample_id", "visit_id"), on="visit_id")

    patch.setattr(known, "_known", all_of)
    return scenes.look(scene)


def codes_of_the_next_hour(scene, patch):
    right = known._known
    patch.setattr(known, "_known", lambda table, cohort: right(table, _later(cohort, 1)))
    return scenes.look(scene)


def codes_of_later_visits_as_history(scene, patch):
    def every_visit(records, cohort):
        samples = cohort.samples.select("sample_id", "subject_id")
        joined = records.visits.join(samples, on="subject_id").join(records.codes, on="visit_id")
        return joined.select("sample_id", "code").unique()

    patch.setattr(known, "earlier_codes", every_visit)
    return scenes.look(scene)


def measurements_of_two_days_later(scene, patch):
    right = known.last_values
    patch.setattr(known, "last_values", lambda rows, cohort: right(rows, _later(cohort, 48)))
    return scenes.look(scene)


def measurements_rounded_up_to_a_second(scene, patch):
    right, later = known.last_values, 1 / 3600
    patch.setattr(known, "last_values", lambda rows, cohort: right(rows, _later(cohort, later)))
    return scenes.look(scene)


def notes_of_the_whole_visit(scene, patch):
    def all_of(records, cohort):
        samples = cohort.samples.lazy().select("sample_id", "visit_id")
        rows = records.notes.join(samples, on="visit_id").sort("sample_id", "time", "text")
        return rows.select("sample_id", "time", "text").collect()

    patch.setattr(known, "note_rows", all_of)
    return scenes.look(scene)


def notes_of_a_date_from_the_start_of_their_day(scene, patch):
    right = known.note_rows

    def early(records, cohort):
        by_clock = records.notes.with_columns(date_only=pl.lit(False))
        return right(dataclasses.replace(records, notes=by_clock), cohort)

    patch.setattr(known, "note_rows", early)
    return scenes.look(scene)


def discharge_summaries_inside_the_stay(scene, patch):
    right = known.note_rows

    def with_summaries(records, cohort):
        renamed = records.notes.with_columns(category=pl.lit("Nursing"))
        return right(dataclasses.replace(records, notes=renamed), cohort)

    patch.setattr(known, "note_rows", with_summaries)
    return scenes.look(scene)


def vocabulary_of_all_patients(scene, patch):
    right = vocabulary.fit
    patch.setattr(
        vocabulary,
        "fit",
        lambda nodes, names, training, least: right(nodes, names, nodes["sample_id"], least),
    )
    return scenes.look(scene)


def bins_of_all_patients(scene, patch):
    right = vocabulary.fit_bins
    patch.setattr(
        vocabulary,
        "fit_bins",
        lambda facts, training, bins: right(facts, facts["sample_id"].unique(), bins),
    )
    return scenes.look(scene)


def structure_of_all_visits(scene, patch):
    right = hypergraph.fit_graph

    def fitted(known, config, structured):
        made = right(known, config, structured)
        return dataclasses.replace(made, structure=structure.netmf(made.visits, 4, 1))

    patch.setattr(hypergraph, "fit_graph", fitted)
    return scenes.look(scene)


def text_scale_of_all_samples(scene, patch):
    patch.setattr(
        prepare, "unit_scale", lambda rows, fitting: rows / prepare.root_mean_square(rows)
    )
    return scenes.look(scene)


def series_of_a_day_later(scene, patch):
    right = cells._in_time
    patch.setattr(
        cells,
        "_in_time",
        lambda rows, cohort, step, length: right(rows, _later(cohort, 24), step, length),
    )
    return scenes.look(scene)


def series_of_a_day_later_in_the_run_alone(scene, patch):
    with patch.context() as leaky:
        return series_of_a_day_later(scene, leaky)


def series_to_the_end_of_the_next_hour(scene, patch):
    right = cells.Cells
    patch.setattr(cells, "Cells", lambda cohort, *grid: right(_later(cohort, 1), *grid))
    return scenes.look(scene)


def series_rounded_up_to_a_second(scene, patch):
    right = cells._in_time
    patch.setattr(
        cells,
        "_in_time",
        lambda rows, cohort, step, length: right(rows, _later(cohort, 1 / 3600), step, length),
    )
    return scenes.look(scene)


def scale_of_all_samples(scene, patch):
    right = series.build

    def all_of(records, cohort, *more):
        return right(records, _everyone_trains(cohort), *more)

    patch.setattr(series, "build", all_of)
    return scenes.look(scene)


def usual_of_all_samples(scene, patch):
    right = retrieved.usual_of
    patch.setattr(retrieved, "usual_of", lambda grid, train: right(grid, np.ones_like(train)))
    return scenes.look(scene)


def statics_of_all_samples(scene, patch):
    right = statics.fit
    patch.setattr(
        statics,
        "fit",
        lambda facts, training: right(facts, facts.select("sample_id").unique()),
    )
    return scenes.look(scene)


def note_size_of_all_samples(scene, patch):
    right = stay_notes.slots
    patch.setattr(
        stay_notes,
        "slots",
        lambda rows, count, train, *more: right(rows, count, np.ones_like(train), *more),
    )
    return scenes.look(scene)


def knowledge_of_later_notes(scene, patch):
    right = stay_notes.pieces

    def whole(known, config, hours):
        records, samples = known.records, known.cohort.samples
        samples = samples.lazy().select("sample_id", "visit_id", "prediction_time")
        rows = records.notes.join(samples, on="visit_id").sort("sample_id", "time", "text")
        after = (pl.col("time") - pl.col("prediction_time")).dt.total_seconds() / 3600
        hour = (hours + after).cast(pl.Float32)
        return rows.select("sample_id", "time", "text", hour=hour).collect(), "own"

    patch.setattr(stay_notes, "rows", whole)
    patch.setattr(
        stay_notes, "pieces", lambda rows, config: right(rows.filter(pl.col("hour") <= 48), config)
    )
    return scenes.look(scene)


def survival_as_a_static(scene, patch):
    right = stays.prepare_stays

    def told(known, *more):
        made, cohort = right(known, *more), known.cohort
        deaths = cohort.samples.join(known.records.patients, on="subject_id", maintain_order="left")
        days = (deaths["death_time"] - deaths["prediction_time"]).dt.total_days().fill_null(-1)
        column = days.to_numpy().astype(np.float32)[:, None]
        statics = np.concatenate([made.stays["statics"], column], axis=1)
        return dataclasses.replace(made, stays={**made.stays, "statics": statics})

    patch.setattr(stays, "prepare_stays", told)
    return scenes.look(scene)


def survival_of_held_out_patients(scene, patch):
    right = survival.targets
    patch.setattr(
        survival,
        "targets",
        lambda records, cohort, *more: right(records, _everyone_trains(cohort), *more),
    )
    return scenes.look(scene)


def a_score_made_later(scene, patch):
    right = known.scores
    patch.setattr(known, "scores", lambda records, cohort: right(records, _later(cohort, 2)))
    return scenes.look(scene)


def a_length_of_stay_as_a_static(scene, patch):
    right = known.attributes

    def with_length(records, cohort):
        lengths = cohort.samples.join(records.visits, on="visit_id").select(
            "sample_id",
            name=pl.lit("days so far"),
            text=pl.lit(None, pl.String),
            number=(pl.col("end") - pl.col("start")).dt.total_hours().cast(pl.Float64),
        )
        return pl.concat([right(records, cohort), lengths])

    patch.setattr(known, "attributes", with_length)
    return scenes.look(scene)
