"""The sections `model` and `realm`, and the section `model` of configs of a hypergraph file."""

import dataclasses

from ehr_jax import errors
from ehr_jax.models import registry
from ehr_jax.settings import Settings, setting

HALF_LAYERS = ("attention", "deep_set")
PRECISIONS = ("float32", "bfloat16")
VARIANTS = ("realm", "emerge_code", "emerge_paper", "concat", "tensor", "mag")
SERIES_ENCODERS = ("gru", "gru_d", "lstm", "transformer")
TWO_WAY = ("gru", "lstm")  # series encoders that can be bidirectional
NORMS = ("layer", "batch")
GATES = ("scalar", "input")
WIDEST = 65_536

_RATE = {"least": 0, "below": 1}
_PRECISION = "The type of the operands of matrix products; sums stay float32 with bfloat16 too."


@dataclasses.dataclass(frozen=True)
class Model(Settings):
    """The method, and its network over visits."""

    name: str = setting("mingle", "A method of models/registry.py.", choices=registry.OF_RECORDS)
    depth: int = setting(
        3, "L; hyperedges read their nodes L + 1 times.", unit="layers", least=0, most=1000
    )
    width: int = setting(48, "The width of every hidden layer.", least=1, most=WIDEST)
    heads: int = setting(4, "Attention heads; width is a multiple of them.", least=1, most=WIDEST)
    feed_forward_depth: int = setting(
        2, "Linear layers in each MLP of a half-layer.", unit="layers", least=1, most=1000
    )
    half_layer: str = setting(
        "attention", "How a hyperedge reads its nodes, and a node its hyperedges.",
        choices=HALF_LAYERS,
    )  # fmt: skip
    use_notes: bool = setting(True, "The network reads vectors of notes.")
    use_concepts: bool = setting(True, "The network reads vectors of code names.")
    train_nodes: bool = setting(True, "Node vectors are trained.")
    input_dropout: float = setting(0.2, "The dropout rate on node vectors.", **_RATE)
    dropout: float = setting(0.0, "The dropout rate between layers.", **_RATE)
    precision: str = setting("float32", _PRECISION, choices=PRECISIONS)


@dataclasses.dataclass(frozen=True)
class Realm(Settings):
    """The network over stays; it is read by REALM and its kin."""

    variant: str = setting(
        "realm",
        "The fusion: realm fuses sequences; emerge_code (as released), emerge_paper (as drawn), "
        "concat, tensor and mag fuse one vector of each input.",
        choices=VARIANTS,
    )
    width: int = setting(
        128,
        "The width of every token and vector; even, and a multiple of heads.",
        least=1,
        most=WIDEST,
    )
    heads: int = setting(4, "Attention heads; width is a multiple of them.", least=1, most=WIDEST)
    feed_forward: int = setting(
        256,
        "The hidden width of an attention block's MLP (not published for REALM).",
        least=1,
        most=WIDEST,
    )
    series_encoder: str = setting(
        "gru", "The network of the series; gru_d decays with the time since the last observation.",
        choices=SERIES_ENCODERS,
    )  # fmt: skip
    series_layers: int = setting(
        1, "Recurrent layers, or blocks of the transformer.", unit="layers", least=1, most=1000
    )
    bidirectional: bool = setting(
        False, "Recurrent layers run in both directions; gru and lstm only."
    )
    series_summary: bool = setting(
        False, "The head also reads statistics of the series (in neither paper)."
    )
    survival_days: tuple[float, ...] = setting(
        (),
        "Horizons of auxiliary targets: beside the labels the same head learns whether a training "
        "patient dies within each of these days after the prediction time, in hospital or later "
        "(in neither paper), with weight 1 whatever positive_weight is. The logged loss includes "
        "them; scores and validation do not.",
        unit="days",
        above=0,
        most=36_500,
        expected="days, above 0 and at most 36,500, such as (30, 90, 365), or ()",
    )
    norm: str = setting(
        "layer",
        "The normalisation in attention blocks; batch is over the stays of a training batch, as "
        "published, so that a training score depends on its batch.",
        choices=NORMS,
    )
    gate: str = setting(
        "scalar",
        "Mixing weights: scalar, as published, or input, computed for each stay.",
        choices=GATES,
    )
    use_series: bool = setting(True, "The network reads the series.")
    use_notes: bool = setting(True, "The network reads notes.")
    use_knowledge: bool = setting(
        True, "The network reads what is retrieved from the knowledge graph."
    )
    use_statics: bool = setting(True, "The network reads static features of the stay.")
    use_visit: bool = setting(
        False, "The network reads MINGLE's state of the visit's codes; model.name unified sets it."
    )
    dropout: float = setting(
        0.25,
        "The dropout rate in blocks, after the series encoder and texts, and in the head.",
        **_RATE,
    )
    precision: str = setting("float32", _PRECISION, choices=PRECISIONS)


