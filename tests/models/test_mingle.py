"""MINGLE against plain numpy, written from the equations of the paper alone (arXiv 2403.08818).

Visits are loops over their codes; nothing of the package computes here but the network under test.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stays

from ehr_jax.models import inputs, mingle
from ehr_jax.nn import bipartite, spmm

# Of each visit its codes; one is empty, one has a single code (which then needs no self-loop).
MEMBERS = ([0, 1, 2], [3], [], [0, 4], [1, 2, 3, 4])
OTHERS = ([0, 2], [], [4, 1])  # visits that shape nothing
CODES, WIDTH, HEADS, LABELS, TEXT = 6, 4, 2, 3, 5


def layer_norm(x, scale, bias):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * scale + bias


def batch_norm(rows, p):
    return (rows - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-5) * p["scale"] + p["bias"]


def pair_norm(rows, of=None):
    """PN of rows, with the statistics of the rows `of`."""
    of = rows if of is None else of
    center = of.mean(0)
    size = np.mean([np.square(row - center).sum() for row in of])
    return (rows - center) / np.sqrt(1e-5 + size)


def linear(x, p):
    return x @ p["kernel"] + p["bias"]


def attend(sources, sets, p):
    """f(sources -> targets): one target of each set of sources, one after another."""
    per_head, out = WIDTH // HEADS, []
    for members in sets:
        heads = []
        for h in range(HEADS):
            at, q = slice(h * per_head, (h + 1) * per_head), p["seed"][h]
            keys = [(sources[i] @ p["key"] + p["key_bias"])[at] for i in members]
            values = [linear(sources[i], p["value"])[at] for i in members]
            scores = np.array([max(k @ q, 0.2 * (k @ q)) for k in keys])
            weights = np.exp(scores) / np.exp(scores).sum() if members else scores
            heads.append(sum((w * u for w, u in zip(weights, values, strict=True)), 0 * q) + q)
        y = layer_norm(np.concatenate(heads), p["norm_pooled"]["scale"], p["norm_pooled"]["bias"])
        hidden = y
        for k in range(2):
            hidden = linear(np.maximum(hidden, 0) if k else hidden, p["feed_forward"][f"Dense_{k}"])
        z = y + np.maximum(hidden, 0)
        out.append(layer_norm(z, p["norm_out"]["scale"], p["norm_out"]["bias"]))
    return np.array(out)


def plain(p, nodes, notes, has_note, other_notes, other_has_note, depth, use_notes, use_concepts):
    """Logits of the visits MEMBERS, and of OTHERS, which are read against them."""
    singles = {members[0] for members in MEMBERS if len(members) == 1}
    loops = [v for v in range(CODES) if v not in singles]
    edges = [list(members) for members in MEMBERS] + [[v] for v in loops]
    concepts = np.asarray(nodes.concept) * use_concepts
    x = np.concatenate([nodes.structure, nodes.concept], 1) if use_concepts else nodes.structure
    x = np.asarray(x) + p["node_update"]["difference"]

    def semantics(notes, has_note, loops):
        """Rows of H, Eq. 6, of visits and of self-loops."""
        if not use_notes and not use_concepts:
            return None
        there = has_note * use_notes
        of_visits = [linear(n * use_notes, p["note_layer"]) * t
                     for n, t in zip(notes, there, strict=True)]  # fmt: skip
        return np.array(of_visits + [linear(concepts[v], p["note_layer"]) for v in loops])

    def fuse(layer, rows, h):
        """MLP_2 of [E ; H], Eq. 7."""
        return rows if h is None else linear(np.concatenate([rows, h], 1), p[f"fusions_{layer}"])

    h, other_h = semantics(notes, has_note, loops), semantics(other_notes, other_has_note, [])
    kept, read = [], []
    for layer in range(depth + 1):
        raw = attend(x, edges, p[f"to_hyperedges_{layer}"])
        e = fuse(layer, pair_norm(raw), h)
        kept.append(e[: len(MEMBERS)])
        others = attend(x, OTHERS, p[f"to_hyperedges_{layer}"])
        read.append(fuse(layer, pair_norm(others, raw), other_h))
        if layer < depth:
            e = np.maximum(batch_norm(e, p[f"hyperedge_norms_{layer}"]), 0)
            holding = [[k for k, members in enumerate(edges) if v in members] for v in range(CODES)]
            n = pair_norm(attend(e, holding, p[f"to_nodes_{layer}"]))
            x = np.maximum(batch_norm(n, p[f"node_norms_{layer}"]), 0)

    def classify(parts):
        hidden = np.maximum(linear(np.concatenate(parts, 1), p["hidden"]), 0)
        norm = p["hidden_norm"]
        return linear(
            np.array([layer_norm(row, norm["scale"], norm["bias"]) for row in hidden]), p["out"]
        )

    return classify(kept), classify(read)


def visits(members, notes, has_note, self_loops):
    pairs = [(node, k) for k, nodes in enumerate(members) for node in nodes]
    node, visit = np.array(pairs).T
    graph, loops = bipartite.pack(node, visit, CODES, len(members)), np.zeros(0, np.int32)
    if self_loops:
        graph, loops = bipartite.with_self_loops(graph)
    return inputs.Visits(
        spmm.from_graph(graph), jnp.asarray(loops), jnp.asarray(notes), jnp.asarray(has_note),
        len(members),
    )  # fmt: skip


@functools.cache
def drawn():
    rng = np.random.default_rng(5)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    nodes = inputs.Nodes(normal(CODES, 3), normal(CODES, TEXT))
    has_note, other = np.array([1, 0, 1, 1, 0], np.float32), np.array([0, 1, 1], np.float32)
    # A note that is not there is a zero vector.
    notes = normal(len(MEMBERS), TEXT) * has_note[:, None]
    return nodes, notes, has_note, normal(len(OTHERS), TEXT) * other[:, None], other


@pytest.mark.parametrize(
    ("depth", "use_notes", "use_concepts"),
    [(2, True, True), (1, False, True), (1, True, False), (1, False, False), (0, True, True)],
)
def test_the_network_is_its_equations(depth, use_notes, use_concepts):
    nodes, notes, has_note, other_notes, other_has_note = drawn()
    model = mingle.Mingle(
        LABELS, depth, WIDTH, HEADS, use_notes=use_notes, use_concepts=use_concepts,
        classifier_width=7,
    )  # fmt: skip
    shaping = visits(MEMBERS, notes, has_note, True)
    reading = visits(OTHERS, other_notes, other_has_note, False)
    start = lambda: model.init(jax.random.key(0), nodes, shaping, False, method="encode")  # noqa: E731
    rng = np.random.default_rng(6)
    params = jax.tree.map(
        lambda leaf: (0.5 * rng.normal(size=leaf.shape) + 0.1).astype(np.float32),
        jax.eval_shape(start),
    )

    @stays.quick_jit
    def scored(params):
        logits, frozen = model.apply(params, nodes, shaping, False, method="encode")
        return logits, model.apply(params, nodes, reading, frozen, method="read")

    found = scored(params)
    in_full = jax.tree.map(lambda leaf: leaf.astype(np.float64), params["params"])
    expected = plain(in_full, *drawn(), depth, use_notes, use_concepts)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4)
