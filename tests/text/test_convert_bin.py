"""The converter without PyTorch: what it says. What it writes is tested in tests/oracle."""

import sys
import types

import pytest

from ehr_jax.errors import TextError
from ehr_jax.text import convert_bin


def test_missing_torch_is_a_clear_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert convert_bin.main(["convert_bin", str(tmp_path)]) == 2
    assert "PyTorch is not installed" in capsys.readouterr().err


@pytest.mark.parametrize("version", ["2.9.1", "2.0.0+cu118", "1.13.1"])
def test_a_torch_that_reads_pickles_unsafely_is_refused(tmp_path, monkeypatch, version):
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(__version__=version))
    with pytest.raises(TextError, match="too old to read pickled weights safely.*torch>=2.10"):
        convert_bin.convert(tmp_path)


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["--help"]])
def test_other_arguments_show_how_to_call_it(arguments, capsys):
    assert convert_bin.main(["convert_bin", *arguments]) == 2
    assert "convert_bin FOLDER" in capsys.readouterr().err


def test_faults_of_the_folder_are_named(checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(__version__="2.13.0+cpu"))
    with pytest.raises(TextError, match="model.safetensors: is there already"):
        convert_bin.convert(checkpoint)
    with pytest.raises(TextError, match="no such folder"):
        convert_bin.convert(checkpoint / "nowhere")
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(TextError, match="neither pytorch_model.bin nor"):
        convert_bin.convert(checkpoint)
    index = checkpoint / "pytorch_model.bin.index.json"
    index.write_text('{"weight_map": {"word": "../elsewhere.bin"}}')
    with pytest.raises(TextError, match=r"'../elsewhere.bin'; expected \*.bin in its own folder"):
        convert_bin.convert(checkpoint)
    index.write_text('{"weight_map": {"word": "a.bin"}}')
    with pytest.raises(TextError, match="a.bin: file is missing"):
        convert_bin.convert(checkpoint)
    index.write_text("{}")
    with pytest.raises(TextError, match="no weight_map"):
        convert_bin.convert(checkpoint)
