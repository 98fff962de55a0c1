"""Where a run's input lies and what training takes of the device's memory, told before it is taken.

Arrays lie on the device for the whole run, so that no step waits for input; stays that do not fit
are fed from the host (`feeding`). What does not fit either way is refused from shapes alone, before
anything is placed.
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from ehr_jax import errors
from ehr_jax.features import prepare, stays
from ehr_jax.models import inputs, unified
from ehr_jax.nn import bipartite, spmm
from ehr_jax.training import feeding, fit, partition, problem, stay_problem, unified_problem


class Need(NamedTuple):
    """Bytes on each device: `arrays`, for the whole run, and `work`, of a training step."""

    arrays: int
    work: int

    @property
    def total(self) -> int:
        """Of both."""
        return self.arrays + self.work

    def scaled(self, ratio: float) -> "Need":
        """With so many times the work."""
        return self._replace(work=int(ratio * self.work))


def require(
    model: Any,
    arrays: prepare.Arrays | stays.StayArrays,
    config: ml_collections.ConfigDict,
    alone: bool = True,
) -> bool:
    """Prints what training takes of each device; places nothing there.

    Where the estimate is more than is free, the program is compiled to see what it takes indeed;
    where the compiler does not tell, training may begin if the arrays fit.

    Args:
      config: config.train.
      alone: one member trains at a time, so that stays can be fed from the host.

    Returns:
      Whether the arrays shall lie on the devices for the whole run; False if stays are to be fed.

    Raises:
      ConfigError: it does not fit; names a setting with which it does, where there is one.
    """
    found, available, fed, fits = need(model, arrays, config), free(), False, True
    if available is not None and found.total > available:
        found, fits, ratio = _looked_at(model, arrays, config, available, fed)
        may = (
            alone
            and isinstance(arrays, stays.StayArrays)
            and not isinstance(model, unified.Unified)
        )
        if not fits and may and need(model, arrays, config, fed=True).total < found.total:
            whole, fed = found, True
            found, fits, ratio = _looked_at(model, arrays, config, available, fed)
    if not fits:
        raise errors.ConfigError(
            f"training takes {_bytes(found.total)} of each device, {_bytes(found.arrays)} for "
            f"arrays and {_bytes(found.work)} for a step, and {_bytes(available)} are free; "
            + _advice(model, arrays, config, available, ratio, fed)
        )
    devices = f"{partition.make_mesh(config.devices).size} {jax.default_backend()} device(s)"
    if fed:
        print(
            f"input: arrays and a step take {_bytes(whole.total)}, more than the "
            f"{_bytes(available)} free on each of {devices}, and arrays are read from host memory: "
            f"the batches of the next steps take {_bytes(found.arrays)}, a step some "
            f"{_bytes(found.work)} beside"
        )
    else:
        print(
            f"input: arrays take {_bytes(found.arrays)} of each of {devices}, of "
            f"{_bytes(available)} free, and lie there for the whole run: no step waits for input. "
            f"A step takes some {_bytes(found.work)} beside"
        )
    return not fed


@contextlib.contextmanager
def explained(arrays: prepare.Arrays | stays.StayArrays, config) -> Iterator[None]:
    """Raises ConfigError, with what to set, where the device runs out of memory inside."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        key, value = "shards", 2 * config.shards
        if isinstance(arrays, stays.StayArrays):
            key, value = "batch", max(1, config.batch // 2)
        raise errors.ConfigError(
            "the device ran out of memory in training, which takes more than was estimated; set "
            f"config.train.population=1, and if that is not enough config.train.{key}={value}"
        ) from error


def need(model: Any, arrays: prepare.Arrays | stays.StayArrays, config, fed: bool = False) -> Need:
    """What training by `config`, config.train, takes of each device, estimated from shapes.

    Over devices, visits or the stays of a batch are divided; in shards, the work of a step is.

    Args:
      fed: the stays are `feeding.FedStays`.
    """
    parts = partition.make_mesh(config.devices).size
    arrays = _read_by(model, arrays)
    if fed:
        train, validation = map(len, stay_problem.fitted_rows(arrays))
        stay, batch = _size(outline(arrays).train) / max(1, train), min(config.batch, train)
        # On every device of a mesh: the first batch, and of validation a block and the next.
        block = stay_problem.SCORED_AT_ONCE
        rows = feeding.BATCHES * batch / parts + batch
        rows += validation if validation <= block else 2 * block
        return Need(int(rows * stay), member_bytes(model, _step(arrays, config)))
    held = outline(arrays, config.batch, 1 if isinstance(arrays, stays.StayArrays) else parts)
    return Need(_size(held), member_bytes(model, _step(arrays, config)))


def outline(
    arrays: prepare.Arrays | stays.StayArrays, batch: int = 1, parts: int = 1
) -> problem.Problem | stay_problem.StayProblem | unified_problem.UnifiedProblem:
    """The problem of `arrays` as shapes alone (`jax.ShapeDtypeStruct`), at most a little larger.

    Args:
      batch: stays a step.
      parts: of so many parts of the visits one; all nodes.
    """
    if not isinstance(arrays, stays.StayArrays):
        return _of_visits(arrays, parts)
    of_stays = _of_stays(arrays, batch)
    if arrays.visits is None:
        return of_stays
    return unified_problem.UnifiedProblem(_of_visits(arrays.visits, parts), of_stays)


def free() -> int | None:
    """Bytes free on each device of this process; None where that cannot be told."""
    devices = jax.local_devices()
    stats = [device.memory_stats() or {} for device in devices]
    if all("bytes_limit" in found for found in stats):
        return min(found["bytes_limit"] - found.get("bytes_in_use", 0) for found in stats)
    # The devices of a CPU share its memory.
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":") for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024 // len(devices)
    except (OSError, KeyError):
        pass
    try:
        pages = os.sysconf("SC_PHYS_PAGES")
        return pages * os.sysconf("SC_PAGE_SIZE") // 2 // len(devices)
    except (AttributeError, OSError, ValueError):
        return None


