import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
import scipy.sparse

from ehr_jax import errors
from ehr_jax.models import node_classifiers, registry
from ehr_jax.nn import bipartite, hops, sparse_rows

CLASSES = 3
DEPTHS = {"allset_transformer": 1, "alldeepsets_nodes": 1, "hgnn": 2}


def settings(method, **changes):
    return ml_collections.ConfigDict(
        {
            "name": method,
            "depth": 2,
            "width": 8,
            "heads": 2,
            "feed_forward_depth": 2,
            "dropout": 0.5,
            "input_dropout": 0.2,
            "precision": "float32",
        }
        | changes
    )


def draw(num_nodes, num_hyperedges, self_loops=True, seed=0):
    """(dense features, sparse features, [hyperedge, node] matrix, graph); node 0 is isolated."""
    generator = np.random.default_rng(seed)
    matrix = generator.random((num_hyperedges, num_nodes)) < 0.15
    matrix[:, 0] = False
    hyperedge, node = np.nonzero(matrix)
    graph = bipartite.pack(node, hyperedge, num_nodes, num_hyperedges)
    if self_loops:
        graph, added = bipartite.with_self_loops(graph)
        matrix = np.concatenate([matrix, np.eye(num_nodes)[added]])
    dense = scipy.sparse.random(
        num_nodes, 11, 0.3, format="csr", dtype=np.float32, random_state=seed
    )
    sparse = sparse_rows.from_csr(dense.indptr, dense.indices, dense.data, dense.shape)
    return dense.toarray(), sparse, matrix.astype(np.float64), graph


def start(network, features, layer_hops):
    init = jax.jit(network.init, static_argnames="train")
    parameters = init(jax.random.key(0), features, layer_hops, train=False)
    generator = np.random.default_rng(1)
    return jax.tree.map(
        lambda array: array + 0.2 * generator.normal(size=array.shape).astype(np.float32),
        parameters,
    )


def apply(network):
    return jax.jit(network.apply, static_argnames="train")


def as_float64(parameters):
    return jax.tree.map(lambda array: np.asarray(array, np.float64), parameters["params"])


SIZES = [(20, 8), (9, 30)]  # fewer and more hyperedges than nodes


@pytest.mark.parametrize("num_nodes, num_hyperedges", SIZES)
@pytest.mark.parametrize("self_loops", [True, False])
def test_hgnn_equals_the_dense_matrix_formula(num_nodes, num_hyperedges, self_loops):
    dense, sparse, matrix, graph = draw(num_nodes, num_hyperedges, self_loops)
    network = node_classifiers.build(settings("hgnn"), CLASSES)
    layer_hops = hops.whole(graph, 2)
    parameters = start(network, sparse, layer_hops)
    node_scale = np.divide(
        1, np.sqrt(matrix.sum(0)), where=matrix.sum(0) > 0, out=np.zeros(num_nodes)
    )
    size = np.maximum(matrix.sum(1), 1)
    smooth = node_scale[:, None] * matrix.T / size @ matrix * node_scale
    p = as_float64(parameters)
    first, last = p["convolution_0"], p["convolution_1"]
    hidden = smooth @ dense @ first["kernel"] + first["bias"]
    hidden = np.where(hidden > 0, hidden, np.expm1(hidden))
    expected = smooth @ hidden @ last["kernel"] + last["bias"]
    for features in (dense, sparse):
        logits = apply(network)(parameters, features, layer_hops, train=False)
        np.testing.assert_allclose(logits, expected, atol=1e-5)


def layer_norm(x, gain, offset):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * gain + offset


def relu(x):
    return np.maximum(x, 0)


def linear(x, p):
    return x @ p["kernel"] + p["bias"]


def attend(members, p, heads=2):
    """Set attention of one set, [member, in] -> [width], as published."""
    seed = p["seed"]
    pooled = np.zeros_like(seed)
    keys = (members @ p["key"] + p["key_bias"]).reshape(len(members), *seed.shape)
    values = linear(members, p["value"]).reshape(len(members), *seed.shape)
    for head in range(heads):
        if len(members):
            score = keys[:, head] @ seed[head]
            score = np.exp(np.where(score > 0, score, 0.2 * score))
            pooled[head] = score / score.sum() @ values[:, head]
    y = layer_norm((pooled + seed).ravel(), *norm(p["norm_pooled"]))
    mixed = linear(relu(linear(y, p["feed_forward"]["Dense_0"])), p["feed_forward"]["Dense_1"])
    return layer_norm(y + relu(mixed), *norm(p["norm_out"]))


