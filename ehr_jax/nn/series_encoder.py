"""A series on a grid as a sequence of vectors: what was measured, whether, and how long ago."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ehr_jax.nn import cross_attention, dense, dropout, masks, recurrent, time_embedding

KINDS = ("gru", "gru_d", "lstm", "transformer")
LONGEST = 30 * 24.0  # hours; what was seen longer ago counts as seen then
FARTHEST = 10.0  # of a squashed value
SPANS = (float("inf"), 24.0, 6.0)  # hours of a summary, back from the last step


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
      precision: of the operands of products (`nn.operands`).
    """

    kind: str
    width: int
    layers: int = 1
    heads: int = 4
    bidirectional: bool = False
    dropout: float = 0.0
    precision: str = "float32"

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
        state = jnp.exp(-nn.relu(dense.Dense(self.width, self.precision, name="state_decay")(days)))
        return jnp.where(observed > 0, values, kept * values), state

    def _recurrent(self, layer, x, mask, decay):
        kind = "lstm" if self.kind == "lstm" else "gru"

        def run(name, reverse):
            return recurrent.Recurrent(kind, self.width, reverse, self.precision, name=name)(
                x, mask, decay
            )[0]

        forward = run(f"layer_{layer}", reverse=False)
        if not self.bidirectional:
            return forward
        both = jnp.concatenate([forward, run(f"layer_{layer}_back", reverse=True)], axis=-1)
        return dense.Dense(self.width, self.precision, name=f"join_{layer}")(both)

    def _attended(self, x, hours, mask, train):
        tau = time_embedding.TimeEmbedding(self.width, self.precision, name="time")(
            jnp.where(mask > 0, hours, 0)
        )
        x = masks.cleared(dense.Dense(self.width, self.precision, name="inputs")(x) + tau, mask)
        for layer in range(self.layers):
            block = cross_attention.AttentionBlock(
                self.width,
                self.heads,
                4 * self.width,
                dropout=self.dropout,
                precision=self.precision,
                name=f"layer_{layer}",
            )
            x = block(x, mask, x, mask, train)
        return x


def squashed(values: jax.Array) -> jax.Array:
    """arcsinh of scaled values, within +-FARTHEST: a few deviations stay as they are, while the
    long tails of laboratory values no longer outweigh all else (inferred)."""
    return jnp.clip(jnp.arcsinh(values), -FARTHEST, FARTHEST)


def summary(values: jax.Array, observed: jax.Array, hours: jax.Array, mask: jax.Array) -> jax.Array:
    """What trees are given of a series: statistics of what was measured in its last hours.

    Each over the spans `SPANS`, counted back from the last step. The statistics of values stand as
    `pieces`, so that a layer above weighs low and high values apart (inferred).

    Args:
      values: [batch, time, variable] float32, in standard deviations.
      observed: [batch, time, variable]; hours: [batch, time], of each step's end.
      mask: [batch, time].

    Returns:
      [batch, 3 * 18 * variable] float32. Of each span: measured at all, log of how often; of each
      of mean, smallest, largest and last value the four pieces, 0 where nothing was measured.
    """
    there = masks.cleared(observed, mask) > 0
    hours = jnp.where(mask > 0, hours, -jnp.inf)
    end = hours.max(axis=1, keepdims=True, initial=-jnp.inf)
    parts = []
    for span in SPANS:
        parts += _over(values, there & (hours > end - span)[..., None])
    return jnp.concatenate(parts, axis=-1)


def pieces(values: jax.Array) -> jax.Array:
    """[..., n] -> [..., 4 n] float32: how far a value is along each of the pieces from -3 to -1,
    -1 to 0, 0 to 1 and 1 to 3. Any function with bends there alone is linear in them (the
    piecewise linear encoding of Gorishniy et al. 2022, at knots that are given)."""
    near, far = jnp.clip(values, -1, 1), jnp.clip(values, -3, 3)
    far = (far - near) / 2
    halves = [function(x, 0) for x in (far, near) for function in (jnp.minimum, jnp.maximum)]
    return jnp.concatenate(halves, axis=-1)


def _over(values, there):
    """The statistics of the cells that are `there` [batch, time, variable]."""
    values = jnp.where(there, values, 0)
    count = there.sum(1)
    some = count > 0
    mean = values.sum(1) / jnp.maximum(count, 1)
    smallest = jnp.where(there, values, jnp.inf).min(1, initial=jnp.inf)
    largest = jnp.where(there, values, -jnp.inf).max(1, initial=-jnp.inf)
    last = jnp.einsum("btv,bvt->bv", values, masks.last_weights(there.swapaxes(1, 2)))
    of_values = jnp.stack([mean, smallest, largest, last])
    found = pieces(jnp.where(some, of_values, 0))
    return [some.astype(jnp.float32), jnp.log1p(count) / 2, *found]
