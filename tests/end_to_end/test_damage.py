"""A folder of which every file came back damaged: made again, or refused by name with a way out.

All files of a folder are damaged at once. A command that refuses one is given it back from a copy,
as it says, until the command ends well: so each file is met, and each way out is walked.
"""

import pathlib
import resource
import shutil

import pytest

from ehr_jax import main, stored

pytestmark = pytest.mark.slow

# What cannot be made again, or not in a moment: a second start may refuse these, and no others.
KEPT = ("data.json", "config.json", "checkpoints", "teacher.npy", "store")
# What a report is made of, beside what it can leave out.
REPORTED = (
    "results.json", "data.json", "config.json", "environment.json", "audit.json", "evidence.json",
    "predictions.parquet",
)  # fmt: skip
# What a run is known by when it scores other records.
PREDICTING = (
    "results.json", "data.json", "config.json", "fitted.json", "split.parquet", "checkpoints",
)  # fmt: skip
WAYS = {
    "null": lambda content: b"null",
    "list": lambda content: b"[]",
    "half": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "gone": None,
}
SMALL = (
    "--config.train.seeds=(0,)",
    "--config.train.steps=4",
    "--config.train.eval_every=2",
    "--config.evaluation.resamples=2",
)
OVER_STAYS = (
    "--config=configs/realm.py:synthetic_mortality",
    "--config.synthetic.patients=60",
    "--config.realm.use_notes=False",
    "--config.realm.use_knowledge=False",
    "--config.realm.width=4",
    "--config.realm.heads=1",
    "--config.realm.feed_forward=4",
    *SMALL,
)
OVER_VISITS = (
    "--config=configs/mingle.py:synthetic_readmission",
    "--config.synthetic.patients=60",
    "--config.notes.source=none",
    "--config.model.name=hypehr",
    "--config.model.depth=0",
    "--config.model.width=4",
    "--config.model.heads=1",
    *SMALL,
)
COMMANDS = {
    "train": OVER_STAYS,
    "taught": (*OVER_VISITS, "--config.train.teacher=logistic_regression"),
    "benchmark": (
        *OVER_VISITS,
        "--mode=benchmark",
        "--config.benchmark.methods=('hypehr', 'logistic_regression')",
        "--config.benchmark.reference=hypehr",
    ),
    "folds": (
        *OVER_VISITS,
        "--mode=benchmark",
        "--config.cohort.folds=2",
        "--config.benchmark.methods=('logistic_regression',)",
        "--config.benchmark.reference=logistic_regression",
    ),
    "sweep": (
        *OVER_VISITS,
        "--mode=sweep",
        "--config.sweep.grid={'train': {'learning_rate': (1e-3, 1e-2)}}",
    ),
    "pbt": (
        *OVER_VISITS,
        "--mode=sweep",
        "--config.sweep.grid={'train': {'learning_rate': (1e-4, 1e-3, 1e-2, 1e-1)}}",
        "--config.sweep.pbt_every=2",
    ),
    "prepare": (*OVER_VISITS, "--mode=prepare"),
    "meds": (*OVER_VISITS, "--mode=meds"),
}


# Not each command in all ways: what "null" meets "list" meets too, and "empty" what "half" does.
SECOND_STARTS = [
    *[("train", way) for way in ("list", "half", "gone")],
    *[(name, way) for name in ("prepare", "meds") for way in ("null", "half")],
    *[("pbt", way) for way in ("list", "half")],
    ("taught", "list"),
    ("folds", "gone"),
    ("benchmark", "half"),
    ("sweep", "list"),
]
REPORTS = [("train", way) for way in WAYS] + [("folds", "gone")]


@pytest.fixture(autouse=True, scope="module")
def quick():
    """Without drawings and the audit, which read no file of the folder and take most time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ehr_jax.reporting.plots.save", lambda figure, path: "")
        patch.setattr("ehr_jax.audit.audit.run", lambda *_, **__: [])
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Gives the folder of a command, made once."""
    root = tmp_path_factory.mktemp("whole")

    def make(name: str) -> pathlib.Path:
        if not (root / name).exists():
            assert run(*COMMANDS[name], f"--workdir={root / name}") == 0
        return root / name

    return make


def run(*arguments: str) -> int:
    return main.main(["ehr_jax.main", *arguments])