def member_bytes(model: Any, data: Any) -> int:
    """Memory that one more member takes, estimated: what its backward pass keeps, its parameters
    five times (moments, best, gradient), and as much as the former again for what is in flight.

    Args:
      data: arrays, or an outline of them.
    """
    key = jax.eval_shape(lambda: jax.random.key(0))

    def kept(given, key):
        params = given.init(model, key)
        loss = lambda p: given.loss(p, model, key, 0)  # noqa: E731
        return params, jax.vjp(loss, params)[1]

    params, residuals = jax.eval_shape(kept, data, key)
    return 5 * _size(params) + 2 * max(_size(residuals) - _size(data), 0) + 1


def _read_by(model, arrays):
    """Without the visits beside stays where `model` reads none: methods of one run share arrays."""
    if not isinstance(arrays, stays.StayArrays) or isinstance(model, unified.Unified):
        return arrays
    return dataclasses.replace(arrays, visits=None)


def _looked_at(model, arrays, config, available, fed) -> tuple[Need, bool, float]:
    """The need with the work that the compiler finds, whether that fits, and by how many times the
    work is what was estimated. Where the compiler does not tell, what fits is what arrays do."""
    found = need(model, arrays, config, fed)
    step = _step(_read_by(model, arrays), config, fed)
    taken = None if fed and found.total <= available else _compiled(model, step, config)
    if taken is None:
        return found, found.arrays <= available, 1.0
    ratio = taken / found.work
    return found.scaled(ratio), found.scaled(ratio).total <= available, ratio


