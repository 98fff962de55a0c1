"""Knowledge retrieved for samples: what notes and series name, found in a graph, as text.

REALM (arXiv 2402.07016): entities of both modalities, matched to a knowledge graph, are told by
name, definition and description, and encoded. Every mention is read from what a sample may see.
"""

import collections
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ehr_jax import settings
from ehr_jax.features import arrays, series
from ehr_jax.knowledge import (
    abnormal,
    chat,
    context,
    disk,
    extraction,
    graph,
    language_model,
    linking,
    mentions,
    rendering,
    series_terms,
)
from ehr_jax.knowledge import settings as knowledge_settings
from ehr_jax.text import encoders

# What stands behind a row of knowledge: a node of the graph and where it was named.
ENTITIES = {
    "sample_id": pl.Int64,
    "hour": pl.Float32,  # when it was first named, from the grid's start
    "node": pl.Int64,
    "named_in": pl.String,  # note, series, or both
}


class Retrieved(NamedTuple):
    """What was found for samples.

    Attributes:
      entities: `ENTITIES`, by sample and hour, a node once a sample.
      texts: (sample_id, hour, text) to encode: a row an entity, or one a sample.
      known: (node, id, name, definition) of the nodes in `entities`.
      counts: for data.json.
    """

    entities: pl.DataFrame
    texts: pl.DataFrame
    known: pl.DataFrame
    counts: dict[str, Any]


class Knowledge(NamedTuple):
    """A graph, and what finds its nodes: by names in notes, and by names told otherwise."""

    graph: graph.Graph
    gazetteer: mentions.Gazetteer
    linker: linking.Linker


def open_knowledge(config, encoder: encoders.Encoder | None, cache: str | None) -> Knowledge:
    """Opens the graph of `config`, config.knowledge.

    Args:
      encoder: by which names are linked by meaning; None links them by name alone.
      cache: folder of the vector cache; None takes the user's.

    Raises ConfigError, KnowledgeError or TextError: see the rooms that raise them.
    """
    settings.read(knowledge_settings.Knowledge, config, "config.knowledge")
    opened = disk.open_graph(config.graph)
    linker = linking.open_linker(opened, encoder, wanted=config.precision, cache_dir=cache)
    if config.threshold is not None and encoder is not None:
        linker = linker.accepting(config.threshold)
    return Knowledge(opened, mentions.build(opened.terms()), linker)


def retrieve(
    notes: pl.DataFrame,
    grid: series.Series | None,
    usual: abnormal.Usual | None,
    hours: float,
    knowledge: Knowledge,
    config,
) -> Retrieved:
    """Finds what samples' notes and series name in a graph; `config` is config.knowledge.

    Args:
      notes: (sample_id, time, text, hour): each note a sample may use; hours on the grid's clock.
      grid: of the samples; None where there is none.
      usual: what is usual of the grid's variables, from `usual_of`.
      hours: length of the grid.
      knowledge: of the graph that `config` names.

    Raises:
      ConfigError, KnowledgeError, TextError: see the rooms that raise them.
    """
    found, gazetteer, linker = knowledge
    model, of_model = _model(config), collections.Counter()
    extracted = extraction.extract(
        notes.select("sample_id", "time", "text"),
        gazetteer,
        model,
        _link(linker, of_model),
        config.rules,
    )
    of_notes = extracted.entities.select(
        "sample_id",
        "node",
        hour=notes["hour"].gather(extracted.entities["note"]).cast(pl.Float32),
        flags=pl.sum_horizontal(pl.col(context.Flags._fields).cast(pl.Int32)),
        named_in=pl.lit("note"),
    )
    of_series, series_counts = _of_series(grid, usual, linker, config)
    both = pl.concat([of_notes, of_series])
    entities = _chosen(both, config.entities)
    texts = _texts(entities, found, config, hours)
    nodes = entities["node"].unique().sort()
    told = found.nodes.with_row_index("node").select(
        pl.col("node").cast(pl.Int64), "id", "name", "definition"
    )
    return Retrieved(
        entities,
        texts,
        told.join(nodes.to_frame(), on="node", how="semi"),
        {
            "graph": found.counts(),
            "extractor": config.extractor,
            "rendering": config.rendering,
            "form": config.form,
            "filter": vars(extracted.counts),
            "notes": extracted.notes,
            "language_model": vars(extracted.answers) if extracted.answers is not None else None,
            "language_model_links": dict(of_model) if model is not None else None,
            "series": series_counts,
            "linking": linker.dense.calibration._asdict() if linker.dense else None,
            "entities": entities.height,
            "samples_with_entities": entities["sample_id"].n_unique(),
            "distinct_nodes": len(nodes),
        },
    )


def as_stored(retrieved: Retrieved, count: int) -> tuple[dict[str, arrays.Ragged], dict[str, Any]]:
    """Returns what stands behind the vectors of `count` samples as lists and facts.

    The texts are left out: they are read where vectors are made of them.
    """
    entities = retrieved.entities
    lengths = np.bincount(entities["sample_id"].to_numpy(), minlength=count)
    places = entities["named_in"].unique().sort()
    columns = {
        "entity_nodes": entities["node"].to_numpy(),
        "entity_hours": entities["hour"].to_numpy(),
        "entity_places": entities["named_in"].replace_strict(
            places, pl.int_range(len(places), dtype=pl.Int8, eager=True), return_dtype=pl.Int8
        ).to_numpy(),
    }  # fmt: skip
    facts = {
        "places": places.to_list(),
        "known": retrieved.known.to_dict(as_series=False),
        "counts": retrieved.counts,
    }
    return {name: arrays.Ragged(lengths, column) for name, column in columns.items()}, facts