def harm(folder: pathlib.Path, way: str) -> list[pathlib.Path]:
    """Damages all files of a folder; returns them by their places in it."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in paths:
        if WAYS[way] is None:
            path.unlink()
        else:
            path.write_bytes(WAYS[way](path.read_bytes()))
    return [path.relative_to(folder) for path in paths]


def mend(capsys, whole: pathlib.Path, folder: pathlib.Path, names, *command: str) -> set[str]:
    """Runs a command, and gives back what it refuses, until it ends well; returns what that was."""
    given: set[str] = set()
    while run(*command):
        (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
        assert line.startswith("error: ") and "remove the run folder" not in line
        places = [folder / name for name in names]
        places += {parent for name in names for parent in (folder / name).parents}
        inner = [at for at in places if at.is_relative_to(folder) and str(at) in line]
        place = max(inner, key=lambda at: len(str(at))).relative_to(folder)
        if str(place) == ".":  # a message that names the folder, and the file by itself
            named = [name for name in names if name.name in line]
            place = min(named, key=lambda name: len(name.parts))
        assert str(place) not in given, line
        given.add(str(place))
        source = whole / place
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        copy(source, folder / place, **({"dirs_exist_ok": True} if source.is_dir() else {}))
    return given


@pytest.mark.parametrize(("name", "way"), SECOND_STARTS)
def test_a_second_start_goes_on_or_names_the_file(tmp_path, capsys, folders, name, way):
    whole = folders(name)
    folder = shutil.copytree(whole, tmp_path / "run")
    names = harm(folder, way)
    given = mend(capsys, whole, folder, names, *COMMANDS[name], f"--workdir={folder}")
    assert_among(given, KEPT)
    for path in names if name != "prepare" else ():  # a whole store says of itself what it holds
        if path.suffix == ".json" and not {"checkpoints", "meds"} & set(path.parts):
            assert isinstance(stored.read(folder / path), dict)


@pytest.mark.parametrize(("name", "way"), REPORTS)
def test_a_report_is_written_or_names_the_file(tmp_path, capsys, folders, name, way):
    whole = folders(name)
    folder = shutil.copytree(whole, tmp_path / "run")
    names = harm(folder, way)
    given = mend(capsys, whole, folder, names, "--mode=report", f"--workdir={folder}")
    assert_among(given, REPORTED)
    assert "results.json" in given


@pytest.mark.parametrize("way", ["list", "half", "gone"])
def test_a_run_predicts_or_names_the_file(tmp_path, capsys, folders, way):
    whole = folders("train")
    folder = shutil.copytree(whole, tmp_path / "run")
    names = harm(folder, way)
    asked = ("--mode=predict", f"--config.run={folder}", f"--workdir={tmp_path / 'out'}")
    given = mend(capsys, whole, folder, names, *asked)
    assert_among(given, PREDICTING)
    assert {"results.json", "config.json", "fitted.json", "split.parquet"} <= given


def assert_among(given: set[str], allowed: tuple[str, ...]) -> None:
    others = {name for name in given if not set(pathlib.Path(name).parts) & set(allowed)}
    assert not others


# A size by which a limit of it meets the config, a checkpoint, and the file that the mode is for.
@pytest.mark.parametrize(
    ("name", "size"),
    [("train", 5_000), ("prepare", 20_000), ("meds", 5_000), ("audit", 2_000), ("sweep", 5_000),
     ("benchmark", 5_000), ("predict", 4_000), ("report", 5_000)],
)  # fmt: skip
def test_a_disk_that_takes_no_more_is_told_in_a_line(tmp_path, capsys, folders, name, size):
    command = (*COMMANDS.get(name, ()), f"--workdir={tmp_path / 'run'}")
    if name == "report":
        shutil.copytree(folders("train"), tmp_path / "run")
        command = ("--mode=report", *command)
    elif name == "predict":
        command = ("--mode=predict", f"--config.run={folders('train')}", *command)
    elif name == "audit":
        command = (*OVER_VISITS, "--mode=audit", *command)
    capsys.readouterr()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        status = run(*command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said = capsys.readouterr().err  # capfd would write a file, which the limit holds for too
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert status == 2 and "Traceback" not in said
    assert str(tmp_path) in line and "File too large" in line and ".partial" not in line
    assert not list(tmp_path.rglob("*.partial"))
    assert run(*command) == 0
