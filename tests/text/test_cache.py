import errno
import multiprocessing
import os
import stat
import time
from pathlib import Path

import numpy as np
import pytest

from ehr_jax.errors import TextError
from ehr_jax.text import cache, encode

WIDTH = 6
FINGERPRINT = "f" * 64


def make(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    keys = cache.make_keys((f"text {seed} {i}".encode() for i in range(n)), FINGERPRINT)
    return keys, np.random.default_rng(seed).normal(size=(n, WIDTH)).astype(np.float32)


def read_all(parts: Path, wanted: np.ndarray, fingerprint: str = FINGERPRINT) -> dict:
    wanted = np.unique(wanted)
    found = {}
    for positions, vectors in cache.read(parts, fingerprint, wanted, WIDTH):
        found |= {wanted[p]: tuple(v) for p, v in zip(positions, vectors, strict=True)}
    return found


def as_dict(keys, vectors) -> dict:
    return {k: tuple(v) for k, v in zip(keys, vectors, strict=True)}


def part_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def test_what_was_written_is_read_back(tmp_path):
    parts = cache.open_folder(tmp_path, FINGERPRINT)
    (keys, vectors), (more_keys, more) = make(300), make(20, seed=1)
    cache.write(parts, FINGERPRINT, keys, vectors)
    cache.write(parts, FINGERPRINT, more_keys, more)
    absent, _ = make(5, seed=2)
    found = read_all(parts, np.concatenate([keys[10:50], more_keys, absent]))
    assert found == as_dict(keys[10:50], vectors[10:50]) | as_dict(more_keys, more)


def test_keys_differ_by_text_and_by_encoder():
    texts = [b"", b"fever", b"fever ", "fièvre".encode()]
    keys = np.concatenate([cache.make_keys(texts, "a"), cache.make_keys(texts, "b")])
    assert len(np.unique(keys)) == 8


def test_folder_is_private_and_says_its_terms(tmp_path):
    parts = cache.open_folder(tmp_path / "deep" / "cache", FINGERPRINT)
    for folder in (parts, parts.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "do not share" in (parts.parent / "DATA_USE.txt").read_text()


def test_environment_names_the_default_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EHR_JAX_CACHE", str(tmp_path / "here"))
    assert cache.open_folder(None, FINGERPRINT).parent == tmp_path / "here"
    monkeypatch.delenv("EHR_JAX_CACHE")
    assert cache.default_folder() == Path.home() / ".cache" / "ehr_jax" / "vectors"


def test_no_text_is_stored(tiny, tmp_path):
    encode.encode(["chest pain", "metformin"], tiny, tmp_path)
    stored = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert b"metformin" not in stored and b"chest" not in stored


def test_second_call_encodes_nothing_and_gives_the_same(tiny, sentences, tmp_path, monkeypatch):
    first = encode.encode(sentences, tiny, tmp_path)
    monkeypatch.setattr(encode, "embed", lambda *a: pytest.fail("encoded again"))
    assert np.array_equal(encode.encode(sentences[::-1], tiny, tmp_path), first[::-1])


def test_a_broken_run_goes_on_from_its_last_part(tiny, tmp_path, monkeypatch):
    texts = [f"fever {i} {'pain ' * (i % 5)}" for i in range(64)]
    expected = encode.encode(texts, tiny, tmp_path / "whole")
    embed, write, counts = encode.embed, cache.write, {"batches": 0, "rows": 0}

    def dies(params, tokens, lengths, *rest):
        counts["batches"] += 1
        if counts["batches"] == 4:
            # As after SIGKILL: nothing that was not yet saved gets saved.
            monkeypatch.setattr(cache, "write", lambda *a: None)
            raise RuntimeError("killed")
        return embed(params, tokens, lengths, *rest)

    monkeypatch.setattr(encode, "embed", dies)
    monkeypatch.setattr(encode, "PART_SECONDS", 0.0)
    with pytest.raises(RuntimeError, match="killed"):
        encode.encode(texts, tiny, tmp_path / "broken", token_budget=128)
    kept = len(part_files(tmp_path / "broken"))
    assert kept > 0

    def counting(params, tokens, lengths, *rest):
        counts["rows"] += int(np.count_nonzero(lengths))
        return embed(params, tokens, lengths, *rest)

    monkeypatch.setattr(cache, "write", write)
    monkeypatch.setattr(encode, "embed", counting)
    found = encode.encode(texts, tiny, tmp_path / "broken", token_budget=128)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert 0 < counts["rows"] < len(texts)


def test_an_interrupted_run_saves_what_it_has(tiny, tmp_path, monkeypatch):
    embed, batches = encode.embed, []

    def interrupted(*args):
        batches.append(1)
        if len(batches) == 4:
            raise KeyboardInterrupt
        return embed(*args)

    monkeypatch.setattr(encode, "embed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        encode.encode([f"fever {i}" for i in range(64)], tiny, tmp_path, token_budget=128)
    assert len(part_files(tmp_path)) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:],
        lambda data: (2**62).to_bytes(8, "little") + data[8:],
    ],
    ids=["cut", "empty", "flipped bit", "header"],
)
def test_damaged_part_is_reported_and_encoded_again(tiny, sentences, tmp_path, capsys, damage):
    expected = encode.encode(sentences, tiny, tmp_path)
    encode.encode(["cough"], tiny, tmp_path)
    path = max(part_files(tmp_path), key=lambda p: p.stat().st_size)
    path.write_bytes(damage(path.read_bytes()))
    capsys.readouterr()
    assert np.array_equal(encode.encode([*sentences, "cough"], tiny, tmp_path)[:-1], expected)
    out = capsys.readouterr().out
    assert "damaged part left out" in out and path.name in out and "1 from the cache" in out


