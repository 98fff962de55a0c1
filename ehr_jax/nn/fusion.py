"""Ways to make one vector of several modalities: mixing, pooling, tensors, displacement, concat."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from ehr_jax.nn import dense, masks, norms


def displace(base: jax.Array, shift: jax.Array, beta: float) -> jax.Array:
    """base + min(beta |base| / |shift|, 1) shift, row by row (MAG, Rahman et al. 2020).

    The released code of EMERGE takes the norms over the whole batch, so that a sample's result
    depends on the others; here they are each row's own, as in the paper it cites.

    Args:
      base, shift: [..., width].
    """
    size = lambda x: jnp.sqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-12)  # noqa: E731
    return base + jnp.minimum(beta * size(base) / size(shift), 1.0) * shift


def outer_product(vectors: Sequence[jax.Array]) -> jax.Array:
    """The product of [v ; 1] over all vectors, flat (tensor fusion, Zadeh et al. 2017).

    It holds every product of entries of some of the vectors, and each vector alone.

    Args:
      vectors: [batch, width_k] each.

    Returns:
      [batch, product of (width_k + 1)].
    """
    batch = vectors[0].shape[0]
    product = jnp.ones((batch, 1), vectors[0].dtype)
    for vector in vectors:
        extended = jnp.concatenate([vector, jnp.ones((batch, 1), vector.dtype)], axis=1)
        product = (product[:, :, None] * extended[:, None, :]).reshape(batch, -1)
    return product


class MixingGate(nn.Module):
    """REALM's adaptive gate: z = a c_1 + (1 - a) c_2 with a learned mixing weight.

    The range of a is not published. Inferred: a softmax over a learned number for each modality, so
    that any count of them sums to one (two start at a half each), over the modalities that are
    there, so that a missing one has no share. With `kind` "input" a linear score of the modality's
    vector, zero at first, is added to its number, and each sample has weights of its own (an
    extension).

    Attributes:
      kind: "scalar" or "input".
    """

    kind: str = "scalar"

    @nn.compact
    def __call__(self, vectors: jax.Array, present: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mixes [batch, modality, width] by present [batch, modality].

        Returns:
          [batch, width], zero where nothing is there, and the weights [batch, modality] float32.
        """
        _, modalities, width = vectors.shape
        scores = self.param("scores", nn.initializers.zeros, (modalities,))
        if self.kind == "input":
            direction = self.param("direction", nn.initializers.zeros, (modalities, width))
            scores = scores + jnp.einsum("bmd,md->bm", vectors, direction)
        weights = masks.softmax(jnp.broadcast_to(scores, present.shape), present)
        return masks.weighted(vectors, weights), weights


class AttentionPool(nn.Module):
    """softmax(x W mean(x)) over the tokens, then their weighted sum.

    REALM names its AttnPool without a form. Inferred: that of EMERGE's first commit, whose query is
    a linear layer of the tokens' mean, with the usual scale 1 / sqrt(width).
    """

    precision: str = "float32"

    @nn.compact
    def __call__(self, tokens: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        """[batch, token, width] by [batch, token] -> [batch, width], weights [batch, token]."""
        width = tokens.shape[-1]
        mean = masks.weighted(tokens, masks.mean_weights(mask))
        query = dense.Dense(width, self.precision, name="query")(mean)
        scores = jnp.einsum("btd,bd->bt", tokens, query) / width**0.5
        weights = masks.softmax(scores, mask)
        return masks.weighted(tokens, weights), weights


class Concat(nn.Module):
    """GELU(Linear([v_1 ; v_2 ; ...])): the concat fusion of EMERGE's comparison."""

    width: int
    precision: str = "float32"

    @nn.compact
    def __call__(self, vectors: Sequence[jax.Array]) -> jax.Array:
        """[batch, width_k] each -> [batch, width]."""
        return dense.gelu(
            dense.Dense(self.width, self.precision)(jnp.concatenate(vectors, axis=-1))
        )


class TensorFusion(nn.Module):
    """GELU(Linear(GELU(Linear(outer product)))), the tensor fusion of EMERGE's comparison.

    Zadeh et al. 2017. The product of whole vectors has (width + 1)^modalities entries, so each is
    first brought to `narrow` (inferred; EMERGE multiplies two whole vectors).
    """

    width: int
    narrow: int = 32
    precision: str = "float32"

    @nn.compact
    def __call__(self, vectors: Sequence[jax.Array]) -> jax.Array:
        """[batch, width_k] each -> [batch, width]."""
        narrow = [
            dense.Dense(self.narrow, self.precision, name=f"narrow_{k}")(v)
            for k, v in enumerate(vectors)
        ]
        hidden = dense.gelu(
            dense.Dense(self.width, self.precision, name="inner")(outer_product(narrow))
        )
        return dense.gelu(dense.Dense(self.width, self.precision, name="outer")(hidden))


class AdaptationGate(nn.Module):
    """MAG (Rahman et al. 2020): the first vector, displaced by what the others say beside it.

    g_k = ReLU(W_k [v_0 ; v_k]); h = sum over k of g_k (V_k v_k) + b; then LayerNorm(displace(v_0,
    h)). (EMERGE's own has a sigmoid gate, and a linear layer after the gated vector.)

    Attributes:
      beta: longest displacement, as a share of the first vector's length.
    """

    width: int
    beta: float = 1.0
    precision: str = "float32"

    @nn.compact
    def __call__(self, vectors: Sequence[jax.Array]) -> jax.Array:
        """[batch, width] each -> [batch, width]."""
        base, *others = vectors
        shift = self.param("bias", nn.initializers.zeros, (self.width,))
        for k, other in enumerate(others):
            both = jnp.concatenate([base, other], axis=-1)
            gate = nn.relu(dense.Dense(self.width, self.precision, name=f"gate_{k}")(both))
            value = dense.Dense(self.width, self.precision, bias=False, name=f"value_{k}")(other)
            shift = shift + gate * value
        moved = displace(base, jnp.broadcast_to(shift, base.shape), self.beta)
        return nn.LayerNorm(norms.EPSILON)(moved)
