"""Memory and time of Longformer-base at 4,096 tokens: ours against dense attention with a mask.

    python -m benchmarks.longformer_memory --folder=FOLDER

Random weights of the published sizes (12 layers, width 768, windows of 512), float32. Ours computes
attention block by block; the dense side is written here from the model's definition, with the same
weights, and builds every score. Each runs in a process of its own that tells its peak of resident
memory. The exit status is 1 where ours took 4 GB or more, or the states of the two differ.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # run by path as by name
from benchmarks import sides  # noqa: E402

LIMIT_GB = 4.0
TOLERANCE = 1e-4  # of states, which a layer norm ends: their size is about 1
SIDES = ("ours", "dense")
# config.json of allenai/longformer-base-4096, but for what does not shape a state.
SIZES = {
    "model_type": "longformer", "vocab_size": 50_265, "hidden_size": 768, "num_hidden_layers": 12,
    "num_attention_heads": 12, "intermediate_size": 3072, "max_position_embeddings": 4098,
    "type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 1, "hidden_act": "gelu",
    "attention_window": 512,
}  # fmt: skip


def main() -> int:
    arguments = _arguments()
    if arguments.side:
        return _run(arguments)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    found = {"machine": sides.machine(), "versions": sides.versions("jax", "jaxlib", "numpy")}
    found |= {"rows": arguments.rows, "tokens": arguments.tokens, "load": os.getloadavg()}
    _say(f"{found['machine']}; {found['versions']}; load {found['load'][0]:.1f}")
    for side in SIDES:
        given = {"folder": arguments.folder, "side": side, "rows": arguments.rows}
        given |= {"tokens": arguments.tokens, "rounds": arguments.rounds, "seed": arguments.seed}
        flags = [f"--{name}={value}" for name, value in given.items()]
        command = [sys.executable, "-m", "benchmarks.longformer_memory", *flags]
        subprocess.run(command, check=True, cwd=sides.ROOT)
        found[side] = json.loads((arguments.folder / f"{side}.json").read_text())
        _say(
            f"{side:5} peak {found[side]['peak_gb']:5.2f} GB, {found[side]['before_gb']:.2f} GB of "
            f"it before the first batch (parameters {found[side]['parameters_gb']:.2f} GB); "
            f"{found[side]['seconds']:.1f} s a batch, first {found[side]['first_seconds']:.1f} s"
        )
    return _judge(arguments.folder, found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="for results")
    parser.add_argument("--rows", type=int, default=1, help="texts of a batch")
    parser.add_argument("--tokens", type=int, default=4096, help="of a text")
    parser.add_argument("--rounds", type=int, default=2, help="batches timed after the first")
    parser.add_argument("--seed", type=int, default=0, help="of weights and tokens")
    parser.add_argument("--side", default="", choices=("", *SIDES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.folder = arguments.folder.absolute()
    return arguments


def _judge(folder: pathlib.Path, found: dict) -> int:
    ours, dense = (np.load(folder / f"{side}.npy") for side in SIDES)
    found["difference"] = float(np.abs(ours - dense).max())
    for name in ("peak_gb", "seconds"):
        found[f"ratio_{name}"] = found["dense"][name] / found["ours"][name]
    good = found["ours"]["peak_gb"] < LIMIT_GB and found["difference"] < TOLERANCE
    _say(
        f"ours {found['ours']['peak_gb']:.2f} GB (limit {LIMIT_GB:g}), dense "
        f"{found['dense']['peak_gb']:.2f} GB: ratio {found['ratio_peak_gb']:.1f} in memory, "
        f"{found['ratio_seconds']:.1f} in time; states differ by {found['difference']:.1e}"
    )
    (folder / "longformer_memory.json").write_text(json.dumps(found, indent=1))
    return 0 if good else 1


def _say(text: str) -> None:
    print(text, flush=True)


# What runs in each side's process.


def _run(arguments: argparse.Namespace) -> int:
    import jax

    from ehr_jax.text import encoders, parameters

    long = encoders.LONG
    config = long.read_config(SIZES, pathlib.Path("config.json"))
    rng = np.random.default_rng(arguments.seed)
    params = {
        name: jax.numpy.asarray(_weights(rng, name, shape))
        for name, shape in parameters.shapes(long.sources(config)).items()
    }
    batch = arguments.rows, arguments.tokens
    tokens = rng.integers(3, config.vocabulary, batch).astype(np.int32)
    lengths = np.full(arguments.rows, arguments.tokens, np.int32)
    lengths[-1] -= 7  # so that there is some padding
    before = _peak_gb()

    def states(params, tokens, lengths):
        if arguments.side == "dense":
            return _dense(params, tokens, lengths, config)
        return long.hidden_states(params, tokens, lengths, config)

    run = jax.jit(states)
    times, found = [], None
    for _ in range(1 + arguments.rounds):
        began = time.perf_counter()
        found = jax.block_until_ready(run(params, tokens, lengths))
        times.append(time.perf_counter() - began)
    told = {"peak_gb": _peak_gb(), "before_gb": before, "first_seconds": times[0]}
    told |= {"seconds": min(times[1:], default=times[0])}
    told |= {"parameters_gb": sum(value.nbytes for value in params.values()) / 1e9}
    real = np.arange(arguments.tokens) < lengths[:, None]
    np.save(arguments.folder / f"{arguments.side}.npy", np.asarray(found)[real])
    (arguments.folder / f"{arguments.side}.json").write_text(json.dumps(told))
    return 0


def _weights(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    # Wider than the 0.02 of training's start, so that attention is not uniform.
    values = rng.standard_normal(shape, np.float32) * np.float32(0.04)
    return values + np.float32(1) if name.endswith("_scale") else values


def _dense(params: dict, tokens, lengths, config):
    """Longformer by its definition: every score, and a mask; the first token is global."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    (batch, n), heads, depth = tokens.shape, config.heads, config.depth

    def norm(x, scale, bias):
        centred = x - x.mean(-1, keepdims=True)
        variance = (centred**2).mean(-1, keepdims=True)
        return centred / jnp.sqrt(variance + config.eps) * scale + bias

    position = jnp.arange(n)
    real = position < lengths[:, None]
    near = jnp.abs(position[:, None] - position) <= SIZES["attention_window"] // 2
    seen = (near | (position == 0)) & real[:, None, None, :]  # [batch, 1, n, n]

    def attend(q, k, v, seen):  # [batch, n, head, depth]
        scores = jnp.einsum("bihd,bjhd->bhij", q, k) / depth**0.5
        weights = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1)
        return jnp.einsum("bhij,bjhd->bihd", weights, v)

    def layer(x, p):
        qkv = jnp.einsum("biw,whd->bihd", x, p["qkv_kernel"]) + p["qkv_bias"]
        context = attend(*jnp.split(qkv, 3, axis=-1), seen)
        own = {}
        for part in ("query", "key", "value"):
            taken = x[:, :1] if part == "query" else x
            own[part] = jnp.einsum("biw,whd->bihd", taken, p[f"global_{part}_kernel"])
            if part != "key":  # a bias of the keys changes nothing
                own[part] += p[f"global_{part}_bias"]
        first = attend(own["query"], own["key"], own["value"], real[:, None, None, :])
        context = context.at[:, :1].set(first).reshape(batch, n, heads * depth)
        x = norm(x + context @ p["out_kernel"] + p["out_bias"], p["norm1_scale"], p["norm1_bias"])
        up = jax.nn.gelu(x @ p["up_kernel"] + p["up_bias"], approximate=False)
        x = norm(x + up @ p["down_kernel"] + p["down_bias"], p["norm2_scale"], p["norm2_bias"])
        return x, None

    outside = ("word", "position", "token_type", "embedding_scale", "embedding_bias")
    x = params["word"][tokens] + params["token_type"][0]
    x += params["position"][SIZES["pad_token_id"] + 1 :][:n]
    x = norm(x, params["embedding_scale"], params["embedding_bias"])
    layers = {name: value for name, value in params.items() if name not in outside}
    return lax.scan(layer, x, layers)[0]


def _peak_gb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)


if __name__ == "__main__":
    sys.exit(main())
