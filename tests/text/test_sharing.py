"""Several processes, one cache: each takes what the others did, and a kill costs little."""

import os
import pathlib
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehr_jax.errors import TextError
from ehr_jax.text import cache, compaction, encode, parts, sharing, verify

TEXTS = [f"fever {i} {'pain ' * (i % 5)}" for i in range(64)]


def count_texts(monkeypatch, before_batch=lambda batches: None) -> list[int]:
    """Notes how many texts each batch brings to the encoder; calls something before each."""
    seen, embed = [], encode.embed

    def spy(params, tokens, lengths, *rest, **options):
        seen.append(int(np.count_nonzero(lengths)))
        before_batch(len(seen))
        return embed(params, tokens, lengths, *rest, **options)

    monkeypatch.setattr(encode, "embed", spy)
    return seen


def as_process(monkeypatch, index: int, count: int) -> None:
    monkeypatch.setattr(jax, "process_index", lambda: index)
    monkeypatch.setattr(jax, "process_count", lambda: count)


@pytest.fixture(scope="module")
def expected(tiny, tmp_path_factory):
    return encode.encode(TEXTS, tiny, tmp_path_factory.mktemp("alone"))


def test_second_call_encodes_nothing_and_gives_the_same(tiny, sentences, tmp_path, monkeypatch):
    first = encode.encode(sentences, tiny, tmp_path)
    monkeypatch.setattr(encode, "embed", lambda *a: pytest.fail("encoded again"))
    assert np.array_equal(encode.encode(sentences[::-1], tiny, tmp_path), first[::-1])


