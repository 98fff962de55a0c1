"""Merging parts, beside other processes and kills, changes nothing of what is in the cache."""

import errno
import multiprocessing
import os
import pathlib
import random
import tempfile
import time

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import stateful as hs
from hypothesis import strategies as st

from ehr_jax import storage
from ehr_jax.errors import TextError
from ehr_jax.text import cache, compaction, parts

WIDTH = 6
FINGERPRINT = "f" * 64


def make(first: int, past: int) -> tuple[np.ndarray, np.ndarray]:
    """Keys of texts first..past, each with a vector that follows from its number."""
    keys = cache.make_keys((f"text {i}".encode() for i in range(first, past)), FINGERPRINT)
    return keys, np.arange(first, past, dtype=np.float32)[:, None] * np.ones(WIDTH, np.float32)


def read_all(folder, wanted: np.ndarray) -> dict:
    found = {}
    for positions, vectors in cache.read(folder, FINGERPRINT, np.unique(wanted), WIDTH):
        new = dict(zip(np.unique(wanted)[positions], vectors[:, 0], strict=True))
        assert (vectors == vectors[:, :1]).all() and not new.keys() & found.keys()
        found |= new
    return found


def expected(first: int, past: int) -> dict:
    keys, vectors = make(first, past)
    return dict(zip(keys, vectors[:, 0], strict=True))


def compact(folder, automatic: bool = False) -> int:
    merge = compaction.compact_if_many if automatic else compaction.compact
    return merge(folder, FINGERPRINT, WIDTH)


@pytest.fixture
def folder(tmp_path):
    return cache.open_folder(tmp_path, FINGERPRINT)


def test_many_parts_become_one_sorted_part_without_repeated_keys(folder):
    for i in range(20):
        cache.write(folder, FINGERPRINT, *make(10 * i, 10 * i + 15))
    assert compact(folder) == 20
    (name,) = parts.sizes(folder)
    with parts.opened(folder / name, FINGERPRINT, WIDTH) as part:
        assert len(part.keys) == 205 and (part.keys[:-1] < part.keys[1:]).all()
    assert read_all(folder, make(0, 300)[0]) == expected(0, 205)
    assert sorted(path.name for path in folder.iterdir()) == [name]
    assert compact(folder) == 0


def test_no_part_is_larger_than_the_limit(folder, monkeypatch):
    monkeypatch.setattr(compaction, "FULL_BYTES", 100 * parts.row_bytes(WIDTH))
    for i in range(20):
        cache.write(folder, FINGERPRINT, *make(25 * i, 25 * i + 25))
    assert compact(folder) == 20
    assert len(parts.sizes(folder)) == 5
    assert read_all(folder, make(0, 500)[0]) == expected(0, 500)
    assert compact(folder) == 0  # they are full


def test_the_bytes_merged_at_a_time_are_bounded(folder, monkeypatch):
    for i in range(20):
        cache.write(folder, FINGERPRINT, *make(25 * i, 25 * i + 25))
    size = max(parts.sizes(folder).values())
    monkeypatch.setattr(compaction, "MERGE_BYTES", 4 * size)
    merge, together = compaction._merge, []
    monkeypatch.setattr(
        compaction,
        "_merge",
        lambda f, names, *a: together.append(len(names)) or merge(f, names, *a),
    )
    compact(folder)
    assert max(together) <= 4 and len(parts.sizes(folder)) == 1
    assert read_all(folder, make(0, 500)[0]) == expected(0, 500)


def test_automatic_merging_keeps_parts_few_and_copies_few_times(folder, monkeypatch):
    """Merged by six, of 100 small writes no vector is copied more often than log_6(100) = 2.6."""
    copied, write = [], parts.write
    monkeypatch.setattr(
        parts,
        "write",
        lambda path, f, keys, *a: copied.append(len(keys)) or write(path, f, keys, *a),
    )
    monkeypatch.setattr(compaction, "MANY", 6)
    for i in range(100):
        cache.write(folder, FINGERPRINT, *make(20 * i, 20 * i + 20))
        compact(folder, automatic=True)
        assert len(parts.sizes(folder)) <= 3 * 5
    assert sum(copied) <= (1 + 3) * 2000  # once when written
    assert read_all(folder, make(0, 2000)[0]) == expected(0, 2000)


