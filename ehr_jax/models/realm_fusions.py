"""How modalities become one vector: REALM's fusion of sequences, EMERGE's and others of vectors."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from ehr_jax.models import realm_streams
from ehr_jax.nn import cross_attention, dense, fusion, time_embedding

OF_VECTORS = ("emerge_code", "emerge_paper", "concat", "tensor", "mag")


class SequenceFusion(nn.Module):
    """REALM's fusion (arXiv 2402.07016) of the sequences of any number of modalities m.

    s_m = SelfAttn(e_m + tau); c_m = CrossAttn(s_m, s of the others): m asks, the others answer;
    z* = sum over m of a_m AttnPool(MLP(c_m)), tau the embedded time of each token.

    Published are two modalities of equal length, z = a c_ts + (1 - a) c_txt token by token, then
    z* = AttnPool(MLP(z)). Inferred: steps, notes and entities have times and numbers of their own,
    so each modality is pooled (by one shared MLP and AttnPool) before the gate mixes; a gate over
    those present alone (`fusion.MixingGate`); with one modality alone, c = s.
    """

    width: int
    heads: int
    feed_forward: int
    norm: str
    gate: str
    dropout: float
    precision: str = "float32"

    @nn.compact
    def __call__(
        self, streams: Sequence[realm_streams.Stream], train: bool
    ) -> tuple[jax.Array, jax.Array, list[jax.Array]]:
        """Fuses at least one stream.

        Returns:
          [batch, width]; the weights of modalities, [batch, stream]; those of each stream's tokens,
          [batch, token].
        """

        def block(name):
            return cross_attention.AttentionBlock(
                self.width,
                self.heads,
                self.feed_forward,
                self.norm,
                self.dropout,
                self.precision,
                name=name,
            )

        tau = time_embedding.TimeEmbedding(self.width, self.precision, name="time")
        attended = []
        for k, stream in enumerate(streams):
            x = stream.tokens
            if stream.hours is not None:
                x = x + tau(jnp.where(stream.mask > 0, stream.hours, 0))
            attended.append(block(f"self_{k}")(x, stream.mask, x, stream.mask, train))
        mlp = dense.GeluMLP(self.width, self.precision, name="mlp")
        pool = fusion.AttentionPool(self.precision, name="pool")
        pooled, token_weights = [], []
        for k, (x, stream) in enumerate(zip(attended, streams, strict=True)):
            if len(streams) > 1:
                others = [j for j in range(len(streams)) if j != k]
                memory = jnp.concatenate([attended[j] for j in others], axis=1)
                memory_mask = jnp.concatenate([streams[j].mask for j in others], axis=1)
                x = block(f"cross_{k}")(x, stream.mask, memory, memory_mask, train)
            vector, weights = pool(mlp(x), stream.mask)
            pooled.append(vector)
            token_weights.append(weights)
        present = jnp.stack([(stream.mask > 0).any(1) for stream in streams], axis=1)
        gate = fusion.MixingGate(self.gate, name="gate")
        fused, modality_weights = gate(jnp.stack(pooled, axis=1), present)
        return fused, modality_weights, token_weights


class VectorFusion(nn.Module):
    """The fusions of EMERGE (arXiv 2406.00036v2) and of its comparison, one vector a modality.

    A missing modality is a learned vector (inferred; there such stays are left out). With one
    modality alone the result is its vector.

    emerge_code: as released. CrossAttn(v_m, v of the others) for each m with weights of its own,
      no residual, norm or feed-forward; then Linear of all. A softmax over the single key of two
      modalities is 1, so a query says nothing, and the query and key projections have no gradient.
    emerge_paper: as drawn (Figure 6). The attention of all m is one block with shared weights, a
      residual and a norm after attention and after FF; z = MLP of all (its depth is inferred).
    concat, tensor, mag: `fusion.Concat`, `fusion.TensorFusion`, `fusion.AdaptationGate`, the last
      displacing the first modality.
    """

    variant: str
    width: int
    heads: int
    feed_forward: int
    norm: str
    dropout: float
    precision: str = "float32"

    @nn.compact
    def __call__(
        self, vectors: Sequence[jax.Array], present: Sequence[jax.Array], train: bool
    ) -> jax.Array:
        """[batch, width] each, 1 of [batch] each where there is one -> [batch, width]."""
        vectors = [
            realm_streams.or_missing(self, f"missing_{k}", v, there)
            for k, (v, there) in enumerate(zip(vectors, present, strict=True))
        ]
        if len(vectors) == 1:
            return vectors[0]
        if self.variant == "concat":
            return fusion.Concat(self.width, self.precision)(vectors)
        if self.variant == "tensor":
            return fusion.TensorFusion(self.width, precision=self.precision)(vectors)
        if self.variant == "mag":
            return fusion.AdaptationGate(self.width, precision=self.precision)(vectors)
        if self.variant == "emerge_code":
            return self._as_released(vectors)
        return self._as_drawn(vectors, sum(present), train)

    def _as_released(self, vectors):
        mixed = []
        for k, (query, memory) in enumerate(_against_others(vectors)):
            attention = cross_attention.MultiHeadAttention(
                self.width, self.heads, self.precision, name=f"cross_{k}"
            )
            mixed.append(attention(query, memory, jnp.ones(memory.shape[:2]))[:, 0])
        return dense.Dense(self.width, self.precision, name="out")(jnp.concatenate(mixed, axis=-1))

    def _as_drawn(self, vectors, present, train):
        block = cross_attention.AttentionBlock(
            self.width,
            self.heads,
            self.feed_forward,
            self.norm,
            self.dropout,
            self.precision,
            name="cross",
        )
        # A row without any modality is padding of the batch, for the statistics of a batch norm.
        real = (present > 0)[:, None]
        # One call for all directions, whose statistics a batch norm then takes together.
        pairs = _against_others(vectors)
        query = jnp.concatenate([query for query, _ in pairs])
        memory = jnp.concatenate([memory for _, memory in pairs])
        mask = jnp.concatenate([real] * len(vectors))
        mixed = block(query, mask, memory, jnp.ones(memory.shape[:2]), train)[:, 0]
        joined = jnp.concatenate(jnp.split(mixed, len(vectors)), axis=-1)
        return dense.GeluMLP(self.width, self.precision, name="out")(joined)


def _against_others(vectors):
    """For each vector, itself as one query [batch, 1, width], the others as keys."""
    return [
        (query[:, None], jnp.stack([v for j, v in enumerate(vectors) if j != k], axis=1))
        for k, query in enumerate(vectors)
    ]
