"""Full training state on disk, through Orbax: open, save, restore the latest, close."""

import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp

from ehr_jax import errors


def open_manager(folder: pathlib.Path) -> ocp.CheckpointManager:
    """Opens (and makes) a folder of checkpoints that keeps the two latest steps."""
    options = ocp.CheckpointManagerOptions(
        preservation_policy=ocp.checkpoint_managers.LatestN(2), create=True
    )
    return ocp.CheckpointManager(folder.absolute(), options=options)


def save(manager: ocp.CheckpointManager, step: int, state: Any) -> None:
    """Starts saving `state` (a pytree of arrays) as `step`; an unfinished save leaves no trace.

    Raises:
      RunFolderError: an earlier save failed, for example on a full disk.
    """
    with _explained(manager):
        manager.save(step, args=ocp.args.StandardSave(state))


def restore_latest(manager: ocp.CheckpointManager, like: Any) -> tuple[int, Any] | None:
    """Returns (step, state) of the latest whole checkpoint in the shape of `like`, or None."""
    step = manager.latest_step()
    if step is None:
        return None
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    with _explained(manager):
        return step, manager.restore(step, args=ocp.args.StandardRestore(abstract))


def close(manager: ocp.CheckpointManager) -> None:
    """Waits for what is being saved and closes."""
    with _explained(manager):
        manager.wait_until_finished()
    manager.close()


class _explained:
    """Turns failures of the storage layer, which come as several types, into RunFolderError."""

    def __init__(self, manager: ocp.CheckpointManager):
        self.folder = manager.directory

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, OSError | ValueError | RuntimeError):
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            if "No space left" in str(error):
                reason = "the disk is full"
            raise errors.RunFolderError(
                f"checkpoints in {self.folder} cannot be written or read: {reason}. Earlier "
                "checkpoints are whole; mend this and start the same command again"
            ) from error
        return False
