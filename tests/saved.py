"""What training leaves on the disk: its last state and its log."""

import json
import pathlib

import jax
import numpy as np
import orbax.checkpoint as ocp

from ehr_jax.training import checkpoints


def last_state(folder: pathlib.Path) -> tuple[int, dict]:
    """(step, state) of the latest checkpoint, in which parameters are the last, not the best."""
    manager = checkpoints.open_manager(folder)
    step = manager.latest_step()
    state = manager.restore(step, args=ocp.args.StandardRestore())
    checkpoints.close(manager)
    return step, state


def rows(run: pathlib.Path) -> list[dict]:
    """metrics.jsonl without what clocks tell."""
    found = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in row.items() if k not in ("seconds", "input_wait")} for row in found]


def assert_same_end(one: pathlib.Path, other: pathlib.Path) -> None:
    """Both folders of checkpoints, RUN/checkpoints/NAME, end in one state after the same log."""
    (step, state), (other_step, other_state) = map(last_state, (one, other))
    assert step == other_step
    for a, b in zip(*map(jax.tree.leaves, (state, other_state)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert rows(one.parent.parent) == rows(other.parent.parent)
