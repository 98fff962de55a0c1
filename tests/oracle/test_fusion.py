"""Recurrence, attention and its block against PyTorch's own modules, values and gradients."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from ehr_jax.models import realm_fusions  # noqa: E402
from ehr_jax.nn import cross_attention, recurrent, token_norm  # noqa: E402

BATCH, TIME, WIDTH, HEADS = 5, 7, 12, 3
LENGTHS = [7, 4, 1, 6, 2]
MASK = (np.arange(TIME) < np.array(LENGTHS)[:, None]).astype(np.float32)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def array(tensor):
    return tensor.detach().numpy()


@pytest.mark.parametrize("hoist", [False, True])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_recurrence_equals_pytorch_on_packed_sequences(kind, hoist):
    torch.manual_seed(1)
    made = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[kind]
    theirs = made(6, WIDTH, batch_first=True, bidirectional=True)
    x, toward = normal(BATCH, TIME, 6), normal(BATCH, TIME, 2 * WIDTH, seed=1)
    inputs = torch.tensor(x, requires_grad=True)
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        inputs, LENGTHS, batch_first=True, enforce_sorted=False
    )
    states, last = theirs(packed)
    states, _ = torch.nn.utils.rnn.pad_packed_sequence(states, batch_first=True)
    last = last[0] if kind == "lstm" else last
    ((states * torch.tensor(toward)).sum() + (last**2).sum()).backward()

    def weights(back):
        names = ("weight_ih_l0", "bias_ih_l0", "weight_hh_l0", "bias_hh_l0")
        end = "_reverse" if back else ""
        return recurrent.Weights(*(getattr(theirs, name + end) for name in names))

    def ours(back):
        return recurrent.Weights(*(jnp.asarray(array(w).T) for w in weights(back)))

    run = {"gru": recurrent.gru, "lstm": recurrent.lstm}[kind]

    def both(forward, back, x):
        pairs = [
            run(w, x, MASK, reverse=reverse, hoist=hoist)
            for w, reverse in ((forward, False), (back, True))
        ]
        states = jnp.concatenate([p[0] for p in pairs], axis=-1) * MASK[..., None]
        return states, jnp.stack([p[1] for p in pairs])

    def loss(*arguments):
        states, last = both(*arguments)
        return (states * toward).sum() + (last**2).sum(), (states, last)

    arguments = ours(False), ours(True), x
    gradient, (found, found_last) = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(*arguments)
    np.testing.assert_allclose(found, array(states), atol=1e-5)
    np.testing.assert_allclose(found_last, array(last), atol=1e-5)
    np.testing.assert_allclose(gradient[2], inputs.grad.numpy(), atol=1e-5)
    for back in (False, True):
        for mine, parameter in zip(gradient[back], weights(back), strict=True):
            np.testing.assert_allclose(mine, parameter.grad.numpy().T, rtol=1e-5, atol=1e-5)


def attention_params(theirs) -> dict:
    return {
        "kernel": array(theirs.in_proj_weight).T,
        "bias": array(theirs.in_proj_bias),
        "out": {"kernel": array(theirs.out_proj.weight).T, "bias": array(theirs.out_proj.bias)},
    }


@pytest.mark.parametrize("onto_itself", [True, False])
def test_attention_equals_pytorch(onto_itself):
    torch.manual_seed(2)
    theirs = torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    torch.nn.init.normal_(theirs.in_proj_bias)
    torch.nn.init.normal_(theirs.out_proj.bias)
    memory = normal(BATCH, TIME, WIDTH)
    query = memory if onto_itself else normal(BATCH, 4, WIDTH, seed=1)
    toward = normal(*query.shape, seed=2)
    q, m = (torch.tensor(a, requires_grad=True) for a in (query, memory))
    q = m if onto_itself else q
    expected, _ = theirs(q, m, m, key_padding_mask=torch.tensor(MASK == 0))
    (expected * torch.tensor(toward)).sum().backward()
    ours = cross_attention.MultiHeadAttention(WIDTH, HEADS)

    def loss(params, query, memory):
        query = memory if onto_itself else query
        out = ours.apply({"params": params}, query, memory, MASK)
        return (out * toward).sum(), out

    params = jax.tree.map(jnp.asarray, attention_params(theirs))
    gradient, out = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(
        params, jnp.asarray(query), jnp.asarray(memory)
    )
    np.testing.assert_allclose(out, array(expected), atol=1e-5)
    np.testing.assert_allclose(gradient[0]["kernel"], theirs.in_proj_weight.grad.T, atol=2e-5)
    np.testing.assert_allclose(gradient[0]["bias"], theirs.in_proj_bias.grad, atol=2e-5)
    np.testing.assert_allclose(gradient[2], m.grad, atol=1e-5)
    if not onto_itself:
        np.testing.assert_allclose(gradient[1], q.grad, atol=1e-5)


def test_the_block_with_layer_norms_equals_pytorchs_encoder_layer():
    torch.manual_seed(3)
    theirs = torch.nn.TransformerEncoderLayer(WIDTH, HEADS, 20, 0.0, batch_first=True).train()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = normal(BATCH, TIME, WIDTH)
    expected = array(theirs(torch.tensor(x), src_key_padding_mask=torch.tensor(MASK == 0)))

    def linear(module):
        return {"kernel": array(module.weight).T, "bias": array(module.bias)}

    def norm(module):
        return {"LayerNorm_0": {"scale": array(module.weight), "bias": array(module.bias)}}

    params = {
        "attention": attention_params(theirs.self_attn),
        "inner": linear(theirs.linear1),
        "outer": linear(theirs.linear2),
        "norm_attention": norm(theirs.norm1),
        "norm_out": norm(theirs.norm2),
    }
    ours = cross_attention.AttentionBlock(WIDTH, HEADS, 20)
    found = ours.apply({"params": params}, jnp.asarray(x), MASK, jnp.asarray(x), MASK)
    np.testing.assert_allclose(found, expected * MASK[..., None], atol=1e-5)


def test_batch_norm_over_tokens_equals_pytorchs_on_the_tokens_alone():
    theirs = torch.nn.BatchNorm1d(WIDTH)
    ours = token_norm.TokenNorm("batch")
    variables = ours.init(jax.random.key(0), jnp.zeros((1, 1, WIDTH)), jnp.ones((1, 1)), True)
    for seed in range(3):
        x = 3 + 2 * normal(BATCH, TIME, WIDTH, seed=seed)
        expected = array(theirs(torch.tensor(x[MASK > 0])))
        found, kept = ours.apply(variables, x, MASK, True, mutable=["batch_stats"])
        variables = variables | kept
        np.testing.assert_allclose(np.asarray(found)[MASK > 0], expected, atol=1e-5)
    theirs.eval()
    expected = array(theirs(torch.tensor(x[MASK > 0])))
    found = np.asarray(ours.apply(variables, x, MASK, False))[MASK > 0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_released_fusion_of_emerge_equals_its_modules_put_together():
    """Two independent nn.MultiheadAttention over single tokens, joined, then nn.Linear."""
    torch.manual_seed(4)
    asks = [torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True) for _ in range(2)]
    join = torch.nn.Linear(2 * WIDTH, WIDTH)
    series, text = normal(BATCH, WIDTH), normal(BATCH, WIDTH, seed=1)
    a, b = torch.tensor(series)[:, None], torch.tensor(text)[:, None]
    mixed = torch.cat([asks[0](a, b, b)[0], asks[1](b, a, a)[0]], dim=-1)[:, 0]
    expected = array(join(mixed))
    ours = realm_fusions.VectorFusion("emerge_code", WIDTH, HEADS, 8, "layer", 0.0)
    params = {
        "cross_0": attention_params(asks[0]),
        "cross_1": attention_params(asks[1]),
        "out": {"kernel": array(join.weight).T, "bias": array(join.bias)},
        "missing_0": np.zeros(WIDTH),
        "missing_1": np.zeros(WIDTH),
    }
    found = ours.apply({"params": params}, [series, text], [np.ones(BATCH)] * 2, False)
    np.testing.assert_allclose(found, expected, atol=1e-5)
