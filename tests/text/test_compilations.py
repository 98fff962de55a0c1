"""The number of programs compiled is bounded by the buckets, whatever the texts."""

import jax
import numpy as np
import pytest

from ehr_jax.text import encode

WORDS = ("chest", "pain", "fever", "cough", "blood", "heart")
COMPILED = "/jax/core/compile/backend_compile_duration"


@pytest.fixture
def compiled():
    """Returns the names of the programs compiled so far."""
    names = []

    def listen(event: str, seconds: float, **details):
        if event == COMPILED:
            names.append(str(details.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield lambda: [name for name in names if "embed" in name]
    jax.monitoring.unregister_event_duration_listener(listen)


def texts(seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, n)) for n in rng.integers(0, 120, 300)]


def test_a_wide_length_mix_compiles_at_most_one_program_a_bucket(tiny, tmp_path, compiled):
    budget = 331  # no other test's, so that no shape is compiled yet
    encode.encode(texts(0), tiny, tmp_path / "a", budget)
    count = len(compiled())
    assert 1 < count <= len(encode.bucket_lengths(tiny.tokenizer.max_length))
    encode.encode(texts(1), tiny, tmp_path / "b", budget)
    assert len(compiled()) == count