def test_a_broken_run_goes_on_from_its_last_part(tiny, expected, tmp_path, monkeypatch):
    write = cache.write

    def dies(batches):
        if batches == 4:
            # As after SIGKILL: nothing that was not yet saved gets saved.
            monkeypatch.setattr(cache, "write", lambda *a: None)
            raise RuntimeError("killed")

    monkeypatch.setattr(encode, "PART_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        count_texts(patch, dies)
        with pytest.raises(RuntimeError, match="killed"):
            encode.encode(TEXTS, tiny, tmp_path, token_budget=128)
    assert list(tmp_path.rglob("*.safetensors"))
    monkeypatch.setattr(cache, "write", write)
    seen = count_texts(monkeypatch)
    found = encode.encode(TEXTS, tiny, tmp_path, token_budget=128)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert 0 < sum(seen) < len(TEXTS)


def test_an_interrupted_run_saves_what_it_has(tiny, tmp_path, monkeypatch):
    def interrupted(batches):
        if batches == 4:
            raise KeyboardInterrupt

    count_texts(monkeypatch, interrupted)
    with pytest.raises(KeyboardInterrupt):
        encode.encode(TEXTS, tiny, tmp_path, token_budget=128)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1
    assert not list(tmp_path.rglob(".*.work"))


def test_what_another_process_encodes_meanwhile_is_not_encoded_again(
    tiny, expected, tmp_path, monkeypatch
):
    inner = []

    def another(batches):
        if not inner:
            inner.append(0)
            encode.encode(TEXTS[20:], tiny, tmp_path, token_budget=128)
            inner.append(len(TEXTS[20:]))

    monkeypatch.setattr(encode, "PART_SECONDS", 0.0)
    seen = count_texts(monkeypatch, another)
    counts = []
    found = encode.encode(TEXTS, tiny, tmp_path, token_budget=128, report=counts.append)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    own = sum(seen) - inner[1]
    # Batches that waited when the other had finished are done twice, no more.
    assert 20 <= own < 45 and counts[0].cached == len(TEXTS) - own


@pytest.mark.parametrize("shared", [True, False])
def test_jax_processes_begin_with_their_shares(
    tiny, expected, tmp_path, monkeypatch, capsys, shared
):
    keys = cache.make_keys(encode.utf8(TEXTS), tiny.fingerprint)
    monkeypatch.setattr(encode, "PART_SECONDS", 0.0)
    as_process(monkeypatch, 0, 2)
    _, share = sharing.order(np.arange(len(TEXTS)), keys, False)
    as_process(monkeypatch, 1, 2)
    order, other_share = sharing.order(np.arange(len(TEXTS)), keys, False)
    if shared:
        others = [TEXTS[i] for i in order[:other_share]]
        encode.encode(others, tiny, tmp_path, token_budget=128)
    capsys.readouterr()
    as_process(monkeypatch, 0, 2)
    seen = count_texts(monkeypatch)
    found = encode.encode(TEXTS, tiny, tmp_path, token_budget=128)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert sum(seen) == (share if shared else len(TEXTS))
    # A host whose folder no other sees does all the work and says so.
    assert capsys.readouterr().out.count("nothing of the other 1 processes") == (not shared)


@given(count=st.integers(1, 5), others=st.booleans(), n=st.integers(0, 60))
def test_shares_are_disjoint_and_complete(count, others, n):
    keys = cache.make_keys((str(i).encode() for i in range(100)), "f")
    rows = np.arange(100)[100 - n :]
    owned = []
    with pytest.MonkeyPatch.context() as patch:
        for index in range(count):
            as_process(patch, index, count)
            order, share = sharing.order(rows, keys, others)
            assert sorted(order) == rows.tolist()
            owned += order[:share].tolist()
            if not others:
                assert order[:share].tolist() == sorted(order[:share])
    assert sorted(owned) == rows.tolist()


def test_a_process_among_others_takes_the_texts_in_an_order_of_its_own():
    keys = cache.make_keys((str(i).encode() for i in range(100)), "f")
    alone, first, second = (sharing.order(np.arange(100), keys, o)[0] for o in (0, 1, 1))
    assert alone.tolist() == list(range(100))
    assert first.tolist() != second.tolist() != alone.tolist()


def test_processes_see_each_other(tmp_path):
    with sharing.presence(tmp_path) as others:
        assert not others()
        with sharing.presence(tmp_path) as others_too:
            assert others_too() and others()
        assert not others()
        killed = tmp_path / ".1.work"
        killed.touch()
        assert others()
        long_ago = time.time() - 2 * sharing.SIGN_SECONDS
        os.utime(killed, (long_ago, long_ago))
        assert not others()
    assert list(tmp_path.iterdir()) == [killed]


def test_a_cache_that_may_only_be_read_gives_what_it_has(tiny, expected, tmp_path, monkeypatch):
    encode.encode(TEXTS, tiny, tmp_path)

    def denied(*args, **kwargs):
        raise PermissionError("denied")

    for name in ("touch", "unlink", "write_text", "write_bytes"):
        monkeypatch.setattr(pathlib.Path, name, denied)
    monkeypatch.setattr(os, "replace", denied)
    np.testing.assert_allclose(encode.encode(TEXTS, tiny, tmp_path), expected, atol=1e-6)


def test_many_small_calls_leave_few_parts(tiny, expected, tmp_path):
    for i in range(0, len(TEXTS), 2):
        encode.encode(TEXTS[i : i + 2], tiny, tmp_path)
    assert len(list(tmp_path.rglob("*.safetensors"))) <= compaction.MANY + 1
    np.testing.assert_allclose(encode.encode(TEXTS, tiny, tmp_path), expected, atol=1e-6)


def test_verify_gives_the_largest_difference(tiny, tmp_path, capsys):
    encode.encode(TEXTS[:40], tiny, tmp_path)
    files = sorted(tmp_path.rglob("*"))
    assert verify.verify(TEXTS, tiny, tmp_path, sample=64) <= 1e-6
    assert "verified 40 of 64 texts drawn, 24 not cached" in capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == files  # nothing of it is left


def test_verify_raises_where_a_vector_is_off(tiny, tmp_path):
    vectors = encode.encode(TEXTS, tiny, tmp_path / "right")
    folder = cache.open_folder(tmp_path / "wrong", tiny.fingerprint)
    vectors[7] += np.float32(0.01)
    keys = cache.make_keys(encode.utf8(TEXTS), tiny.fingerprint)
    cache.write(folder, tiny.fingerprint, keys, vectors)
    with pytest.raises(TextError, match="1 of 64 cached vectors differ .* up to 1.0e-02") as caught:
        verify.verify(TEXTS, tiny, tmp_path / "wrong")
    assert "pain" not in str(caught.value)
    assert verify.verify(TEXTS, tiny, tmp_path / "wrong", tolerance=0.02) > 0.009


def test_verify_of_nothing_is_a_clear_error(tiny, tmp_path):
    with pytest.raises(TextError, match="holds none of 64 texts"):
        verify.verify(TEXTS, tiny, tmp_path)
    with pytest.raises(TextError, match="no texts"):
        verify.verify([], tiny, tmp_path)


@pytest.mark.slow
def test_killed_processes_lose_nothing(tmp_path):
    repository = pathlib.Path(__file__).resolve().parents[2]
    encoder = repository / "tests" / "text" / "golden" / "tiny_mean"
    flags = ["--texts=240", "--processes=2", "--kills=2", "--token_budget=64", "--pause=0.04"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kills", *flags, f"--encoder={encoder}"],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\nok ") == 6 and "FAILED" not in done.stdout


def test_row_bytes_are_those_of_a_part(tmp_path):
    folder = cache.open_folder(tmp_path, "f" * 64)
    keys = cache.make_keys((str(i).encode() for i in range(1000)), "f")
    cache.write(folder, "f" * 64, keys, np.zeros((1000, 5), np.float32))
    (size,) = parts.sizes(folder).values()
    assert 0 < size - 1000 * parts.row_bytes(5) < 1000
