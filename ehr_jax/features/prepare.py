"""The hypergraph of a cohort as numpy arrays: nodes, their vectors, notes and labels."""

import dataclasses
from collections.abc import Mapping

import jraph
import numpy as np

from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import arrays, as_columns, hypergraph, once, texts, vectors, vocabulary
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

    def only(self, reads: arrays.Reads) -> "Arrays":
        """Returns the samples as `prepare` makes them for `reads`."""
        changed: dict = {"counts": dict(self.counts)}
        if not reads.texts:
            changed["notes"] = np.zeros_like(self.notes)
            changed["has_note"] = np.zeros_like(self.has_note)
            changed["counts"]["notes"] = dict(texts.NONE)
        if not reads.names:
            changed["concepts"] = np.zeros_like(self.concepts)
        if not reads.encoder:
            changed["notes"], changed["concepts"] = self.notes[:, :0], self.concepts[:, :0]
            changed["counts"]["encoder"] = vectors.none().described
        if not reads.structure:
            changed["structure"] = self.structure[:, :0]
        return dataclasses.replace(self, **changed)

    def stored(self) -> arrays.Stored:
        """Returns the arrays as they are written to files; `restore` is its inverse."""
        node, sample, _, samples = bipartite.unpack(self.visits)
        node = np.asarray(node, np.int32)[np.lexsort((node, sample))]
        lengths = np.bincount(sample, minlength=samples)
        written = {"note": self.notes, "has_note": self.has_note} if self.has_note.any() else {}
        return arrays.Stored(
            samples=written,
            ragged={"nodes": arrays.Ragged(lengths, node)},
            whole={"structure": self.structure, "concepts": self.concepts},
            facts={
                "vocabulary": dataclasses.asdict(self.vocabulary),
                "text_width": self.notes.shape[1],
                "counts": dict(self.counts),
            },
            meanings={
                "nodes": "positions in metadata['nodes'] of what the visit holds, ascending",
                "note": "vector of the notes; zero without one",
                "has_note": "is there a note?",
            },
        )

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
    samples = known.cohort.samples
    graph = hypergraph.fit_graph(known, config.features, reads.structure)
    fitted, shapes = graph.vocabulary, graph.shapes
    source = config.notes.source if reads.texts else "none"
    written, source = texts.texts(known, source, graph.nodes, graph.names)
    if not reads.encoder:
        encoding = vectors.none()
    elif encoding is None:
        encoding = vectors.by_encoder(config.text, cache)
    named = fitted.names if reads.names else ()
    concepts, notes, has_note = _vectors(len(fitted.names), named, written, shapes, encoding)
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
        "notes": texts.counts(source, samples, has_note > 0),
        "encoder": encoding.described,
    }
    return Arrays(
        vocabulary=fitted,
        visits=graph.visits,
        structure=graph.structure,
        concepts=concepts,
        notes=notes,
        has_note=has_note,
        shapes=shapes,
        counts=counts,
        **arrays.of_cohort(known.cohort),
    )


def restore(stored: arrays.Stored, cohort: cohorts.Cohort) -> Arrays:
    """Returns the arrays of `cohort` that `Arrays.stored` took apart."""
    nodes, vocabulary_, count = (
        stored.ragged["nodes"],
        stored.facts["vocabulary"],
        cohort.samples.height,
    )
    fitted = vocabulary.Vocabulary(**{name: tuple(part) for name, part in vocabulary_.items()})
    sample = np.repeat(np.arange(count), nodes.lengths)
    notes = stored.samples.get("note")
    return Arrays(
        vocabulary=fitted,
        visits=bipartite.pack(nodes.values, sample, len(fitted.codes), count),
        structure=stored.whole["structure"],
        concepts=stored.whole["concepts"],
        notes=np.zeros((count, stored.facts["text_width"]), np.float32) if notes is None else notes,
        has_note=stored.samples.get("has_note", np.zeros(count, bool)),
        shapes=hypergraph.shaping(cohort),
        counts=stored.facts["counts"],
        **arrays.of_cohort(cohort),
    )


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
