"""Full training state on disk, through Orbax: open, save, restore the latest, close."""

import atexit
import contextlib
import functools
import glob
import hashlib
import logging
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import grain
import jax
import numpy as np
import orbax.checkpoint as ocp

from ehr_jax import errors, storage, stored

DIGEST = "sha256"  # key of a checkpoint's own metadata


def open_manager(folder: pathlib.Path) -> ocp.CheckpointManager:
    """Opens (and makes) a folder of checkpoints that keeps the two latest steps."""
    _leave_words_to_explained()
    options = ocp.CheckpointManagerOptions(
        preservation_policy=ocp.checkpoint_managers.LatestN(2), create=True
    )
    # Orbax reads when a checkpoint was saved, needs none of it, and stops at what is no object.
    for path in folder.glob("*/_CHECKPOINT_METADATA"):
        if stored.whole_object(path, instead="the checkpoint is read without it") is None:
            path.unlink()
    return ocp.CheckpointManager(_without_patterns(folder.absolute()), options=options)


def save(
    manager: ocp.CheckpointManager,
    step: int,
    state: Any,
    data: grain.DatasetIterator | None = None,
) -> None:
    """Starts saving `state` (a pytree of arrays) as `step`; an unfinished save leaves no trace.

    Args:
      data: the iterator that training reads, whose position is saved beside the state.

    Raises:
      RunFolderError: an earlier save failed, for example on a full disk.
    """
    args = ocp.args.StandardSave(state)
    if data is not None:
        args = ocp.args.Composite(state=args, data=grain.checkpoint.CheckpointSave(data))
    with _explained(manager):
        manager.save(step, args=args, custom_metadata={DIGEST: digest(state)})


def restore_latest(
    manager: ocp.CheckpointManager, like: Any, data: grain.DatasetIterator | None = None
) -> tuple[int, Any] | None:
    """Returns (step, state) of the latest whole checkpoint in the shape of `like`, or None.

    Where a checkpoint is damaged the one before is taken, and said; the damaged one is put aside.

    Args:
      data: an iterator like the one saved; it is moved to the saved position.

    Raises:
      RunFolderError: there are checkpoints, and none can be read.
    """
    damaged: dict[int, Exception] = {}
    for step in sorted(manager.all_steps(), reverse=True):
        try:
            state = _restore(manager, step, like, data)
        except Exception as error:  # the storage layer raises many types, KeyError among them
            damaged[step] = error
            continue
        for number, error in damaged.items():
            print(
                f"checkpoint of step {number} in {manager.directory} is damaged "
                f"({storage.reason(error)}); going on from that of step {step}",
                flush=True,
            )
            _put_aside(manager, number)
        return step, state
    if damaged:
        raise errors.RunFolderError(
            f"no checkpoint in {manager.directory} can be read "
            f"({storage.reason(next(iter(damaged.values())))}); put the folder back from a copy, "
            "or move it away to train anew"
        ) from next(iter(damaged.values()))
    return None


def _restore(manager: ocp.CheckpointManager, step: int, like: Any, data) -> Any:
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    args = ocp.args.StandardRestore(abstract)
    if data is None:
        state = manager.restore(step, args=args)
    else:
        position = grain.checkpoint.CheckpointRestore(data)
        state = manager.restore(step, args=ocp.args.Composite(state=args, data=position)).state
    wanted = (manager.metadata(step).custom_metadata or {}).get(DIGEST)  # older ones have none
    if wanted not in (None, digest(state)):
        raise ValueError("its numbers are not those that were saved")
    return state


def digest(state: Any) -> str:
    """SHA-256 of the arrays of a pytree: Orbax does not notice a changed byte in most of a file."""
    found = hashlib.sha256()
    for leaf in map(np.asarray, jax.tree.leaves(jax.device_get(state))):
        found.update(f"{leaf.dtype} {leaf.shape}".encode())
        found.update(leaf.tobytes())
    return found.hexdigest()


def _put_aside(manager: ocp.CheckpointManager, step: int) -> None:
    """Moves a checkpoint out of the manager's sight: its step is to be saved again."""
    folder = pathlib.Path(manager.directory)
    aside = folder.with_name(f"{folder.name}.damaged_{step}")
    shutil.rmtree(aside, ignore_errors=True)
    os.replace(folder / str(step), aside)
    manager.reload()


def close(manager: ocp.CheckpointManager) -> None:
    """Waits for what is being saved and closes."""
    with _explained(manager):
        manager.wait_until_finished()
    manager.close()


@functools.cache
def _without_patterns(folder: pathlib.Path) -> pathlib.Path:
    """Returns a path to `folder` in which no letter is a pattern.

    Orbax joins the parts of a checkpoint by a glob over its whole path: below a folder called
    "run[1]" it finds none of them, and what it saves cannot be restored.
    """
    if glob.escape(str(folder)) == str(folder):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    place = tempfile.mkdtemp(prefix="ehr_jax-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    link = pathlib.Path(place) / "checkpoints"
    link.symlink_to(folder, target_is_directory=True)
    return link


@functools.cache
def _leave_words_to_explained() -> None:
    """Keeps threads of the storage layer from printing a traceback for each array of a failed save.

    The save itself raises what happened, and `_explained` tells it.
    """
    logging.getLogger("absl").addFilter(
        lambda row: row.levelno < logging.ERROR or "orbax" not in row.pathname
    )
    logging.getLogger("asyncio").addFilter(lambda row: "never retrieved" not in row.getMessage())
    shown = sys.unraisablehook

    def hook(told):
        if str(told.exc_value) != "Event loop is closed":
            shown(told)

    sys.unraisablehook = hook


@contextlib.contextmanager
def _explained(manager: ocp.CheckpointManager) -> Iterator[None]:
    """Turns failures of the storage layer, which come as several types, into RunFolderError."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise errors.RunFolderError(
            f"checkpoints in {manager.directory} cannot be written or read: "
            f"{storage.reason(error)}. Earlier checkpoints are whole; mend this and start the same "
            "command again"
        ) from error