@dataclasses.dataclass(frozen=True)
class NodeClassifier(Settings):
    """The network over the nodes of one hypergraph file."""

    name: str = setting("allset_transformer", "The method.", choices=registry.OF_NODES)
    depth: int = setting(
        1,
        "Layers of two half-layers each; for hgnn, convolutions.",
        unit="layers",
        least=1,
        most=1000,
    )
    width: int = setting(256, "The width of every hidden layer.", least=1, most=WIDEST)
    heads: int = setting(
        1,
        "Attention heads; width is a multiple of them; for allset_transformer only.",
        least=1,
        most=WIDEST,
    )
    feed_forward_depth: int = setting(
        2, "Linear layers in each MLP of a half-layer; not for hgnn.", unit="layers", least=1,
        most=1000,
    )  # fmt: skip
    dropout: float = setting(0.5, "The dropout rate between layers.", **_RATE)
    input_dropout: float = setting(0.2, "The dropout rate on the node features.", **_RATE)
    precision: str = setting("float32", _PRECISION, choices=PRECISIONS)

    def check_together(self) -> None:
        """Raises ConfigError unless heads divide width."""
        if self.name == "allset_transformer" and self.width % self.heads:
            raise errors.ConfigError(
                f"config.model.width is {self.width}, not a multiple of config.model.heads "
                f"({self.heads}); choose a width that the heads divide"
            )


def check_model(model: Model) -> None:
    """Raises ConfigError where these settings of MINGLE contradict each other."""
    if model.width % model.heads:
        raise errors.ConfigError(
            f"config.model.heads is {model.heads}; it must divide config.model.width, {model.width}"
        )


def check_realm(realm: Realm) -> None:
    """Raises ConfigError where these settings of REALM contradict each other."""
    if realm.width % realm.heads or realm.width % 2:
        raise errors.ConfigError(
            f"config.realm.width is {realm.width}; expected an even multiple of "
            f"config.realm.heads, {realm.heads}"
        )
    if realm.bidirectional and realm.series_encoder not in TWO_WAY:
        raise errors.ConfigError(
            f"config.realm.bidirectional is True with series_encoder '{realm.series_encoder}'; "
            "set it to False, or series_encoder to gru or lstm"
        )
    inputs = ("series", "notes", "knowledge", "statics", "visit")
    if not any(getattr(realm, f"use_{name}") for name in inputs):
        raise errors.ConfigError(
            "config.realm has use_series, use_notes, use_knowledge, use_statics and use_visit all "
            "False; the network has no input: set at least one to True"
        )


def check_method(model: Model, realm: Realm) -> None:
    """Raises ConfigError where settings of the network of model.name contradict each other.

    Args:
      model, realm: sections that `registry.configure` has changed for the method.
    """
    module = registry.find(model.name).module
    if module in (registry.MINGLE, registry.UNIFIED):
        check_model(model)
    if module in (registry.REALM, registry.UNIFIED):
        check_realm(realm)
