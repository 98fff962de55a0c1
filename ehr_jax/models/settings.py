"""The sections `model` and `realm`, and that of networks for one hypergraph file."""

import dataclasses

from ehr_jax import errors
from ehr_jax.models import registry
from ehr_jax.settings import setting

HALF_LAYERS = ("attention", "deep_set")
PRECISIONS = ("float32", "bfloat16")
VARIANTS = ("realm", "emerge_code", "emerge_paper", "concat", "tensor", "mag")
SERIES_ENCODERS = ("gru", "gru_d", "lstm", "transformer")
TWO_WAY = ("gru", "lstm")  # of these
NORMS = ("layer", "batch")
GATES = ("scalar", "input")
NODE_CLASSIFIERS = ("allset_transformer", "alldeepsets", "hgnn")
WIDEST = 65_536

_RATE = {"least": 0, "below": 1}
_PRECISION = "The operands of products; with bfloat16 sums stay float32."


@dataclasses.dataclass(frozen=True)
class Model:
    """The method, and its network over visits."""

    name: str = setting("mingle", "A method of models/registry.py.", choices=registry.NAMES)
    depth: int = setting(
        3, "L, of L + 1 readings of nodes by hyperedges.", unit="layers", least=0, most=1000
    )
    width: int = setting(48, "Of every hidden layer.", least=1, most=WIDEST)
    heads: int = setting(4, "Attention heads, which divide width.", least=1, most=WIDEST)
    feed_forward_depth: int = setting(
        2, "Linear layers in each MLP of a half-layer.", unit="layers", least=1, most=1000
    )
    half_layer: str = setting(
        "attention", "How a hyperedge reads its nodes, and a node its hyperedges.",
        choices=HALF_LAYERS,
    )  # fmt: skip
    use_notes: bool = setting(True, "Vectors of notes.")
    use_concepts: bool = setting(True, "Vectors of code names.")
    train_nodes: bool = setting(True, "Node vectors are trained.")
    input_dropout: float = setting(0.2, "The rate on node vectors.", **_RATE)
    dropout: float = setting(0.0, "The rate between layers.", **_RATE)
    precision: str = setting("float32", _PRECISION, choices=PRECISIONS)


@dataclasses.dataclass(frozen=True)
class Realm:
    """The network over stays; it is read by REALM and its kin."""

    variant: str = setting(
        "realm",
        "realm: REALM's fusion of sequences; of single vectors: emerge_code (as released), "
        "emerge_paper (as drawn), concat, tensor, mag.",
        choices=VARIANTS,
    )
    width: int = setting(
        128, "Of every token and vector; an even multiple of heads.", least=1, most=WIDEST
    )
    heads: int = setting(4, "Attention heads, which divide width.", least=1, most=WIDEST)
    feed_forward: int = setting(
        256, "The width within an attention block (not published for REALM).", least=1, most=WIDEST
    )
    series_encoder: str = setting(
        "gru", "The network of the series; gru_d decays since values were last seen.",
        choices=SERIES_ENCODERS,
    )  # fmt: skip
    series_layers: int = setting(
        1, "Of recurrence, or blocks of the transformer.", unit="layers", least=1, most=1000
    )
    bidirectional: bool = setting(False, "Run the recurrent layers both ways; gru and lstm alone.")
    series_summary: bool = setting(
        False, "The head is given statistics of the series too (in neither paper)."
    )
    survival_days: tuple[float, ...] = setting(
        (),
        "Deaths of training patients within so many days of the prediction time, in hospital or "
        "after, are learned beside the labels by the same head (in neither paper), each with "
        "weight 1 whatever positive_weight is. The logged loss is of both; scores and validation "
        "are of labels alone.",
        unit="days",
        above=0,
        most=36_500,
        expected="days, above 0 and at most 36,500, such as (30, 90, 365), or ()",
    )
    norm: str = setting(
        "layer",
        "Of attention blocks; batch is over the stays of a training batch, as published, and makes "
        "a training score depend on its batch.",
        choices=NORMS,
    )
    gate: str = setting(
        "scalar", "Mixing weights as published, or input: each stay has its own.", choices=GATES
    )
    use_series: bool = setting(True, "Series.")
    use_notes: bool = setting(True, "Notes.")
    use_knowledge: bool = setting(True, "What is retrieved from the knowledge graph.")
    use_statics: bool = setting(True, "Statics of the stay.")
    use_visit: bool = setting(
        False, "The state of the visit's codes, by MINGLE; of model.name unified."
    )
    dropout: float = setting(
        0.25, "The rate in blocks, after the series encoder, text and in the head.", **_RATE
    )
    precision: str = setting("float32", _PRECISION, choices=PRECISIONS)


@dataclasses.dataclass(frozen=True)
class NodeClassifier:
    """The network over the nodes of one hypergraph file."""

    name: str = setting("allset_transformer", "The method.", choices=NODE_CLASSIFIERS)
    depth: int = setting(
        1, "Two half-layers each; of hgnn, convolutions.", unit="layers", least=1, most=1000
    )
    width: int = setting(256, "Of every hidden layer.", least=1, most=WIDEST)
    heads: int = setting(
        1, "Attention heads, which divide width; of allset_transformer alone.", least=1, most=WIDEST
    )
    feed_forward_depth: int = setting(
        2, "Linear layers in each MLP of a half-layer; not of hgnn.", unit="layers", least=1,
        most=1000,
    )  # fmt: skip
    dropout: float = setting(0.5, "The rate between layers.", **_RATE)
    input_dropout: float = setting(0.2, "The rate on the node features.", **_RATE)
    precision: str = setting("float32", _PRECISION, choices=PRECISIONS)

    def check_together(self) -> None:
        """Raises ConfigError unless heads divide width."""
        if self.name == "allset_transformer" and self.width % self.heads:
            raise errors.ConfigError(
                f"config.model.width is {self.width}, not a multiple of config.model.heads "
                f"({self.heads}); choose a width that the heads divide"
            )


def check_model(model: Model) -> None:
    """Raises ConfigError where MINGLE cannot have these settings together."""
    if model.width % model.heads:
        raise errors.ConfigError(
            f"config.model.heads is {model.heads}; it must divide config.model.width, {model.width}"
        )


def check_realm(realm: Realm) -> None:
    """Raises ConfigError where REALM cannot have these settings together."""
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
    """Raises ConfigError where the method of config.model.name cannot have its settings together.

    They are those that the method sets itself (`registry.configure`).
    """
    module = registry.find(model.name).module
    if module in (registry.MINGLE, registry.UNIFIED):
        check_model(model)
    if module in (registry.REALM, registry.UNIFIED):
        check_realm(realm)
