"""Which files hold patients' data, and DATA_USE.txt, which says so in every folder: the one list.

A run folder has three kinds of files. Rows of single patients are as the records themselves. Exact
figures may be of very few patients and are internal. What is made to be shown hides small counts
(`disclosure`).
"""

import errno
import functools
import os
import pathlib
import re
from collections.abc import Callable, Mapping

from ehr_jax import errors, storage

FILE = "DATA_USE.txt"

# Of a run folder, and of the run folders below it.
PATIENTS = {
    "predictions.parquet": "scores, labels and identifiers of single patients",
    "split.parquet": "identifiers of patients and the split of each",
    "teacher.npy": "scores of single patients",
    "evidence.jsonl": "what weighed in the prediction of each test sample",
    "audit.json": "the audit's findings, rows at fault by hash among them",
    "fitted.json": "what training samples said of the inputs, rare codes and values among it",
    "checkpoints/": "networks fitted to single patients, which may remember them",
    "store/": "prepared samples of single patients",
    "prepared/": "the same, with their identifiers, for training without the records",
    "meds/": "the records themselves, as MEDS",
    "meds_predictions/": "scores, labels and identifiers of single patients, as MEDS",
}
EXACT = {
    "data.json": "counts of the records and of the cohort",
    "results.json": "metrics, counts and thresholds of each label",
    "evidence.json": "mean weights of inputs",
    "metrics.jsonl": "loss and validation metrics by step",
    "tensorboard/": "the same",
    "sweep.json": "the trials of a sweep",
    "optuna.json": "the trials of this process in a shared study",
    "pbt.parquet": "the turns of a population",
    "trials.parquet": "validation metrics of trials",
    "trials/": "loss and validation metrics of each trial by step",
    "splits/": "accuracies of each split of nodes",
    "best.py": "the chosen config, with the validation it reached",
}
SHOWN = {
    "report.html": "",
    "plots/": "",
    "table.md": "",
}
SETTINGS = {
    "config.json": "settings, paths of this machine among them",
    "environment.json": "versions and devices",
    "profile/": "what training costs",
}
FOLDERS = ("best", "methods")  # of further run folders, beside fold_N
INTERNAL = (
    "exact figures, of few patients too: not to be shared; report.html, plots/ and table.md hide "
    "small counts"
)

VECTORS = """\
These files hold vectors computed from texts, and keys (hashes) of those texts, no text itself.
Vectors of patients' notes fall under the same terms as the notes: do not share this folder,
and delete it when the terms of the source ask for deletion.
"""
ANSWERS = """\
These files hold names of diseases that a language model read in patients' notes, by hashes of the
notes. They fall under the same terms as the notes: do not share this folder, and delete it when the
terms of the source ask for deletion.
"""
EMBEDDED = """\
Vectors of texts lie here, written by ehr_jax (--mode=embed). Vectors of patients' notes fall under
the same terms as the notes: do not share them, and delete them when the terms ask for deletion.
The files, each with the texts' identifiers where those were asked for:
"""
STORE = """\
This folder was made from health records under: {terms}.
It holds one example a sample, derived from single patients: treat it as the records themselves.
Patients are named by a hash that keeps their numbers out of sight, not secret.
"""
PREPARED = """\
This folder was made from health records under: {terms}.
It holds samples of single patients, with their identifiers: treat it as the records themselves, and
delete it when the terms ask for deletion.
"""
RECORDS = """\
This folder holds health records under: {terms}.
Every file of it is of single patients.
"""


def write(folder: pathlib.Path, terms: str) -> None:
    """Writes DATA_USE.txt of a run folder: the terms, and what each file of it holds.

    Raises:
      OSError: it cannot be written.
    """
    parts = [
        f"This folder was made from health records under: {terms}.",
        "It is private to its owner. What follows is of this folder and of the run folders in it.",
        "",
        "Derived from single patients, to be treated as the records themselves:",
        *_listed(PATIENTS),
        "",
        "Internal, with exact figures that may be of few patients, not to be shared:",
        *_listed(EXACT),
        "",
        f"Made to be shown: {', '.join(SHOWN)} hold aggregates only, and no figure that rests on",
        "fewer than 10 patients.",
        "",
        "Without patients' data:",
        *_listed(SETTINGS),
        "",
    ]
    storage.write_text(folder / FILE, "\n".join(parts))


def parquet_writer(frame, name: str) -> Callable[[str], None]:
    """Writes a frame as parquet whose metadata say that the file `name` of a run is internal."""
    what = f"{PATIENTS[name]}: as the records themselves" if name in PATIENTS else INTERNAL
    return functools.partial(frame.write_parquet, metadata={"internal": what})


def note(folder: pathlib.Path, text: str) -> None:
    """Writes `text` as the DATA_USE.txt of a folder that has none; one that is there is kept."""
    if not (folder / FILE).exists():
        storage.write_text(folder / FILE, text)


def note_vectors(file: pathlib.Path) -> None:
    """Names `file` in the DATA_USE.txt beside it, unless that was written by somebody else."""
    path, line = file.parent / FILE, f"  {file.name}\n"
    known = path.read_text(encoding="utf-8", errors="replace") if path.exists() else EMBEDDED
    if known.startswith(EMBEDDED) and line not in known:
        storage.write_text(path, known + line)


def make_private(folder: pathlib.Path) -> None:
    """Takes the rights of others from a run folder and all it holds, if nothing else lies there.

    A folder with files of others, a home folder for one, keeps its rights. What a run writes there
    is private all the same, and this is said.

    Raises:
      RunFolderError: the rights cannot be changed.
    """
    try:
        others = [name for name in os.listdir(folder) if not is_of_a_run(name)]
        if not others and not pathlib.Path.home().is_relative_to(folder.resolve()):
            storage.tighten(folder)
        elif folder.stat().st_mode & 0o077:
            print(
                f"{folder} holds other files than a run's, so others may list it as before; what "
                "the run writes there is private. A --workdir of its own is private as a whole",
                flush=True,
            )
    except OSError as error:
        raise errors.RunFolderError(
            f"{folder} cannot be made private: {os.strerror(error.errno or errno.EPERM)}; choose "
            "another --workdir"
        ) from error


def is_of_a_run(name: str) -> bool:
    """Whether a run writes a file or folder of this name to its folder."""
    named = {FILE, storage.LOCK, *FOLDERS, *PATIENTS, *EXACT, *SHOWN, *SETTINGS}
    is_numbered = re.fullmatch(r"fold_\d+", name) is not None
    is_temporary = name.startswith(".") and name.endswith(storage.SUFFIX)
    return name in named or f"{name}/" in named or is_numbered or is_temporary


def _listed(files: Mapping[str, str]) -> list[str]:
    width = max(map(len, files))
    return [f"  {name.ljust(width)}  {what}".rstrip() for name, what in files.items()]
