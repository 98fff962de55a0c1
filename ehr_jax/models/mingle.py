"""MINGLE (arXiv 2403.08818): a hypergraph of visits over codes, fused with language semantics.

The backbone is HypEHR as its authors coded it; MINGLE adds code names (concept level) and visit
notes (note level, Eq. 6-7). Without both it is HypEHR. Half-layers may be exchanged for sums over
members, which gives AllDeepSets in the same frame.

Choices the paper leaves open (inferred): nodes are updated before hyperedges are read again, notes
enter after PairNorm of every V->E half-layer and before BatchNorm, MLP_1 and MLP_2 are one linear
layer, trainable node features are stored as a difference from their starting vectors, so that
weight decay pulls them back there, and hyperedges without a note get a zero vector after MLP_1.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ehr_jax import settings
from ehr_jax.models import inputs
from ehr_jax.models import settings as model_settings
from ehr_jax.nn import dense, dropout, layers, norms, spread


class Frozen(NamedTuple):
    """All a visit needs to be scored alone: node states and norm statistics of each layer.

    Attributes:
      states: per layer, [node, in] float32: what the V->E half-layer reads.
      statistics: per layer, PairNorm statistics of the hyperedges that shaped the network.
    """

    states: tuple[jax.Array, ...]
    statistics: tuple[norms.PairStatistics, ...]


class Mingle(nn.Module):
    """The network; `encode` shapes node states by its visits, `read` scores others against them.

    Attributes:
      labels: number of outputs.
      depth: L; there are L + 1 V->E and L E->V half-layers.
      width, heads, feed_forward_depth: of a half-layer.
      half_layer: "attention" or "deep_set".
      use_notes, use_concepts: the paper's ablations; a switched-off source is a zero vector, and
        with both off no fusion layer exists.
      train_nodes: learn a difference to the nodes' vectors.
      input_dropout, dropout: rates.
      precision: of the operands of products (`nn.operands`), in both passes.
      axis: over what visits are spread (`nn.spread`); None where all are here. All nodes are.
    """

    RATES = ("dropout", "input_dropout")
    SPREADS = True

    labels: int
    depth: int = 3
    width: int = 48
    heads: int = 4
    feed_forward_depth: int = 2
    half_layer: str = "attention"
    use_notes: bool = True
    use_concepts: bool = True
    train_nodes: bool = True
    input_dropout: float = 0.2
    dropout: float = 0.0
    classifier_width: int = 64
    precision: str = "float32"
    axis: spread.Axis = None

    def setup(self):
        def make(axis: spread.Axis):
            depth, shared = self.feed_forward_depth, {"axis": axis, "precision": self.precision}
            if self.half_layer == "attention":
                return layers.SetAttention(self.width, self.heads, depth, **shared)
            return layers.DeepSet(self.width, depth, **shared)

        def linear(width: int):
            return dense.Dense(width, self.precision, kernel_init=dense.LECUN)

        self.to_hyperedges = [make(None) for _ in range(self.depth + 1)]
        self.to_nodes = [make(self.axis) for _ in range(self.depth)]
        self.hyperedge_norms = [BatchNorm() for _ in range(self.depth)]
        self.node_norms = [BatchNorm() for _ in range(self.depth)]
        if self.use_notes or self.use_concepts:
            self.note_layer = linear(self.width)  # MLP_1, Eq. 6
            self.fusions = [linear(self.width) for _ in range(self.depth + 1)]  # MLP_2, Eq. 7
        self.hidden = linear(self.classifier_width)
        self.hidden_norm = nn.LayerNorm(epsilon=1e-5)
        self.out = linear(self.labels)
        self.drop_input = dropout.Dropout(self.input_dropout)
        self.drop = dropout.Dropout(self.dropout)
        self.node_update = NodeUpdate() if self.train_nodes else None

    def encode(
        self, nodes: inputs.Nodes, visits: inputs.Visits, train: bool
    ) -> tuple[jax.Array, Frozen]:
        """Returns the visits' logits, [visit, label] float32, and what `read` needs."""
        kept, frozen = self.shape(nodes, visits, train)
        return self._classify(kept), frozen

    def shape(
        self, nodes: inputs.Nodes, visits: inputs.Visits, train: bool
    ) -> tuple[jax.Array, Frozen]:
        """Returns states of visits, [visit, (L + 1) width] float32, and what others are read by."""
        states = [self.drop_input(self._node_features(nodes), train)]
        semantics = self._semantics(visits.notes, visits.has_note, nodes, visits.loops)
        statistics, kept = [], []
        for layer in range(self.depth + 1):
            edges = self.to_hyperedges[layer](visits.incidence, states[-1])
            statistics.append(norms.pair_statistics(edges, visits.real, self.axis))
            edges = self._fuse(layer, norms.pair_norm(edges, statistics[-1]), semantics)
            kept.append(edges[: visits.num_visits])
            if layer == self.depth:
                break
            edges = self.hyperedge_norms[layer](edges, visits.real, self.axis)
            edges = self.drop(nn.relu(edges), train, spread.shard_number(self.axis))
            new = self.to_nodes[layer](visits.incidence.transpose, edges)
            new = norms.pair_norm(new, norms.pair_statistics(new))
            states.append(self.drop(nn.relu(self.node_norms[layer](new)), train))
        return jnp.concatenate(kept, axis=1), Frozen(tuple(states), tuple(statistics))

    def read(self, nodes: inputs.Nodes, visits: inputs.Visits, frozen: Frozen) -> jax.Array:
        """Scores visits that shaped nothing, each by itself: [visit, label] float32 logits."""
        return self._classify(self.read_states(nodes, visits, frozen))

    def read_states(self, nodes: inputs.Nodes, visits: inputs.Visits, frozen: Frozen) -> jax.Array:
        """The states of visits that shaped nothing: [visit, (L + 1) width] float32."""
        semantics = self._semantics(visits.notes, visits.has_note, nodes, visits.loops)
        kept = []
        for layer, (state, statistics) in enumerate(zip(*frozen, strict=True)):
            edges = self.to_hyperedges[layer](visits.incidence, state)
            kept.append(self._fuse(layer, norms.pair_norm(edges, statistics), semantics))
        return jnp.concatenate(kept, axis=1)

    def _node_features(self, nodes):
        parts = [nodes.structure] + ([nodes.concept] if self.use_concepts else [])
        features = jnp.concatenate(parts, axis=1)
        return self.node_update(features) if self.train_nodes else features

    def _semantics(self, notes, has_note, nodes, loops):
        """H of Eq. 6: MLP_1 of [notes of visits ; concept vectors of self-loops]."""
        if not (self.use_notes or self.use_concepts):
            return None
        notes = notes if self.use_notes else jnp.zeros_like(notes)
        concepts = nodes.concept if self.use_concepts else jnp.zeros_like(nodes.concept)
        # Without the source, nothing tells which visits have a note: it is as if none had.
        has_note = has_note if self.use_notes else jnp.zeros_like(has_note)
        present = jnp.concatenate([has_note, jnp.ones(loops.shape, has_note.dtype)])
        return self.note_layer(jnp.concatenate([notes, concepts[loops]])) * present[:, None]

    def _fuse(self, layer, edges, semantics):
        if semantics is None:
            return edges
        return self.fusions[layer](jnp.concatenate([edges, semantics], axis=1))

    def _classify(self, kept):
        hidden = nn.relu(self.hidden(kept))
        return self.out(self.hidden_norm(hidden))


class BatchNorm(nn.Module):
    """Batch normalisation over all rows, in training as in scoring (full batch); arguments as in
    `norms.moments`."""

    @nn.compact
    def __call__(
        self, x: jax.Array, real: jax.Array | None = None, axis: spread.Axis = None
    ) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        return norms.batch_norm(x, norms.column_statistics(x, real, axis), scale, bias)


class NodeUpdate(nn.Module):
    """Adds a learned difference, zero at first, to fixed node vectors [node, width]."""

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        return features + self.param("difference", nn.initializers.zeros, features.shape)


def build(config, labels: int) -> Mingle:
    """Returns the network of `config.model`; ConfigError where its widths or names do not fit."""
    checked = settings.read(model_settings.Model, config, "config.model")
    model_settings.check_model(checked)
    return Mingle(
        labels=labels,
        depth=checked.depth,
        width=checked.width,
        heads=checked.heads,
        feed_forward_depth=checked.feed_forward_depth,
        half_layer=checked.half_layer,
        use_notes=checked.use_notes,
        use_concepts=checked.use_concepts,
        train_nodes=checked.train_nodes,
        input_dropout=checked.input_dropout,
        dropout=checked.dropout,
        precision=checked.precision,
    )
