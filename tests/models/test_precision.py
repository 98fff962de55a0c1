"""Networks over hypergraphs in bfloat16: near float32 in scores and gradients, and as good."""

import functools

import arrays as make
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ehr_jax import errors
from ehr_jax.models import registry
from ehr_jax.training import fit, problem, sharded_problem, stepping, task


@functools.cache
def data() -> problem.Problem:
    return problem.build(make.make_arrays(600, nodes=40), "1")


def network(method: str, precision: str, **changes):
    config = registry.configure(make.make_config(model__precision=precision, **changes), method)
    return registry.build(config, 2), config.train


@functools.cache
def first(method: str):
    """Parameters before the first step, from float32."""
    model = network(method, "float32")[0]
    return jax.jit(lambda d, k: d.init(model, k))(data(), jax.random.key(0))


def figures(method: str, precision: str, params) -> tuple[np.ndarray, np.ndarray]:
    """Validation logits [validation, label] and the loss's gradient, flat."""
    model = network(method, precision)[0]

    def both(given, params):
        loss = lambda p: given.loss(p, model, jax.random.key(1), 0)[0]  # noqa: E731
        return given.validation_logits(params, model), jax.grad(loss)(params)

    logits, gradient = jax.jit(both)(data(), params)
    assert {x.dtype for x in (logits, *jax.tree.leaves(gradient))} == {np.dtype(np.float32)}
    return np.asarray(logits), np.concatenate([np.ravel(x) for x in jax.tree.leaves(gradient)])


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("method", ["mingle", "hypehr", "mlp_notes"])
@pytest.mark.slow
def test_scores_and_gradients_are_near_those_of_float32(method):
    params = first(method)
    full, full_gradient = figures(method, "float32", params)
    half, half_gradient = figures(method, "bfloat16", params)
    assert 0 < np.abs(half - full).max() < 0.03 * np.abs(full).max()
    assert np.isfinite(half_gradient).all()
    assert cosine(half_gradient, full_gradient) > 0.995
    assert 0.98 < np.linalg.norm(half_gradient) / np.linalg.norm(full_gradient) < 1.02


@pytest.mark.slow
def test_alldeepsets_strays_no_further_than_by_rounding_its_parameters():
    # Its norms of sums amplify any rounding, so that no tolerance of the others holds.
    params = first("alldeepsets")
    full, _ = figures("alldeepsets", "float32", params)
    half, gradient = figures("alldeepsets", "bfloat16", params)
    rounded = jax.tree.map(lambda x: x.astype(jnp.bfloat16).astype(jnp.float32), params)
    near, _ = figures("alldeepsets", "float32", rounded)
    assert np.isfinite(gradient).all()
    assert np.median(np.abs(half - full)) < 5 * np.median(np.abs(near - full))


@pytest.mark.slow
def test_a_short_training_ranks_as_well_as_in_float32():
    arrays = make.make_arrays(2000)
    given, reached = problem.build(arrays, "1"), {}
    for precision in ("float32", "bfloat16"):
        model, config = network("mingle", precision, train__eval_every=40)
        optimiser = fit.make_optimiser(config)
        chunk = task.Chunk(model, optimiser, config.eval_every, "auroc")
        run = functools.partial(stepping.run_chunk, chunk)
        state = fit.init_state(model, optimiser, given, jax.random.key(0))
        state, metrics = jax.jit(run)(state, given, jax.random.key(0))
        assert {x.dtype for x in jax.tree.leaves(state.params)} == {np.dtype(np.float32)}
        reached[precision] = float(metrics["validation_auroc"])
    assert reached["float32"] > 0.8
    assert abs(reached["bfloat16"] - reached["float32"]) < 0.01


@pytest.mark.slow
def test_members_of_a_population_score_as_alone_in_bfloat16():
    model, _ = network("mingle", "bfloat16")
    params = jax.tree.map(lambda x: jnp.stack([x, 1.1 * x]), first("mingle"))
    score = lambda p: data().validation_logits(p, model)  # noqa: E731
    together = jax.jit(jax.vmap(score))(params)
    alone = jax.jit(score)(jax.tree.map(lambda x: x[1], params))
    # A sum in another order may round to the other neighbour.
    np.testing.assert_allclose(together[1], alone, atol=0.02)


@pytest.mark.parametrize("method", ["mingle", "mlp_notes"])
def test_shards_in_turn_are_near_the_whole_in_bfloat16(method):
    model, _ = network(method, "bfloat16", model__input_dropout=0.0)
    arrays = make.make_arrays(600, nodes=40)
    shards = sharded_problem.build(arrays, "1", None, shards=3)
    run = lambda given, p: given.validation_logits(p, model)  # noqa: E731
    whole = jax.jit(run)(data(), first(method))
    np.testing.assert_allclose(
        jax.jit(run)(shards, first(method)), whole, atol=0.03 * np.abs(whole).max()
    )


@pytest.mark.parametrize("method", ["mingle", "unified", "mlp"])
def test_other_words_for_the_precision_are_refused(method):
    with pytest.raises(errors.ConfigError, match="config.model.precision is 'half'; expected one"):
        registry.build(registry.configure(make.make_config(model__precision="half"), method), 2)
