"""A real server of chat completions, `transformers serve`, with a tiny model of random weights.

The model answers nonsense, so the gazetteer must give what it gives alone. Needs
`pip install transformers[serving] accelerate`; a server of one's own is asked in the same way:

    transformers serve MODEL --port 8000        # or: vllm serve, llama-server, ollama serve
    chat.Server("http://localhost:8000/v1", "MODEL")
"""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import polars as pl
import pytest

for needed in ("torch", "transformers", "accelerate", "fastapi", "uvicorn", "openai"):
    pytest.importorskip(needed)

import tokenizers  # noqa: E402
import transformers  # noqa: E402

from ehr_jax.knowledge import chat, extraction, language_model, mentions  # noqa: E402

TEXTS = ["Known asthma, no stroke.", "Treated for sepsis.", "Mother had stroke. Has asthma."]
TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"


@pytest.fixture(scope="module")
def url_and_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "model"
    _make_model(folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = "from transformers.cli.transformers import main; main()"
    log = folder.with_name("log")
    with open(log, "w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", command, "serve", str(folder), "--host", "127.0.0.1"]
            + ["--port", str(port), "--device", "cpu"],
            stdout=output,
            stderr=output,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
    try:
        _wait(process, port, log)
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        process.terminate()
        process.wait(30)


def test_nonsense_of_a_real_server_leaves_what_the_gazetteer_finds(url_and_model, tmp_path):
    url, name = url_and_model
    rows = [(0, "asthma", True), (1, "stroke", True), (2, "sepsis", True)]
    gazetteer = mentions.build(pl.DataFrame(rows, schema=mentions.TERMS, orient="row"))
    notes = pl.DataFrame({"sample_id": [1, 2, 3], "time": [0.0, 1.0, 2.0], "text": TEXTS})
    server = chat.Server(url, name, tokens=24, seconds=60.0)
    model = language_model.LanguageModel(server, tmp_path, workers=1)
    found = extraction.extract(notes, gazetteer, model)
    print(found.answers)
    assert found.entities.equals(extraction.extract(notes, gazetteer).entities)
    assert found.entities["node"].to_list() == [0, 2, 0]
    nonsense = found.answers.prose + found.answers.invalid_json + found.answers.other_schema
    assert nonsense == found.answers.fallbacks == 3  # it was reached, and none was valid


def _make_model(folder) -> None:
    """Writes a Llama of 9,000 weights and a tokenizer of the letters."""
    transformers.set_seed(0)
    vocabulary = {"<s>": 0, "</s>": 1, "<unk>": 2}
    for character in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:{}[]\"'":
        vocabulary.setdefault(character, len(vocabulary))
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, "<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex("."), "isolated")
    tokenizer.decoder = tokenizers.decoders.Fuse()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        bos_token_id=0,
        eos_token_id=1,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)


def _wait(process, port: int, log) -> None:
    for _ in range(240):
        if process.poll() is not None:
            pytest.fail(f"the server ended: {log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")
