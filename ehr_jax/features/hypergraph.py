"""The hypergraph of a cohort: nodes, which visits hold them, and what is fitted to them."""

import dataclasses

import jraph
import numpy as np
import polars as pl

from ehr_jax import settings
from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import once, structure, vocabulary
from ehr_jax.features import settings as feature_settings
from ehr_jax.nn import bipartite


@dataclasses.dataclass(frozen=True)
class Graph:
    """The hypergraph and all that is fitted for it.

    Attributes:
      vocabulary, visits, structure, shapes: as in `prepare.Arrays`.
      nodes: (sample_id, code, position) of all that is known, unknown nodes included.
      names: (code, kind, name).
    """

    vocabulary: vocabulary.Vocabulary
    visits: jraph.GraphsTuple
    structure: np.ndarray
    shapes: np.ndarray
    nodes: pl.DataFrame
    names: pl.DataFrame


def fit_graph(known: once.Known, config, structured: bool) -> Graph:
    """Fits vocabulary, bins and structure vectors to the training samples; `config` is features.

    Where not `structured`, structure vectors have width 0.

    Raises CohortError or ConfigError.
    """
    settings.read(feature_settings.Features, config, "config.features")
    samples = known.cohort.samples
    training = samples.filter(pl.col("split") == "train")["sample_id"]
    shapes = shaping(known.cohort)
    nodes, names = _nodes(known, config, training)
    fitting = samples["sample_id"].filter(pl.Series(shapes))
    distinct = nodes.select("sample_id", "code").unique()
    fitted = vocabulary.fit(distinct, names, fitting, config.min_visits)
    node_index, hyperedge = _incidence(nodes, fitted)
    visits = bipartite.pack(node_index, hyperedge, len(fitted.codes), samples.height)
    walked = np.zeros((len(fitted.codes), 0), np.float32)
    if structured:
        walked = structure.netmf(
            select_visits(visits, np.flatnonzero(shapes)),
            config.structure_width,
            config.structure_window,
        )
    return Graph(fitted, visits, walked, shapes, nodes, names)


def select_visits(graph: jraph.GraphsTuple, rows: np.ndarray) -> jraph.GraphsTuple:
    """Returns the bipartite graph of the hyperedges `rows` [row] only, in that order."""
    node, hyperedge, num_nodes, num_hyperedges = bipartite.unpack(graph)
    position = np.full(num_hyperedges, -1)
    position[rows] = np.arange(len(rows))
    keep = position[hyperedge] >= 0
    return bipartite.pack(node[keep], position[hyperedge[keep]], num_nodes, len(rows))


def _nodes(known: once.Known, config, training) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(sample_id, code, position) and (code, kind, name) of all that may become nodes."""
    coded = known.codes
    if config.categories:
        coded = coded.with_columns(code=vocabulary.at_category_level(pl.col("code")))
    coded = coded.group_by("sample_id", "code").agg(pl.col("position").min())
    plain_names = names = vocabulary.all_names(known.records, config.categories)
    if config.main_diagnosis:
        first, first_names = vocabulary.main_diagnosis_nodes(coded, plain_names)
        coded, names = pl.concat([coded, first]), pl.concat([names, first_names])
    if config.history:
        earlier = known.earlier_codes
        if config.categories:
            earlier = earlier.with_columns(code=vocabulary.at_category_level(pl.col("code")))
        earlier, earlier_names = vocabulary.earlier_nodes(earlier, plain_names)
        coded, names = pl.concat([coded, earlier]), pl.concat([names, earlier_names])
    facts = []
    if config.columns == "full":
        facts.append(known.attributes)
    if config.measurements:
        facts.append(known.last_measurements)
    if not facts:
        return coded, names
    attributes = pl.concat(facts)
    bins = vocabulary.fit_bins(attributes, training, config.bins)
    nodes, node_names = vocabulary.attribute_nodes(attributes, bins)
    nodes = nodes.with_columns(position=pl.lit(None, pl.Int32))
    return pl.concat([coded, nodes]), pl.concat([names, node_names])


def _incidence(nodes: pl.DataFrame, fitted: vocabulary.Vocabulary):
    index = pl.DataFrame(
        {"code": fitted.codes, "node": np.arange(len(fitted.codes))},
        schema_overrides={"code": pl.String},
    )
    pairs = nodes.select("sample_id", "code").unique().join(index, on="code")
    pairs = pairs.sort("sample_id", "node")
    return pairs["node"].to_numpy(), pairs["sample_id"].to_numpy()


def shaping(cohort: cohorts.Cohort) -> np.ndarray:
    """Returns [sample] bool: the samples whose hyperedges shape the network."""
    if cohort.protocol == "strict":
        return (cohort.samples["split"] == "train").to_numpy()
    return np.ones(cohort.samples.height, bool)
