"""A hypergraph spread over simulated devices gives what one device gives.

One process of its own (many_devices.py) does all of it, since jax counts its devices once.
"""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.slow
HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    roots = [str(HERE.parents[1]), str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, str(HERE / "many_devices.py"), str(folder)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(roots)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(folder / "found.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("shards", [1, 3, 8])
def test_loss_gradient_and_scores_are_those_of_one_device(found, shards):
    many, one = found[f"mingle {shards}"], found["mingle 0"]
    np.testing.assert_allclose(many, one[: many.size], atol=1e-5)


@pytest.mark.parametrize(("case", "near"), [("mingle", 1e-5), ("mingle, wide", 1e-4)])
def test_shards_read_one_by_one_give_the_same(found, case, near):
    np.testing.assert_allclose(found[f"{case} streamed"], found[f"{case} 0"], atol=near)


@pytest.mark.parametrize("case", ["mingle, wide", "alldeepsets"])
def test_so_are_they_with_scores_of_any_range_and_with_sums(found, case):
    assert np.isfinite(found[f"{case} 3"]).all()
    np.testing.assert_allclose(found[f"{case} 3"], found[f"{case} 0"], atol=1e-4)


def test_a_batch_of_stays_spread_over_devices_has_the_same_gradient(found):
    assert np.abs(found["stays 0"]).max() > 1e-3
    np.testing.assert_allclose(found["stays 4"], found["stays 0"], atol=1e-5)


def test_a_step_exchanges_as_much_whatever_the_number_of_visits(found):
    few, many = found["bytes"]
    assert few == many > 0
