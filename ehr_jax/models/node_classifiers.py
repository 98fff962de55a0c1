"""Networks that classify the nodes of a hypergraph; its hyperedges carry no features.

Every network takes node features (dense or `sparse_rows.SparseRows`) and the hops of its layers
(`nn.hops`) over a hypergraph with a singleton hyperedge per node, and gives logits
[output node of the last hop, class] float32.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ehr_jax import settings
from ehr_jax.models import settings as model_settings
from ehr_jax.nn import dense, dropout, hops, layers, sparse_rows, spmm

Features = jax.Array | sparse_rows.SparseRows


def build(config, classes: int) -> nn.Module:
    """Returns the network of `config.model`.

    Raises:
      ConfigError: the name is unknown, or a size or rate is not possible.
    """
    settings.read(model_settings.NodeClassifier, config, "config.model")
    if config.name == "hgnn":
        rates = config.dropout, config.input_dropout
        return HGNN(classes, config.width, *rates, precision=config.precision)
    return SetNetwork(
        classes=classes,
        attention=config.name == "allset_transformer",
        width=config.width,
        heads=config.heads,
        feed_forward_depth=config.feed_forward_depth,
        dropout=config.dropout,
        input_dropout=config.input_dropout,
        precision=config.precision,
    )


class SetNetwork(nn.Module):
    """AllSetTransformer and AllDeepSets (arXiv 2106.13264) as coded by their authors.

    x = drop_input(x); per layer x = drop(ReLU(f_VE(x))), x = drop(ReLU(f_EV(x))); logits = W x + b.

    Attributes:
      attention: half-layers by set attention; else sums between normalised MLPs.
      heads: of set attention alone.
      feed_forward_depth: linear layers in each MLP of a half-layer.
      dropout: after every half-layer, and inside those of AllDeepSets.
    """

    classes: int
    attention: bool
    width: int
    heads: int
    feed_forward_depth: int
    dropout: float
    input_dropout: float
    precision: str = "float32"

    @nn.compact
    def __call__(
        self, features: Features, layer_hops: tuple[hops.Hop, ...], train: bool
    ) -> jax.Array:
        x = dropout.Dropout(self.input_dropout)(features, train)
        for layer, hop in enumerate(layer_hops):
            for name, pairs in (("hyperedges", hop.to_hyperedges), ("nodes", hop.to_nodes)):
                x = nn.relu(self._half_layer(f"to_{name}_{layer}", pairs, x, train))
                x = dropout.Dropout(self.dropout)(x, train)
        own = {"kernel_init": dense.LECUN, "name": "classifier"}
        return dense.Dense(self.classes, self.precision, **own)(x)

    def _half_layer(self, name, pairs, x, train):
        width, depth = self.width, self.feed_forward_depth
        named = {"precision": self.precision, "name": name}
        if self.attention:
            return layers.SetAttention(width, self.heads, depth, **named)(pairs, x)
        return layers.DeepSet(width, depth, self.dropout, **named)(pairs, x, train)


class HGNN(nn.Module):
    """Hypergraph convolutions Dv^-1/2 H De^-1 H' Dv^-1/2 X W + b, ELU and dropout in between.

    The last convolution gives the logits.
    """

    classes: int
    width: int
    dropout: float
    input_dropout: float
    precision: str = "float32"

    @nn.compact
    def __call__(
        self, features: Features, layer_hops: tuple[hops.Hop, ...], train: bool
    ) -> jax.Array:
        x = dropout.Dropout(self.input_dropout)(features, train)
        for layer, hop in enumerate(layer_hops[:-1]):
            convolution = Convolution(self.width, self.precision, name=f"convolution_{layer}")
            x = nn.elu(convolution(hop, x))
            x = dropout.Dropout(self.dropout)(x, train)
        last = f"convolution_{len(layer_hops) - 1}"
        return Convolution(self.classes, self.precision, name=last)(layer_hops[-1], x)


class Convolution(nn.Module):
    """Dv^-1/2 H De^-1 H' Dv^-1/2 X W + b; a node without hyperedges gets b alone."""

    width: int
    precision: str = "float32"

    @nn.compact
    def __call__(self, hop: hops.Hop, x: Features) -> jax.Array:
        glorot = nn.initializers.glorot_uniform()
        kernel = self.param("kernel", glorot, (x.shape[-1], self.width))
        bias = self.param("bias", nn.initializers.zeros, (self.width,))
        scaled = dense.times(x, kernel, self.precision)
        scaled = scaled * jax.lax.rsqrt(_at_least_one(hop.degree))
        hyperedges = self._sum(hop.to_hyperedges, scaled) / _sizes(hop.to_hyperedges)
        nodes = self._sum(hop.to_nodes, hyperedges)
        return nodes * jax.lax.rsqrt(_sizes(hop.to_nodes)) + bias

    def _sum(self, incidence, x):
        return spmm.product(incidence, x, precision=self.precision)


def _sizes(incidence: spmm.Incidence) -> jax.Array:
    """Number of sources of each target, [target, 1]."""
    return _at_least_one(jnp.diff(incidence.forward.offsets))


def _at_least_one(counts: jax.Array) -> jax.Array:
    # Where a count is zero, so is the sum it divides.
    return jnp.maximum(counts, 1)[:, None].astype(jnp.float32)
