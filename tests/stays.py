"""Small random batches of stays, and small networks over them with parameters drawn here."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ehr_jax.features import stays as features
from ehr_jax.models import inputs, realm

MASKS = ("steps", "note_mask", "knowledge_mask", "has_visit")


def draw(
    batch=5, time=6, chunks=3, entities=4, variables=3, statics=2, text=7, visit=4, seed=0
) -> inputs.Stays:
    """Stays of every kind: the first has all modalities, the second none, others some."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    def mask(*shape):
        there = (rng.random(shape) < 0.6).astype(np.float32)
        there[0], there[1] = 1, 0
        return there

    steps = rng.integers(1, time + 1, batch) if time else np.zeros(batch, int)
    steps[0], steps[1] = time, 0
    return inputs.Stays(
        values=normal(batch, time, variables),
        observed=(rng.random((batch, time, variables)) < 0.5).astype(np.float32),
        elapsed=rng.exponential(5, (batch, time, variables)).astype(np.float32),
        hours=np.tile(np.arange(1.0, time + 1, dtype=np.float32), (batch, 1)),
        steps=steps.astype(np.int32),
        statics=normal(batch, statics),
        notes=normal(batch, chunks, text),
        # Few distinct times, so that chunks and entities share some.
        note_hours=rng.integers(0, 3, (batch, chunks)).astype(np.float32),
        note_mask=mask(batch, chunks),
        knowledge=normal(batch, entities, text),
        knowledge_hours=rng.integers(0, 3, (batch, entities)).astype(np.float32),
        knowledge_mask=mask(batch, entities),
        visit=normal(batch, visit),
        has_visit=mask(batch),
    )


def arrays(count: int = 40, seed: int = 0) -> features.StayArrays:
    """Samples with a label and two days of survival, a third of them in each split."""
    drawn = draw(batch=count, seed=seed)
    return features.StayArrays(
        stays={name: np.asarray(getattr(drawn, name)) for name in drawn.__dataclass_fields__},
        variables=("a", "b", "c"),
        fitted=None,
        labels=(np.random.default_rng(seed).random((count, 1)) < 0.4).astype(np.float32),
        survival=np.zeros((count, 2), np.float32),
        label_names=("y",),
        split=np.array(["train", "validation", "test"])[np.arange(count) % 3],
        subjects=np.arange(count),
        counts={},
        retrieved=None,
    )


def lengthened(stays: inputs.Stays, steps=3, chunks=2, entities=1, rows=2, seed=9) -> inputs.Stays:
    """The same stays with padding on every axis, filled with numbers that mean nothing."""
    rng = np.random.default_rng(seed)

    def pad(x, axis, front=0, back=0, empty=False):
        widths = [(0, 0)] * np.ndim(x)
        widths[axis] = (front, back)
        padded = np.pad(np.asarray(x), widths)
        noise = rng.normal(size=padded.shape).astype(padded.dtype) * 100
        old = np.pad(np.ones(np.shape(x), bool), widths)
        return padded if empty else np.where(old, padded, noise)

    for name in ("values", "observed", "elapsed", "hours"):
        stays = stays.replace(**{name: pad(getattr(stays, name), 1, front=steps)})
    for name, extra in (("note", chunks), ("knowledge", entities)):
        vectors = "notes" if name == "note" else name
        stays = stays.replace(
            **{
                vectors: pad(getattr(stays, vectors), 1, back=extra),
                f"{name}_hours": pad(getattr(stays, f"{name}_hours"), 1, back=extra),
                f"{name}_mask": pad(getattr(stays, f"{name}_mask"), 1, back=extra, empty=True),
            }
        )
    fields = stays.__dataclass_fields__
    return stays.replace(
        **{name: pad(getattr(stays, name), 0, back=rows, empty=name in MASKS) for name in fields}
    )


def masked(stays: inputs.Stays, *names: str) -> inputs.Stays:
    """The same stays without the modalities `names`: series, notes, knowledge, visit."""
    of = dict(zip(("series", "notes", "knowledge", "visit"), MASKS, strict=True))
    return stays.replace(**{of[n]: jnp.zeros_like(getattr(stays, of[n])) for n in names})


# Compiling takes the time of these tests, and how fast the programs are does not matter.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def quick_jit(function):
    """`jax.jit`, compiled in a hurry."""
    return jax.jit(function, compiler_options=QUICK)


def network(**changes) -> realm.Realm:
    """A small network of every modality."""
    small = {"labels": 2, "width": 8, "heads": 2, "feed_forward": 6, "use_visit": True}
    return realm.Realm(**small | changes)


@functools.cache
def variables(model: realm.Realm):
    """Random parameters, no bias zero, and statistics of batch norms."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), draw()))
    rng = np.random.default_rng(3)

    def drawn(path, leaf):
        values = 0.4 * rng.normal(size=leaf.shape).astype(np.float32)
        return np.abs(values) + 0.1 if path[-1].key == "variance" else values

    return jax.tree_util.tree_map_with_path(drawn, shapes)


@functools.cache
def scorer(model: realm.Realm):
    """stays -> (logits, evidence)."""
    run = quick_jit(functools.partial(model.apply, with_weights=True))
    return lambda batch: run(variables(model), batch)


def logits(model: realm.Realm, batch: inputs.Stays) -> np.ndarray:
    """[batch, label]."""
    return np.asarray(scorer(model)(batch)[0])