def _step(arrays, config, fed=False):
    """Outline of what a step computes on one device at a time; of what is fed, few stays."""
    devices = partition.make_mesh(config.devices).size
    if isinstance(arrays, stays.StayArrays):
        batch = max(1, config.batch // devices)
        return outline(_few(arrays, batch) if fed else arrays, batch)
    return outline(arrays, parts=devices * config.shards)


def _few(arrays: stays.StayArrays, batch: int) -> stays.StayArrays:
    """With no more samples than a batch to train on and a block to validate on."""
    train, validation = stay_problem.fitted_rows(arrays)
    rows = np.concatenate([train[:batch], validation[: stay_problem.SCORED_AT_ONCE]])
    return dataclasses.replace(
        arrays,
        stays={name: x[rows] for name, x in arrays.stays.items()},
        labels=arrays.labels[rows],
        survival=arrays.survival[rows],
        split=arrays.split[rows],
    )


def _compiled(model, data, config) -> int | None:
    """Bytes that the compiled training program takes beside `data`, an outline."""
    found = fit.compile_chunk(model, data, config).memory
    return None if found is None else max(found - _size(data), 0)


def _advice(model, arrays, config, available, ratio, fed) -> str:
    key, how, narrower = "shards", "; visits are then streamed, to the same result", "model.width"
    if isinstance(arrays, stays.StayArrays):
        key, how, narrower = "batch", "", "realm.width"
    changed = ml_collections.ConfigDict(config.to_dict())
    divisible = key == "batch" or hasattr(model, "axis")
    while divisible and _further(changed, arrays):
        found = need(model, arrays, changed, fed).scaled(ratio)
        if found.total <= available:
            return f"set config.train.{key}={changed[key]}, which takes {_bytes(found.total)}{how}"
    return (
        "spread it over more devices (config.train.devices), or make it smaller: a lower "
        f"config.{narrower}, or fewer nodes by config.features.min_visits"
    )


def _further(config, arrays) -> bool:
    """Divides the work of a step once more; False where that cannot be."""
    devices = partition.make_mesh(config.devices).size
    if isinstance(arrays, stays.StayArrays):
        config.batch //= 2
        return config.batch >= devices and config.batch % devices == 0
    config.shards *= 2
    return devices == 1 and config.shards <= int(arrays.shapes.sum())


def _of_visits(arrays: prepare.Arrays, parts: int) -> problem.Problem:
    labelled = ~np.isnan(arrays.labels).all(axis=1)
    train, validation = (labelled & (arrays.split == name) for name in ("train", "validation"))
    node, hyperedge, num_nodes, num_hyperedges = bipartite.unpack(arrays.visits)
    sizes = np.bincount(hyperedge, minlength=num_hyperedges)
    shaping, reading = arrays.shapes, ~arrays.shapes & validation
    alone = np.unique(node[(sizes == 1)[hyperedge] & shaping[hyperedge]]).size
    labels, width = arrays.labels.shape[1], arrays.notes.shape[1]

    def lists(sources, targets, pairs):
        return spmm.Lists(_ints(pairs), _ints(pairs), _ints(targets + 1), sources, targets)

    def visits(rows, loops):
        held, loops = -(-int(rows.sum()) // parts), -(-loops // parts)
        pairs = -(-int(sizes[rows].sum()) // parts) + loops
        forward = lists(num_nodes, held + loops, pairs)
        return inputs.Visits(
            incidence=spmm.Incidence(forward, lists(held + loops, num_nodes, pairs)),
            loops=_ints(loops),
            notes=_floats(held, width),
            has_note=_floats(held),
            num_visits=held,
        )

    trained, selecting = -(-int(train.sum()) // parts), -(-int(validation.sum()) // parts)
    return problem.Problem(
        nodes=inputs.Nodes(_floats(*arrays.structure.shape), _floats(*arrays.concepts.shape)),
        shaping=visits(shaping, num_nodes - alone),
        train_rows=_ints(trained),
        train_labels=_floats(trained, labels),
        positive_weight=_floats(labels),
        validation=visits(reading, 0),
        validation_rows=_ints(selecting),
        validation_labels=_floats(selecting, labels),
    )


def _of_stays(arrays: stays.StayArrays, batch: int) -> stay_problem.StayProblem:
    labelled = ~np.isnan(arrays.labels).all(axis=1)
    train, validation = (
        int((labelled & (arrays.split == name)).sum()) for name in ("train", "validation")
    )

    def rows(count):
        kinds = {
            name: _ints if x.dtype.kind in "iu" else _floats for name, x in arrays.stays.items()
        }
        return inputs.Stays(
            **{name: kinds[name](count, *x.shape[1:]) for name, x in arrays.stays.items()}
        )

    labels = arrays.labels.shape[1]
    return stay_problem.StayProblem(
        train=rows(train),
        train_labels=_floats(train, labels),
        train_survival=_floats(train, arrays.survival.shape[1]),
        positive_weight=_floats(labels),
        validation=rows(validation),
        validation_labels=_floats(validation, labels),
        batch=max(1, min(batch, train)),
    )


def _floats(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _ints(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.int32)


def _size(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _bytes(count: int | None) -> str:
    if count is None:
        return "an unknown number of bytes"
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"
