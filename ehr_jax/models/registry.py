"""The registry of methods: by name, the file that makes it and the config keys it sets.

A new method is one entry here and one file. The file of a network has `build(section, labels)`,
where `section` is the entry's section of the config. The file of any other method has
`fit_predict(arrays, config, seed)`.
`resolve` imports the file; nothing heavy is imported before.
"""

import dataclasses
import importlib
from types import ModuleType
from typing import Any, NamedTuple

import ml_collections

from ehr_jax import errors, plugins


class Inputs(NamedTuple):
    """A kind of input, by what is known of it before its module is imported.

    Attributes:
      module: the module of the kind, over records a `training.kinds.Kind`.
      name: the name of the input in messages. Kinds of the same name have arrays of the same class,
        so that one benchmark can compare their methods.
      in_shards: True if one device can compute the input in shards, one after another.
      features: the settings of config.features that it is made by; None for any of them. A config
        that sets one of the others is refused.
    """

    module: str
    name: str
    in_shards: bool = False
    features: tuple[str, ...] | None = None


VISITS = Inputs("ehr_jax.training.visit_kind", "visits", in_shards=True)
STAYS = Inputs("ehr_jax.training.stay_kind", "stays")
STAYS_WITH_VISITS = Inputs("ehr_jax.training.unified_kind", "stays")
SEQUENCES = Inputs(
    "ehr_jax.training.sequence_kind", "sequences of visits", features=("categories", "min_visits")
)
NODES = Inputs("ehr_jax.training.node_kind", "nodes of a hypergraph file")


class Entry(NamedTuple):
    """A method, by what is known of it before its module is imported.

    Attributes:
      label: the method's name in tables.
      module: the module that makes it.
      overrides: config keys, such as "model.use_notes", with the values that the method sets.
      inputs: its kind of input.
      section: the section of the config that its network is built from; "" for the whole config.
      teaches: the kinds of input whose networks it can teach (config.train.teacher).
      reads_nodes: False if, of visits, it reads no vectors of nodes: neither those of structure
        nor, whatever config.model.use_concepts is, those of names.
      is_network: True if it is trained by steps of an optimiser (its module has `build`), False if
        it is fitted by its own `fit_predict`.
      uses_seed: False if it is fitted once for all training seeds.
    """

    label: str
    module: str
    overrides: dict[str, Any]
    inputs: Inputs = VISITS
    section: str = "model"
    teaches: tuple[Inputs, ...] = ()
    reads_nodes: bool = True
    is_network: bool = True
    uses_seed: bool = True


@dataclasses.dataclass(frozen=True)
class Method:
    """A method with its modules imported.

    Attributes:
      name: its key in `METHODS`.
      entry: its value in `METHODS`.
      kind: the module of its kind of input, over records a `training.kinds.Kind`.
      module: the module that makes it.
    """

    name: str
    entry: Entry
    kind: Any
    module: ModuleType

    @property
    def is_network(self) -> bool:
        """True if the method is trained by steps of an optimiser."""
        return self.entry.is_network

    @property
    def uses_seed(self) -> bool:
        """False if the method is fitted once for all training seeds."""
        return self.entry.uses_seed

    def network(self, config: ml_collections.ConfigDict, labels: int) -> Any:
        """Returns the network of `config`; ConfigError where its settings contradict each other."""
        section = self.entry.section
        return self.module.build(config[section] if section else config, labels)

    def fit_predict(self, arrays: Any, config: ml_collections.ConfigDict, seed: int) -> Any:
        """Fits a method that is no network; returns the probabilities [sample, label]."""
        return self.module.fit_predict(arrays, config, seed)


REALM = "ehr_jax.models.realm"
MINGLE = "ehr_jax.models.mingle"
UNIFIED = "ehr_jax.models.unified"
BASELINES = "ehr_jax.models.baselines"
NODE_CLASSIFIERS = "ehr_jax.models.node_classifiers"


# The switches of the inputs of a method over stays.
_SWITCHES = tuple(
    f"realm.use_{name}" for name in ("series", "statics", "notes", "knowledge", "visit")
)


def _realm(label: str, **changes) -> Entry:
    overrides = {f"realm.{key}": value for key, value in changes.items()}
    return Entry(label, REALM, overrides | {"realm.use_visit": False}, STAYS, "realm")


def _unified(label: str, **changes) -> Entry:
    overrides = {f"realm.{key}": value for key, value in changes.items()}
    return Entry(label, UNIFIED, overrides | {"realm.use_visit": True}, STAYS_WITH_VISITS, "")


