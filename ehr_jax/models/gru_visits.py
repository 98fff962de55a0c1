"""A GRU over a patient's visits, each embedded as the sum of its codes' vectors (as in Doctor AI).

Doctor AI (Choi et al. 2016, arXiv 1511.05942) embeds the multi-hot codes of a visit with the time
since the visit before, and runs a GRU over the visits. This implementation differs in two points:
the time is from the end of a visit to the prediction time, and only the last state is classified.
"""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from ehr_jax.nn import dense, dropout, recurrent


class Sequences(flax.struct.PyTreeNode):
    """A batch of patients as sequences of visits.

    Attributes:
      codes: [batch, visit, slot] int32, indices of codes; `num_codes` where a slot is padding.
      mask: [batch, visit] float32, 1 where there is a visit.
      gaps: [batch, visit] float32, log(1 + days) from the end of a visit to the prediction
        time.
      num_codes: the size of the vocabulary; static under jit.
    """

    codes: jax.Array
    mask: jax.Array
    gaps: jax.Array
    num_codes: int = flax.struct.field(pytree_node=False)


class VisitGRU(nn.Module):
    """The network over sequences of visits.

    Attributes:
      labels: the number of outputs.
      width: the width of code vectors, visit vectors and states.
      dropout: the rate on visit vectors and on the last state.
      precision: the type of the operands of matrix products (`nn.operands`).
    """

    RATES = ("dropout",)
    SPREADS = False

    labels: int
    width: int = 48
    dropout: float = 0.0
    precision: str = "float32"

    @nn.compact
    def __call__(self, sequences: Sequences, train: bool = False) -> jax.Array:
        """Returns logits [batch, label] float32."""
        drop = dropout.Dropout(self.dropout)
        shape = sequences.num_codes, self.width
        vectors = self.param("codes", nn.initializers.normal(0.1), shape)
        padded = jnp.concatenate([vectors, jnp.zeros((1, self.width))])
        time = dense.Dense(self.width, self.precision, name="time")(sequences.gaps[..., None])
        visits = drop(nn.relu(padded[sequences.codes].sum(axis=2) + time), train)  # [b, visit, w]
        state = recurrent.Recurrent("gru", self.width, precision=self.precision)(
            visits, sequences.mask
        )[1]
        return dense.Dense(self.labels, name="out")(drop(state, train))


def build(config, labels: int) -> VisitGRU:
    """Returns the network of `config`, the section config.model."""
    return VisitGRU(labels, config.width, config.dropout, config.precision)
