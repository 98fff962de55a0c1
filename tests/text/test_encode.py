import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehr_jax.errors import TextError
from ehr_jax.text import encode, encoders, tokenize


@pytest.fixture
def vectors(tmp_path):
    return lambda texts, encoder, **kw: encode.encode(texts, encoder, tmp_path / "cache", **kw)


def test_vectors_equal_pytorch(each_tiny, golden, sentences, vectors):
    name, encoder = each_tiny
    np.testing.assert_allclose(
        vectors(sentences, encoder), golden(name)["vectors"], atol=1e-5, rtol=0
    )


def test_minilm_vectors_equal_sentence_transformers(golden, sentences, vectors):
    found = vectors(sentences, encoders.load("all-MiniLM-L6-v2"), token_budget=128)
    np.testing.assert_allclose(found, golden("minilm")["vectors"], atol=1e-5, rtol=0)


def test_tokens_equal_transformers(each_tiny, golden, sentences):
    name, encoder = each_tiny
    expected = golden(name)
    for chunks, tokens, n in zip(
        tokenize.chunk(sentences, encoder.tokenizer),
        expected["tokens"],
        expected["lengths"],
        strict=True,
    ):
        assert [list(chunk) for chunk in chunks] == [list(tokens[:n])]


@pytest.mark.parametrize("budget", [16, 64, 4096])
def test_order_and_budget_change_no_vector(tiny, sentences, tmp_path, budget):
    order = np.random.default_rng(1).permutation(len(sentences))
    expected = encode.encode(sentences, tiny, tmp_path / "a")
    found = encode.encode([sentences[i] for i in order], tiny, tmp_path / "b", token_budget=budget)
    np.testing.assert_allclose(found, expected[order], atol=1e-6)


@settings(deadline=None, max_examples=15)
@given(
    order=st.permutations(range(12)),
    copies=st.integers(1, 3),
    budget=st.sampled_from([16, 64, 4096]),
    window=st.sampled_from([1, 3, 2048]),
    characters=st.sampled_from([1, 100, 4_000_000]),
)
def test_no_vector_depends_on_what_is_encoded_beside_it(
    tiny, mixed, tmp_path_factory, order, copies, budget, window, characters
):
    texts, expected = mixed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encode, "WINDOW", window)
        patch.setattr(encode, "WINDOW_CHARACTERS", characters)
        found = encode.encode(
            [texts[i] for i in order] * copies, tiny, tmp_path_factory.mktemp("c"), budget
        )
    np.testing.assert_allclose(found, np.tile(expected[order], (copies, 1)), atol=1e-6)


def test_padding_changes_no_vector(tiny, mixed, tmp_path, monkeypatch):
    texts, expected = mixed
    monkeypatch.setattr(encode, "bucket_lengths", lambda longest, texts: [longest])
    found = encode.encode(texts, tiny, tmp_path)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.fixture(scope="module")
def mixed(tiny, tmp_path_factory):
    """Twelve texts, empty to several chunks long, each encoded in a call of its own."""
    words = "chest pain fever cough blood heart mg x ray".split()
    texts = [" ".join((words * 12)[i : i + n]) for i, n in enumerate(range(0, 96, 8))]
    folder = tmp_path_factory.mktemp("one_by_one")
    return texts, np.concatenate([encode.encode([text], tiny, folder) for text in texts])


@given(lengths=st.lists(st.integers(0, 50), max_size=40), most=st.integers(1, 9))
def test_windows_keep_their_bounds_and_the_order(lengths, most):
    texts, rows = ["x" * n for n in lengths], np.arange(len(lengths))[::-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encode, "WINDOW", most)
        patch.setattr(encode, "WINDOW_CHARACTERS", 60)
        windows = list(encode._windows(texts, rows))
    assert [row for some in windows for row in some] == rows.tolist()
    for some in windows:
        assert 0 < len(some) <= most
        assert len(some) == 1 or sum(lengths[i] for i in some) <= 60


def test_repeated_texts_are_encoded_once(tiny, sentences, vectors, monkeypatch):
    seen = count_rows(monkeypatch)
    found = vectors(sentences * 50, tiny)
    assert sum(seen) == len(sentences)
    assert np.array_equal(found, np.tile(found[: len(sentences)], (50, 1)))


def test_empty_texts_get_the_zero_vector_and_are_counted(each_tiny, vectors, capsys):
    _, encoder = each_tiny
    found = vectors(["", "fever", "  \n", "\x00"], encoder)
    assert found.any(axis=1).tolist() == [False, True, False, False]
    assert "3 empty" in capsys.readouterr().out


