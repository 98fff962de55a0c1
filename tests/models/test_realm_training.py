"""Gradients, dropout and batch statistics of the network over stays."""

import functools

import jax
import numpy as np
import pytest
import stays

SHORTER = stays.draw()
BATCH = stays.lengthened(SHORTER)
ROWS = SHORTER.steps.shape[0]
MODALITIES = {"series": "values", "notes": "notes", "knowledge": "knowledge", "visit": "visit"}
MODELS = {
    "realm": stays.network(norm="batch", gate="input", series_summary=True),
    "emerge_code": stays.network(variant="emerge_code"),
    "emerge_paper": stays.network(variant="emerge_paper", norm="batch"),
    "mag": stays.network(variant="mag", precision="bfloat16"),
}


@functools.cache
def train(model):
    """(batch, key) -> gradients of parameters and of the batch, scores, new statistics."""
    made = stays.variables(model)
    kept = {name: tree for name, tree in made.items() if name != "params"}

    def loss(params, batch, key):
        scores, new = model.apply(
            {"params": params} | kept,
            batch,
            train=True,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        real = scores[:ROWS]  # as a training loop weighs padding of the batch by nothing
        return (real**2).sum(), (real, new)

    run = stays.quick_jit(jax.grad(loss, (0, 1), has_aux=True, allow_int=True))
    return lambda batch, key: run(made["params"], batch, key)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.slow
def test_a_masked_modality_has_no_gradient_and_all_gradients_are_finite(name):
    for gone in ((), ("series",), ("notes",), ("knowledge", "visit"), tuple(MODALITIES)):
        batch = stays.masked(BATCH, *gone)
        (of_params, of_batch), _ = train(MODELS[name])(batch, jax.random.key(1))
        for leaf in jax.tree.leaves((of_params, of_batch)):
            assert leaf.dtype == jax.dtypes.float0 or np.isfinite(leaf).all()
        for modality, field in MODALITIES.items():
            gradient = np.asarray(getattr(of_batch, field))
            assert gradient[0].any() == (modality not in gone)
            assert not gradient[1].any()  # a stay without any of them
            assert not gradient[ROWS:].any()  # padding


def test_dropout_follows_its_key_and_acts_in_training_alone():
    model = MODELS["emerge_code"]
    first, again, other = (
        np.asarray(train(model)(BATCH, jax.random.key(seed))[1][0]) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    scored = stays.logits(model, BATCH)[:ROWS]
    assert np.abs(first - scored).max() > 1e-3


@pytest.mark.parametrize("name", ["realm", "emerge_paper"])
def test_with_batch_norms_padding_moves_no_statistics_and_no_score(name):
    model, rng = MODELS[name], np.random.default_rng(8)
    noise = stays.lengthened(SHORTER, seed=rng.integers(99))
    (_, (scores, kept)), (_, (other, other_kept)) = (
        train(model)(batch, jax.random.key(0)) for batch in (BATCH, noise)
    )
    np.testing.assert_allclose(scores, other, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), kept, other_kept)
    before = jax.tree.leaves(stays.variables(model)["batch_stats"])
    for old, new in zip(before, jax.tree.leaves(kept["batch_stats"]), strict=True):
        assert np.abs(old - new).max() > 0
