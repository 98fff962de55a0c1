"""Encoders on eight simulated devices give the vectors of one, and hold what their sharding says.

One process of its own (many_devices.py) does all of it, since jax counts its devices once.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
CASES = [
    f"{name} {shape}"
    for name, shapes in {
        "llama": ((1, 1), (8, 1), (4, 2), (2, 4), (1, 8)),
        "tiny_mean": ((8, 1), (4, 2), (1, 8)),
        "modernbert": ((8, 1), (4, 2), (2, 4), (1, 8)),
        "longformer": ((8, 1), (4, 2), (2, 4), (1, 8)),
    }.items()
    for shape in shapes
]
MATRICES = ["down_kernel", "out_kernel", "qkv_kernel", "up_kernel", "word"]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Returns (what was found, vectors) of many_devices.py."""
    folder = tmp_path_factory.mktemp("many")
    path = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(HERE / "many_devices.py"), str(folder)],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(folder / "vectors.npz") as vectors:
        return json.loads((folder / "found.json").read_text()), dict(vectors)


@pytest.mark.parametrize("case", CASES)
def test_any_mesh_gives_the_vectors_of_pytorch(many, golden, case):
    expected = golden(case.split()[0])
    hidden, lengths = expected["hidden"], expected["lengths"]
    if hidden.ndim == 2:  # of real tokens alone
        texts = np.split(hidden, np.cumsum(lengths)[:-1])
    else:
        texts = [states[:n] for states, n in zip(hidden, lengths, strict=True)]
    means = [states.mean(axis=0) for states in texts]
    np.testing.assert_allclose(many[1][case], means, atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_a_device_holds_its_shards_and_no_more(many, case):
    found, model = many[0][case], int(case[-2])
    saved = found["divided_bytes"] - found["divided_bytes"] // model
    assert set(found["held"]) == {found["said"]} == {found["all"] - saved}
    assert found["same"]  # and together they are the whole


@pytest.mark.parametrize("case", CASES)
def test_every_group_of_devices_has_as_many_rows(many, case):
    found, data = many[0][case], int(case[-5])
    batch = len(many[1][case])
    assert set(found["rows"]) == {-(-batch // data)}


def test_what_is_divided_follows_what_divides_it(many):
    found = many[0]
    assert found["llama (8, 1)"]["divided"] == []
    assert found["llama (4, 2)"]["divided"] == MATRICES
    # 2 heads of keys on 4 devices: the inputs are divided instead, and all matrices still are.
    assert found["llama (2, 4)"]["divided"] == MATRICES
    assert found["tiny_mean (1, 8)"]["divided"] == MATRICES
    # Nothing of it but 40 tokens and 16 columns of queries is a multiple of 8.
    assert found["llama (1, 8)"]["divided"] == ["out_kernel", "word"]
    assert len(found["longformer (4, 2)"]["divided"]) == 8


def test_a_layer_costs_two_sums_over_the_devices_and_nothing_else(many):
    # Two in the loop over layers, one for the divided table of tokens.
    assert many[0]["compiled"] == {
        "all-reduce": 3, "all-gather": 0, "all-to-all": 0, "collective-permute": 0,
        "reduce-scatter": 0,
    }  # fmt: skip


def test_every_byte_is_read_once_and_the_host_holds_one_shard(many):
    found = many[0]["reading"]
    assert found["read"] == found["half"] + found["single"] // 2  # stored as bfloat16
    assert found["largest_held"] == found["largest"] // 2


def test_texts_end_to_end_on_four_devices_equal_one(many):
    vectors = many[1]
    assert np.linalg.norm(vectors["one"], axis=1).max() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(vectors["rows"], vectors["one"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(vectors["shared"], vectors["one"], atol=1e-5, rtol=0)
