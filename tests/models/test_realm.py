import functools
import itertools

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
import stays

from ehr_jax import errors
from ehr_jax.models import realm, realm_fusions, realm_streams

STAYS = stays.draw()
LONGER = stays.lengthened(STAYS)  # the shape of most tests, so that few programs are compiled
ROWS = STAYS.steps.shape[0]
OF_MASK = {
    "steps": ("values", "observed", "elapsed", "hours"),
    "note_mask": ("notes", "note_hours"),
    "knowledge_mask": ("knowledge", "knowledge_hours"),
    "has_visit": ("visit",),
}


MODELS = {name: stays.network(variant=name) for name in realm.VARIANTS}
every = pytest.mark.parametrize("name", MODELS)


@every
def test_padding_on_every_axis_changes_no_score_and_no_weight(name):
    model = MODELS[name]
    found, evidence = stays.scorer(model)(STAYS)
    padded, padded_evidence = stays.scorer(model)(LONGER)
    assert found.shape == (ROWS, 2)
    np.testing.assert_allclose(padded[:ROWS], found, rtol=1e-6, atol=1e-5)
    for weights, longer in zip(evidence[1:], padded_evidence[1:], strict=True):
        old = weights.shape[1]
        front = longer.shape[1] - old if weights is evidence.step else 0
        longer = np.asarray(longer[:ROWS])
        np.testing.assert_allclose(longer[:, front : front + old], weights, atol=1e-5)
        np.testing.assert_array_equal(np.delete(longer, np.s_[front : front + old], axis=1), 0)


@every
def test_what_stands_in_padding_is_never_read(name):
    model = MODELS[name]
    nan = jax.tree.map(lambda x: x.copy(), LONGER)
    masks = {"steps": np.asarray(LONGER.step_mask)} | {
        key: getattr(LONGER, key) for key in stays.MASKS[1:]
    }
    for mask, fields in OF_MASK.items():
        for field in fields:
            getattr(nan, field)[masks[mask] == 0] = np.nan
    np.testing.assert_array_equal(stays.logits(model, nan), stays.logits(model, LONGER))


@every
def test_the_order_of_notes_and_entities_with_their_times_changes_nothing(name):
    model = MODELS[name]
    moved = LONGER
    for prefix, vectors, mask in (
        ("note", "notes", "note_mask"),
        ("knowledge", "knowledge", "knowledge_mask"),
    ):
        order = np.random.default_rng(1).permutation(getattr(LONGER, mask).shape[1])
        fields = (vectors, f"{prefix}_hours", mask)
        moved = moved.replace(**{f: getattr(moved, f)[:, order] for f in fields})
    np.testing.assert_allclose(stays.logits(model, moved), stays.logits(model, LONGER), atol=1e-5)


@every
def test_each_stay_is_scored_by_itself(name):
    model = MODELS[name]
    order = np.random.default_rng(2).permutation(LONGER.steps.shape[0])
    moved = jax.tree.map(lambda x: x[order], LONGER)
    np.testing.assert_allclose(
        stays.logits(model, moved), stays.logits(model, LONGER)[order], atol=1e-5
    )


@every
def test_a_stay_without_anything_is_scored_by_its_statics_alone(name):
    model = MODELS[name]
    nothing = stays.masked(LONGER, "series", "notes", "knowledge", "visit")
    scores, evidence = stays.scorer(model)(nothing)
    assert np.isfinite(scores).all()
    assert np.ptp(np.asarray(scores), axis=0).min() > 0
    same = nothing.replace(statics=np.ones_like(LONGER.statics))
    np.testing.assert_allclose(np.ptp(stays.logits(model, same), axis=0), 0, atol=1e-6)
    for weights in evidence:
        if weights is not None:
            np.testing.assert_array_equal(weights, 0)


def test_the_weights_of_realm_are_shares_of_what_is_there():
    model = MODELS["realm"]
    evidence = jax.tree.map(np.asarray, stays.scorer(model)(LONGER)[1])
    series, text = np.asarray(LONGER.step_mask), [LONGER.note_mask, LONGER.knowledge_mask]
    present = np.stack(
        [series.any(1), np.concatenate(text, axis=1).any(1), LONGER.has_visit > 0], axis=1
    )
    assert model.modalities == ("series", "text", "visit")
    np.testing.assert_array_equal(evidence.modality > 0, present)
    np.testing.assert_allclose(evidence.modality.sum(1), present.any(1), atol=1e-6)
    np.testing.assert_allclose(evidence.step.sum(1), present[:, 0], atol=1e-6)
    both = evidence.chunk.sum(1) + evidence.entity.sum(1)
    np.testing.assert_allclose(both, present[:, 1], atol=1e-6)


def test_times_matter_to_realm_and_only_to_it():
    later = LONGER.replace(note_hours=LONGER.note_hours + 5)
    change = np.abs(
        stays.logits(MODELS["realm"], later) - stays.logits(MODELS["realm"], LONGER)
    ).max(1)
    assert change[0] > 1e-4
    released = MODELS["emerge_code"]
    np.testing.assert_array_equal(stays.logits(released, later), stays.logits(released, LONGER))


