"""Stays as REALM and its kin are given them: series, statics, notes, knowledge, codes, as arrays.

Everything a sample has by its prediction time, on one clock that starts with its grid.
"""

import numpy as np
import polars as pl

from ehr_jax import errors
from ehr_jax.features import (
    arrays,
    once,
    prepare,
    retrieved,
    series,
    statics,
    stay_notes,
    survival,
    texts,
    variable,
    variables,
    vectors,
)
from ehr_jax.features import fitted as fitted_parts
from ehr_jax.features.stay_arrays import StayArrays, restore  # noqa: F401
from ehr_jax.nn import bipartite


def prepare_stays(
    known: once.Known,
    config,
    reads: arrays.Reads,
    cache: str | None,
    fitted: fitted_parts.Fitted | None = None,
    encoding: vectors.Vectors | None = None,
    knowledge: retrieved.Knowledge | None = None,
) -> StayArrays:
    """Builds the arrays of a cohort from config.series, config.notes, config.text, config.realm.

    Where the hypergraph is read, config.features says what its nodes are.

    Args:
      reads: what is made; what is not read has length 0.
      fitted: of the samples a model was trained on; None fits to the cohort's training samples.
      cache: folder of the vector cache; None takes the user's.
      encoding: how texts become vectors; None takes the encoder of config.text.
      knowledge: what entities are found in; None opens the graph of config.knowledge.

    Raises:
      CohortError, ConfigError, TextError: see the rooms that raise them.
    """
    records, cohort, samples = known.records, known.cohort, known.cohort.samples
    train = (samples["split"] == "train").to_numpy()
    counts: dict = {}
    days_survived = survival.targets(records, cohort, config.realm.survival_days, counts)
    hours = config.series.step_hours * config.series.length
    if encoding is None and reads.encoder:
        encoding = vectors.by_encoder(config.text, cache)
    told_in_texts = reads.texts or reads.knowledge
    grid = _grid(known, config, reads, fitted)
    made, names = _features(grid if reads.series else None, samples.height)
    counts["series"] = {"variables": len(names), "steps": int(made["values"].shape[1])}
    usual = fitted.usual if fitted else None
    if grid is not None and fitted is None:
        usual = retrieved.usual_of(grid, train)
    facts = known.attributes
    chosen = fitted.statics if fitted else statics.fit(facts, samples.filter(pl.Series(train)))
    static_columns = statics.columns(facts, samples, chosen if reads.statics else ())

    def encoded(rows: pl.DataFrame, size: float | None):
        return stay_notes.slots(
            rows, samples.height, train, encoding if told_in_texts else None, size
        )

    written, source = stay_notes.none(), "none"
    if told_in_texts:
        written, source = stay_notes.rows(known, config, hours)
    # First, so that a graph that is not there is said before texts are encoded.
    found = None
    if reads.knowledge:
        if knowledge is None:
            knowledge = retrieved.open_knowledge(config.knowledge, encoding.encoder, cache)
        found = retrieved.retrieve(written, grid, usual, hours, knowledge, config.knowledge)
        counts["knowledge"] = {
            **found.counts,
            "patients_with_entities": samples.join(found.entities, "sample_id", "semi")[
                "subject_id"
            ].n_unique(),
        }
    pieces = stay_notes.pieces(written, config.notes) if reads.texts else stay_notes.none()
    notes, note_size = encoded(pieces, fitted.note_size if fitted else None)
    source = source if reads.texts else "none"
    counts["notes"] = {
        **texts.counts(source, samples, notes[2].any(axis=1)),
        "pieces": int(notes[2].sum()),
    }
    visits, has_visit = None, np.zeros(samples.height, np.float32)
    if reads.visits:
        visits, has_visit = _visits(known, config, reads, cache, encoding)
        counts["visits"] = {
            key: visits.counts[key] for key in ("nodes", "incidences", "samples_without_known_code")
        }
    told = stay_notes.none() if found is None else found.texts
    entities, knowledge_size = encoded(told, fitted.knowledge_size if fitted else None)
    counts["statics"] = static_columns.shape[1]
    counts["encoder"] = encoding.described if reads.encoder else {"name": "none"}
    return StayArrays(
        stays={
            **made,
            "statics": static_columns,
            **dict(zip(("notes", "note_hours", "note_mask"), notes, strict=True)),
            **dict(zip(("knowledge", "knowledge_hours", "knowledge_mask"), entities, strict=True)),
            "visit": np.zeros((samples.height, 0), np.float32),
            "has_visit": has_visit,
        },
        variables=names,
        fitted=fitted_parts.Fitted(
            grid.scale if grid else None, usual, chosen, note_size, knowledge_size
        ),
        survival=days_survived,
        counts=counts,
        retrieved=found,
        visits=visits,
        scores=_scores(known),
        **arrays.of_cohort(cohort),
    )


def _grid(known, config, reads, fitted) -> series.Series | None:
    """The series of the samples; None where nothing asks for them."""
    if not config.series.variables:
        if reads.series:
            raise errors.ConfigError(
                "config.series.variables is '', but config.realm.use_series is True; name a set: "
                f"{', '.join(variables.SETS)}"
            )
        return None
    if not (reads.series or reads.knowledge):
        return None
    return known.grid(fitted.scale if fitted else None)


def _features(
    grid: series.Series | None, count: int
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The grid as fields of `models.inputs.Stays`, with the features' names."""
    if grid is None:
        empty = np.zeros((count, 0, 0), np.float32)
        grids = dict.fromkeys(("values", "observed", "elapsed"), empty)
        hours, steps = np.zeros((count, 0), np.float32), np.zeros(count, np.int32)
        return {**grids, "hours": hours, "steps": steps}, ()
    values, names = series.one_hot(grid)
    widths = [len(variable.levels(v)) if v.category else 1 for v in grid.variables]
    spread = np.repeat(np.arange(len(widths)), widths)
    ends = np.arange(1, values.shape[1] + 1, dtype=np.float32) * np.float32(grid.step_hours)
    return {
        "values": values.astype(np.float32),
        "observed": grid.observed[:, :, spread].astype(np.float32),
        "elapsed": grid.hours_since[:, :, spread].astype(np.float32),
        "hours": np.tile(ends, (count, 1)),
        "steps": grid.present.sum(axis=1).astype(np.int32),
    }, names


def _visits(known, config, reads, cache, encoding) -> tuple[prepare.Arrays, np.ndarray]:
    """The hypergraph, without notes, which the stays have, and [sample] 1 where a code is known."""
    of_codes = arrays.Reads(visits=True, names=reads.names, structure=reads.structure)
    made = prepare.prepare(known, config, of_codes, cache, encoding)
    has = np.zeros(len(made.labels), np.float32)
    has[bipartite.unpack(made.visits)[1]] = 1
    return made, has


def _scores(known: once.Known) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for (name,), rows in known.scores.partition_by("name", as_dict=True).items():
        found[name] = np.full(known.cohort.samples.height, np.nan)
        found[name][rows["sample_id"].to_numpy()] = rows["probability"].to_numpy()
    return found