def add_up(members, p):
    """AllDeepSets half-layer of one set, [member, in] -> [width], as published."""
    inner = [normed_mlp(member, p["inner"]) for member in members]
    return normed_mlp(sum(inner, np.zeros(p["inner"]["Linear_0"]["bias"].size)), p["outer"])


def normed_mlp(x, p):
    first = p["NormLinear_0"]
    x = linear(layer_norm(x, first["gain"], first["offset"]), first)
    return relu(linear(layer_norm(relu(x), *norm(p["LayerNorm_0"])), p["Linear_0"]))


def norm(p):
    return p["scale"], p["bias"]


@pytest.mark.parametrize(
    "name, half_layer", [("allset_transformer", attend), ("alldeepsets_nodes", add_up)]
)
@pytest.mark.parametrize("num_nodes, num_hyperedges, self_loops", [(20, 8, True), (9, 30, False)])
def test_set_networks_equal_a_plain_loop(name, half_layer, num_nodes, num_hyperedges, self_loops):
    dense, sparse, matrix, graph = draw(num_nodes, num_hyperedges, self_loops)
    network = node_classifiers.build(settings(name), CLASSES)
    layer_hops = hops.whole(graph, 2)
    parameters = start(network, sparse, layer_hops)
    p, x = as_float64(parameters), dense.astype(np.float64)
    for layer in range(2):
        up, down = p[f"to_hyperedges_{layer}"], p[f"to_nodes_{layer}"]
        hyperedges = np.array([relu(half_layer(x[row > 0], up)) for row in matrix])
        x = np.array([relu(half_layer(hyperedges[row > 0], down)) for row in matrix.T])
    expected = linear(x, p["classifier"])
    logits = apply(network)(parameters, sparse, layer_hops, train=False)
    np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.mark.parametrize("name", registry.OF_NODES)
def test_chosen_nodes_score_and_learn_as_in_the_whole_hypergraph(name):
    _, sparse, _, graph = draw(20, 8)
    network = node_classifiers.build(settings(name), CLASSES)
    depth = DEPTHS[name]
    everything = hops.whole(graph, depth)
    parameters = start(network, sparse, everything)
    rows = np.array([4, 0, 11])
    (chosen,) = hops.reaching(graph, depth, [rows])

    def loss(parameters, layer_hops, picked):
        logits = network.apply(parameters, sparse, layer_hops, train=False)[picked]
        return jnp.sin(logits).sum()

    both = jax.jit(jax.value_and_grad(loss))
    value, gradient = both(parameters, everything, rows)
    ours, our_gradient = both(parameters, chosen, np.arange(3))
    np.testing.assert_allclose(ours, value, rtol=1e-4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), our_gradient, gradient
    )


@pytest.mark.parametrize("name", registry.OF_NODES)
def test_dropout_acts_in_training_alone(name):
    _, sparse, _, graph = draw(20, 8)
    network = node_classifiers.build(settings(name), CLASSES)
    layer_hops = hops.whole(graph, DEPTHS[name])
    parameters = start(network, sparse, layer_hops)
    scores = apply(network)

    def logits(train, seed):
        rngs = {"dropout": jax.random.key(seed)}
        return scores(parameters, sparse, layer_hops, train=train, rngs=rngs)

    np.testing.assert_array_equal(logits(False, 1), logits(False, 2))
    assert np.abs(logits(True, 1) - logits(True, 2)).max() > 1e-3


def test_allset_transformer_has_the_published_number_of_parameters_on_cora():
    config = settings("allset_transformer", depth=1, width=256, heads=4)
    network = node_classifiers.build(config, 7)
    graph, _ = bipartite.with_self_loops(bipartite.pack([0, 1], [0, 0], 3, 1))
    parameters = jax.eval_shape(
        lambda: network.init(
            jax.random.key(0), jnp.zeros((3, 1433)), hops.whole(graph, 1), train=False
        )
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(parameters)) == 1_133_319


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"name": "hgn"}, "config.model.name is 'hgn'.*Did you mean 'hgnn'"),
        ({"width": 10, "heads": 4}, "config.model.width is 10, not a multiple"),
        ({"depth": 0}, "config.model.depth is 0; expected a whole number from 1"),
        ({"precision": "float16"}, "config.model.precision is 'float16'; expected one of float32"),
        ({"dropout": 1.0}, "config.model.dropout is 1.0; expected a number from 0 to below 1"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(errors.ConfigError, match=message):
        node_classifiers.build(settings("allset_transformer", **changes), CLASSES)