def fuse(variant, vectors, changes=None):
    module = realm_fusions.VectorFusion(variant, 8, 2, 6, "layer", 0.0)
    present = [jnp.ones(len(v)) for v in vectors]
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), vectors, present, False))
    rng = np.random.default_rng(4)
    made = jax.tree.map(lambda s: rng.normal(size=s.shape).astype(np.float32), shapes)
    for name, value in (changes or {}).items():
        made["params"]["out"][name] = value
    return made, jax.jit(lambda made, vectors: module.apply(made, vectors, present, False))


def test_in_emerges_released_fusion_the_query_says_nothing():
    """Of single tokens CrossAttn(series, text) is a linear map of the text alone."""
    rng = np.random.default_rng(0)
    series, other, text = (rng.normal(size=(5, 8)).astype(np.float32) for _ in range(3))
    # Only what the series asks of the text is let through: the first half of the joined vectors.
    kernel = np.concatenate([np.eye(8), np.zeros((8, 8))]).astype(np.float32)
    made, apply = fuse("emerge_code", [series, text], {"kernel": kernel})
    asked = apply(made, [series, text])
    np.testing.assert_array_equal(apply(made, [other, text]), asked)
    assert np.abs(np.asarray(apply(made, [series, other]) - asked)).max() > 0.1
    # So the projections of queries and keys never learn.
    loss = jax.jit(jax.grad(lambda made: (apply(made, [series, text]) ** 2).sum()))
    gradient = loss(made)["params"]
    for part in ("cross_0", "cross_1"):
        kernel = np.asarray(gradient[part]["kernel"])
        np.testing.assert_allclose(kernel[:, :16], 0, atol=1e-4)
    assert np.abs(gradient["cross_0"]["kernel"][:, 16:]).max() > 1


def test_as_emerge_draws_it_the_query_stays_in_by_the_residual():
    rng = np.random.default_rng(0)
    series, other, text = (rng.normal(size=(5, 8)).astype(np.float32) for _ in range(3))
    made, apply = fuse("emerge_paper", [series, text])
    inner = made["params"]["out"]["inner"]
    inner["kernel"][8:] = 0  # only the series' direction is let through
    difference = np.asarray(apply(made, [other, text]) - apply(made, [series, text]))
    assert np.abs(difference).max() > 0.1


def test_one_knowledge_of_the_time_of_a_note_is_paired_with_it():
    """u of a chunk = MLP([its vector ; mean of the knowledge found at its time])."""
    model = stays.network(use_series=False, use_visit=False, use_statics=False)
    one = jax.tree.map(lambda x: x[:1].copy(), STAYS)
    one.note_mask[:] = one.knowledge_mask[:] = 1
    one.note_hours[:] = [[0, 10, 20]]
    one.knowledge_hours[:] = [[10, 10, 30, 30]]
    module = realm_streams.TextTokens(8, True, True)
    params = stays.variables(model)["params"]["text"]
    stream = stays.quick_jit(lambda p, s: module.apply({"params": p}, s, False))(params, one)

    def dense(name, x):
        return x @ params[name]["kernel"] + params[name]["bias"]

    notes, knowledge = dense("note", one.notes[0]), dense("knowledge", one.knowledge[0])
    none = params["no_note"], params["no_knowledge"]
    pairs = [
        (notes[0], none[1]),
        (notes[1], knowledge[:2].mean(0)),
        (notes[2], none[1]),
        (notes[1], knowledge[0]),
        (notes[1], knowledge[1]),
        (none[0], knowledge[2]),
        (none[0], knowledge[3]),
    ]
    mlp = params["text"]
    x = np.stack([np.concatenate(pair) for pair in pairs])
    hidden = jax.nn.gelu(x @ mlp["inner"]["kernel"] + mlp["inner"]["bias"], approximate=False)
    expected = hidden @ mlp["outer"]["kernel"] + mlp["outer"]["bias"]
    np.testing.assert_allclose(stream.tokens[0], expected, atol=1e-5)


SOURCES = ("use_series", "use_notes", "use_knowledge", "use_statics", "use_visit")
READS = {
    "use_series": ("values", "observed", "elapsed"),
    "use_notes": ("notes",),
    "use_knowledge": ("knowledge",),
    "use_statics": ("statics",),
    "use_visit": ("visit",),
}


@pytest.mark.parametrize(
    ("variant", "on"),
    [
        ("realm", ("use_series",)),
        ("realm", ("use_notes", "use_statics")),
        ("realm", ("use_knowledge", "use_visit")),
        ("mag", ("use_notes", "use_knowledge")),
        ("concat", ("use_series", "use_knowledge")),
        ("concat", ("use_statics",)),
    ],
)
def test_a_source_that_is_switched_off_is_not_read(variant, on):
    model = stays.network(variant=variant, **{source: source in on for source in SOURCES})
    found = stays.logits(model, LONGER)
    for source, fields in READS.items():
        other = LONGER.replace(**{f: getattr(LONGER, f) + 0.5 for f in fields})
        changed = np.abs(stays.logits(model, other)[0] - found[0]).max() > 1e-6
        assert changed == (source in on)


