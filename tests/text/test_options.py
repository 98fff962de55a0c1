"""Keys of config.text reach the encoder, each checked, and what came out is recorded."""

import collections

import numpy as np
import pytest

from ehr_jax import config as configs
from ehr_jax.errors import TextError, UserError
from ehr_jax.text import catalogue, encode, encoders, options, tokenize

LONG = "chest pain fever cough blood heart " * 20


@pytest.fixture
def text(checkpoint):
    section = configs.defaults().text
    section.encoder = str(checkpoint)
    return section


def test_the_config_has_a_key_for_every_option():
    for section in (configs.defaults().text, configs.embed().text):
        assert set(catalogue.OPTIONS) <= set(section)


def test_defaults_leave_the_checkpoints_own_rules(text, checkpoint):
    assert options.load(text).fingerprint == encoders.load(checkpoint).fingerprint


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pooling", "cls"),
        ("normalise", False),
        ("prefix", "fever "),
        ("casing", "cased"),
        ("max_length", 20),
        ("end_token", "[PAD]"),
        ("long", "truncate"),
        ("overlap", 3),
        ("precision", "bfloat16"),
    ],
)
def test_each_key_reaches_the_encoder_its_fingerprint_and_its_record(text, key, value):
    before = options.record(options.load(text))
    text[key] = value
    after = options.record(options.load(text))
    assert before[key] != value and after[key] == value
    assert before["fingerprint"] != after["fingerprint"]


def test_every_option_is_in_the_record(text):
    record = options.record(options.load(text))
    assert set(catalogue.OPTIONS) <= set(record)
    assert record["global_tokens"] is None and record["casing"] == "uncased"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("pooling", "max", "config.text.pooling is 'max'; expected one of mean, cls, last"),
        ("casing", "upper", "config.text.casing is 'upper'; expected one of cased, uncased"),
        ("precision", "float16", "config.text.precision is 'float16'"),
        ("long", "cut", "config.text.long is 'cut'; expected one of chunk, truncate"),
        ("max_length", 4096, "config.text.max_length 4096 is not from 1 to"),
        ("max_length", 2, "no room for text; raise config.text.max_length"),
        ("end_token", "<eos>", "config.text.end_token '<eos>' is not in the vocabulary"),
        ("global_tokens", "cls", "config.text.global_tokens is an option of a Longformer"),
        ("overlap", 20, "config.text.overlap 20 is not from 0 to 19 tokens"),
        ("overlap", -1, "config.text.overlap is -1; expected a whole number, 0 or more"),
        ("token_budget", 0, "config.text.token_budget is 0"),
        ("model_shards", 0, "config.text.model_shards is 0; expected a whole number, 1 or more"),
        ("encoder", " ", "config.text.encoder is ' '"),
    ],
)
def test_a_value_that_cannot_be_is_named_by_its_key(text, key, value, message):
    text[key] = value
    with pytest.raises(UserError, match=message):
        options.load(text)


def test_overlap_of_a_truncated_text_is_refused(text):
    text.long, text.overlap = "truncate", 4
    with pytest.raises(TextError, match="config.text.overlap is of chunks"):
        options.load(text)


def test_truncation_keeps_the_first_chunk_alone(text, tmp_path):
    whole = options.load(text)
    text.long = "truncate"
    cut = options.load(text)
    chunks = tokenize.chunk([LONG, "fever"], whole.tokenizer)
    assert len(chunks[0]) > 1
    for found, expected in zip(tokenize.chunk([LONG, "fever"], cut.tokenizer), chunks, strict=True):
        (only,) = found
        assert np.array_equal(only, expected[0])
    vectors = encode.encode([LONG, "fever"], cut, tmp_path)
    chunked = encode.encode([LONG, "fever"], whole, tmp_path)
    np.testing.assert_allclose(vectors[1], chunked[1], atol=1e-6)
    assert np.abs(vectors[0] - chunked[0]).max() > 1e-3


@pytest.mark.parametrize("overlap", [0, 1, 7, 19])
def test_chunks_share_as_many_tokens_as_asked(text, overlap):
    text.overlap = overlap
    first, second, *_ = tokenize.chunk([LONG], options.load(text).tokenizer)[0]
    first, second = first[1:-1].tolist(), second[1:-1].tolist()
    assert first[len(first) - overlap :] == second[:overlap]


def test_an_end_token_that_the_tokenizer_adds_is_not_doubled(text):
    alone = tokenize.chunk(["fever"], options.load(text).tokenizer)[0][0]
    text.end_token = "[SEP]"
    closed = options.load(text).tokenizer
    assert tokenize.chunk(["fever"], closed)[0][0].tolist() == alone.tolist()
    ends = [np.count_nonzero(ids == closed.end) for ids in tokenize.chunk([LONG], closed)[0]]
    assert len(ends) > 1 and set(ends) == {1}


def test_texts_beyond_the_maximum_and_of_unknown_words_are_counted(tiny):
    counts = collections.Counter()
    texts = ["fever", "", "☃", "☃ ☃", "☃ fever", LONG]
    chunks = tokenize.chunk(texts, tiny.tokenizer, counts)
    assert counts["long"] == 1 and counts["unknown"] == 2
    assert counts["chunks"] == sum(map(len, chunks)) - 1  # the empty text's has no token


def test_a_prefix_makes_no_text_known(text):
    text.prefix = "☃ fever "
    counts = collections.Counter()
    tokenize.chunk(["☃", "cough", ""], options.load(text).tokenizer, counts)
    assert counts["unknown"] == 1


def test_encode_reports_what_it_did(tiny, tmp_path):
    reports = []
    texts = ["fever", "fever", "", "☃", LONG]
    encode.encode(texts, tiny, tmp_path, report=reports.append)
    encode.encode(texts, tiny, tmp_path, report=reports.append)
    first, second = reports
    assert (first.texts, first.distinct, first.cached, first.empty) == (5, 4, 0, 1)
    assert (first.unknown, first.long) == (1, 1) and first.shapes
    assert (second.cached, second.empty, second.tokens, second.shapes) == (4, 1, 0, frozenset())
