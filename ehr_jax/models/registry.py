"""Methods by name: which file makes one, and what a config must say for it.

A new method is one file with `build(config.model, labels)` (a network) or
`fit_predict(arrays, config, seed)` (anything else; with `USES_SEED = False` it is fitted once for
all seeds), and one entry here.
"""

import importlib
from types import ModuleType
from typing import Any, NamedTuple

import ml_collections

from ehr_jax import errors


class Method(NamedTuple):
    """How a method is called in tables, where it lives, and the config keys it sets.

    `inputs` says what it is given: "visits" over codes (features.prepare) or "stays"
    (features.stays). `section` is that of the config a network is built from, "" for all of it.
    """

    label: str
    module: str
    overrides: dict[str, Any]
    inputs: str = "visits"
    section: str = "model"


REALM = "ehr_jax.models.realm"
MINGLE = "ehr_jax.models.mingle"
UNIFIED = "ehr_jax.models.unified"
BASELINES = "ehr_jax.models.baselines"


# What a method over stays may be given.
_SOURCES = tuple(
    f"realm.use_{name}" for name in ("series", "statics", "notes", "knowledge", "visit")
)


def _realm(label: str, **changes) -> Method:
    overrides = {f"realm.{key}": value for key, value in changes.items()}
    return Method(label, REALM, overrides | {"realm.use_visit": False}, "stays", "realm")


def _unified(label: str, **changes) -> Method:
    overrides = {f"realm.{key}": value for key, value in changes.items()}
    return Method(label, UNIFIED, overrides | {"realm.use_visit": True}, "stays", "")


METHODS = {
    "mingle": Method("MINGLE", MINGLE, {}),
    "mingle_no_notes": Method("MINGLE without notes", MINGLE, {"model.use_notes": False}),
    "mingle_no_concepts": Method(
        "MINGLE without concept semantics", MINGLE, {"model.use_concepts": False}
    ),
    "hypehr": Method(
        "HypEHR (neither)", MINGLE, {"model.use_notes": False, "model.use_concepts": False}
    ),
    "alldeepsets": Method(
        "AllDeepSets",
        MINGLE,
        {
            "model.use_notes": False,
            "model.use_concepts": False,
            "model.half_layer": "deep_set",
        },
    ),
    "mlp": Method(
        "MLP",
        f"{BASELINES}.mlp",
        {"model.use_notes": False, "model.width": 128, "model.dropout": 0.5},
    ),
    "mlp_notes": Method(
        "MLP with notes",
        f"{BASELINES}.mlp",
        {"model.use_notes": True, "model.width": 128, "model.dropout": 0.5},
    ),
    "logistic_regression": Method(
        "Logistic regression",
        f"{BASELINES}.logistic_regression",
        {"model.use_notes": False},
    ),
    "logistic_regression_notes": Method(
        "Logistic regression with notes",
        f"{BASELINES}.logistic_regression",
        {"model.use_notes": True},
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
    "apache_iv": Method(
        "APACHE IV", f"{BASELINES}.apache_iv", dict.fromkeys(_SOURCES, False), "stays"
    ),
    "lightgbm_windows": Method(
        "LightGBM on window statistics",
        f"{BASELINES}.lightgbm_windows",
        dict.fromkeys(_SOURCES, False) | {"realm.use_series": True, "realm.use_statics": True},
        "stays",
    ),
    "lightgbm": Method("LightGBM", f"{BASELINES}.lightgbm_trees", {"model.use_notes": False}),
}


def find(name: str) -> Method:
    """Returns the method called `name`; ConfigError with the near miss where there is none."""
    if name not in METHODS:
        raise errors.ConfigError(
            f"config.model.name is '{name}'; expected one of {', '.join(METHODS)}."
            + errors.did_you_mean(name, METHODS)
        )
    return METHODS[name]


def configure(config: ml_collections.ConfigDict, name: str) -> ml_collections.ConfigDict:
    """Returns a copy of `config` that runs the method `name`."""
    made = ml_collections.ConfigDict(config.to_dict())
    made.model.name = name
    made.update_from_flattened_dict(find(name).overrides)
    return made


def build(config: ml_collections.ConfigDict, labels: int) -> Any:
    """Returns the network of config.model.name; ConfigError where its settings do not fit."""
    section = find(config.model.name).section
    return load(config.model.name).build(config[section] if section else config, labels)


def is_network(name: str) -> bool:
    """Is the method trained as a network, by its `build`, and not fitted by `fit_predict`?"""
    return hasattr(load(name), "build")


def is_fitted_once(name: str) -> bool:
    """Does a method that is no network give the same whatever the seed?"""
    return not getattr(load(name), "USES_SEED", True)


def load(name: str) -> ModuleType:
    """Imports the method's file; ConfigError says how to get a package it needs."""
    method = find(name)
    try:
        return importlib.import_module(method.module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("ehr_jax"):
            raise
        raise errors.ConfigError(
            f"method '{name}' needs the package '{error.name}', which is not installed; "
            "install the extra: pip install 'ehr_jax[baselines]'"
        ) from error
