"""Words of notes, names of rare codes and identifiers stay in the files that may hold them.

Each is made a word or number that stands nowhere else, and every mode is run over such records.
"""

import contextlib
import dataclasses
import io
import pathlib
import re
import stat

import polars as pl
import pytest

from ehr_jax import data_use, main
from ehr_jax.experiment import stages
from ehr_jax.records.common import tables

pytestmark = pytest.mark.slow

ENCODER = pathlib.Path(__file__).parent.parent / "text" / "golden" / "tiny_mean"
WORD, RARE = "Qzwordofanote", "Qznameofararecode"
BASE = 771_000_000_000  # added to all identifiers
CANARY = re.compile(rf"{WORD}|{RARE}|771000\d{{6}}".encode(), re.IGNORECASE)
IDENTIFIERS = ("subject_id", "visit_id", "stay_id")
SMALL = (
    f"--config.text.encoder={ENCODER}",
    "--config.train.seeds=(0,)",
    "--config.train.steps=4",
    "--config.train.eval_every=2",
    "--config.evaluation.resamples=5",
    "--config.model.width=8",
    "--config.model.depth=1",
    "--config.model.heads=2",
    "--config.realm.width=8",
    "--config.realm.heads=2",
    "--config.realm.feed_forward=8",
    "--config.realm.use_knowledge=False",
    "--config.train.teacher=",
)
MINGLE = ("--config=configs/mingle.py:synthetic_readmission", "--config.synthetic.patients=60")
REALM = ("--config=configs/realm.py:synthetic_mortality", "--config.synthetic.patients=120")
GRID = "--config.sweep.grid={'train': {'learning_rate': (1e-3, 1e-2)}}"
MODES = {
    "train": MINGLE,
    "sweep": (*MINGLE, GRID),
    "benchmark": (*MINGLE, "--config.benchmark.methods=('mingle', 'logistic_regression')"),
    "prepare": MINGLE,
    "audit": MINGLE,
    "realm": REALM,
}


def with_canaries(records: tables.Records) -> tables.Records:
    """Returns `records` with a canary in every identifier and note, and a code of five visits."""
    held = records.codes.unique("visit_id", keep="first", maintain_order=True).head(5)
    rare = held.with_columns(code=pl.lit(f"DRUG:{RARE}"))
    name = pl.DataFrame([(f"DRUG:{RARE}", "drug", RARE)], records.code_names.schema, orient="row")
    changed = {
        "codes": pl.concat([records.codes, rare]),
        "code_names": pl.concat([records.code_names, name]),
        "notes": records.notes.with_columns(text=pl.col("text") + f" {WORD}."),
    }
    for field in dataclasses.fields(records):
        frame = changed.get(field.name, getattr(records, field.name))
        if type(frame) in (pl.DataFrame, pl.LazyFrame):
            there = set(IDENTIFIERS) & set(frame.collect_schema().names())
            changed[field.name] = frame.with_columns(pl.col(name) + BASE for name in there)
    return dataclasses.replace(records, **changed)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[pathlib.Path, str]:
    """The folder below which every mode wrote what it writes, and all that was printed."""
    root, printed, read = tmp_path_factory.mktemp("runs"), io.StringIO(), stages.read
    root.chmod(0o700)
    texts = tmp_path_factory.mktemp("texts") / "texts.txt"
    texts.write_text(f"chest pain\n{WORD}\n")
    (root / "embed").mkdir(mode=0o700)
    calls = {
        name: [f"--mode={'train' if name == 'realm' else name}", *flags, *SMALL]
        for name, flags in MODES.items()
    }
    calls["predict"] = ["--mode=predict", f"--config.run={root / 'realm'}"]
    calls["embed"] = [
        "--mode=embed", "--config=configs/embed.py", f"--config.text.encoder={ENCODER}",
        f"--config.text.input={texts}",
        f"--config.text.output={root / 'embed' / 'vectors.parquet'}",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("EHR_JAX_CACHE", str(root / "cache"))
        patch.setattr(stages, "read", lambda config: with_canaries(read(config)))
        stack.enter_context(contextlib.redirect_stdout(printed))
        stack.enter_context(contextlib.redirect_stderr(printed))
        for name, flags in calls.items():
            status = main.main(["ehr_jax.main", *flags, f"--workdir={root / name}"])
            assert status == 0 or name == "audit", printed.getvalue()
        # What is written into the folder of a finished run.
        after = ["ehr_jax.main", *MINGLE, *SMALL, f"--workdir={root / 'train'}"]
        assert main.main([*after, "--mode=meds"]) == 0, printed.getvalue()
        assert main.main(["ehr_jax.main", "--mode=report", f"--workdir={root / 'train'}"]) == 0
        main.main(["ehr_jax.main", "--mode=doctor"])
    return root, printed.getvalue()


def files(root: pathlib.Path) -> list[pathlib.Path]:
    return [path for path in sorted(root.rglob("*")) if path.is_file()]


def of_patients(path: pathlib.Path, root: pathlib.Path) -> bool:
    """Whether DATA_USE.txt names the file, or a folder around it, as one of patients' data."""
    parts = path.relative_to(root).parts
    return any(part in data_use.PATIENTS or f"{part}/" in data_use.PATIENTS for part in parts)


def content(path: pathlib.Path) -> bytes:
    """The bytes of a file, and what its columns hold where these are compressed."""
    if path.suffix != ".parquet":
        return path.read_bytes()
    return path.read_bytes() + str(pl.read_parquet(path, glob=False).to_dicts()).encode()


def test_canaries_of_every_kind_reach_the_files_that_may_hold_them(finished):
    root, _ = finished
    holding = {}
    for path in files(root):
        for canary in CANARY.findall(content(path)):
            kind = "identifier" if canary.isdigit() else canary.decode().lower()
            holding.setdefault(kind, set()).add(path.relative_to(root).parts[0])
    assert holding["identifier"] >= {*MODES, "predict"} - {"prepare", "audit"}
    assert "train" in holding[WORD.lower()] & holding[RARE.lower()]  # as MEDS


def test_nothing_that_is_printed_holds_a_canary(finished):
    _, printed = finished
    assert "report.html" in printed and not CANARY.search(printed.encode())


def test_no_file_but_those_of_patients_data_holds_a_canary_and_no_name_does(finished):
    root, _ = finished
    plain = [path for path in files(root) if not of_patients(path, root)]
    assert {"results.json", "data.json", "report.html", "metrics.jsonl", "roc.png"} & {
        path.name for path in plain
    }
    names = [str(path.relative_to(root)) for path in files(root)]
    assert not [name for name in names if CANARY.search(name.encode())]
    holding = [str(path.relative_to(root)) for path in plain if CANARY.search(content(path))]
    assert not holding


def test_every_mode_leaves_a_data_use_that_names_what_it_wrote(finished):
    root, _ = finished
    for name in (*MODES, "predict", "embed"):
        assert (root / name / data_use.FILE).exists(), name
    assert "vectors.parquet" in (root / "embed" / data_use.FILE).read_text()


def test_all_that_any_mode_writes_is_its_owners_alone(finished):
    root, _ = finished
    wide = [
        str(path.relative_to(root))
        for path in root.rglob("*")
        if not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    assert not wide
