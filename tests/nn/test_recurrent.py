import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ehr_jax.nn import recurrent

BATCH, TIME, INPUTS, WIDTH = 4, 6, 3, 5
MASK = np.array([[1] * 6, [0] * 6, [0, 0, 1, 1, 1, 1], [1, 0, 1, 1, 0, 0]], np.float32)

gru = jax.jit(recurrent.gru, static_argnames=("reverse", "hoist", "unroll", "precision"))
lstm = jax.jit(recurrent.lstm, static_argnames=("reverse", "hoist", "unroll", "precision"))
RUN = {"gru": gru, "lstm": lstm}


def draw(kind, inputs=INPUTS, seed=0):
    rng = np.random.default_rng(seed)
    gates = recurrent.GATES[kind] * WIDTH
    shapes = (inputs, gates), (gates,), (WIDTH, gates), (gates,)
    weights = recurrent.Weights(*(rng.normal(size=s).astype(np.float32) for s in shapes))
    return weights, rng.normal(size=(BATCH, TIME, inputs)).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(kind, weights, x, mask, decay=None, reverse=False):
    """The published formulas, one row and one step at a time in float64; [batch, time, width]."""
    w = [np.asarray(a, np.float64) for a in weights]
    states = np.zeros((*x.shape[:2], WIDTH))
    for row in range(len(x)):
        h = c = np.zeros(WIDTH)
        for t in reversed(range(x.shape[1])) if reverse else range(x.shape[1]):
            if mask[row, t]:
                before = h if decay is None else h * decay[row, t]
                a = np.split(x[row, t] @ w[0] + w[1], len(w[1]) // WIDTH)
                b = np.split(before @ w[2] + w[3], len(w[1]) // WIDTH)
                if kind == "gru":
                    r, z = sigmoid(a[0] + b[0]), sigmoid(a[1] + b[1])
                    h = (1 - z) * np.tanh(a[2] + r * b[2]) + z * before
                else:
                    i, f, o = (sigmoid(a[k] + b[k]) for k in (0, 1, 3))
                    c = f * c + i * np.tanh(a[2] + b[2])
                    h = o * np.tanh(c)
            states[row, t] = h
    return states


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_states_equal_the_formulas_wherever_the_padding_stands(kind, reverse):
    weights, x = draw(kind)
    states, last = RUN[kind](weights, x, MASK, reverse=reverse)
    expected = by_hand(kind, weights, x, MASK, reverse=reverse)
    np.testing.assert_allclose(states, expected, atol=1e-5)
    np.testing.assert_allclose(last, expected[:, 0 if reverse else -1], atol=1e-5)
    np.testing.assert_array_equal(last[1], 0)  # a row without steps


@pytest.mark.parametrize("options", [{"hoist": True}, {"hoist": False, "unroll": 4}])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_hoisting_and_unrolling_change_nothing(kind, options):
    weights, x = draw(kind)
    expected = by_hand(kind, weights, x, MASK)
    np.testing.assert_allclose(RUN[kind](weights, x, MASK, **options)[0], expected, atol=1e-5)


def test_decay_acts_on_the_state_before_each_step():
    weights, x = draw("gru")
    decay = np.random.default_rng(3).random((BATCH, TIME, WIDTH)).astype(np.float32)
    states, _ = gru(weights, x, MASK, decay=decay)
    np.testing.assert_allclose(states, by_hand("gru", weights, x, MASK, decay), atol=1e-5)


def test_what_stands_in_padding_reaches_no_state_and_no_gradient():
    weights, x = draw("gru")
    other = np.where(MASK[..., None] > 0, x, 1e3).astype(np.float32)

    def loss(weights, x):
        states, last = recurrent.gru(weights, x, MASK)
        return (states**2).sum() + last.sum()

    gradients = jax.jit(jax.value_and_grad(loss, (0, 1)))
    value, (of_weights, of_x) = gradients(weights, x)
    other_value, (others, _) = gradients(weights, other)
    np.testing.assert_array_equal(np.asarray(of_x)[MASK == 0], 0)
    assert value == other_value
    jax.tree.map(np.testing.assert_array_equal, of_weights, others)


def test_gradients_equal_differences_of_the_formulas():
    weights, x = draw("gru")
    toward = np.random.default_rng(5).normal(size=(BATCH, TIME, WIDTH))
    loss = jax.jit(jax.grad(lambda w: (recurrent.gru(w, x, MASK)[0] * toward).sum()))
    gradient = loss(weights)
    rng, step = np.random.default_rng(6), 1e-5
    for k, part in enumerate(weights):
        direction = rng.normal(size=part.shape)
        losses = []
        for sign in (1, -1):
            moved = list(weights)
            moved[k] = part + sign * step * direction
            losses.append((by_hand("gru", moved, x, MASK) * toward).sum())
        found = (np.asarray(gradient[k]) * direction).sum()
        np.testing.assert_allclose(found, (losses[0] - losses[1]) / (2 * step), rtol=1e-3)


def test_no_step_at_all_and_no_input_at_all_are_allowed():
    weights, x = draw("gru")
    states, last = gru(weights, x[:, :0], MASK[:, :0])
    assert states.shape == (BATCH, 0, WIDTH)
    np.testing.assert_array_equal(last, 0)
    weights, x = draw("gru", inputs=0)
    expected = by_hand("gru", weights, x, MASK)
    np.testing.assert_allclose(gru(weights, x, MASK)[0], expected, atol=1e-5)


def test_bfloat16_operands_stay_near_and_the_result_is_float32():
    weights, x = draw("gru")
    states, _ = gru(weights, x, MASK, precision="bfloat16")
    assert states.dtype == jnp.float32
    np.testing.assert_allclose(states, by_hand("gru", weights, x, MASK), atol=0.1)


GOLDEN = {  # of torch 2.13, weights sin(1 + k + parameter), inputs cos(k)
    "gru": [
        [[0.8157585, -0.0423234], [0.8211253, 0.4796040], [0.4565018, 0.5751265]],
        [[0.7974419, -0.0472974], [0.8403999, 0.4021333], [0.5422010, 0.5687758]],
    ],
    "lstm": [
        [[0.3895847, 0.0034853], [0.1063236, 0.0334245], [0.1808738, 0.0237071]],
        [[0.4221138, 0.0009314], [0.1292537, 0.0350279], [0.1410254, 0.0218826]],
    ],
}


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_states_equal_pytorchs_golden_numbers(kind):
    gates = recurrent.GATES[kind] * 2

    def fill(order, *shape):
        return np.sin(1 + order + np.arange(np.prod(shape))).reshape(shape).astype(np.float32)

    weights = recurrent.Weights(
        fill(0, gates, 2).T, fill(2, gates), fill(1, gates, 2).T, fill(3, gates)
    )
    x = np.cos(np.arange(12.0)).reshape(2, 3, 2).astype(np.float32)
    states, _ = RUN[kind](weights, x, np.ones((2, 3)))
    np.testing.assert_allclose(states, GOLDEN[kind], atol=1e-5)
