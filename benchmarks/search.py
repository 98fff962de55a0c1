"""Exact top-10 of 130,000 x 1,024: ours in JAX against a flat FAISS index, in one run.

    pip install -e '.[bench]'
    python benchmarks/search.py

Both search the same rows with as many threads; batches of 1, 16 and 64 queries, best of some rounds
in turn. The results must be equal but for the order of scores that differ by rounding. Exit status
1 where they are not.
"""

import argparse
import os
import sys
import time

import numpy as np


def main() -> int:
    arguments = _parse()
    os.environ.setdefault("OMP_NUM_THREADS", str(arguments.threads))
    import faiss
    import jax

    from ehr_jax.knowledge import search

    faiss.omp_set_num_threads(arguments.threads)
    generator = np.random.default_rng(0)
    rows = _unit(generator.standard_normal((arguments.rows, arguments.width), np.float32))
    peer = faiss.IndexFlatIP(arguments.width)
    peer.add(rows)
    index = search.place(rows)
    print(
        f"{arguments.rows:,} x {arguments.width}, top {arguments.k}; jax {jax.__version__} on a "
        f"{jax.devices()[0].platform}, faiss {faiss.__version__} with {arguments.threads} threads"
    )
    good = True
    for size in (1, 16, 64):
        # Near some rows, as mentions are, and so far apart that rounding moves few of them.
        near = rows[generator.integers(0, len(rows), size)]
        noise = generator.standard_normal(near.shape, np.float32) / arguments.width**0.5
        queries = _unit(near + noise)
        ways = {
            "ours": lambda queries=queries: search.top_k(index, queries, arguments.k),
            "faiss": lambda queries=queries: peer.search(queries, arguments.k),
        }
        found = {name: way() for name, way in ways.items()}  # compiles, and warms both
        times = {name: [] for name in ways}
        for _ in range(arguments.rounds):
            for name, way in ways.items():
                began = time.perf_counter()
                way()
                times[name].append(time.perf_counter() - began)
        ours, theirs = (min(times[name]) * 1e3 for name in ("ours", "faiss"))
        same = _same(*found["ours"], *found["faiss"])
        good &= same
        print(
            f"{size:3d} queries: ours {ours:8.1f} ms, faiss {theirs:8.1f} ms, ratio "
            f"{theirs / ours:5.2f}; results {'equal' if same else 'DIFFERENT'}"
        )
    return 0 if good else 1


def _same(scores, found, peer_scores, peer_found) -> bool:
    """Equal rows wherever a score stands apart from its neighbours, equal scores everywhere."""
    close = np.abs(np.diff(peer_scores, axis=1)) < 1e-5
    none = np.zeros((len(close), 1), bool)
    tied = np.hstack([none, close]) | np.hstack([close, none])
    tied[:, -1] = True  # the next one is not known
    same_rows = ((found == peer_found) | tied).all()
    return bool(same_rows and np.allclose(scores, peer_scores, atol=1e-5))


def _unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def _parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=130_000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of FAISS")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
