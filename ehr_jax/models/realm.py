"""REALM (arXiv 2402.07016) and EMERGE (arXiv 2406.00036v2): series, notes, knowledge fused.

Series on a grid, chunks of notes and knowledge retrieved for entities become a few modalities,
which a `variant` fuses; statics, and the state of a visit over codes, may join. The equations stand
with the parts: `nn.series_encoder`, `models.realm_streams`, `models.realm_fusions`, the settings in
`models.settings.Realm`.
"""

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ehr_jax import settings
from ehr_jax.models import inputs, realm_fusions, realm_streams
from ehr_jax.models import settings as model_settings
from ehr_jax.nn import dense, dropout, masks, series_encoder

VARIANTS = ("realm", *realm_fusions.OF_VECTORS)


class Evidence(NamedTuple):
    """What weighed how much in a score; weights of what is missing or padding are 0.

    Of the variants of single vectors the note chunks, and the entities, weigh alike, the last step
    alone counts, and no modality has a weight. Under REALM's fusion the weights of tokens are those
    of the pooling: over steps they sum to 1, and over chunks and entities together.

    Attributes:
      modality: [batch, modality] float32 in the order of `Realm.modalities`, or None.
      step: [batch, time] float32.
      chunk: [batch, chunk] float32.
      entity: [batch, entity] float32.
    """

    modality: jax.Array | None
    step: jax.Array
    chunk: jax.Array
    entity: jax.Array