def test_part_of_another_encoder_is_ignored(tmp_path):
    parts, other = (cache.open_folder(tmp_path, c * 64) for c in "fe")
    keys, vectors = make(10)
    cache.write(other, "e" * 64, keys, vectors)
    part_files(other)[0].rename(parts / "strayed.safetensors")
    assert read_all(parts, keys) == {}


def test_two_encoders_share_a_folder(each_tiny, tiny, sentences, golden, tmp_path):
    encode.encode(sentences, tiny, tmp_path)
    name, encoder = each_tiny
    np.testing.assert_allclose(
        encode.encode(sentences, encoder, tmp_path), golden(name)["vectors"], atol=1e-5
    )


def write_parts(parts: Path, seed: int) -> None:
    for i in range(10):
        cache.write(parts, FINGERPRINT, *make(50, seed=100 * (i % 5) + seed % 2))


def test_writers_at_the_same_time_lose_nothing(tmp_path):
    parts = cache.open_folder(tmp_path, FINGERPRINT)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_parts, args=(parts, seed)) for seed in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [w.exitcode for w in writers] == [0, 0]
    expected = {}
    for i in range(5):
        for seed in range(2):
            expected |= as_dict(*make(50, seed=100 * i + seed))
    assert read_all(parts, np.array(list(expected), cache.KEY)) == expected
    assert len(part_files(parts)) == 20


def test_full_disk_is_a_clear_error_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    parts = cache.open_folder(tmp_path, FINGERPRINT)

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TextError, match="cannot be saved .No space left on device"):
        cache.write(parts, FINGERPRINT, *make(5))
    assert list(parts.iterdir()) == []


def test_cache_in_place_of_a_file_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TextError, match="cannot be written"):
        cache.open_folder(tmp_path / "file", FINGERPRINT)


def test_old_unfinished_parts_are_tidied_new_ones_left(tmp_path):
    parts = cache.open_folder(tmp_path, FINGERPRINT)
    old, new = parts / ".old.tmp", parts / ".new.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    long_ago = time.time() - 2 * cache.STALE_SECONDS
    os.utime(old, (long_ago, long_ago))
    cache.open_folder(tmp_path, FINGERPRINT)
    assert new.exists() and not old.exists()