def test_automatic_merging_leaves_it_to_a_process_that_is_at_it(folder):
    for i in range(compaction.MANY):
        cache.write(folder, FINGERPRINT, *make(i, i + 1))
    sign = folder / compaction.SIGN
    sign.touch()
    assert compact(folder, automatic=True) == 0
    long_ago = time.time() - 2 * compaction.SIGN_SECONDS  # that process was killed
    os.utime(sign, (long_ago, long_ago))
    assert compact(folder, automatic=True) == compaction.MANY
    assert not sign.exists()


def test_parts_of_another_encoder_are_left_as_they_are(folder):
    for i in range(3):
        name = cache.write(folder, "e" * 64, *make(i, i + 1))
        (folder / name).rename(folder / f"strayed{i}.safetensors")
        cache.write(folder, FINGERPRINT, *make(i, i + 1))
    assert compact(folder) == 3
    assert len(parts.sizes(folder)) == 4
    assert read_all(folder, make(0, 3)[0]) == expected(0, 3)


def test_a_reader_finds_all_while_its_parts_are_merged(folder):
    for i in range(10):
        cache.write(folder, FINGERPRINT, *make(10 * i, 10 * i + 10))
    wanted = np.unique(make(0, 100)[0])
    found = {}
    for positions, vectors in cache.read(folder, FINGERPRINT, wanted, WIDTH):
        compact(folder)
        assert not set(positions) & found.keys()
        found |= dict(zip(positions.tolist(), vectors[:, 0], strict=True))
    assert {wanted[p]: v for p, v in found.items()} == expected(0, 100)


@pytest.mark.parametrize("when", ["before the rename", "after it", "between two removals"])
def test_a_merge_killed_at_any_moment_loses_nothing(folder, monkeypatch, when):
    for i in range(5):
        cache.write(folder, FINGERPRINT, *make(10 * i, 10 * i + 15))
    unlink, replace, removed = pathlib.Path.unlink, os.replace, []

    class Killed(BaseException):
        pass

    def dying_replace(*args):
        if when == "before the rename":
            raise Killed
        replace(*args)

    def dying_unlink(path, missing_ok=False):
        if path.suffix == parts.SUFFIX:
            if when == "after it" or len(removed) == 2:
                raise Killed
            removed.append(path)
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dying_replace)
        patch.setattr(pathlib.Path, "unlink", dying_unlink)
        with pytest.raises(Killed):
            compact(folder)
    assert read_all(folder, make(0, 60)[0]) == expected(0, 55)
    compact(folder)
    assert read_all(folder, make(0, 60)[0]) == expected(0, 55)
    assert len(parts.sizes(folder)) == 1


def test_two_that_merge_the_same_parts_write_the_same_file(folder, monkeypatch):
    for i in range(5):
        cache.write(folder, FINGERPRINT, *make(10 * i, 10 * i + 10))
    write_merged = compaction._write_merged

    def overtaken(*args):
        monkeypatch.setattr(compaction, "_write_merged", write_merged)
        assert compact(folder) == 5  # another process, from beginning to end
        write_merged(*args)

    monkeypatch.setattr(compaction, "_write_merged", overtaken)
    assert compact(folder) == 5
    assert len(parts.sizes(folder)) == 1
    assert read_all(folder, make(0, 50)[0]) == expected(0, 50)


def test_damaged_vectors_are_reported_and_whole_copies_kept(folder, capsys):
    names = [cache.write(folder, FINGERPRINT, *make(0, 10)) for _ in range(2)]
    names.append(cache.write(folder, FINGERPRINT, *make(10, 20)))
    names.append(cache.write(folder, FINGERPRINT, *make(20, 30)))
    for name, at in ((names[0], -2), (names[2], -2), (names[3], 90)):  # rows, rows, header
        data = bytearray((folder / name).read_bytes())
        data[at] ^= 4
        (folder / name).write_bytes(data)
    assert compact(folder) == 3
    out = capsys.readouterr().out
    assert all(name in out for name in (names[0], names[2]))
    found = read_all(folder, make(0, 30)[0])
    assert len(found) in (19, 29) and found.items() <= expected(0, 30).items()
    assert expected(0, 10).items() <= found.items()


def test_a_full_disk_stops_a_merge_and_loses_nothing(folder, monkeypatch, capsys):
    for i in range(compaction.MANY):
        cache.write(folder, FINGERPRINT, *make(10 * i, 10 * i + 10))

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(TextError, match="cannot be saved .the disk is full"):
            compact(folder)
        assert compact(folder, automatic=True) == 0
    assert "stay many and small" in capsys.readouterr().out
    assert len(list(folder.iterdir())) == compaction.MANY
    assert read_all(folder, make(0, 160)[0]) == expected(0, 160)


