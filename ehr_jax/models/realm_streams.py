"""The modalities of a stay as sequences of tokens (REALM) or as single vectors (EMERGE)."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ehr_jax.models import inputs
from ehr_jax.nn import dense, dropout, masks, series_encoder

SAME_TIME = 1 / 120  # hours; a note and what was found in it are charted together


class Stream(NamedTuple):
    """A modality's tokens.

    Attributes:
      tokens: [batch, token, width] float32, zero in padding.
      mask: [batch, token] float32.
      hours: [batch, token] float32, or None for a modality without times.
    """

    tokens: jax.Array
    mask: jax.Array
    hours: jax.Array | None


class Series(nn.Module):
    """e_ts, the sequence of states over the grid (`series_encoder.SeriesEncoder`)."""

    encoder: series_encoder.SeriesEncoder
    use_statics: bool

    @nn.compact
    def __call__(self, stays: inputs.Stays, train: bool) -> Stream:
        """One token a step."""
        always = stays.statics if self.use_statics else stays.statics[:, :0]
        mask = stays.step_mask
        tokens = self.encoder(
            stays.values, stays.observed, stays.elapsed, stays.hours, mask, always, train
        )
        return Stream(tokens, mask, stays.hours)


class TextTokens(nn.Module):
    """u = MLP([e_txt ; e_rag]) of REALM (arXiv 2402.07016), one token a note chunk or entity.

    The paper has one e_txt and one e_rag a visit. Inferred: a token is a chunk or an entity at its
    own time, its other half the mean of what the other source holds at the same time (for knowledge
    found in a note, that note's chunks), and a learned vector where it holds nothing. Chunks come
    first. Where one source is switched off, u = MLP(the other).
    """

    width: int
    use_notes: bool
    use_knowledge: bool
    dropout: float = 0.0
    precision: str = "float32"

    @nn.compact
    def __call__(self, stays: inputs.Stays, train: bool) -> Stream:
        """One token a chunk, then one an entity."""
        sources = []
        if self.use_notes:
            sources.append(("note", stays.notes, stays.note_mask, stays.note_hours))
        if self.use_knowledge:
            sources.append(
                ("knowledge", stays.knowledge, stays.knowledge_mask, stays.knowledge_hours)
            )
        hours = jnp.concatenate([hours for *_, hours in sources], axis=1)
        mask = jnp.concatenate([mask for *_, mask, _ in sources], axis=1)
        halves, first = [], 0
        for name, vectors, source_mask, source_hours in sources:
            own = dense.Dense(self.width, self.precision, name=name)(
                masks.cleared(vectors, source_mask)
            )
            half, found = _at(hours, own, source_mask, source_hours)
            # Its own tokens hold themselves, not the mean of all that share their time.
            here = slice(first, first + own.shape[1])
            half, found = half.at[:, here].set(own), found.at[:, here].set(source_mask > 0)
            halves.append(or_missing(self, f"no_{name}", half, found))
            first += own.shape[1]
        u = dense.GeluMLP(self.width, self.precision, name="text")(jnp.concatenate(halves, axis=-1))
        u = dropout.Dropout(self.dropout)(u, train)
        return Stream(masks.cleared(u, mask), mask, hours)


class Visit(nn.Module):
    """The visit's state as one token without a time; neither paper has this modality."""

    width: int
    precision: str = "float32"

    @nn.compact
    def __call__(self, stays: inputs.Stays) -> Stream:
        """One token."""
        mask = stays.has_visit[:, None]
        tokens = dense.Dense(self.width, self.precision)(
            masks.cleared(stays.visit, stays.has_visit)
        )
        return Stream(masks.cleared(tokens[:, None], mask), mask, None)


class TextVector(nn.Module):
    """h_text = Linear([Linear(note) ; Linear(knowledge)]), EMERGE's released "concat" text fusion.

    It has one vector of the notes and one of the knowledge. Inferred: the mean over chunks and over
    entities, and a learned vector in place of a half that is missing. Where one source is switched
    off, h_text = Linear(the other).
    """

    width: int
    use_notes: bool
    use_knowledge: bool
    precision: str = "float32"

    @nn.compact
    def __call__(self, stays: inputs.Stays) -> tuple[jax.Array, jax.Array]:
        """[batch, width], and [batch] float32: 1 where there is a note or knowledge."""
        sources = []
        if self.use_notes:
            sources.append(("note", stays.notes, stays.note_mask))
        if self.use_knowledge:
            sources.append(("knowledge", stays.knowledge, stays.knowledge_mask))
        halves, present = [], jnp.zeros(stays.steps.shape, bool)
        for name, vectors, mask in sources:
            mean = masks.weighted(masks.cleared(vectors, mask), masks.mean_weights(mask))
            half, found = (
                dense.Dense(self.width, self.precision, name=name)(mean),
                (mask > 0).any(1),
            )
            halves.append(or_missing(self, f"no_{name}", half, found))
            present |= found
        if len(halves) == 1:
            return halves[0], present.astype(jnp.float32)
        text = dense.Dense(self.width, self.precision, name="text")(
            jnp.concatenate(halves, axis=-1)
        )
        return text, present.astype(jnp.float32)


def or_missing(module: nn.Module, name: str, vectors: jax.Array, present: jax.Array) -> jax.Array:
    """`vectors` [..., width], or a learned vector of `module` where `present` [...] is 0."""
    missing = module.param(name, nn.initializers.normal(0.02), (vectors.shape[-1],))
    return jnp.where(present[..., None] > 0, vectors, missing)


def _at(hours, vectors, mask, vector_hours):
    """The mean of `vectors` [batch, item, width] at each of `hours` [batch, token], and whether
    there is any."""
    same = jnp.abs(hours[:, :, None] - vector_hours[:, None, :]) < SAME_TIME
    weights = masks.mean_weights(same * mask[:, None, :])  # [batch, token, item]
    return jnp.einsum("bti,bid->btd", weights, vectors), weights.sum(-1) > 0
