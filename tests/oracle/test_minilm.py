"""all-MiniLM-L6-v2 end to end: our vectors against sentence-transformers' own `encode`."""

import numpy as np
import polars as pl
import pytest

sentence_transformers = pytest.importorskip("sentence_transformers")

from ehr_jax.text import encode, encoders, tokenize  # noqa: E402

COUNT = 1000
TOLERANCE = 1e-5  # cosine distance


@pytest.fixture(scope="module")
def sections(data_root) -> list[str]:
    """A thousand texts of MTS-Dialog: each section's dialogue, then the note written of it."""
    table = pl.read_csv(data_root / "mts_dialog" / "MTS-Dialog-TrainingSet.csv.gz").drop_nulls()
    joined = (table["dialogue"] + "\n\n" + table["section_text"]).unique(maintain_order=True)
    assert len(joined) >= COUNT
    return joined[:COUNT].to_list()


@pytest.fixture(scope="module")
def reference():
    return sentence_transformers.SentenceTransformer(str(encoders.resolve()), device="cpu")


def cosine_distance(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return 1 - np.sum(found * expected, axis=1) / lengths


def test_thousand_sections_equal_sentence_transformers(sections, reference, tmp_path):
    # Beyond 256 tokens it keeps the first ones alone, so ours is told to.
    encoder = encoders.load("all-MiniLM-L6-v2", long="truncate")
    lengths = [len(chunks[0]) for chunks in tokenize.chunk(sections, encoder.tokenizer)]
    assert min(lengths) < 64 and lengths.count(256) > 100  # short ones, and some cut off
    expected = reference.encode(sections)
    found = encode.encode(sections, encoder, tmp_path)
    assert found.shape == expected.shape == (COUNT, 384)
    assert cosine_distance(found, expected).max() < TOLERANCE
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_tokens_equal_sentence_transformers(sections, reference):
    tokenizer = encoders.load("all-MiniLM-L6-v2", long="truncate").tokenizer
    expected = reference.tokenize(sections)
    for (ours,), ids, mask in zip(
        tokenize.chunk(sections, tokenizer),
        expected["input_ids"].numpy(),
        expected["attention_mask"].numpy(),
        strict=True,
    ):
        assert ours.tolist() == ids[mask == 1].tolist()