def test_no_texts_give_no_vectors(tiny, vectors):
    assert vectors([], tiny).shape == (0, tiny.width)


def test_a_text_of_unknown_words_gets_a_unit_vector(tiny, vectors):
    assert np.linalg.norm(vectors(["☃ ☃"], tiny)) == pytest.approx(1, abs=1e-6)


def test_lone_surrogates_do_not_stop_a_run(tiny, vectors):
    found = vectors(["fever \ud800", "fever ?"], tiny)
    assert np.array_equal(found[0], found[1])


@pytest.mark.parametrize("bad", [None, 3.5, b"fever"])
def test_a_text_that_is_no_string_is_named_by_row(tiny, vectors, bad):
    with pytest.raises(TextError, match=f"text 1 is {type(bad).__name__}, expected str"):
        vectors(["fever", bad], tiny)


@settings(deadline=None, max_examples=25)
@given(words=st.integers(1, 400))
def test_chunks_overlap_and_lose_no_token(tiny, words):
    known = ["chest", "pain", "fever", "cough", "blood", "heart", "mg", "x", "ray"]
    text = " ".join(np.random.default_rng(words).choice(known, words))
    backend, overlap = tiny.tokenizer.backend, tiny.tokenizer.overlap
    ids = [backend.token_to_id(word) for word in text.split()]
    chunks = [chunk.tolist() for chunk in tokenize.chunk([text], tiny.tokenizer)[0]]
    cls, sep = backend.token_to_id("[CLS]"), backend.token_to_id("[SEP]")
    assert all(c[0] == cls and c[-1] == sep and len(c) <= 40 for c in chunks)
    joined = chunks[0][1:-1]
    for chunk in chunks[1:]:
        assert chunk[1 : 1 + overlap] == joined[-overlap:]
        assert len(chunk) - 2 > overlap  # it brings something new
        joined += chunk[1 + overlap : -1]
    assert joined == ids


def test_a_long_text_is_the_mean_of_its_chunks_weighted_by_tokens(tiny, vectors):
    text = "chest pain fever cough blood heart " * 20
    chunks = tokenize.chunk([text], tiny.tokenizer)[0]
    assert len(chunks) > 2
    apply = jax.jit(encoders.ARCHITECTURES["bert"].module(tiny.config).apply)
    expected = np.zeros(tiny.width)
    for ids in chunks:
        states = apply({"params": tiny.params}, ids[None], np.array([len(ids)]))
        expected += np.asarray(states)[0].sum(axis=0)
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(vectors([text], tiny)[0], expected, atol=1e-5)


@pytest.mark.parametrize("longest", [16, 40, 48, 128, 200, 256, 512])
def test_buckets_rise_to_the_longest_chunk(longest):
    for texts, most_short in ((10, 8), (100_000, 15)):
        lengths = encode.bucket_lengths(longest, texts)
        assert lengths == sorted(set(lengths)) and lengths[-1] == longest
        assert len(lengths) <= most_short + max(longest - 128, 0) // 32 + 1


def test_a_long_window_has_few_buckets():
    lengths = encode.bucket_lengths(131_072)
    assert lengths == sorted(set(lengths)) and lengths[-1] == 131_072 and len(lengths) < 100
    # Above 512 a chunk is padded by an eighth at most.
    assert all(b <= 1.125 * a for a, b in zip(lengths, lengths[1:], strict=False) if a >= 512)


def test_compilations_are_bounded_by_buckets(tiny, vectors, monkeypatch):
    shapes = set()
    embed = encode.embed

    def spy(params, tokens, *rest):
        shapes.add(tokens.shape)
        return embed(params, tokens, *rest)

    monkeypatch.setattr(encode, "embed", spy)
    rng = np.random.default_rng(0)
    words = ["chest", "pain", "fever", "cough", "blood", "heart"]
    vectors([" ".join(rng.choice(words, rng.integers(1, 90))) for _ in range(200)], tiny)
    assert 1 < len(shapes) <= len(encode.bucket_lengths(tiny.tokenizer.max_length))


def count_rows(monkeypatch) -> list[int]:
    """Notes how many real rows each batch brings to the encoder."""
    seen, embed = [], encode.embed

    def spy(params, tokens, lengths, *rest):
        seen.append(int(np.count_nonzero(lengths)))
        return embed(params, tokens, lengths, *rest)

    monkeypatch.setattr(encode, "embed", spy)
    return seen
