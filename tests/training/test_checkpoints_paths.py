"""Checkpoints are restored whatever their folder is called."""

import numpy as np

from ehr_jax.training import checkpoints


def test_a_checkpoint_below_a_folder_with_brackets_is_restored(tmp_path):
    folder = tmp_path / "a[1]*?" / "seed_0"
    state = {"x": np.arange(3.0)}
    manager = checkpoints.open_manager(folder)
    checkpoints.save(manager, 3, state)
    checkpoints.close(manager)
    assert [path.name for path in folder.iterdir()] == ["3"]
    again = checkpoints.open_manager(folder)
    step, restored = checkpoints.restore_latest(again, state)
    checkpoints.close(again)
    assert step == 3
    np.testing.assert_array_equal(restored["x"], state["x"])