METHODS = {
    "mingle": Entry("MINGLE", MINGLE, {}),
    "mingle_no_notes": Entry("MINGLE without notes", MINGLE, {"model.use_notes": False}),
    "mingle_no_concepts": Entry(
        "MINGLE without concept semantics", MINGLE, {"model.use_concepts": False}
    ),
    "hypehr": Entry(
        "HypEHR (neither)", MINGLE, {"model.use_notes": False, "model.use_concepts": False}
    ),
    "alldeepsets": Entry(
        "AllDeepSets",
        MINGLE,
        {
            "model.use_notes": False,
            "model.use_concepts": False,
            "model.half_layer": "deep_set",
        },
    ),
    "mlp": Entry(
        "MLP",
        f"{BASELINES}.mlp",
        {"model.use_notes": False, "model.width": 128, "model.dropout": 0.5},
        reads_nodes=False,
    ),
    "mlp_notes": Entry(
        "MLP with notes",
        f"{BASELINES}.mlp",
        {"model.use_notes": True, "model.width": 128, "model.dropout": 0.5},
        reads_nodes=False,
    ),
    "logistic_regression": Entry(
        "Logistic regression",
        f"{BASELINES}.logistic_regression",
        {"model.use_notes": False},
        teaches=(VISITS,),
        reads_nodes=False,
        is_network=False,
        uses_seed=False,
    ),
    "logistic_regression_notes": Entry(
        "Logistic regression with notes",
        f"{BASELINES}.logistic_regression",
        {"model.use_notes": True},
        teaches=(VISITS,),
        reads_nodes=False,
        is_network=False,
        uses_seed=False,
    ),
    "gru_visits": Entry(
        "GRU over visits", "ehr_jax.models.gru_visits", {"model.use_notes": False}, SEQUENCES
    ),
    "realm": _realm("REALM"),
    "realm_series": _realm("REALM, series alone", use_notes=False, use_knowledge=False),
    "realm_notes": _realm(
        "REALM, notes alone", use_series=False, use_statics=False, use_knowledge=False
    ),
    "realm_knowledge": _realm(
        "REALM, knowledge alone", use_series=False, use_statics=False, use_notes=False
    ),
    "realm_no_knowledge": _realm("REALM without knowledge", use_knowledge=False),
    "realm_no_notes": _realm("REALM without notes", use_notes=False),
    "emerge_code": _realm("EMERGE as released", variant="emerge_code"),
    "emerge_paper": _realm("EMERGE as drawn", variant="emerge_paper"),
    "concat": _realm("Concatenation", variant="concat"),
    "tensor_fusion": _realm("Tensor fusion", variant="tensor"),
    "mag": _realm("MAG", variant="mag"),
    "unified": _unified("MINGLE and REALM"),
    "unified_codes": _unified(
        "MINGLE and REALM, codes alone",
        use_series=False,
        use_statics=False,
        use_notes=False,
        use_knowledge=False,
    ),
    "unified_series_codes": _unified(
        "MINGLE and REALM, series and codes", use_notes=False, use_knowledge=False
    ),
    "unified_notes_codes": _unified(
        "MINGLE and REALM, notes and codes",
        use_series=False,
        use_statics=False,
        use_knowledge=False,
    ),
    "apache_iv": Entry(
        "APACHE IV",
        f"{BASELINES}.apache_iv",
        dict.fromkeys(_SWITCHES, False),
        STAYS,
        is_network=False,
        uses_seed=False,
    ),
    "lightgbm_windows": Entry(
        "LightGBM on window statistics",
        f"{BASELINES}.lightgbm_windows",
        dict.fromkeys(_SWITCHES, False) | {"realm.use_series": True, "realm.use_statics": True},
        STAYS,
        teaches=(STAYS, STAYS_WITH_VISITS),
        is_network=False,
    ),
    "lightgbm": Entry(
        "LightGBM",
        f"{BASELINES}.lightgbm_trees",
        {"model.use_notes": False},
        teaches=(VISITS,),
        reads_nodes=False,
        is_network=False,
    ),
    "allset_transformer": Entry("AllSetTransformer", NODE_CLASSIFIERS, {}, NODES),
    "alldeepsets_nodes": Entry("AllDeepSets", NODE_CLASSIFIERS, {}, NODES),
    "hgnn": Entry("HGNN", NODE_CLASSIFIERS, {}, NODES),
}


NAMES = plugins.Names("ehr_jax.methods", METHODS)
# What config.model.name may be in a config on a hypergraph file, and in one on records.
OF_NODES = tuple(name for name, entry in METHODS.items() if entry.inputs is NODES)
OF_RECORDS = plugins.Names("ehr_jax.methods", [name for name in METHODS if name not in OF_NODES])


def find(name: str) -> Entry:
    """Returns the entry of a method; ConfigError where there is none (see `plugins.find`)."""
    return plugins.find("config.model.name", NAMES, name, Entry)


def configure(config: ml_collections.ConfigDict, name: str) -> ml_collections.ConfigDict:
    """Returns a copy of `config` for the method `name`, with the keys that the method sets."""
    copy = ml_collections.ConfigDict(config.to_dict())
    copy.model.name = name
    copy.update_from_flattened_dict(find(name).overrides)
    return copy


def resolve(name: str) -> Method:
    """Imports the method `name`; ConfigError where there is none or a package is missing."""
    entry = find(name)
    return Method(name, entry, importlib.import_module(entry.inputs.module), _load(name, entry))


def build(config: ml_collections.ConfigDict, labels: int) -> Any:
    """Returns the network of config.model.name with outputs for so many `labels`.

    Raises ConfigError where its settings contradict each other.
    """
    return resolve(config.model.name).network(config, labels)


def _load(name: str, entry: Entry) -> ModuleType:
    """Imports the method's module; ConfigError says how to install a package that it needs."""
    try:
        return importlib.import_module(entry.module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("ehr_jax"):
            raise
        raise errors.ConfigError(
            f"method '{name}' needs the package '{error.name}', which is not installed; "
            "install the extra: pip install 'ehr_jax[baselines]'"
        ) from error
