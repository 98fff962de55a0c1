"""Batches of a store, read through Grain: the same for the same arguments, on any number of hosts.

Batch k of one total size is the same set of samples however many hosts share it. An iterator's
position is one number, which `training.checkpoints` saves beside the state.
"""

import functools
import os
from collections.abc import Mapping, Sequence

import grain
import numpy as np

from ehr_jax import errors
from ehr_jax.features import store

# An element is a batch, so few are read ahead.
READING = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
FILL = {"sample_id": -1, "labels": np.nan}  # of rows that hold no sample; else 0


def batches(
    folder: str | os.PathLike,
    split: str,
    batch_size: int,
    *,
    seed: int | None = None,
    epochs: int | None = 1,
    host: int = 0,
    hosts: int = 1,
    drop_last: bool = False,
) -> grain.IterDataset:
    """Returns an iterable of batches, dicts of arrays whose first axis is `batch_size`.

    Of a feature of the store (`store.write`) the array of that name, [batch, ...], but
      a list, such as nodes: [batch, longest], and its mask, node_mask [batch, longest] bool;
      mask: [batch] bool, False for rows that fill up the last batch of an epoch, which hold
        sample_id -1, labels nan and else 0;
      subject_id: left out, as it is a text; `sample_id` leads to it.

    Args:
      batch_size: rows of this host; all hosts together read `batch_size * hosts` a step.
      seed: shuffles, every epoch anew; None keeps the order of the cohort.
      epochs: None goes on for ever.
      host, hosts: which part of every batch is this host's.
      drop_last: leaves the last, shorter batch of an epoch out; otherwise it is filled up.

    Raises ConfigError for arguments that give no batch, RunFolderError where there is no store.
    """
    builder = store.open_folder(folder)
    if split not in builder.info.splits:
        raise errors.ConfigError(
            f"{folder} has no split '{split}'; it has {', '.join(builder.info.splits)}"
        )
    if batch_size < 1 or not 0 <= host < hosts or (epochs is not None and epochs < 1):
        raise errors.ConfigError(
            f"batch_size {batch_size}, host {host} of {hosts}, epochs {epochs}: expected a batch "
            "of 1 or more, a host from 0 and below hosts, 1 epoch or more"
        )
    source = builder.as_data_source(split)
    order = grain.MapDataset.range(len(source))
    if seed is not None:
        # Grain takes seed + epoch for an epoch: neighbouring seeds would share their epochs.
        order = order.shuffle(seed=int(np.random.SeedSequence(seed).generate_state(1)[0]))
    steps = order.batch(batch_size * hosts, drop_remainder=drop_last, batch_fn=list)
    if not len(steps):
        raise errors.ConfigError(
            f"{folder}: split '{split}' holds {len(source)} samples, fewer than one batch of "
            f"{batch_size} on {hosts} host(s); make it smaller or keep the last batch"
        )
    read = functools.partial(
        _read,
        source=source,
        part=slice(host * batch_size, (host + 1) * batch_size),
        features=dict(builder.info.features.items()),
        most=dict(builder.info.metadata["most"]),
    )
    return steps.map(read).repeat(epochs).to_iter_dataset(READING)


def _read(
    rows: Sequence[int], *, source, part: slice, features: Mapping, most: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Reads a host's part of a batch and fills it up."""
    size = part.stop - part.start
    batch = {
        name: np.full(
            (size, max(most[name], 1), *feature.shape[1:]) if name in most
            else (size, *feature.shape),
            FILL.get(name, 0),
            feature.np_dtype,
        )
        for name, feature in features.items()
        if name != "subject_id"
    }  # fmt: skip
    lengths = {name: np.zeros(size, np.int64) for name in most}
    examples = source.__getitems__([int(row) for row in rows[part]])
    for k, example in enumerate(examples):
        for name, array in batch.items():
            if name in most:
                lengths[name][k] = len(example[name])
                array[k, : lengths[name][k]] = example[name]
            else:
                array[k] = example[name]
    masks = {
        f"{name.removesuffix('s')}_mask": np.arange(batch[name].shape[1]) < held[:, None]
        for name, held in lengths.items()
    }
    return batch | masks | {"mask": np.arange(size) < len(examples)}
