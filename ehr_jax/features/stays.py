"""Stays as REALM and its kin are given them: series, statics, notes, knowledge, codes, as arrays.

Everything a sample has by its prediction time, on one clock that starts with its grid.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from ehr_jax import errors
from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.cohorts import deaths
from ehr_jax.features import (
    known,
    prepare,
    retrieved,
    series,
    texts,
    variable,
    variables,
    vectors,
)
from ehr_jax.knowledge import abnormal
from ehr_jax.nn import bipartite
from ehr_jax.records import tables

RARE = 10  # training samples with a level of an attribute, below which it counts as none


class Static(NamedTuple):
    """A static feature: a number of an attribute in standard deviations, whether it is there, or
    whether the attribute is at a level."""

    attribute: str
    kind: str  # number, known or level
    level: str = ""
    mean: float = 0.0
    std: float = 1.0

    @property
    def name(self) -> str:
        return self.attribute + {"known": " is known", "level": f" = {self.level}"}.get(
            self.kind, ""
        )


class Fitted(NamedTuple):
    """What training samples say of how to make arrays of any others.

    Attributes:
      scale, usual: of the series; None where there is none.
      statics: the static features.
      note_size, knowledge_size: root mean squares of the entries of vectors.
    """

    scale: series.Scale | None
    usual: abnormal.Usual | None
    statics: tuple[Static, ...]
    note_size: float
    knowledge_size: float


@dataclasses.dataclass(frozen=True)
class StayArrays:
    """Samples of a cohort as padded, masked arrays.

    Attributes:
      stays: the fields of `models.inputs.Stays`, each [sample, ...]; an axis of a modality that is
        not used, or that the records have not, has length 0.
      variables: names of the grid's features.
      fitted: what was fitted to training samples.
      labels, label_names, split, subjects, counts: as in `prepare.Arrays`.
      retrieved: what stands behind `stays["knowledge"]`, None where it is not used.
      visits: the same samples as hyperedges over the codes known by then, without notes; None where
        config.realm.use_visit is False. `stays["visit"]` is empty: the state of a hyperedge is a
        network's to find (`training.unified_problem`); `stays["has_visit"]` says which have one.
      survival: [sample, day] float32, whether the patient died within each of
        config.realm.survival_days, nan where it is not learned (`_survival`); no input.
      scores: name to [sample] float64, what the source itself predicted, nan where it did not; no
        network is given them.
    """

    stays: Mapping[str, np.ndarray]
    variables: tuple[str, ...]
    fitted: Fitted
    labels: np.ndarray
    survival: np.ndarray
    label_names: tuple[str, ...]
    split: np.ndarray
    subjects: np.ndarray
    counts: Mapping
    retrieved: retrieved.Retrieved | None
    visits: prepare.Arrays | None = None
    scores: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


def prepare_stays(
    records: tables.Records,
    cohort: cohorts.Cohort,
    config,
    cache: str | None,
    fitted: Fitted | None = None,
    encoding: vectors.Vectors | None = None,
    knowledge: retrieved.Knowledge | None = None,
) -> StayArrays:
    """Builds the arrays of `cohort` from config.series, config.notes, config.text and config.realm.

    Where config.realm.use_visit, config.features says what the nodes of the hypergraph are.

    Args:
      fitted: of the samples a model was trained on; None fits to the cohort's training samples.
      cache: folder of the vector cache; None takes the user's.
      encoding: how texts become vectors; None takes the encoder of config.text.
      knowledge: what entities are found in; None opens the graph of config.knowledge.

    Raises:
      CohortError, ConfigError, TextError: see the rooms that raise them.
    """
    samples, uses = cohort.samples, config.realm
    train = (samples["split"] == "train").to_numpy()
    counts: dict = {}
    survival = _survival(records, cohort, uses.survival_days, counts)
    hours = config.series.step_hours * config.series.length
    if encoding is None and (uses.use_notes or uses.use_knowledge or uses.use_visit):
        encoding = vectors.by_encoder(config.text, cache)
    told_in_texts = uses.use_notes or uses.use_knowledge
    grid = _grid(records, cohort, config, fitted)
    made, names = _features(grid if uses.use_series else None, samples.height)
    counts["series"] = {"variables": len(names), "steps": int(made["values"].shape[1])}
    usual = fitted.usual if fitted else None
    if grid is not None and fitted is None:
        usual = retrieved.usual_of(grid, train)
    facts = known.attributes(records, cohort)
    chosen = fitted.statics if fitted else _fit_statics(facts, samples.filter(pl.Series(train)))
    statics = _statics(facts, samples, chosen if uses.use_statics else ())

    def encoded(rows: pl.DataFrame, size: float | None):
        return _vectors(rows, samples.height, train, encoding if told_in_texts else None, size)

    written, source = _no_notes(), "none"
    if told_in_texts:
        written, source = _notes(records, cohort, config, hours)
    # First, so that a graph that is not there is said before texts are encoded.
    found = None
    if uses.use_knowledge:
        if knowledge is None:
            knowledge = retrieved.open_knowledge(config.knowledge, encoding.encoder, cache)
        found = retrieved.retrieve(written, grid, usual, hours, knowledge, config.knowledge)
        counts["knowledge"] = found.counts
    pieces = _pieces(written, config.notes) if uses.use_notes else _no_notes()
    notes, note_size = encoded(pieces, fitted.note_size if fitted else None)
    counts["notes"] = {
        "source": source if uses.use_notes else "none",
        "samples_with_text": int(notes[2].any(axis=1).sum()),
        "pieces": int(notes[2].sum()),
    }
    visits, has_visit = None, np.zeros(samples.height, np.float32)
    if uses.use_visit:
        visits, has_visit = _visits(records, cohort, config, cache, encoding)
        counts["visits"] = {
            key: visits.counts[key] for key in ("nodes", "incidences", "samples_without_known_code")
        }
    told = _no_notes() if found is None else found.texts
    entities, knowledge_size = encoded(told, fitted.knowledge_size if fitted else None)
    counts["statics"] = statics.shape[1]
    counts["encoder"] = encoding.described if told_in_texts else {"name": "none"}
    label_columns = [f"label.{name}" for name in cohort.labels]
    return StayArrays(
        stays={
            **made,
            "statics": statics,
            **dict(zip(("notes", "note_hours", "note_mask"), notes, strict=True)),
            **dict(zip(("knowledge", "knowledge_hours", "knowledge_mask"), entities, strict=True)),
            "visit": np.zeros((samples.height, 0), np.float32),
            "has_visit": has_visit,
        },
        variables=names,
        fitted=Fitted(grid.scale if grid else None, usual, chosen, note_size, knowledge_size),
        labels=samples.select(pl.col(label_columns).cast(pl.Float32).fill_null(np.nan)).to_numpy(),
        survival=survival,
        label_names=cohort.labels,
        split=samples["split"].to_numpy().astype(str),
        subjects=samples["subject_id"].to_numpy(),
        counts=counts,
        retrieved=found,
        visits=visits,
        scores=_scores(records, cohort),
    )


def _grid(records, cohort, config, fitted) -> series.Series | None:
    """The series of the samples; None where nothing asks for them."""
    if not config.series.variables:
        if config.realm.use_series:
            raise errors.ConfigError(
                "config.series.variables is '', but config.realm.use_series is True; name a set: "
                f"{', '.join(variables.SETS)}"
            )
        return None
    if not (config.realm.use_series or config.realm.use_knowledge):
        return None
    chosen = variables.named(config.series.variables)
    step_hours, length = config.series.step_hours, config.series.length
    scale = fitted.scale if fitted else None
    return series.build(records, cohort, chosen, step_hours, length, scale)


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


def _fit_statics(facts: pl.DataFrame, training: pl.DataFrame) -> tuple[Static, ...]:
    """Numbers that vary, and levels that at least `RARE` training samples have."""
    of_training = facts.join(training.select("sample_id"), on="sample_id", how="semi")
    found: list[Static] = []
    for attribute in of_training["name"].unique().sort():
        rows = _last(of_training, attribute)
        number = rows["number"].fill_nan(None).drop_nulls().to_numpy()
        if number.size >= RARE and number.std() > 0:
            mean, std = float(number.mean()), float(number.std())
            found += [Static(attribute, "number", "", mean, std), Static(attribute, "known")]
        levels = rows.group_by("text").len().filter(pl.col("len") >= RARE)["text"]
        found += [Static(attribute, "level", level) for level in levels.drop_nulls().sort()]
    return tuple(found)


def _statics(facts, samples: pl.DataFrame, chosen: tuple[Static, ...]) -> np.ndarray:
    """[sample, static] float32; an unknown number stands at its mean."""
    columns = np.zeros((samples.height, len(chosen)), np.float32)
    for attribute in {static.attribute for static in chosen}:
        rows = samples.select("sample_id").join(
            _last(facts, attribute), on="sample_id", how="left", maintain_order="left"
        )
        number = rows["number"].fill_nan(None)
        for at, static in enumerate(chosen):
            if static.attribute != attribute:
                continue
            if static.kind == "number":
                z = (number.fill_null(static.mean).to_numpy() - static.mean) / static.std
                columns[:, at] = np.clip(z, -10, 10)
            elif static.kind == "known":
                columns[:, at] = number.is_not_null().to_numpy()
            else:
                columns[:, at] = (rows["text"] == static.level).fill_null(False).to_numpy()
    return columns


def _last(facts: pl.DataFrame, attribute: str) -> pl.DataFrame:
    """(sample_id, text, number) of an attribute, in the order of samples, so that sums over them
    are the same bits each time."""
    rows = facts.filter(name=attribute).group_by("sample_id", maintain_order=True)
    return rows.agg(pl.col("text", "number").last()).sort("sample_id")


def _visits(records, cohort, config, cache, encoding) -> tuple[prepare.Arrays, np.ndarray]:
    """The hypergraph, without notes, which the stays have, and [sample] 1 where a code is known."""
    of_codes = config.copy_and_resolve_references()
    of_codes.notes.source = "none"
    made = prepare.prepare(records, cohort, of_codes, cache, encoding)
    has = np.zeros(cohort.samples.height, np.float32)
    has[bipartite.unpack(made.visits)[1]] = 1
    return made, has


def _survival(records, cohort, days: Sequence[float], counts: dict) -> np.ndarray:
    """[sample, day] float32; who is not known to have died is taken to have lived.

    Told of labelled training samples, of patients with no sample in another split: the published
    protocols have some in several.
    """
    samples = cohort.samples
    found = np.full((samples.height, len(days)), np.nan, np.float32)
    held_out = samples.filter(pl.col("split") != "train")["subject_id"].unique().implode()
    used = (pl.col("split") == "train") & pl.col("labelled") & ~pl.col("subject_id").is_in(held_out)
    rows = samples.select(used)[:, 0]
    if not days or not rows.any():
        return found
    if not deaths.told_after_hospital(records):
        raise errors.ConfigError(
            f"config.realm.survival_days is {tuple(days)}, but the records of {records.source} "
            "tell no death after the hospital; set it to ()"
        )
    died = deaths.within(records, samples.filter(rows), days)
    found[rows.to_numpy()] = died
    counts["deaths_learned"] = {
        f"within {count:g} days": int(n) for count, n in zip(days, died.sum(0), strict=True)
    }
    return found


def _scores(records, cohort) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for (name,), rows in known.scores(records, cohort).partition_by("name", as_dict=True).items():
        found[name] = np.full(cohort.samples.height, np.nan)
        found[name][rows["sample_id"].to_numpy()] = rows["probability"].to_numpy()
    return found


def _no_notes() -> pl.DataFrame:
    return pl.DataFrame(schema=_NOTES)


_NOTES = {"sample_id": pl.Int64, "time": tables.TIME, "text": pl.String, "hour": pl.Float32}


def _notes(records, cohort, config, hours: float) -> tuple[pl.DataFrame, str]:
    """Returns `_NOTES`, each note a sample may use, and the source used.

    What is written from the record is known at the prediction time, where the grid ends.
    """
    rows, source = pl.DataFrame(), "own"
    if config.notes.source in ("auto", "own"):
        rows = known.note_rows(records, cohort)
    if rows.is_empty():
        rows, source = _written(records, cohort, config)
    ends = cohort.samples.select("sample_id", "prediction_time")
    before = (pl.col("prediction_time") - pl.col("time")).dt.total_seconds() / 3600
    return rows.join(ends, on="sample_id", maintain_order="left").select(
        "sample_id", "time", "text", hour=(hours - before.fill_null(0.0)).cast(pl.Float32)
    ), source


def _written(records, cohort, config) -> tuple[pl.DataFrame, str]:
    features = config.features.copy_and_resolve_references()
    features.columns = "full"  # where there are no codes, attributes tell of the stay
    none = pl.DataFrame(schema={"sample_id": pl.Int64, "code": pl.String})
    nodes, names = none, pl.DataFrame(schema=tables.CODE_NAMES)
    if config.notes.source != "none":
        graph = prepare.fit_graph(records, cohort, features)
        nodes, names = graph.nodes, graph.names
    written, source = texts.texts(records, cohort, config.notes.source, nodes, names)
    return written.with_columns(time=pl.lit(None, tables.TIME)), source


def _pieces(rows: pl.DataFrame, config) -> pl.DataFrame:
    """Returns (sample_id, hour, text) of the last `pieces` pieces a sample, in order of time.

    A note is cut after `piece_words` words; all its pieces were charted when it was.
    """
    size = config.piece_words
    cut = [
        (sample, hour, " ".join(words[at : at + size]))
        for sample, hour, text in rows.select("sample_id", "hour", "text").iter_rows()
        for words in [text.split()]
        for at in range(0, len(words), size)
    ]
    schema = {"sample_id": pl.Int64, "hour": pl.Float32, "text": pl.String}
    frame = pl.DataFrame(cut, schema=schema, orient="row")
    ordered = frame.sort("sample_id", "hour", maintain_order=True)
    return ordered.group_by("sample_id", maintain_order=True).tail(config.pieces)


def _vectors(
    rows: pl.DataFrame,
    count: int,
    train: np.ndarray,
    encoding: vectors.Vectors | None,
    size: float | None,
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], float]:
    """Vectors [sample, slot, width], hours and mask [sample, slot] of (sample_id, hour, text).

    Vectors are divided by `size`, or by the root mean square of an entry of training samples, which
    comes second.
    """
    width = encoding.width if encoding else 0
    if rows.is_empty():
        empty = np.zeros((count, 0), np.float32)
        return (np.zeros((count, 0, width), np.float32), empty, empty), size or 1.0
    found = encoding.of(rows["text"].to_list())
    sample = rows["sample_id"].to_numpy()
    slot = rows.select(pl.int_range(pl.len()).over("sample_id")).to_series().to_numpy()
    filled = np.zeros((count, int(slot.max()) + 1, width), np.float32)
    hours, mask = np.zeros(filled.shape[:2], np.float32), np.zeros(filled.shape[:2], np.float32)
    if size is None:
        size = prepare.root_mean_square(found[train[sample]])
    filled[sample, slot] = found / size
    hours[sample, slot], mask[sample, slot] = rows["hour"].to_numpy(), 1
    return (filled, hours, mask), size
