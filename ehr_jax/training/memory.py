"""Where a run's input lies and what training takes of the device's memory, told before it is taken.

Arrays lie on the device for the whole run, so that no step waits for input; what can be fed and
does not fit is fed from the host (`feeding`). What does not fit either way is refused from shapes
alone, before anything is placed.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from ehr_jax import errors
from ehr_jax.training import fit, kinds, partition, task


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


class Examined(NamedTuple):
    """What the compiler says of a need.

    Attributes:
      need: with the work that the compiler finds, where it tells.
      fits: whether that is free; where the compiler does not tell, whether the arrays fit.
      ratio: by how many times the work is what was estimated.
    """

    need: Need
    fits: bool
    ratio: float


def require(job: kinds.Job, alone: bool = True) -> bool:
    """Prints what training takes of each device; places nothing there.

    Where the estimate is more than is free, the program is compiled to see what it takes indeed;
    where the compiler does not tell, training may begin if the arrays fit.

    Args:
      alone: one member trains at a time, so that its batches can be fed from the host.

    Returns:
      Whether the arrays shall lie on the devices for the whole run; False if they are to be fed.

    Raises:
      ConfigError: it does not fit; names a setting with which it does, where there is one.
    """
    available, fed = free(), False
    examined = Examined(need(job), True, 1.0)
    if available is not None and examined.need.total > available:
        resident = examined = _examine(job, available, fed)
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
    """Raises ConfigError, with what to set, where the device runs out of memory inside."""
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
    """What training takes of each device, estimated from shapes.

    Args:
      fed: the samples are read from host memory.
    """
    outline = job.kind.outline(job, fed)
    return Need(outline.held, member_bytes(job.model, outline.step))


def free() -> int | None:
    """Bytes free on each device of this process; None where that cannot be told."""
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
    """Memory that one more member takes, estimated: what its backward pass keeps, its parameters
    five times (moments, best, gradient), and as much as the former again for what is in flight.

    Args:
      data: a task, or an outline of one.
    """
    key = jax.eval_shape(lambda: jax.random.key(0))

    def backward(data, key):
        params = data.init(model, key)
        loss = lambda p: data.loss(p, model, key, 0)[0]  # noqa: E731
        return params, jax.vjp(loss, params)[1]

    params, residuals = jax.eval_shape(backward, data, key)
    return 5 * task.size(params) + 2 * max(task.size(residuals) - task.size(data), 0) + 1


def _examine(job: kinds.Job, available: int, fed: bool) -> Examined:
    estimate = need(job, fed)
    work = None if fed and estimate.total <= available else _compiled(job, fed)
    if work is None:
        return Examined(estimate, estimate.arrays <= available, 1.0)
    ratio = work / estimate.work
    scaled = estimate.scaled(ratio)
    return Examined(scaled, scaled.total <= available, ratio)


def _compiled(job: kinds.Job, fed: bool = False) -> int | None:
    """Bytes that the compiled program of a step takes beside its data."""
    program = job.kind.outline(job, fed).program
    memory = fit.compile_chunk(job.model, program, job.config).memory
    return None if memory is None else max(memory - task.size(program), 0)


def _advice(job: kinds.Job, available: int, ratio: float, fed: bool) -> str:
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
