"""Our BERT against PyTorch itself: random tiny models, and real weights on real note sections."""

import os

import numpy as np
import polars as pl
import pytest

torch = pytest.importorskip("torch")
sentence_transformers = pytest.importorskip("sentence_transformers")
import transformers  # noqa: E402

from ehr_jax.text import bert, encode, encoders, tokenize  # noqa: E402

SIZES = [
    {"hidden_size": 24, "num_attention_heads": 1, "num_hidden_layers": 1, "intermediate_size": 7},
    {"hidden_size": 32, "num_attention_heads": 8, "num_hidden_layers": 4, "intermediate_size": 64},
    {"hidden_size": 30, "num_attention_heads": 3, "num_hidden_layers": 2, "intermediate_size": 50,
     "layer_norm_eps": 1e-5, "type_vocab_size": 1, "hidden_act": "relu"},
]  # fmt: skip


@pytest.mark.parametrize("length", [1, 17, 131])
@pytest.mark.parametrize("sizes", SIZES)
def test_random_models_equal_pytorch(tmp_path, sizes, length):
    torch.manual_seed(3)
    config = transformers.BertConfig(
        vocab_size=90, max_position_embeddings=140, initializer_range=0.2, **sizes
    )
    model = transformers.BertModel(config).eval()
    model.save_pretrained(tmp_path)
    rng = np.random.default_rng(length)
    tokens = rng.integers(0, 90, (5, length))
    lengths = rng.integers(1, length + 1, 5)
    valid = np.arange(length) < lengths[:, None]
    with torch.inference_mode():
        expected = model(torch.tensor(tokens), torch.tensor(valid)).last_hidden_state.numpy()
    ours = bert.read_config(config.to_dict(), tmp_path / "config.json")
    params = encoders.BERT.read_params(tmp_path / "model.safetensors", ours)
    found = np.asarray(bert.hidden_states(params, tokens, lengths, ours))
    np.testing.assert_allclose(found[valid], expected[valid], atol=1e-5)


@pytest.fixture(scope="module")
def sections() -> list[str]:
    root = os.environ.get("EHR_JAX_DATA")
    if not root:
        pytest.skip("EHR_JAX_DATA is not set: this test reads MTS-Dialog")
    table = pl.read_csv(f"{root}/mts_dialog/MTS-Dialog-TrainingSet.csv.gz")
    return table["section_text"].drop_nulls().unique(maintain_order=True).to_list()


def test_minilm_equals_sentence_transformers_on_note_sections(sections, tmp_path):
    encoder = encoders.load("all-MiniLM-L6-v2")
    # Longer ones are cut off there, and encoded in chunks here.
    short = [t for t in sections if len(tokenize.chunk([t], encoder.tokenizer)[0]) == 1][:200]
    assert len(short) == 200
    reference = sentence_transformers.SentenceTransformer(str(encoders.resolve()), device="cpu")
    expected = reference.encode(short)
    found = encode.encode(short, encoder, tmp_path)
    np.testing.assert_allclose(np.sum(found * expected, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found, expected, atol=1e-5)
