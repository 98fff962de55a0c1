"""A multilayer perceptron on a visit's codes and, where used, the vector of its notes."""

import flax.linen as nn
import jax

from ehr_jax import settings
from ehr_jax.models import inputs
from ehr_jax.models import settings as model_settings
from ehr_jax.nn import dense, dropout, spmm, spread


class VisitMLP(nn.Module):
    """Two hidden layers on the multi-hot codes; needs no other visit, so `encode` keeps nothing."""

    RATES = ("dropout",)
    SPREADS = True

    labels: int
    width: int
    use_notes: bool
    dropout: float
    precision: str = "float32"
    axis: spread.Axis = None  # over what visits are spread; each is scored by itself

    def setup(self):
        def linear(width: int):
            return dense.Dense(width, self.precision, kernel_init=dense.LECUN)

        self.code_layer = CodeLayer(self.width, self.precision)
        self.note_layer = linear(self.width) if self.use_notes else None
        self.hidden = linear(self.width)
        self.out = linear(self.labels)
        self.drop = dropout.Dropout(self.dropout)

    def encode(self, nodes: inputs.Nodes, visits: inputs.Visits, train: bool):
        """Returns logits [visit, label] float32 and nothing kept."""
        return self._score(visits, train), ()

    def read(self, nodes: inputs.Nodes, visits: inputs.Visits, frozen: tuple) -> jax.Array:
        """Scores other visits the same way."""
        return self._score(visits, train=False)

    def _score(self, visits, train):
        x = self.code_layer(visits.incidence)[: visits.num_visits]
        if self.note_layer is not None:
            x = x + self.note_layer(visits.notes)
        shard = spread.shard_number(self.axis)
        x = self.drop(nn.relu(x), train, shard)
        return self.out(self.drop(nn.relu(self.hidden(x)), train, shard))


class CodeLayer(nn.Module):
    """A linear layer on multi-hot codes, as the sum of a learned row a code."""

    width: int
    precision: str = "float32"

    @nn.compact
    def __call__(self, incidence: spmm.Incidence) -> jax.Array:
        num_nodes = incidence.forward.num_sources
        rows = self.param("rows", nn.initializers.normal(0.1), (num_nodes, self.width))
        bias = self.param("bias", nn.initializers.zeros, (self.width,))
        return spmm.product(incidence, rows, precision=self.precision) + bias


def build(config, labels: int) -> VisitMLP:
    """Returns the network of `config.model`."""
    checked = settings.read(model_settings.Model, config, "config.model")
    return VisitMLP(labels, checked.width, checked.use_notes, checked.dropout, checked.precision)
