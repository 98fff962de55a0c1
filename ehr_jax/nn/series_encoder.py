"""A series on a grid as a sequence of vectors: what was measured, whether, and how long ago."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ehr_jax.nn import cross_attention, dense, dropout, masks, recurrent, time_embedding

KINDS = ("gru", "gru_d", "lstm", "transformer")
LONGEST = 30 * 24.0  # hours; what was seen longer ago counts as seen then
FARTHEST = 10.0  # of a squashed value


class SeriesEncoder(nn.Module):
    """Encodes the steps of series; every kind is given values, masks, times since last seen.

    REALM and EMERGE run a GRU over values and demographics; masks and times beside the values are
    those of Che et al. (2018), whose GRU-D is `gru_d`: a value not measured is the last one times
    exp(-relu(w d + b)), which goes to the mean (0 of scaled values), and the state is multiplied by
    exp(-relu(W d + b)) before each step, d the days since last seen. (Inferred there: d is that at
    the step's end, so nearly 0 where something was measured.)

    Attributes:
      kind: one of KINDS.
      width: of the result.
      layers: of recurrence or of attention.
      heads: of a transformer, dividing the width.
      bidirectional: run every recurrent layer in both directions and bring both to the width; not
        with gru_d.
      dropout: rate after each layer, in training.
      dtype: of the operands of products.
    """

    kind: str
    width: int
    layers: int = 1
    heads: int = 4
    bidirectional: bool = False
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        values: jax.Array,
        observed: jax.Array,
        elapsed: jax.Array,
        hours: jax.Array,
        mask: jax.Array,
        always: jax.Array,
        train: bool = False,
    ) -> jax.Array:
        """Encodes padded series.

        Args:
          values: [batch, time, variable] float32, in standard deviations, carried forward, 0 where
            never seen.
          observed: [batch, time, variable], 1 where measured within the step.
          elapsed: [batch, time, variable] float32, hours since last seen.
          hours: [batch, time] float32, of each step's end.
          mask: [batch, time], 1 where there is a step.
          always: [batch, feature] float32, given to every step beside the series; may be empty.

        Returns:
          [batch, time, width] float32, zero where there is no step.
        """
        values = squashed(masks.cleared(values, mask))
        observed = masks.cleared(observed, mask)
        elapsed = jnp.clip(masks.cleared(elapsed, mask), 0, LONGEST)
        always = jnp.broadcast_to(always[:, None], (*mask.shape, always.shape[-1]))
        decay = None
        if self.kind == "gru_d":
            values, decay = self._decayed(values, observed, elapsed / 24)
            parts = [values, observed, always]
        else:
            parts = [values, observed, jnp.log1p(elapsed) / 4, always]
        x = jnp.concatenate(parts, axis=-1)
        if self.kind == "transformer":
            x = self._attended(x, hours, mask, train)
        else:
            for layer in range(self.layers):
                x = self._recurrent(layer, x, mask, decay if layer == 0 else None)
                x = dropout.Dropout(self.dropout)(x, train)
        return masks.cleared(x, mask)

    def _decayed(self, values, observed, days):
        # Above 0, where the gradient of relu is.
        weight = self.param("decay_weight", nn.initializers.constant(0.1), (values.shape[-1],))
        bias = self.param("decay_bias", nn.initializers.zeros, (values.shape[-1],))
        kept = jnp.exp(-nn.relu(weight * days + bias))
        state = jnp.exp(-nn.relu(dense.Dense(self.width, self.dtype, name="state_decay")(days)))
        return jnp.where(observed > 0, values, kept * values), state

    def _recurrent(self, layer, x, mask, decay):
        kind = "lstm" if self.kind == "lstm" else "gru"

        def run(name, reverse):
            return recurrent.Recurrent(kind, self.width, reverse, self.dtype, name=name)(
                x, mask, decay
            )[0]

        forward = run(f"layer_{layer}", reverse=False)
        if not self.bidirectional:
            return forward
        both = jnp.concatenate([forward, run(f"layer_{layer}_back", reverse=True)], axis=-1)
        return dense.Dense(self.width, self.dtype, name=f"join_{layer}")(both)

    def _attended(self, x, hours, mask, train):
        tau = time_embedding.TimeEmbedding(self.width, self.dtype, name="time")(
            jnp.where(mask > 0, hours, 0)
        )
        x = masks.cleared(dense.Dense(self.width, self.dtype, name="inputs")(x) + tau, mask)
        for layer in range(self.layers):
            block = cross_attention.AttentionBlock(
                self.width,
                self.heads,
                4 * self.width,
                dropout=self.dropout,
                dtype=self.dtype,
                name=f"layer_{layer}",
            )
            x = block(x, mask, x, mask, train)
        return x


def squashed(values: jax.Array) -> jax.Array:
    """arcsinh of scaled values, within +-FARTHEST: a few deviations stay as they are, while the
    long tails of laboratory values no longer outweigh all else (inferred)."""
    return jnp.clip(jnp.arcsinh(values), -FARTHEST, FARTHEST)


def summary(values: jax.Array, observed: jax.Array, mask: jax.Array) -> jax.Array:
    """What trees are given of a series: for each variable, over the window, of what was measured.

    Args:
      values: [batch, time, variable] float32, in standard deviations.
      observed: [batch, time, variable]; mask: [batch, time].

    Returns:
      [batch, 7 * variable] float32: measured at all, log of how often; of squashed values mean,
      standard deviation, smallest, largest, last, 0 where never measured.
    """
    there = masks.cleared(observed, mask) > 0
    values = squashed(jnp.where(there, values, 0))
    count = there.sum(1)
    some = (count > 0).astype(jnp.float32)
    mean = values.sum(1) / jnp.maximum(count, 1)
    square = jnp.where(there, jnp.square(values - mean[:, None]), 0).sum(1)
    # Guarded, for the root of 0 has no gradient.
    deviation = some * jnp.sqrt(square / jnp.maximum(count, 1) + 1e-6)
    if values.shape[1] == 0:
        smallest = largest = jnp.zeros_like(mean)
    else:
        smallest = some * jnp.where(there, values, FARTHEST).min(1)
        largest = some * jnp.where(there, values, -FARTHEST).max(1)
    last = jnp.einsum("btv,bvt->bv", values, masks.last_weights(there.swapaxes(1, 2)))
    parts = [some, jnp.log1p(count) / 2, mean, deviation, smallest, largest, last]
    return jnp.concatenate(parts, axis=-1)
