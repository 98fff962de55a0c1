import errno
import os
import stat
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from ehr_jax import storage
from ehr_jax.errors import TextError
from ehr_jax.text import cache, encode, parts

WIDTH = 6
FINGERPRINT = "f" * 64


def make(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    keys = cache.make_keys((f"text {seed} {i}".encode() for i in range(n)), FINGERPRINT)
    return keys, np.random.default_rng(seed).normal(size=(n, WIDTH)).astype(np.float32)


def read_all(folder: Path, wanted: np.ndarray, fingerprint: str = FINGERPRINT, seen=None) -> dict:
    wanted = np.unique(wanted)
    found = {}
    for positions, vectors in cache.read(folder, fingerprint, wanted, WIDTH, seen):
        new = {wanted[p]: tuple(v) for p, v in zip(positions, vectors, strict=True)}
        assert len(new) == len(positions) and not new.keys() & found.keys()  # each key once
        found |= new
    return found


def as_dict(keys, vectors) -> dict:
    return {k: tuple(v) for k, v in zip(keys, vectors, strict=True)}


def part_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def test_what_was_written_is_read_back(tmp_path):
    folder = cache.open_folder(tmp_path, FINGERPRINT)
    (keys, vectors), (more_keys, more) = make(300), make(20, seed=1)
    cache.write(folder, FINGERPRINT, keys, vectors)
    cache.write(folder, FINGERPRINT, more_keys, more)
    absent, _ = make(5, seed=2)
    found = read_all(folder, np.concatenate([keys[10:50], more_keys, absent]))
    assert found == as_dict(keys[10:50], vectors[10:50]) | as_dict(more_keys, more)


@given(
    stored=st.lists(st.integers(0, 9000), max_size=40),
    wanted=st.lists(st.integers(0, 9000), max_size=40),
)
def test_any_keys_of_any_part_are_found(tmp_path_factory, stored, wanted):
    """Parts smaller and larger than what is wanted, rows side by side and far apart."""
    folder = cache.open_folder(tmp_path_factory.mktemp("cache"), FINGERPRINT)
    keys, vectors = BIG
    cache.write(folder, FINGERPRINT, keys[stored], vectors[stored])
    cache.write(folder, FINGERPRINT, keys[:3000], vectors[:3000])
    there = [i for i in set(wanted) if i in stored or i < 3000]
    assert read_all(folder, keys[wanted]) == as_dict(keys[there], vectors[there])


BIG = make(9001, seed=9)


def test_a_part_is_a_safetensors_file(tmp_path):
    folder = cache.open_folder(tmp_path, FINGERPRINT)
    keys, vectors = make(7)
    name = cache.write(folder, FINGERPRINT, keys, vectors)
    tensors = safetensors.numpy.load_file(folder / name)
    stored = as_dict(map(bytes, tensors["keys"]), tensors["vectors"])
    assert {np.bytes_(k): v for k, v in stored.items()} == as_dict(keys, vectors)


def test_few_keys_are_found_without_reading_the_vectors(tmp_path, monkeypatch):
    folder = cache.open_folder(tmp_path, FINGERPRINT)
    n, width = 20_000, 100
    keys = make(n)[0]
    vectors = np.random.default_rng(0).normal(size=(n, width)).astype(np.float32)
    cache.write(folder, FINGERPRINT, keys, vectors)
    pread, asked = os.pread, []
    monkeypatch.setattr(os, "pread", lambda f, n, at: asked.append(n) or pread(f, n, at))
    wanted = np.sort(keys[[5, 777, 19_000]])
    for positions, found in cache.read(folder, FINGERPRINT, wanted, width):
        expected = [vectors[list(keys).index(wanted[p])] for p in positions]
        assert np.array_equal(found, expected)
    assert sum(asked) <= 36 * n + 3 * parts.BLOCK * 4 * width + 8
    assert sum(asked) < 0.25 * vectors.nbytes


def test_nothing_written_leaves_no_part(tmp_path):
    folder = cache.open_folder(tmp_path, FINGERPRINT)
    assert cache.write(folder, FINGERPRINT, *make(0)) is None
    assert part_files(folder) == [] and read_all(folder, make(3)[0]) == {}


def test_only_new_parts_are_looked_at_again(tmp_path, monkeypatch):
    folder = cache.open_folder(tmp_path, FINGERPRINT)
    seen: set[str] = set()
    cache.write(folder, FINGERPRINT, *make(10))
    wanted = np.concatenate([make(10)[0], make(10, seed=1)[0]])
    assert read_all(folder, wanted, seen=seen) == as_dict(*make(10))
    new = cache.write(folder, FINGERPRINT, *make(10, seed=1))
    opened, really = [], parts.opened
    monkeypatch.setattr(parts, "opened", lambda p, *a: opened.append(p.name) or really(p, *a))
    assert read_all(folder, wanted, seen=seen) == as_dict(*make(10, seed=1))
    assert opened == [new] and seen == set(parts.sizes(folder))


def test_keys_differ_by_text_and_by_encoder():
    texts = [b"", b"fever", b"fever ", "fièvre".encode()]
    keys = np.concatenate([cache.make_keys(texts, "a"), cache.make_keys(texts, "b")])
    assert len(np.unique(keys)) == 8


def test_folder_is_private_and_says_its_terms(tmp_path):
    folder = cache.open_folder(tmp_path / "deep" / "cache", FINGERPRINT)
    for each in (folder, folder.parent):
        assert stat.S_IMODE(each.stat().st_mode) == 0o700
    assert "do not share" in (folder.parent / "DATA_USE.txt").read_text()


def test_environment_names_the_default_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EHR_JAX_CACHE", str(tmp_path / "here"))
    assert cache.open_folder(None, FINGERPRINT).parent == tmp_path / "here" / "vectors"
    monkeypatch.delenv("EHR_JAX_CACHE")
    assert cache.default_folder() == Path.home() / ".cache" / "ehr_jax" / "vectors"


def test_no_text_is_stored(tiny, tmp_path):
    encode.encode(["chest pain", "metformin"], tiny, tmp_path)
    stored = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert b"metformin" not in stored and b"chest" not in stored


def header_end(data: bytes) -> int:
    return 8 + int.from_bytes(data[:8], "little")


def flip(data: bytes, at: int, bit: int = 0) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]


