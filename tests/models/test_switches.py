"""A source that is switched off is not read, by any method, whatever of it changes.

Sources are found by the keys `use_<source>` of a method's config, and methods by the registry, so a
new method is held to this without a new line. Parameters are drawn at random, no bias zero: what
training could make of them. Where the loss of training samples is looked at and does not move
either, training would end in the same parameters.
"""

import dataclasses
import functools

import arrays as make_visits
import jax
import numpy as np
import pytest
import stays as make

from ehr_jax import config as base
from ehr_jax.models import registry
from ehr_jax.training import kinds

# Of each switch what it is about: fields of `prepare.Arrays`, or of `StayArrays.stays`.
VISITS = {"model.use_notes": ("notes", "has_note"), "model.use_concepts": ("concepts",)}
STAYS = {
    "realm.use_series": ("values", "observed", "elapsed", "hours", "steps"),
    "realm.use_statics": ("statics",),
    "realm.use_notes": ("notes", "note_hours", "note_mask"),
    "realm.use_knowledge": ("knowledge", "knowledge_hours", "knowledge_mask"),
    "realm.use_visit": ("visit", "has_visit"),
}
# Two halves of the sources, for methods that leave all of them on.
HALVES = (
    ("realm.use_series", "realm.use_knowledge"),
    ("realm.use_notes", "realm.use_statics"),
    ("model.use_notes",),
    ("model.use_concepts",),
)
COUNT = 90


@functools.cache
def visits():
    return make_visits.make_arrays(COUNT, nodes=8, labels=1)


@functools.cache
def stays():
    of_codes = dataclasses.replace(visits(), split=make.arrays(COUNT).split, label_names=("y",))
    of_codes = dataclasses.replace(of_codes, shapes=of_codes.split == "train")
    made = make.arrays(COUNT)
    labels = np.where(np.isnan(of_codes.labels), 0, of_codes.labels)
    return dataclasses.replace(
        made,
        labels=labels,
        survival=made.survival[:, :0],
        label_names=("mortality",),
        visits=dataclasses.replace(of_codes, labels=labels),
        scores={"apache iv": np.random.default_rng(0).random(COUNT)},
    )


def configured(name: str, off: tuple[str, ...]):
    config = base.defaults()
    config.model.update({"depth": 1, "heads": 2})
    config.realm.update({"width": 8, "heads": 2, "feed_forward": 6})
    config.train.batch = 8
    config = registry.configure(config, name)
    config.model.width = 8
    config.update_from_flattened_dict(dict.fromkeys(off, False))
    return config


def changed(array: np.ndarray) -> np.ndarray:
    """Another array of the same form: the other way round, or moved by noise."""
    array = np.asarray(array)
    if array.dtype == bool:
        return ~array
    if array.size and set(np.unique(array)) <= {0, 1} or array.dtype.kind == "i":
        return (array.max(initial=0) - array).astype(array.dtype)
    noise = np.random.default_rng(7).normal(size=array.shape)
    return (array + 1 + noise).astype(array.dtype)


def without(arrays, switch: str):
    """`arrays` of which all that `switch` is about has changed, in every split."""
    if switch in VISITS:
        moved = {name: changed(getattr(arrays, name)) for name in VISITS[switch]}
        return dataclasses.replace(arrays, **moved)
    moved = {name: changed(arrays.stays[name]) for name in STAYS[switch]}
    return dataclasses.replace(arrays, stays={**arrays.stays, **moved})


def scorer(config):
    """arrays -> what may move: scores, and of some networks the training loss."""
    method = registry.resolve(config.model.name)
    if not method.is_network:
        return lambda arrays: [method.fit_predict(arrays, config, 0)]
    model = registry.build(config, 1)

    def build(arrays):
        return method.kind.build(kinds.job(config, arrays))

    @make.quick_jit
    def figures(params, data):
        scores = data.validation_logits(params, model)
        # The network of most methods over stays is one class: its training is compiled once.
        if method.entry.inputs.name == "stays" and config.model.name != "realm_series":
            return (scores,)
        return scores, data.loss(params, model, jax.random.key(1), 0)[0]

    rng, kept = np.random.default_rng(3), []

    def drawn(path, leaf):
        values = 0.4 * rng.normal(size=leaf.shape).astype(np.float32)
        return np.abs(values) + 0.1 if path[-1].key == "variance" else values

    def score(arrays):
        data = build(arrays)
        if not kept:
            shapes = jax.eval_shape(lambda: data.init(model, jax.random.key(0)))
            kept.append(jax.tree_util.tree_map_with_path(drawn, shapes))
        return figures(kept[0], data)

    return score


def moved(one, other) -> bool:
    return any(not np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other, strict=True))


def cases():
    """Every method as it is registered, and those that leave all on with halves switched off."""
    for name, method in registry.METHODS.items():
        if method.inputs in (registry.SEQUENCES, registry.NODES):
            continue  # its arrays have no field that a switch is about
        # Two networks in one take long to compile: one of their choices is tried by default.
        slow = method.module == registry.UNIFIED and name != "unified_codes"
        yield pytest.param(name, (), id=name, marks=[pytest.mark.slow] if slow else [])
        fixed = any(not value for key, value in method.overrides.items() if "use_" in key
                    and key != "realm.use_visit")  # fmt: skip
        sections = ("model",) if method.inputs == registry.VISITS else ("realm",)
        if fixed or method.section == "" or not registry.resolve(name).is_network:
            continue
        for half in HALVES:
            if half[0].startswith(sections) and name not in ("mingle", "mlp_notes"):
                yield pytest.param(name, half, id=f"{name}-{half[0]}")


def test_every_switch_is_known_here():
    config = base.defaults()
    found = {
        f"{room}.{key}" for room in ("model", "realm") for key in config[room] if key[:4] == "use_"
    }
    assert found == VISITS.keys() | STAYS.keys()


@pytest.mark.parametrize(("name", "off"), list(cases()))
def test_what_is_switched_off_moves_no_score_and_no_loss(name, off):
    config, kind = configured(name, off), registry.find(name).inputs.name
    arrays = visits() if kind == "visits" else stays()
    switches = VISITS if kind == "visits" else STAYS
    values = {key: config[key.split(".")[0]][key.split(".")[1]] for key in switches}
    score = scorer(config)
    expected = score(arrays)
    for switch in [key for key, on in values.items() if not on]:
        assert not moved(score(without(arrays, switch)), expected), switch
    if name in ("mingle", "realm") and not off:
        for switch in [key for key, on in values.items() if on]:
            assert moved(score(without(arrays, switch)), expected), switch
    if registry.find(name).module == registry.UNIFIED:
        # Notes are REALM's modality, and enter once.
        of_codes = without(arrays.visits, "model.use_notes")
        assert not moved(score(dataclasses.replace(arrays, visits=of_codes)), expected)