class AnyOrder(hs.RuleBasedStateMachine):
    """Whatever is written, merged, interrupted and read in whatever order."""

    @hs.initialize()
    def begin(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = cache.open_folder(self.temporary.name, FINGERPRINT)
        self.written = {}
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(compaction, "MANY", 3)
        self.patch.setattr(compaction, "FULL_BYTES", 40 * parts.row_bytes(WIDTH))
        self.patch.setattr(parts, "BLOCK", 7)
        self.patch.setattr(compaction, "ROWS", 11)
        self.readers = []

    @hs.rule(first=st.integers(0, 100), n=st.integers(0, 30))
    def write(self, first, n):
        cache.write(self.folder, FINGERPRINT, *make(first, first + n))
        self.written |= expected(first, first + n)

    @hs.rule(automatic=st.booleans())
    def merge(self, automatic):
        compact(self.folder, automatic)

    @hs.rule(files=st.integers(0, 4))
    def merge_killed(self, files):
        """Dies at the n-th file it would rename or remove."""
        replace, unlink, left = os.replace, pathlib.Path.unlink, [files]

        def or_die(action):
            def acted(path, *args, **kwargs):
                left[0] -= 1
                if left[0] < 0 and str(path).endswith((storage.SUFFIX, parts.SUFFIX)):
                    raise KeyboardInterrupt
                return action(path, *args, **kwargs)

            return acted

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "replace", or_die(replace))
            patch.setattr(pathlib.Path, "unlink", or_die(unlink))
            try:
                compact(self.folder)
            except KeyboardInterrupt:
                pass

    @hs.rule(first=st.integers(0, 100), n=st.integers(1, 60))
    def begin_reading(self, first, n):
        wanted = np.unique(make(first, first + n)[0])
        reader = cache.read(self.folder, FINGERPRINT, wanted, WIDTH)
        there = {k: v for k, v in self.written.items() if k in wanted}
        self.readers.append((reader, wanted, there, {}))

    @hs.precondition(lambda self: self.readers)
    @hs.rule(whole=st.booleans())
    def go_on_reading(self, whole):
        reader, wanted, there, found = self.readers[0]
        for positions, vectors in reader:
            new = dict(zip(wanted[positions], vectors[:, 0], strict=True))
            assert not new.keys() & found.keys()
            found |= new
            if not whole:
                return
        # All that was there when it began, and nothing that was never written.
        assert there.items() <= found.items() <= self.written.items()
        self.readers.pop(0)

    @hs.invariant()
    def every_key_is_there_once(self):
        if hasattr(self, "folder"):
            assert read_all(self.folder, make(0, 140)[0]) == self.written

    def teardown(self):
        if hasattr(self, "folder"):
            self.patch.undo()
            self.readers.clear()
            self.temporary.cleanup()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


def keep_writing(folder, number: int, writes: int) -> None:
    for i in range(writes):
        first = 1000 * number + 20 * i
        cache.write(folder, FINGERPRINT, *make(first, first + 30))
        compaction.compact_if_many(folder, FINGERPRINT, WIDTH)


def keep_merging(folder, at_work) -> None:
    while True:
        compaction.compact(folder, FINGERPRINT, WIDTH)
        at_work.set()


def test_processes_that_write_merge_and_are_killed_lose_nothing(folder):
    """Two others write, two merge without end and are killed, this one writes and reads."""
    context = multiprocessing.get_context("spawn")
    at_work = [context.Event() for _ in range(3)]

    def start(*call):
        process = context.Process(target=call[0], args=call[1:])
        process.start()
        return process

    writers = [start(keep_writing, folder, number, 40) for number in range(2)]
    mergers = [start(keep_merging, folder, event) for event in at_work[:2]]
    written = 5000
    for kill in range(3):
        assert at_work[kill].wait(60)
        for _ in range(10):
            cache.write(folder, FINGERPRINT, *make(written, written + 30))
            written += 20
            assert read_all(folder, make(5000, written)[0]) == expected(5000, written)
        time.sleep(random.Random(kill).random() / 20)
        assert mergers[0].exitcode is None  # no error of its own
        mergers[0].kill()
        mergers.pop(0).join()
        if kill == 0:
            mergers.append(start(keep_merging, folder, at_work[2]))
    for writer in writers:
        writer.join()
    assert [w.exitcode for w in writers] == [0, 0] and not mergers
    everything = expected(0, 810) | expected(1000, 1810) | expected(5000, written + 10)
    assert read_all(folder, np.array(list(everything), parts.KEY)) == everything
    assert not list(folder.glob("*.damaged"))
