"""Samples dealt out to shards: how many each gets, how large, and whose notes."""

import arrays as make
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ehr_jax.training import exchange, partition


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.integers(1, 9))
def test_dealing_balances_numbers_and_sizes(sizes, shards):
    sizes = np.array(sizes)
    dealt = partition.deal(sizes, shards)
    assert sorted(dealt[dealt != partition.PADDING]) == list(range(sizes.size))
    counts = (dealt != partition.PADDING).sum(axis=1)
    assert counts.max() - counts.min() <= 1
    held = np.where(dealt == partition.PADDING, 0, sizes[dealt]).sum(axis=1)
    assert held.max() - held.min() <= sizes.max()


def test_bytes_are_read_from_instructions_and_their_tuples():
    program = """
      %all-reduce.1 = f32[8,4]{1,0} all-reduce(f32[8,4]{1,0} %x), channel_id=1
      %ar = (bf16[2]{0}, s32[]) all-reduce-start(bf16[2]{0} %y, s32[] %z)
      %done = (bf16[2]{0}, s32[]) all-reduce-done(%ar)
      %g = f32[16]{0} all-gather(f32[4]{0} %w), dimensions={0}
      %add = f32[8,4]{1,0} add(%all-reduce.1, %all-reduce.1)
    """
    assert exchange.exchanged_bytes(program) == {"all-reduce": 128 + 8, "all-gather": 64}


def test_large_items_are_dealt_to_and_fro():
    assert partition.deal(np.array([6, 5, 4, 3, 2, 1]), 2).tolist() == [[0, 3, 4], [1, 2, 5]]


def test_a_dealt_sample_keeps_its_note():
    arrays = make.make_arrays()
    rows = np.flatnonzero(arrays.split == "test")
    dealt, samples = partition.visits(arrays, rows, False, 3)
    shard, column = np.nonzero(samples != partition.PADDING)
    assert sorted(samples[shard, column]) == rows.tolist()
    np.testing.assert_array_equal(dealt.notes[shard, column], arrays.notes[samples[shard, column]])
    np.testing.assert_array_equal(
        dealt.has_note[shard, column], arrays.has_note[samples[shard, column]]
    )
    assert not dealt.notes[samples == partition.PADDING].any()
