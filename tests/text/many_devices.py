"""What test_many_devices.py runs in a process of its own, on eight simulated devices.

    python tests/text/many_devices.py FOLDER

Encodes golden checkpoints on meshes of several shapes, and texts end to end on four devices; writes
FOLDER/found.json and FOLDER/vectors.npz for the tests to judge.
"""

import contextlib
import json
import os
import sys
from pathlib import Path

# The programs are tiny and many: the second flag is for quick compilations.
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
)
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
import numpy as np  # noqa: E402

from ehr_jax.text import encode, encoders, layers, local_attention, placement, weights  # noqa: E402

GOLDEN = Path(__file__).parent / "golden"
# Data x model. Heads (of keys) are 4 in tiny_mean, 2 in the others: 4 and 8 divide them nowhere.
MESHES = {
    "llama": ((1, 1), (8, 1), (4, 2), (2, 4), (1, 8)),
    "tiny_mean": ((8, 1), (4, 2), (1, 8)),
    "modernbert": ((8, 1), (4, 2), (2, 4), (1, 8)),
    "longformer": ((8, 1), (4, 2), (2, 4), (1, 8)),
}


def main(folder: Path) -> None:
    found, vectors = {"reading": reading()}, {}
    # So that windows and blocks are smaller than the texts, and examples run one after the other.
    local_attention.BLOCK, layers.MAP_FROM_LENGTH = 3, 8
    for name, shapes in MESHES.items():
        for shape in shapes:
            found[f"{name} {shape}"], vectors[f"{name} {shape}"] = encode_golden(name, *shape)
    four_devices(folder, vectors)
    found["compiled"] = collectives()
    np.savez(folder / "vectors.npz", **vectors)
    (folder / "found.json").write_text(json.dumps(found))


def encode_golden(name: str, data: int, model: int) -> tuple[dict, np.ndarray]:
    """Vectors of a golden batch on a mesh, and what lies where."""
    content = json.loads((GOLDEN / name / "config.json").read_text())
    architecture = encoders.ARCHITECTURES[content["model_type"]]
    config = architecture.read_config(content, GOLDEN / name / "config.json")
    mesh = placement.make_mesh(jax.devices()[: data * model], model)
    path = weights.find_weights(GOLDEN / name)
    params = architecture.read_params(path, config, "float32", mesh)
    batch = np.load(GOLDEN / f"{name}.npz")
    put = placement.put_batch(batch["tokens"], batch["lengths"], mesh)
    pooled = encode.embed(params, *put, architecture.module(config), "mean", mesh)
    held = {}  # device -> bytes
    for array in params.values():
        for shard in array.addressable_shards:
            held[str(shard.device)] = held.get(str(shard.device), 0) + shard.data.nbytes
    whole = architecture.read_params(path, config)
    said = placement.device_bytes(architecture.sources(config), "float32", model)
    return {
        "held": sorted(held.values()),
        "said": said,
        "all": sum(array.nbytes for array in whole.values()),
        "divided_bytes": sum(
            array.nbytes for array in params.values() if not array.sharding.is_fully_replicated
        ),
        "same": all(np.array_equal(whole[key], params[key]) for key in whole),
        "rows": [shard.data.shape[0] for shard in pooled.addressable_shards],
        "divided": sorted(k for k, v in params.items() if not v.sharding.is_fully_replicated),
    }, np.asarray(pooled)[: len(batch["tokens"])]


def reading() -> dict[str, int]:
    """What is read and held on the way to eight devices, of which two share the parameters."""
    read, held = [], []
    open_tensors, device_put = weights.open_tensors, jax.device_put

    @contextlib.contextmanager
    def watched(*args):
        with open_tensors(*args) as fetch:

            def spy(*part):
                found = fetch(*part)
                read.append(found.nbytes)
                return found

            yield spy

    def put(host, device):
        held.append(host.nbytes)
        return device_put(host, device)

    weights.open_tensors, jax.device_put = watched, put
    path = weights.find_weights(GOLDEN / "llama")
    content = json.loads((GOLDEN / "llama" / "config.json").read_text())
    config = encoders.DECODER.read_config(content, path)
    mesh = placement.make_mesh(jax.devices(), 2)
    params = encoders.DECODER.read_params(path, config, "bfloat16", mesh)
    weights.open_tensors, jax.device_put = open_tensors, device_put
    return {
        "read": sum(read),
        "largest_held": max(held),
        "largest": max(array.nbytes for array in params.values()),
        "half": sum(array.nbytes for array in params.values() if array.dtype == "bfloat16"),
        "single": sum(array.nbytes for array in params.values() if array.dtype == "float32"),
    }


def four_devices(folder: Path, vectors: dict) -> None:
    """Texts through the whole loop, on one device and on four in two ways."""
    words = ["chest", "pain", "fever", "cough", "blood", "heart"]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(words, n)) for n in [*rng.integers(0, 13, 40), 90]]
    local, prints = jax.local_devices(), []
    for name, devices, shards in (("one", 1, None), ("rows", 4, None), ("shared", 4, 2)):
        jax.local_devices = lambda devices=devices: local[:devices]
        encoder = encoders.load(GOLDEN / "tiny_mean", model_shards=shards)
        assert (encoder.mesh is None) == (devices == 1)
        vectors[name] = encode.encode(texts, encoder, folder / name, token_budget=128)
        prints.append(encoder.fingerprint)
    jax.local_devices = lambda: local
    assert len(set(prints)) == 1  # so that all share one cache


def collectives() -> dict[str, int]:
    """How often devices exchange something, in the program of a decoder on 4 x 2."""
    content = json.loads((GOLDEN / "llama" / "config.json").read_text())
    config = encoders.DECODER.read_config(content, GOLDEN / "llama" / "config.json")
    mesh = placement.make_mesh(jax.devices(), 2)
    path = weights.find_weights(GOLDEN / "llama")
    params = encoders.DECODER.read_params(path, config, "float32", mesh)
    put = placement.put_batch(np.zeros((8, 16), np.int32), np.full(8, 16, np.int32), mesh)
    module = encoders.DECODER.module(config)
    text = encode.compiled().lower(params, *put, module, "mean", mesh).compile().as_text()
    kinds = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
    return {kind: text.count(f" {kind}(") + text.count(f" {kind}-start(") for kind in kinds}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