def restore(ragged: Mapping[str, arrays.Ragged], facts: Mapping[str, Any]) -> Retrieved:
    """Returns what `as_stored` took apart, without texts."""
    lengths, nodes = ragged["entity_nodes"]
    places = pl.Series(facts["places"], dtype=pl.String)
    entities = pl.DataFrame(
        {
            "sample_id": np.repeat(np.arange(len(lengths)), lengths),
            "hour": ragged["entity_hours"].values,
            "node": nodes,
            "named_in": places.gather(ragged["entity_places"].values),
        },
        schema=ENTITIES,
    )
    texts = pl.DataFrame(schema={"sample_id": pl.Int64, "hour": pl.Float32, "text": pl.String})
    known = {"node": pl.Int64, "id": pl.String, "name": pl.String, "definition": pl.String}
    return Retrieved(entities, texts, pl.DataFrame(facts["known"], schema=known), facts["counts"])


def usual_of(grid: series.Series, train: np.ndarray) -> abnormal.Usual:
    """Fits what is usual of each variable to the samples `train` [sample] bool."""
    category = [v.category for v in grid.variables]
    return abnormal.fit(grid.values[train], grid.observed[train], category)


def _model(config) -> language_model.LanguageModel | None:
    if config.extractor != "language_model":
        return None
    server = chat.Server(
        config.server_url, config.server_model, allow_remote=config.allow_remote_server
    )
    cache = config.cache or disk.default_folder().parent / "answers"
    return language_model.LanguageModel(server, cache=cache)


def _link(linker: linking.Linker, counts: collections.Counter) -> extraction.Link:
    """How names that a model gives are linked; counts how."""

    def of_names(names):
        links = linking.link(linker, names)
        counts.update(linking.tally(links))
        return [
            (-1, 0.0) if node is None else (node, score)
            for node, score in links.select("node", "score").iter_rows()
        ]

    return of_names


def _of_series(grid, usual, linker, config) -> tuple[pl.DataFrame, dict[str, int]]:
    """Entities "low x" and "high x" that the graph knows, and counts."""
    empty = pl.DataFrame(schema={**ENTITIES, "flags": pl.Int32}).select(
        "sample_id", "node", "hour", "flags", "named_in"
    )
    if grid is None:
        return empty, {}
    names = [v.name for v in grid.variables]
    beyond = abnormal.find(
        grid.values, grid.observed, usual, names, grid.step_hours, config.z_score
    )
    named = abnormal.entities(beyond)
    distinct = named["entity"].unique().sort()
    if distinct.is_empty():
        return empty, {"values_beyond": 0, "entities": 0, "distinct": 0, "distinct_linked": 0}
    links = series_terms.link(linker, distinct.to_list())
    linked = named.join(pl.DataFrame({"entity": distinct, "node": links["node"]}), on="entity")
    rows = linked.drop_nulls("node").select(
        pl.col("sample").alias("sample_id"),
        "node",
        pl.col("hour").cast(pl.Float32),
        pl.lit(0, pl.Int32).alias("flags"),
        pl.lit("series").alias("named_in"),
    )
    return pl.concat([empty, rows]), {
        "values_beyond": beyond.height,
        "entities": named.height,
        "distinct": len(distinct),
        "distinct_linked": int(links["node"].is_not_null().sum()),
        "links": linking.tally(links),
        "not_linked": distinct.filter(links["node"].is_null()).to_list(),
    }


def _chosen(both: pl.DataFrame, most: int) -> pl.DataFrame:
    """A node once a sample, at its first hour; of more than `most` the plainest and latest."""
    merged = both.group_by("sample_id", "node").agg(
        pl.col("hour").min(),
        last=pl.col("hour").max(),
        flags=pl.col("flags").min(),
        named_in=pl.col("named_in").unique().sort().str.join("+"),
    )
    kept = (
        merged.sort("sample_id", "flags", "last", "node", descending=[False, False, True, False])
        .group_by("sample_id", maintain_order=True)
        .head(most)
    )
    return kept.select(list(ENTITIES)).sort("sample_id", "hour", "node")


def _texts(entities: pl.DataFrame, found: graph.Graph, config, hours: float) -> pl.DataFrame:
    def told(nodes) -> str:
        if config.rendering == "names":
            return rendering.named(found, nodes)
        if config.rendering == "realm":
            return rendering.described(found, nodes)
        return rendering.with_triples(found, nodes, config.seed, most_nodes=config.entities)

    if config.form == "sequence":
        distinct = entities["node"].unique().sort()
        texts = pl.DataFrame({"node": distinct, "text": [told([node]) for node in distinct]})
        return entities.join(texts, on="node", maintain_order="left").select(
            "sample_id", "hour", "text"
        )
    rows = [
        (sample, np.float32(hours), told(nodes))
        for sample, nodes in entities.group_by("sample_id", maintain_order=True)
        .agg("node")
        .iter_rows()
    ]
    schema = {"sample_id": pl.Int64, "hour": pl.Float32, "text": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")