# Each with how many of the part's six vectors it costs.
DAMAGES = {
    "cut": (lambda data: data[: len(data) // 2], 6),
    "cut by a byte": (lambda data: data[:-1], 6),
    "longer": (lambda data: data + b"\0", 6),
    "empty": (lambda data: b"", 6),
    "header too long": (lambda data: (2**62).to_bytes(8, "little") + data[8:], 6),
    "no header": (lambda data: data[:8] + b"\xff" * (header_end(data) - 8) + data[-200:], 6),
    "fewer rows": (lambda data: data.replace(b"[6, 32]", b"[5, 32]"), 6),
    "no metadata": (lambda data: data.replace(b"__metadata__", b"__metadatum_"), 6),
    "negative rows": (lambda data: data.replace(b"[6, 32]", b"[-6,32]"), 6),
    "a tensor's name": (lambda data: data.replace(b'"vectors"', b'"vectorz"'), 6),
    "a key": (lambda data: flip(data, header_end(data) + 40), 6),
    "a checksum": (lambda data: flip(data, header_end(data) + 6 * 32 + 5), 1),
    "a vector": (lambda data: flip(data, -3), 1),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_reported_and_encoded_again(tiny, sentences, tmp_path, capsys, kind):
    damage, lost = DAMAGES[kind]
    assert len(sentences) == 6
    expected = encode.encode(sentences, tiny, tmp_path)
    encode.encode(["cough"], tiny, tmp_path)
    path = max(part_files(tmp_path), key=lambda p: p.stat().st_size)
    damaged = damage(path.read_bytes())
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    capsys.readouterr()
    found = encode.encode([*sentences, "cough"], tiny, tmp_path)
    np.testing.assert_allclose(found[:-1], expected, atol=1e-6)
    out = capsys.readouterr().out
    assert "damaged part left out" in out and path.name in out
    assert f"{7 - lost} from the cache" in out
    encode.encode([*sentences, "cough"], tiny, tmp_path)
    out = capsys.readouterr().out
    assert "damaged" not in out and "7 from the cache" in out  # healed, and told once


@settings(max_examples=150)
@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_no_flipped_bit_gives_a_wrong_vector(tmp_path_factory, at, bit):
    folder = cache.open_folder(tmp_path_factory.mktemp("cache"), FINGERPRINT)
    keys, vectors = make(5)
    path = folder / cache.write(folder, FINGERPRINT, keys, vectors)
    path.write_bytes(flip(path.read_bytes(), at, bit))
    found = read_all(folder, keys)
    assert found.items() <= as_dict(keys, vectors).items()


def test_a_part_that_cannot_be_read_is_reported_and_stays(tmp_path, monkeypatch, capsys):
    folder = cache.open_folder(tmp_path, FINGERPRINT)
    keys, vectors = make(5)
    cache.write(folder, FINGERPRINT, keys, vectors)

    def broken(*args):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", broken)
        assert read_all(folder, keys) == {}
    assert "cannot be read (Input/output error)" in capsys.readouterr().out
    assert read_all(folder, keys) == as_dict(keys, vectors)


def test_part_of_another_encoder_is_ignored(tmp_path):
    folder, other = (cache.open_folder(tmp_path, c * 64) for c in "fe")
    keys, vectors = make(10)
    cache.write(other, "e" * 64, keys, vectors)
    part_files(other)[0].rename(folder / "strayed.safetensors")
    assert read_all(folder, keys) == {}
    assert (folder / "strayed.safetensors").exists()


def test_part_of_another_layout_is_ignored(tmp_path, monkeypatch, capsys):
    folder = cache.open_folder(tmp_path, FINGERPRINT)
    monkeypatch.setattr(parts, "FORMAT", "1")
    cache.write(folder, FINGERPRINT, *make(10))
    monkeypatch.undo()
    assert read_all(folder, make(10)[0]) == {}
    assert capsys.readouterr().out == "" and len(part_files(folder)) == 1


def test_two_encoders_share_a_folder(each_tiny, tiny, sentences, golden, tmp_path):
    encode.encode(sentences, tiny, tmp_path)
    name, encoder = each_tiny
    np.testing.assert_allclose(
        encode.encode(sentences, encoder, tmp_path), golden(name)["vectors"], atol=1e-5
    )


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_full_disk_is_a_clear_error_and_leaves_nothing_half_written(tmp_path, monkeypatch, fails):
    folder = cache.open_folder(tmp_path, FINGERPRINT)

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, fails, full)
    with pytest.raises(TextError, match="cannot be saved .the disk is full"):
        cache.write(folder, FINGERPRINT, *make(5))
    assert list(folder.iterdir()) == []


def test_cache_in_place_of_a_file_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TextError, match="cannot be written"):
        cache.open_folder(tmp_path / "file", FINGERPRINT)


def test_a_folder_of_somebody_else_is_a_clear_error(tmp_path, monkeypatch):
    folder = cache.open_folder(tmp_path, FINGERPRINT)

    def denied(*args, **kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(TextError, match="cannot be read .Permission denied"):
        read_all(folder, make(1)[0])
    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(TextError, match="cannot be written .Permission denied.*EHR_JAX_CACHE"):
        cache.open_folder(tmp_path, FINGERPRINT)


def test_old_unfinished_files_are_tidied_new_ones_left(tmp_path):
    folder = cache.open_folder(tmp_path, FINGERPRINT)
    old = [folder / ".part.elsewhere-7-8-0.partial", folder / ".old.work"]
    new = [folder / ".part.elsewhere-7-9-0.partial", folder / ".new.work"]
    for path in old + new:
        path.write_bytes(b"half")
    long_ago = time.time() - 2 * storage.ABANDONED_SECONDS
    for path in old:
        os.utime(path, (long_ago, long_ago))
    cache.open_folder(tmp_path, FINGERPRINT)
    assert sorted(folder.iterdir()) == sorted(new)