@pytest.mark.parametrize("variant", realm.VARIANTS)
def test_every_choice_of_sources_has_a_network(variant):
    chosen = itertools.product([False, True], repeat=5)
    for on in [c for c in chosen if any(c)][::10]:
        model = stays.network(variant=variant, **dict(zip(SOURCES, on, strict=True)))
        out, made = jax.eval_shape(lambda m=model: m.init_with_output(jax.random.key(0), STAYS))
        assert out.shape == (ROWS, 2)
        assert set(made) == {"params"}


@pytest.mark.parametrize(
    ("kind", "bidirectional", "layers"),
    [("gru", True, 1), ("gru_d", False, 2), ("lstm", False, 2), ("transformer", False, 1)],
)
def test_every_series_encoder_ignores_padding_and_reads_masks_and_times(
    kind, bidirectional, layers
):
    model = stays.network(
        variant="concat",
        series_encoder=kind,
        bidirectional=bidirectional,
        series_layers=layers,
        use_notes=False,
        use_knowledge=False,
        use_visit=False,
    )
    found = stays.logits(model, LONGER)
    np.testing.assert_allclose(stays.logits(model, STAYS), found[:ROWS], atol=1e-5)
    for field in ("values", "observed", "elapsed", "statics"):
        change = 1 - LONGER.observed if field == "observed" else getattr(LONGER, field) + 1
        other = stays.logits(model, LONGER.replace(**{field: change}))
        assert np.abs(other[0] - found[0]).max() > 1e-6


def test_axes_of_unused_modalities_may_have_length_zero():
    empty = stays.draw(time=0, chunks=0, entities=0, statics=0, variables=0, visit=0)
    model = MODELS["realm"]
    made = jax.eval_shape(lambda: model.init(jax.random.key(0), empty))
    made = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.1, np.float32), made)
    out, _ = stays.quick_jit(functools.partial(model.apply, with_weights=True))(made, empty)
    assert np.isfinite(out).all()


def test_a_network_without_statics_has_no_parameter_of_size_zero():
    model = MODELS["realm"]
    made = jax.eval_shape(lambda: model.init(jax.random.key(0), stays.draw(statics=0)))
    assert all(leaf.size for leaf in jax.tree.leaves(made))


def test_scores_in_bfloat16_stay_near_those_in_float32():
    half = stays.network(variant="emerge_paper", precision="bfloat16")
    found = stays.scorer(half)(LONGER)[0][:ROWS]
    assert found.dtype == jnp.float32
    expected = stays.logits(MODELS["emerge_paper"], LONGER)[:ROWS]
    np.testing.assert_allclose(found, expected, atol=0.05)


def config(**changes):
    fields = {
        name: field.default
        for name, field in realm.Realm.__dataclass_fields__.items()
        if name not in ("labels", "parent", "name")
    }
    return ml_collections.ConfigDict(fields | {"name": "realm"} | changes)


def test_build_takes_every_key():
    changes = {
        "variant": "mag",
        "width": 12,
        "heads": 3,
        "feed_forward": 7,
        "series_encoder": "lstm",
        "series_layers": 2,
        "bidirectional": True,
        "series_summary": True,
        "survival_days": (30, 90),
        "norm": "batch",
        "gate": "input",
        "use_series": False,
        "use_notes": False,
        "use_knowledge": False,
        "use_statics": False,
        "use_visit": True,
        "dropout": 0.1,
        "precision": "bfloat16",
    }
    model = realm.build(config(**changes), labels=3)
    assert model == realm.Realm(labels=3, **changes)
    assert set(changes) == set(config()) - {"name"}
    assert realm.build(ml_collections.ConfigDict({"width": 12}), 1) == realm.Realm(1, width=12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": "relam"}, "config.realm.variant is 'relam'.*Did you mean 'realm'"),
        ({"series_encoder": "rnn"}, "config.realm.series_encoder is 'rnn'.*gru_d"),
        ({"norm": "group"}, "config.realm.norm is 'group'"),
        ({"gate": ""}, "config.realm.gate is ''"),
        ({"precision": "float16"}, "config.realm.precision is 'float16'"),
        ({"width": 10, "heads": 4}, "config.realm.width is 10; expected an even multiple"),
        ({"width": 9, "heads": 3}, "config.realm.width is 9"),
        ({"heads": 0}, "config.realm.heads is 0"),
        ({"series_layers": 0}, "config.realm.series_layers is 0"),
        ({"survival_days": (30, 0)}, "config.realm.survival_days is .30, 0.; expected days"),
        ({"survival_days": (1e10,)}, "config.realm.survival_days"),
        ({"dropout": 1.0}, "config.realm.dropout is 1.0"),
        ({"bidirectional": True, "series_encoder": "gru_d"}, "config.realm.bidirectional is True"),
        (dict.fromkeys(SOURCES, False), "all False"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_its_key(changes, message):
    with pytest.raises(errors.ConfigError, match=message):
        realm.build(config(**changes), labels=1)
