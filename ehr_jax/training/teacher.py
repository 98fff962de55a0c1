"""Soft labels: a network learns, beside each training label, what a teacher says of that sample.

Distillation (Hinton et al. 2015, arXiv 1503.02531) from a baseline of another kind, such as boosted
trees, whose scores of a training sample come of a fit without that sample's patient: a teacher that
had seen the label would only repeat it. The network scores alone; the teacher takes no part in
that. In neither paper.
"""

import dataclasses
import pathlib
import time

import ml_collections
import numpy as np

from ehr_jax import errors
from ehr_jax.features import arrays as features
from ehr_jax.models import registry
from ehr_jax.progress import progress
from ehr_jax.training import run_folder
from ehr_jax.training import settings as train_settings

FOLDS = 5


def check(config: ml_collections.ConfigDict) -> None:
    """Raises ConfigError unless config.train.teacher is "", or a method that can teach."""
    train_settings.check_teacher(config)
    if not used(config):
        return
    try:
        registry.resolve(config.train.teacher)
    except errors.ConfigError as error:
        raise errors.ConfigError(
            f"config.train.teacher is '{config.train.teacher}': {error}; or set it to ''"
        ) from error


def used(config: ml_collections.ConfigDict) -> bool:
    """Whether a network of `config` has a teacher."""
    return bool(config.train.teacher) and config.train.teacher_share > 0


def softened(
    config: ml_collections.ConfigDict, arrays: features.Arrays, folder: pathlib.Path
) -> features.Arrays:
    """Returns `arrays` with the labels that training learns, survival days among them.

    They are config.train.teacher_share of the teacher's score and the rest of the label, where both
    are known; without a teacher, labels as they are.

    Args:
      folder: of the run, which keeps the scores in `run_folder.TEACHER`, [sample, label and
        survival day] float32.

    Raises:
      ConfigError: there are fewer than two training patients.
      RunFolderError: that file cannot be written or read, or is not of these samples.
    """
    share = config.train.teacher_share
    if not used(config):
        return arrays
    path, targets = folder / run_folder.TEACHER, arrays.targets
    if not path.exists():
        found = out_of_fold(config, arrays)

        def write(temporary):
            with open(temporary, "wb") as file:
                np.save(file, found, allow_pickle=False)

        run_folder.write_whole(path, write)
    scores = _read(path, targets.shape)
    mixed = np.where(np.isnan(scores), targets, (1 - share) * targets + share * scores)
    return arrays.with_targets(mixed.astype(np.float32))


def out_of_fold(config: ml_collections.ConfigDict, arrays: features.Arrays) -> np.ndarray:
    """Returns the teacher's probability of every training label (and survival day), each by a fit
    to the training patients of the other folds: [sample, label and day] float32, nan elsewhere.

    The folds and the fits take config.cohort.split_seed, so all training seeds have one teacher.
    Validation samples stop or choose what they do in a fit of the teacher by itself, but for those
    of the patients left out, which the published protocols have.

    Raises ConfigError where there are fewer than two training patients.
    """
    method, seed = registry.resolve(config.train.teacher), config.cohort.split_seed
    own = registry.configure(config, config.train.teacher)
    targets, arrays = arrays.targets, arrays.read_by(config)
    days = tuple(f"death within {days:g} days" for days in config.realm.survival_days)
    names = (arrays.label_names + days)[: targets.shape[1]]
    train = np.flatnonzero((arrays.split == "train") & ~np.isnan(targets).all(axis=1))
    patients = np.unique(arrays.subjects[train])
    folds = min(FOLDS, patients.size)
    if folds < 2:
        raise errors.ConfigError(
            f"config.train.teacher is '{config.train.teacher}', with {folds} training patient(s); "
            "its scores need two patients or more: set it to ''"
        )
    scores, began = np.full(targets.shape, np.nan, np.float32), time.monotonic()
    shuffled = np.random.RandomState(seed % 2**32).permutation(patients)
    with progress("teacher, out of fold", folds) as bar:
        for left in np.array_split(shuffled, folds):
            rows = train[np.isin(arrays.subjects[train], left)]
            split = arrays.split.astype(object)
            split[np.isin(arrays.subjects, left)] = "left out"
            given = dataclasses.replace(arrays, split=split, labels=targets, label_names=names)
            found = np.array(method.fit_predict(given, own, seed), np.float32)
            # A column without any known label has no fit, but a prevalence that stands for one.
            found[:, np.isnan(targets[split == "train"]).all(axis=0)] = np.nan
            scores[rows] = found[rows]
            bar.advance(1)
    scores[np.isnan(targets)] = np.nan
    label = registry.find(config.train.teacher).label
    print(f"teacher: {label}, {folds} fits, {time.monotonic() - began:.1f} s", flush=True)
    return scores


def _read(path: pathlib.Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        scores = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise errors.RunFolderError(
            f"{path} cannot be read ({error}); remove it and start again"
        ) from error
    if not isinstance(scores, np.ndarray) or scores.dtype.kind != "f":
        raise errors.RunFolderError(f"{path} holds no scores; remove this file and start again")
    if scores.shape != shape:
        raise errors.RunFolderError(
            f"{path} has the shape {scores.shape}, the samples of this run {shape}; remove it and "
            "start again"
        )
    return scores
