"""Everything a method is given, as numpy arrays: made here once, from a cohort and a config."""

import dataclasses
from collections.abc import Mapping

import jraph
import numpy as np
import polars as pl

from ehr_jax import settings
from ehr_jax.features import arrays, as_columns, once, structure, texts, vectors, vocabulary
from ehr_jax.features import settings as feature_settings
from ehr_jax.nn import bipartite


@dataclasses.dataclass(frozen=True)
class Arrays:
    """Samples as hyperedges over nodes, with vectors, labels and split.

    Attributes:
      vocabulary: the nodes, fitted on training samples.
      visits: bipartite graph; hyperedge k is sample k, whatever its split.
      structure: [node, structure width] float32.
      concepts: [node, text width] float32, vectors of the nodes' names.
      notes: [sample, text width] float32, zero where there is no text.
      has_note: [sample] bool.
      labels: [sample, label] float32, nan where a sample has none.
      label_names: names of the label axis.
      split: [sample] of "train", "validation", "test".
      subjects: [sample] int64.
      shapes: [sample] bool: samples whose hyperedges shape the network (`strict`: training only).
      counts: what data.json tells of the features.
    """

    vocabulary: vocabulary.Vocabulary
    visits: jraph.GraphsTuple
    structure: np.ndarray
    concepts: np.ndarray
    notes: np.ndarray
    has_note: np.ndarray
    labels: np.ndarray
    label_names: tuple[str, ...]
    split: np.ndarray
    subjects: np.ndarray
    shapes: np.ndarray
    counts: Mapping

    @property
    def targets(self) -> np.ndarray:
        """[sample, label] float32: the labels."""
        return self.labels

    def with_targets(self, targets: np.ndarray) -> "Arrays":
        """Returns the same samples with other labels to learn."""
        return dataclasses.replace(self, labels=targets)

    def read_by(self, config) -> "Arrays":
        """Returns the same samples: a teacher's own settings say what it reads of them."""
        return self

    @property
    def fitted(self) -> None:
        """None: nodes are fitted with the samples, and there is no way to add others."""
        return None

    def columns(self) -> arrays.Columns:
        """Returns the nodes, and whether there is a note."""
        return as_columns.of_visits(self)

    def parts(self) -> arrays.Parts:
        """Returns the arrays by name; nodes as their codes, so that a node's number is nothing."""
        nodes = self.vocabulary
        return arrays.Parts(
            inputs={"nodes": self._codes(), "notes": self.notes, "has_note": self.has_note},
            targets={},
            fitted={
                "vocabulary": np.array([nodes.codes, nodes.kinds, nodes.names]),
                "structure vectors": self.structure,
                "vectors of names": self.concepts,
            },
        )

    def _codes(self) -> np.ndarray:
        """[sample] str: the codes of each sample's nodes in order, one a line."""
        node, sample, _, samples = bipartite.unpack(self.visits)
        codes = [[] for _ in range(samples)]
        for one, at in zip(np.asarray(node).tolist(), np.asarray(sample).tolist(), strict=True):
            codes[at].append(self.vocabulary.codes[one])
        return np.array(["\n".join(sorted(of_sample)) for of_sample in codes], dtype=np.str_)


def prepare(
    known: once.Known,
    config,
    reads: arrays.Reads,
    cache: str | None,
    encoding: vectors.Vectors | None = None,
) -> Arrays:
    """Builds the arrays of a cohort from config.features, config.notes and config.text.

    Args:
      reads: which vectors are made. Without texts and names both have width 0; where one of the
        two is read, the other is zero.
      cache: folder of the vector cache; None takes the user's.
      encoding: how texts become vectors; None takes the encoder of config.text, if one is read.

    Raises:
      CohortError, ConfigError, TextError: see the rooms that raise them.
    """
    cohort, samples = known.cohort, known.cohort.samples
    graph = fit_graph(known, config.features, reads.structure)
    fitted, shapes = graph.vocabulary, graph.shapes
    source = config.notes.source if reads.texts else "none"
    written, source = texts.texts(known, source, graph.nodes, graph.names)
    if not reads.encoder:
        encoding = vectors.none()
    elif encoding is None:
        encoding = vectors.by_encoder(config.text, cache)
    named = fitted.names if reads.names else ()
    concepts, notes, has_note = _vectors(len(fitted.names), named, written, shapes, encoding)
    label_columns = [f"label.{name}" for name in cohort.labels]
    labels = samples.select(pl.col(label_columns).cast(pl.Float32).fill_null(np.nan)).to_numpy()
    kinds = dict(zip(*np.unique(fitted.kinds, return_counts=True), strict=True))
    hyperedge = bipartite.unpack(graph.visits)[1]
    incidences = int(hyperedge.size)
    counts = {
        "nodes": len(fitted.codes),
        "kinds": {str(kind): int(count) for kind, count in kinds.items()},
        "incidences": incidences,
        "incidences_of_unknown_codes_left_out": graph.nodes.select("sample_id", "code").n_unique()
        - incidences,
        "samples_without_known_code": int(samples.height - np.unique(hyperedge).size),
        "codes_a_sample": round(incidences / max(samples.height, 1), 2),
        "notes": {"source": source, "samples_with_text": int(has_note.sum())},
        "encoder": encoding.described,
    }
    return Arrays(
        vocabulary=fitted,
        visits=graph.visits,
        structure=graph.structure,
        concepts=concepts,
        notes=notes,
        has_note=has_note,
        labels=labels,
        label_names=cohort.labels,
        split=samples["split"].to_numpy().astype(str),
        subjects=samples["subject_id"].to_numpy(),
        shapes=shapes,
        counts=counts,
    )


@dataclasses.dataclass(frozen=True)
class Graph:
    """The hypergraph and all that is fitted for it.

    Attributes:
      vocabulary, visits, structure, shapes: as in `Arrays`.
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
    shapes = np.ones(samples.height, bool)
    if known.cohort.protocol == "strict":
        shapes = (samples["split"] == "train").to_numpy()
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


def _vectors(nodes: int, named, written, shapes, encoding: vectors.Vectors):
    """Vectors of names and notes, scaled to a root mean square of 1 an entry of shaping samples."""
    concepts = np.zeros((nodes, encoding.width), np.float32)
    if named:
        concepts = encoding.of(named)
    notes = np.zeros((shapes.size, encoding.width), np.float32)
    has_note = np.zeros(shapes.size, bool)
    if written.height:
        rows = written["sample_id"].to_numpy()
        notes[rows] = encoding.of(written["text"].to_list())
        has_note[rows] = True
    return unit_scale(concepts, concepts), unit_scale(notes, notes[shapes]), has_note


def unit_scale(rows: np.ndarray, fitting: np.ndarray) -> np.ndarray:
    """Scales rows by one number, fitted on `fitting`: unit vectors have entries of about 0.05."""
    return rows / root_mean_square(fitting)


def root_mean_square(rows: np.ndarray) -> float:
    """Of the entries of all rows but empty ones; 1 where there is nothing."""
    filled = rows[np.any(rows != 0, axis=1)]
    return float(np.sqrt(np.mean(filled**2))) if filled.size else 1.0
