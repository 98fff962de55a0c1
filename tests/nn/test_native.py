"""The CPU kernel against XLA's own, wherever a C++ compiler is at hand."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from ehr_jax import errors
from ehr_jax.nn import native, set_attention, spmm
from ehr_jax.nn.native import build


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """Builds the kernel into a folder of the tests' own."""
    if not any(shutil.which(compiler) for compiler in build.COMPILERS):
        pytest.skip("no C++ compiler")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EHR_JAX_CACHE", str(tmp_path_factory.mktemp("native")))
        patch.delenv("CXX", raising=False)
        build.build()
        assert native.built()
        yield


def draw(rows, columns, density=0.1, seed=0):
    matrix = scipy.sparse.random(rows, columns, density, format="coo", random_state=seed)
    return matrix, spmm.from_pairs(matrix.col, matrix.row, columns, rows, matrix.nnz + 3)


@pytest.mark.parametrize("width", [1, 3, 52, 68, 200])
def test_sums_equal_scipys_at_every_width(kernel, width):
    matrix, incidence = draw(300, 90)
    x = np.random.default_rng(1).normal(size=(90, width)).astype(np.float32)
    ones = scipy.sparse.coo_matrix((np.ones(matrix.nnz), (matrix.row, matrix.col)), matrix.shape)
    found = jax.jit(spmm.sums, static_argnames="backend")(incidence.forward, x, backend="native")
    np.testing.assert_allclose(found, ones @ x, atol=1e-4)


def test_weighted_sums_equal_scipys(kernel):
    matrix, incidence = draw(200, 70)
    order = np.lexsort((matrix.col, matrix.row))
    weights = np.pad(matrix.data[order], (0, 3), constant_values=7).astype(np.float32)
    x = np.random.default_rng(2).normal(size=(70, 20)).astype(np.float32)
    found = spmm.sums(incidence.forward, x, weights, "native")
    np.testing.assert_allclose(found, matrix @ x, atol=1e-4)


@pytest.mark.parametrize("density", [0.0, 0.002, 1.0])
def test_lists_longer_than_a_piece_of_work_and_empty_ones_give_every_target(kernel, density):
    matrix, incidence = draw(9000, 40, density)
    x = np.random.default_rng(3).normal(size=(40, 5)).astype(np.float32)
    expected = spmm.product(incidence, x, "bcsr")
    np.testing.assert_allclose(spmm.product(incidence, x, "native"), expected, atol=1e-4)


def test_two_calls_give_the_same_bits(kernel):
    _, incidence = draw(5000, 400, 0.05)
    x = np.random.default_rng(4).normal(size=(400, 68)).astype(np.float32)
    first, *others = (np.asarray(spmm.product(incidence, x, "native")) for _ in range(4))
    assert all((first == other).all() for other in others)


def test_set_attention_and_its_gradients_equal_those_of_xlas_kernel(kernel):
    _, incidence = draw(120, 50)
    generator = np.random.default_rng(5)
    scores = generator.normal(size=(3, 50, 4)).astype(np.float32)
    values = generator.normal(size=(3, 50, 4, 12)).astype(np.float32)

    def gradients(backend):
        def loss(scores, values):
            return jnp.sin(set_attention.pool(incidence, scores, values, backend)).sum()

        return jax.jit(jax.vmap(jax.value_and_grad(loss, (0, 1))))(scores, values)

    both = gradients("native"), gradients("bcsr")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *both)


def test_what_is_not_float32_is_summed_by_xla(kernel):
    _, incidence = draw(30, 20)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(20, 2)), jnp.bfloat16)
    found = spmm.product(incidence, x, "native")
    assert found.dtype == jnp.float32  # bfloat16 rows have float32 sums
    np.testing.assert_allclose(found, spmm.product(incidence, x.astype(jnp.float32)), atol=1e-5)


def test_a_product_takes_the_kernel_where_it_was_built(kernel):
    assert spmm.default_backend() == ("native" if jax.default_backend() == "cpu" else "segment")


def test_without_a_library_products_run_on_and_asking_for_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("EHR_JAX_CACHE", str(tmp_path))
    _, incidence = draw(30, 20)
    assert spmm.default_backend() != "native"
    assert spmm.product(incidence, jnp.ones((20, 2))).shape == (30, 2)
    with pytest.raises(ValueError, match="python -m ehr_jax.nn.native.build"):
        # Of a shape that no other test has: what jax has traced once it does not ask for again.
        spmm.product(incidence, jnp.ones((20, 5)), "native")


def test_a_library_that_cannot_be_loaded_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("EHR_JAX_CACHE", str(tmp_path))
    native.library().parent.mkdir()
    native.library().write_bytes(b"no library")
    with pytest.warns(UserWarning, match="cannot be loaded"):
        assert not native.built()


def test_a_missing_compiler_and_a_refused_source_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("EHR_JAX_CACHE", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(errors.UserError, match="no C\\+\\+ compiler: CXX=no-such-compiler"):
        build.build()
    refusing = tmp_path / "refuse"
    refusing.write_text("#!/bin/sh\necho what is this >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("CXX", str(refusing))
    with pytest.raises(errors.UserError, match="what is this"):
        build.build()
    assert not native.library().exists()
    assert build.main() == 1
