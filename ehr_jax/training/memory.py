"""Estimates the device memory of a training run from shapes, before anything is placed.

Arrays stay on the device for the whole run if they fit, so that no step waits for input. Those that
do not fit are fed from host memory where their kind can be (`feeding`). What fits neither way is
refused with a setting that would fit.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from ehr_jax import errors
from ehr_jax.training import fit, kinds, partition, task


class Need(NamedTuple):
    """Bytes that each device needs: `arrays` for the whole run, `work` during a training step."""

    arrays: int
    work: int

    @property
    def total(self) -> int:
        """The bytes of both."""
        return self.arrays + self.work

    def scaled(self, ratio: float) -> "Need":
        """Returns the need with `work` times `ratio`."""
        return self._replace(work=int(ratio * self.work))


class Examined(NamedTuple):
    """A need compared with the free memory, after the step was compiled.

    Attributes:
      need: with the work that the compiler reports, or the estimate where it reports none.
      fits: whether that much is free; where the compiler reports none, whether the arrays fit.
      ratio: the reported work divided by the estimate; 1 where the compiler reports none.
    """

    need: Need
    fits: bool
    ratio: float


def require(job: kinds.Job, alone: bool = True) -> bool:
    """Prints what training needs of each device; places nothing there.

    If the estimate exceeds the free memory, the step is compiled and the compiler's figure counts.
    Backends that report none may begin to train if the arrays fit.

    Args:
      alone: members train one at a time, so that batches can be fed from the host.

    Returns:
      True if the arrays are to stay on the devices for the whole run; False if they are to be fed.

    Raises:
      ConfigError: the job does not fit; names a setting with which it would, where there is one.
    """
    available, fed = free(), False
    examined = Examined(need(job), True, 1.0)
    if available is not None and examined.need.total > available:
        examined = resident = _examine(job, available, fed)
        may_feed = alone and job.kind.CAN_BE_FED and not examined.fits
        if may_feed and need(job, fed=True).total < examined.need.total:
            fed = True
            examined = _examine(job, available, fed)
    taken = examined.need
    if not examined.fits:
        raise errors.ConfigError(
            f"training takes {_bytes(taken.total)} of each device, {_bytes(taken.arrays)} for "
            f"arrays and {_bytes(taken.work)} for a step, and {_bytes(available)} are free; "
            + _advice(job, available, examined.ratio, fed)
        )
    devices = f"{partition.make_mesh(job.config.devices).size} {jax.default_backend()} device(s)"
    if fed:
        print(
            f"input: arrays and a step take {_bytes(resident.need.total)}, more than the "
            f"{_bytes(available)} free on each of {devices}, and arrays are read from host memory: "
            f"the batches of the next steps take {_bytes(taken.arrays)}, a step some "
            f"{_bytes(taken.work)} beside"
        )
    else:
        print(
            f"input: arrays take {_bytes(taken.arrays)} of each of {devices}, of "
            f"{_bytes(available)} free, and lie there for the whole run: no step waits for input. "
            f"A step takes some {_bytes(taken.work)} beside"
        )
    return not fed


@contextlib.contextmanager
def explained(job: kinds.Job) -> Iterator[None]:
    """Raises ConfigError, which says what to set, if the block runs out of device memory."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        key = job.kind.DIVISOR
        smaller = next(job.kind.divided(job), None)
        further = ""
        if smaller is not None:
            further = f", and if that is not enough config.train.{key}={smaller[key]}"
        raise errors.ConfigError(
            "the device ran out of memory in training, which takes more than was estimated; set "
            f"config.train.population=1{further}"
        ) from error


def need(job: kinds.Job, fed: bool = False) -> Need:
    """Returns what training needs of each device, estimated from shapes.

    Args:
      fed: the samples are read from host memory.
    """
    outline = job.kind.outline(job, fed)
    return Need(outline.resident, member_bytes(job.model, outline.step))


def free() -> int | None:
    """Returns the bytes free on each device of this process; None where no one reports them."""
    devices = jax.local_devices()
    stats = [device.memory_stats() or {} for device in devices]
    if all("bytes_limit" in of_device for of_device in stats):
        return min(each["bytes_limit"] - each.get("bytes_in_use", 0) for each in stats)
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


def member_bytes(model: Any, data: task.Task) -> int:
    """Returns an estimate of the bytes that one more member of a population needs.

    It is five times the parameters (the parameters, two moments, the best, the gradient) and twice
    the residuals of the backward pass, for temporaries; it is never 0.

    Args:
      data: a task, or the shapes of one.
    """
    key = jax.eval_shape(lambda: jax.random.key(0))

    def backward(data, key):
        params = data.init(model, key)
        loss = lambda p: data.loss(p, model, key, 0)[0]  # noqa: E731
        return params, jax.vjp(loss, params)[1]

    params, residuals = jax.eval_shape(backward, data, key)
    return 5 * task.size(params) + 2 * max(task.size(residuals) - task.size(data), 0) + 1


def _examine(job: kinds.Job, available: int, fed: bool) -> Examined:
    """Compares the need with `available` bytes, by the compiler's figure where one is wanted."""
    estimate = need(job, fed)
    work = None if fed and estimate.total <= available else _compiled(job, fed)
    if work is None:
        return Examined(estimate, estimate.arrays <= available, 1.0)
    ratio = work / estimate.work
    scaled = estimate.scaled(ratio)
    return Examined(scaled, scaled.total <= available, ratio)


def _compiled(job: kinds.Job, fed: bool = False) -> int | None:
    """Returns the bytes that the compiled step needs beside its samples; None if not reported."""
    program = job.kind.outline(job, fed).program
    memory = fit.compile_chunk(job.model, program, job.config).memory
    return None if memory is None else max(memory - task.size(program), 0)


def _advice(job: kinds.Job, available: int, ratio: float, fed: bool) -> str:
    """Says which setting would fit into `available` bytes, else how to need less."""
    key, how = job.kind.DIVISOR, job.kind.DIVISION
    for changed in job.kind.divided(job):
        taken = need(job._replace(config=changed), fed).scaled(ratio)
        if taken.total <= available:
            return f"set config.train.{key}={changed[key]}, which takes {_bytes(taken.total)}{how}"
    return (
        "spread it over more devices (config.train.devices), or make it smaller: a lower "
        f"config.{job.kind.NARROWER}, or fewer nodes by config.features.min_visits"
    )


def _bytes(count: int | None) -> str:
    if count is None:
        return "an unknown number of bytes"
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"