class Realm(nn.Module):
    """The network; a modality that a stay lacks is masked, never read as zeros.

    Attributes: those of config.realm, and
      labels: number of outputs.
    """

    RATES = ("dropout",)
    SPREADS = False

    labels: int
    variant: str = "realm"
    width: int = 128
    heads: int = 4
    feed_forward: int = 256
    series_encoder: str = "gru"
    series_layers: int = 1
    bidirectional: bool = False
    series_summary: bool = False
    survival_days: tuple[float, ...] = ()
    norm: str = "layer"
    gate: str = "scalar"
    use_series: bool = True
    use_notes: bool = True
    use_knowledge: bool = True
    use_statics: bool = True
    use_visit: bool = False
    dropout: float = 0.25
    precision: str = "float32"

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names, in the order of `Evidence.modality`: some of series, text, visit."""
        names = ("series", "text", "visit")
        used = (self.use_series, self.use_notes or self.use_knowledge, self.use_visit)
        return tuple(name for name, use in zip(names, used, strict=True) if use)

    @nn.compact
    def __call__(
        self, stays: inputs.Stays, train: bool = False, with_weights: bool = False
    ) -> jax.Array | tuple[jax.Array, Evidence]:
        """Scores a batch of stays, each by itself.

        Draws from the "dropout" stream where `train`; with "batch" norms has the collection
        "batch_stats", which a training step must take as mutable.

        Returns:
          [batch, label] float32 logits, after them those of `survival_days` where `train`; and with
          `with_weights` the evidence.
        """
        fused, evidence = jnp.zeros((stays.steps.shape[0], 0)), _nothing(stays)
        if self.modalities and self.variant == "realm":
            fused, evidence = self._fused_sequences(stays, train)
        elif self.modalities:
            fused, evidence = self._fused_vectors(stays, train)
        logits = self._head(jnp.concatenate([fused, *self._beside(stays)], axis=-1), train)
        logits = logits if train else logits[:, : self.labels]
        return (logits, evidence) if with_weights else logits

    def _fused_sequences(self, stays, train):
        streams = {}
        if self.use_series:
            streams["series"] = self._series(stays, train)
        if self.use_notes or self.use_knowledge:
            streams["text"] = realm_streams.TextTokens(
                self.width,
                self.use_notes,
                self.use_knowledge,
                self.dropout,
                self.precision,
                name="text",
            )(stays, train)
        if self.use_visit:
            streams["visit"] = realm_streams.Visit(self.width, self.precision, name="visit")(stays)
        fused, modality, tokens = realm_fusions.SequenceFusion(
            self.width,
            self.heads,
            self.feed_forward,
            self.norm,
            self.gate,
            self.dropout,
            self.precision,
            name="fusion",
        )(list(streams.values()), train)
        weights = dict(zip(streams, tokens, strict=True))
        evidence = _nothing(stays)._replace(modality=modality)
        if self.use_series:
            evidence = evidence._replace(step=weights["series"])
        if "text" in weights:
            chunks = stays.note_mask.shape[1] if self.use_notes else 0
            if self.use_notes:
                evidence = evidence._replace(chunk=weights["text"][:, :chunks])
            if self.use_knowledge:
                evidence = evidence._replace(entity=weights["text"][:, chunks:])
        return fused, evidence

    def _fused_vectors(self, stays, train):
        vectors, present, evidence = [], [], _nothing(stays)
        if self.use_series:
            stream = self._series(stays, train)
            last = masks.last_weights(stream.mask)
            vectors.append(masks.weighted(stream.tokens, last))
            present.append(last.sum(1))
            evidence = evidence._replace(step=last)
        if self.use_notes or self.use_knowledge:
            text, there = realm_streams.TextVector(
                self.width,
                self.use_notes,
                self.use_knowledge,
                self.precision,
                name="text",
            )(stays)
            vectors.append(text)
            present.append(there)
            if self.use_notes:
                evidence = evidence._replace(chunk=masks.mean_weights(stays.note_mask))
            if self.use_knowledge:
                evidence = evidence._replace(entity=masks.mean_weights(stays.knowledge_mask))
        if self.use_visit:
            stream = realm_streams.Visit(self.width, self.precision, name="visit")(stays)
            vectors.append(stream.tokens[:, 0])
            present.append(stream.mask[:, 0])
        fused = realm_fusions.VectorFusion(
            self.variant,
            self.width,
            self.heads,
            self.feed_forward,
            self.norm,
            self.dropout,
            self.precision,
            name="fusion",
        )(vectors, present, train)
        return fused, evidence

    def _series(self, stays, train):
        encoder = series_encoder.SeriesEncoder(
            self.series_encoder,
            self.width,
            self.series_layers,
            self.heads,
            self.bidirectional,
            self.dropout,
            self.precision,
            parent=None,
        )
        return realm_streams.Series(encoder, self.use_statics, name="series")(stays, train)

    def _beside(self, stays):
        """What the head is given beside the fused vector, so that a stay without series has its
        statics too (inferred; published are demographics within the series alone)."""
        parts = [stays.statics] if self.use_statics else []
        if self.series_summary and self.use_series:
            parts.append(
                series_encoder.summary(stays.values, stays.observed, stays.hours, stays.step_mask)
            )
        # Records may have no statics, or series no variables; a kernel of no rows cannot be saved.
        parts = [part for part in parts if part.shape[-1]]
        if not parts:
            return []
        joined = jnp.concatenate(parts, axis=-1)
        return [dense.Dense(self.width, self.precision, name="beside")(joined)]

    def _head(self, fused, train):
        """REALM: one layer on sigma(z*), sigma taken to be GELU. The others: EMERGE's released head
        GELU-Linear-Dropout-Linear. Dropout before REALM's layer is inferred."""
        hidden = dense.gelu(fused)
        if self.variant != "realm":
            hidden = dense.Dense(self.width, self.precision, name="hidden")(hidden)
        hidden = dropout.Dropout(self.dropout)(hidden, train)
        return dense.Dense(self.labels + len(self.survival_days), name="out")(hidden)


def build(config, labels: int) -> Realm:
    """Returns the network of `config.realm`; a key that is not there keeps its default.

    Raises ConfigError where values do not fit.
    """
    checked = settings.read(model_settings.Realm, config, "config.realm")
    model_settings.check_realm(checked)
    return Realm(labels=labels, **dataclasses.asdict(checked))


def _nothing(stays: inputs.Stays) -> Evidence:
    steps, chunks = jnp.zeros(stays.values.shape[:2]), jnp.zeros(stays.note_mask.shape)
    return Evidence(None, steps, chunks, jnp.zeros(stays.knowledge_mask.shape))
