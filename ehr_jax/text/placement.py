"""Encoders over many devices: how many share the parameters, which shard lies where, the batches.

A mesh has two axes. Along "data" each device holds the same parameters and its own rows of a batch,
and nothing is exchanged. Along "model" the devices share every matrix: heads and the inner part are
divided (Shoeybi et al. 2019), which costs two sums over the devices a layer. On one device there is
no mesh, and nothing here takes part.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ehr_jax.errors import TextError
from ehr_jax.text import parameters

DATA, MODEL = "data", "model"
SHARE = 0.6  # of a device's memory, for parameters; the rest is for states and scores
# The axes along which a parameter may be divided, the best first; layers are the first axis. What
# is not named here is small and whole everywhere.
DIVIDED = {
    "word": (0, 1),
    "qkv_kernel": (2, 1),  # heads; else inputs
    "out_kernel": (1, 2),
    "up_kernel": (-1, 1),
    "down_kernel": (1, 2),
    "global_query_kernel": (2, 1),
    "global_key_kernel": (2, 1),
    "global_value_kernel": (2, 1),
}


def choose_mesh(
    sources: Mapping[str, parameters.Source],
    precision: str,
    model_shards: int | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Mesh | None:
    """Decides how an encoder lies on the devices; None where there is but one.

    As few devices as hold the parameters share them, so that as many as can be work on rows of
    their own.

    Args:
        sources: the encoder's parameters.
        precision: they are held in.
        model_shards: how many devices share the parameters; None decides by their memory.
        devices: those to use; None is all local ones. Hosts share texts, not parameters.

    Raises:
        TextError: `model_shards` does not divide the devices, or they cannot hold the encoder.
    """
    devices = jax.local_devices() if devices is None else devices
    count = len(devices)
    if model_shards is None:
        model_shards = fewest_shards(sources, precision, count, _memory(devices))
    elif not 0 < model_shards <= count or count % model_shards:
        raise TextError(
            f"config.text.model_shards is {model_shards}; expected a number that divides the "
            f"{count} local {devices[0].platform} devices, or None"
        )
    return make_mesh(devices, model_shards) if count > 1 else None


def fewest_shards(
    sources: Mapping[str, parameters.Source], precision: str, count: int, memory: int | None
) -> int:
    """Returns the fewest devices that hold the parameters with room to spare; else all of them.

    Args:
        sources, precision: of the encoder.
        count: of devices; what is returned divides it.
        memory: bytes of a device; None, as a CPU says it, is enough.

    Raises:
        TextError: all together cannot hold them.
    """
    if memory is None:
        return 1
    for shards in range(1, count + 1):
        if count % shards == 0 and device_bytes(sources, precision, shards) <= SHARE * memory:
            return shards
    needed = device_bytes(sources, precision, count)
    if needed <= memory:
        return count
    half = "config.text.precision='bfloat16', " if precision == "float32" else ""
    raise TextError(
        f"the encoder's parameters need {needed / 1e9:.1f} GB on each of {count} local devices of "
        f"{memory / 1e9:.1f} GB; try {half}more devices or a smaller encoder"
    )


def make_mesh(devices: Sequence[jax.Device], model_shards: int) -> Mesh:
    """Returns the mesh of axes "data" and "model"."""
    return jax.make_mesh(
        (len(devices) // model_shards, model_shards),
        (DATA, MODEL),
        axis_types=(AxisType.Auto, AxisType.Auto),
        devices=devices,
    )


def spec(name: str, shape: tuple[int, ...], shards: int) -> PartitionSpec:
    """Returns how a parameter is divided: along the first axis of its `DIVIDED` that can be."""
    for axis in DIVIDED.get(name, ()):
        if shards > 1 and shape[axis] % shards == 0:
            return PartitionSpec(*[None] * (axis % len(shape)), MODEL)
    return PartitionSpec()


def shardings(shapes: Mapping[str, tuple[int, ...]], mesh: Mesh) -> dict[str, NamedSharding]:
    """Returns where each parameter lies, by name."""
    shards = mesh.shape[MODEL]
    return {name: NamedSharding(mesh, spec(name, shape, shards)) for name, shape in shapes.items()}


def device_bytes(sources: Mapping[str, parameters.Source], precision: str, shards: int) -> int:
    """Returns the bytes of parameters on each device, where so many share them."""
    total = 0
    for name, source in sources.items():
        shape = source.full_shape
        divided = spec(name, shape, shards) != PartitionSpec()
        size = parameters.dtype(source, precision).itemsize * int(np.prod(shape))
        total += size // shards if divided else size
    return total


def rows(batch: int, mesh: Mesh | None) -> int:
    """Returns the rows of a batch rounded up, so that each device along "data" gets as many."""
    shards = data_shards(mesh)
    return -(-batch // shards) * shards


def data_shards(mesh: Mesh | None) -> int:
    """Returns how many devices, or groups that share the parameters, have rows of their own."""
    return 1 if mesh is None else mesh.shape[DATA]


def put_batch(tokens: np.ndarray, lengths: np.ndarray, mesh: Mesh | None) -> tuple:
    """Divides [batch, length] and [batch] over "data"; rows are filled up with empty ones."""
    if mesh is None:
        return tokens, lengths
    more = rows(len(tokens), mesh) - len(tokens)
    filled = np.pad(tokens, ((0, more), (0, 0))), np.pad(lengths, (0, more))
    return jax.device_put(filled, NamedSharding(mesh, PartitionSpec(DATA)))


def over_rows(function: Callable, mesh: Mesh | None) -> Callable:
    """Makes (parameters, tokens, lengths) -> [batch, ...] run on each device's own rows."""
    if mesh is None:
        return function
    own = PartitionSpec(DATA)
    # Along "model" the compiler divides the work, as the parameters are; but where nothing is
    # divided it has no say.
    axes = {DATA} if mesh.shape[MODEL] > 1 else {DATA, MODEL}
    return jax.shard_map(
        function,
        mesh=mesh,
        in_specs=(PartitionSpec(), own, own),
        out_specs=own,
        axis_names=axes,
        check_vma=False,  # nothing is summed over "data"; not every kernel says what it varies over
    )


def describe(mesh: Mesh | None) -> str:
    """Says in words how an encoder lies on the devices."""
    if mesh is None:
        return "1 device"
    data, model = mesh.shape[DATA], mesh.shape[MODEL]
    return f"{data * model} devices, {data} on rows of their own x {model} sharing parameters"


def _memory(devices: Sequence[jax.Device]) -> int | None:
    """Bytes of the smallest device; None where the devices do not say, as a CPU."""
    stats = [device.memory_stats() or {} for device in devices]
    limits = [found["bytes_limit"] for found in stats if found.get("bytes_limit")]
    return min(limits) if len(limits) == len(stats) else None
