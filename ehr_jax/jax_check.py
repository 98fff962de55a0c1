"""Does the installed jax compute right? The versions to avoid, and the product one gets wrong.

Needs jax and numpy alone: `python ehr_jax/jax_check.py` checks any environment, and its exit status
is 1 where that jax is wrong.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np

BAD_VERSIONS = {
    "0.10.2": "wrong results on the CPU without a word: a vmapped matrix-vector product loses rows",
    "0.11.0": "scatters on a GPU are hundreds of times slower than in its neighbours",
    "0.11.1": "some loops never end",
}
REMEDY = "install another: pip install 'jax>=0.10.0,!=0.10.2,!=0.11.0,!=0.11.1'"
# With two cores, jax 0.10.2 is wrong from 32,769 to 43,690 rows of width 3, and right elsewhere.
ROWS = (1, 100, 1_000, 10_000, 33_000, 36_000, 40_000, 43_000, 100_000)


def wrong_rows() -> dict[int, float]:
    """Compares a jitted, vmapped product of width 3 with numpy.

    Returns:
      Each of ROWS whose float32 result is off by more than 5 % of the largest value, with that
      error; empty for a jax that computes right.
    """
    random = np.random.default_rng(0)
    matrix = random.normal(size=(3, 3)).astype(np.float32)
    product = jax.jit(jax.vmap(lambda row: jnp.sum((jnp.asarray(matrix) @ row) ** 2)))
    wrong = {}
    for count in ROWS:
        rows = random.normal(size=(count, 3)).astype(np.float32)  # [row, 3]
        expected = ((rows.astype(np.float64) @ matrix.T.astype(np.float64)) ** 2).sum(axis=1)
        found = np.asarray(product(rows), np.float64)  # [row]
        error = float(np.max(np.abs(found - expected)) / np.max(expected))
        if not error <= 0.05:  # an accelerator's short floats stay far below, lost rows far above
            wrong[count] = error
    return wrong


def problems() -> list[str]:
    """What is known or found to be wrong with the running jax, each with the way out."""
    found = []
    if jax.__version__ in BAD_VERSIONS:
        found.append(f"jax {jax.__version__}: {BAD_VERSIONS[jax.__version__]}; {REMEDY}")
    for count, error in wrong_rows().items():
        wrong = f"{count} rows of a vmapped product come out wrong (error {error:.0%})"
        found.append(f"jax {jax.__version__}: {wrong}; {REMEDY}")
    return found


if __name__ == "__main__":
    lines = problems()
    print("\n".join(lines) or f"jax {jax.__version__} computes right")
    sys.exit(1 if lines else 0)
