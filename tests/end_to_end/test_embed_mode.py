"""--mode=embed through the main command: files of texts in, vectors in their order out."""

import gzip
import os
import pathlib
import re
import signal
import stat
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest
import safetensors
import safetensors.numpy

from ehr_jax import main
from ehr_jax.embedding import reader as embed_input
from ehr_jax.embedding import writer as embed_output
from ehr_jax.text import encode, encoders

REPOSITORY = pathlib.Path(main.__file__).resolve().parent.parent
ENCODER = REPOSITORY / "tests" / "text" / "golden" / "tiny_mean"
TEXTS = ["chest pain", "fever for two days", "", "☃", "chest pain", "heart " * 100, "x ray"]


def command(source, output, *more: str) -> list[str]:
    return [
        "ehr_jax.main", "--mode=embed", "--config=configs/embed.py",
        f"--config.text.encoder={ENCODER}", f"--config.text.input={source}",
        f"--config.text.output={output}", *more,
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EHR_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def run(tmp_path):
    def run(source, *more: str, name: str = "vectors.parquet") -> tuple[int, pathlib.Path]:
        folder = tmp_path / "out"
        folder.mkdir(exist_ok=True)
        return main.main(command(source, folder / name, *more)), folder / name

    return run


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> np.ndarray:
    return encode.encode(TEXTS, encoders.load(ENCODER), tmp_path_factory.mktemp("cache"))


def vectors(path: pathlib.Path) -> np.ndarray:
    if path.suffix == ".safetensors":
        return safetensors.numpy.load_file(path)["vectors"]
    frame = pl.read_parquet(path)
    assert frame["row"].to_list() == list(range(frame.height))
    assert frame.schema["vector"] == pl.Array(pl.Float32, 24) or frame.width > 2
    return frame["vector"].to_numpy()


def metadata(path: pathlib.Path) -> dict[str, str]:
    if path.suffix == ".parquet":
        return pl.read_parquet_metadata(path)
    with safetensors.safe_open(path, framework="np") as file:
        return file.metadata()


@pytest.mark.parametrize("name", ["vectors.parquet", "vectors.safetensors"])
def test_lines_become_vectors_in_their_order(run, lines, expected, name, capsys):
    status, output = run(lines, name=name)
    assert status == 0
    np.testing.assert_allclose(vectors(output), expected, atol=1e-6)
    said = capsys.readouterr().out
    assert "7 texts: 6 distinct, 0 from the cache, 1 empty" in said
    assert "1 beyond 40 tokens (chunks joined by their mean), 1 of unknown tokens alone" in said
    assert "batch shape(s)" in said and "tokens/s" in said and str(output) in said


@pytest.mark.parametrize("name", ["vectors.parquet", "vectors.safetensors"])
def test_output_is_private_and_says_what_made_it(run, lines, name):
    _, output = run(lines, "--config.text.pooling=cls", "--config.text.long=truncate", name=name)
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert "same terms as the notes" in (output.parent / "DATA_USE.txt").read_text()
    assert sorted(p.name for p in output.parent.iterdir()) == sorted(["DATA_USE.txt", name])
    encoder = encoders.load(ENCODER, pooling="cls", long="truncate")
    wanted = {
        "name": str(ENCODER), "fingerprint": encoder.fingerprint, "pooling": "cls",
        "precision": "float32", "width": str(encoder.width), "long": "truncate",
    }  # fmt: skip
    assert wanted.items() <= metadata(output).items()


def test_terms_that_lie_there_are_kept(run, lines, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "DATA_USE.txt").write_text("ours")
    assert run(lines)[0] == 0
    assert (tmp_path / "out" / "DATA_USE.txt").read_text() == "ours"


def write(frame: pl.DataFrame, path: pathlib.Path) -> pathlib.Path:
    if path.suffix == ".parquet":
        frame.write_parquet(path, row_group_size=2)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(frame.write_csv().encode()))
    elif path.suffix == ".tsv":
        frame.write_csv(path, separator="\t")
    else:
        frame.write_csv(path)
    return path


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.csv.gz", "t.tsv", "T.CSV"])
@pytest.mark.parametrize("window", [2, 50_000])
def test_a_column_becomes_vectors(run, tmp_path, expected, name, window, monkeypatch):
    monkeypatch.setattr(embed_input, "WINDOW_TEXTS", window)
    texts = [text or None for text in TEXTS]
    frame = pl.DataFrame({"Note_ID": range(10, 17), "Note": texts, "value": [0.5] * 7})
    status, output = run(write(frame, tmp_path / name), "--config.text.id=Note_ID")
    assert status == 0
    np.testing.assert_allclose(vectors(output), expected, atol=1e-6)
    found = pl.read_parquet(output)
    assert found.columns == ["row", "Note_ID", "vector"]
    ids = [str(n) for n in range(10, 17)] if "parquet" not in name else list(range(10, 17))
    assert found["Note_ID"].to_list() == ids


def test_categories_are_text(run, tmp_path, expected):
    frame = pl.DataFrame({"note": pl.Series(TEXTS, dtype=pl.Categorical)})
    frame.write_parquet(tmp_path / "t.parquet")
    status, output = run(tmp_path / "t.parquet")
    assert status == 0
    np.testing.assert_allclose(vectors(output), expected, atol=1e-6)


def test_windows_change_no_vector_and_encode_no_text_twice(
    run, lines, expected, monkeypatch, capsys
):
    monkeypatch.setattr(embed_input, "WINDOW_TEXTS", 3)
    status, output = run(lines, name="vectors.safetensors")
    assert status == 0
    np.testing.assert_allclose(vectors(output), expected, atol=1e-6)
    said = capsys.readouterr().out
    assert "7 texts: 6 distinct, 0 from the cache, 1 empty" in said
    assert "embed: 7/7" in said and said.count("embed: 7/7") == 1


def test_windows_are_bounded_by_characters_too(lines, monkeypatch):
    monkeypatch.setattr(embed_input, "WINDOW_CHARACTERS", 25)
    windows = embed_input.windows(embed_input.examine(str(lines)))
    sizes = [len(window.texts) for window in windows]
    assert sum(sizes) == len(TEXTS) and len(sizes) > 2


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_only_line_ends_part_texts(tmp_path, newline, end, start):
    texts = ["a\x0bb\u2028c\x85d", " padded ", "", "\tlast"]
    path = tmp_path / "odd.lst"
    path.write_bytes(start + (newline.join(texts) + end).encode())
    source = embed_input.examine(str(path))
    assert [text for window in embed_input.windows(source) for text in window.texts] == texts


def test_a_compressed_file_gives_the_same(run, lines, expected, tmp_path):
    path = tmp_path / "texts.txt.gz"
    path.write_bytes(gzip.compress(lines.read_bytes()))
    status, output = run(path)
    assert status == 0
    np.testing.assert_allclose(vectors(output), expected, atol=1e-6)


def test_cached_vectors_are_verified_where_asked(run, lines, capsys):
    assert run(lines, "--config.text.verify=2")[0] == 0
    assert "verified 2 of 2 texts" in capsys.readouterr().out


def test_a_finished_output_is_kept_and_another_is_refused(run, lines, capsys, monkeypatch):
    _, output = run(lines)
    before = output.stat().st_mtime_ns
    capsys.readouterr()
    assert run(lines)[0] == 0
    assert "nothing to do" in capsys.readouterr().out
    assert output.stat().st_mtime_ns == before
    assert run(lines, "--config.text.normalise=false")[0] == 2
    assert "was made otherwise (fingerprint differ" in capsys.readouterr().err
    lines.write_text("other\n")
    assert run(lines)[0] == 2
    assert "(input differ" in capsys.readouterr().err
    output.write_text("a file of somebody's")
    assert run(lines)[0] == 2
    assert "is not of ours; remove it or name another" in capsys.readouterr().err
    assert output.read_text() == "a file of somebody's"


def test_a_mistake_leaves_nothing_and_encodes_nothing(run, lines, monkeypatch, tmp_path):
    monkeypatch.setattr(encode, "encode", lambda *a, **k: pytest.fail("encoded"))
    assert run(lines, "--config.text.pooling=max")[0] == 2
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("at", [(pl.DataFrame, "write_parquet"), (pl.LazyFrame, "sink_parquet")])
def test_a_full_disk_is_said_and_leaves_nothing(run, lines, monkeypatch, capsys, tmp_path, at):
    def full(*args, **kwargs):
        raise pl.exceptions.ComputeError("parquet: No space left on device (os error 28)")

    monkeypatch.setattr(*at, full)
    assert run(lines)[0] == 2
    assert "the disk is full" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def spoil(path: pathlib.Path, kind: str) -> pathlib.Path:
    """Writes a file with one fault."""
    table = pl.DataFrame({"id": [1, 2], "note": ["secret a", "secret b"], "other": ["x", "y"]})
    if kind == "latin1.txt":
        path.write_bytes(b"fever\nsecret caf\xe9\n")
    elif kind == "utf16.txt":
        path.write_bytes("fever\nsecret\n".encode("utf-16-le"))
    elif kind == "cut.txt.gz":
        path.write_bytes(gzip.compress(os.urandom(5000).hex().encode())[:-500])
    elif kind == "cut.parquet":
        table.write_parquet(path)
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "ragged.csv":
        path.write_text("id,note\n1,secret a\n2,secret, b\n")
    elif kind == "latin1.csv":
        path.write_bytes(b"id,note\n1,fever\n2,secret caf\xe9\n")
    elif kind in ("empty.txt", "empty.csv"):
        path.write_bytes(b"")
    elif kind == "header.csv":
        path.write_text("id,note\n")
    elif kind == "numbers.csv":
        path.write_text("id,value\n1,2\n")
    elif kind == "two.parquet":
        table.write_parquet(path)
    elif kind == "lines.jsonl":
        path.write_text('{"note": "secret"}\n')
    elif kind == "good.txt":
        path.write_text("fever\n")
    return path


@pytest.mark.parametrize(
    ("kind", "more", "message"),
    [
        ("missing.txt", [], "missing.txt does not exist"),
        (".", [], "is a folder; name a file"),
        ("latin1.txt", [], "latin1.txt: line 2 is not UTF-8 text"),
        ("utf16.txt", [], "utf16.txt: line 1 is not UTF-8 text"),
        ("cut.txt.gz", [], "cut.txt.gz: the gzip file is cut short or damaged"),
        ("cut.parquet", [], "cut.parquet: is not a readable parquet file"),
        ("ragged.csv", [], "ragged.csv: row 2 .* has 3 field"),
        ("latin1.csv", [], "latin1.csv: line 3 is not UTF-8 text"),
        ("empty.txt", [], "empty.txt is empty"),
        ("empty.csv", [], "empty.csv: the file is empty"),
        ("header.csv", ["--config.text.column=note"], "header.csv is empty; it holds no text"),
        ("numbers.csv", [], "numbers.csv has no column of text"),
        ("two.parquet", [], "2 columns of text; name one.*'id', 'note', 'other'"),
        ("two.parquet", ["--config.text.column=not"], "no such column. Did you mean 'note'"),
        ("two.parquet", ["--config.text.column=id"], "holds no text; .*'note', 'other'"),
        (
            "two.parquet",
            ["--config.text.column=note", "--config.text.id=idd"],
            "config.text.id is 'idd'.*no such column. Did you mean 'id'",
        ),
        ("lines.jsonl", [], "lines.jsonl holds JSON"),
        ("good.txt", ["--config.text.column=note"], "config.text.column is 'note', but good.txt"),
        ("good.txt", ["--config.text.output=o.npy"], "o.npy ends in '.npy'; expected one of"),
        ("good.txt", ["--config.text.output=no/o.parquet"], "there is no folder no"),
        ("good.txt", ["--config.text.output="], "config.text.output is missing"),
        ("good.txt", ["--config.text.input="], "config.text.input is missing"),
        (
            "good.txt",
            ["--config.text.output=o.safetensors", "--config.text.id=id"],
            "a .safetensors file holds vectors alone",
        ),
        ("good.txt", ["--config.text.encoder=all-MiniLM"], "Did you mean 'all-MiniLM-L6-v2'"),
        ("good.txt", ["--config.text.max_length=1000"], "config.text.max_length 1000 is not from"),
        ("good.txt", ["--config.text.normalise=perhaps"], "config.text.normalise"),
        ("good.txt", ["--config.text.max_length=many"], "config.text.max_length"),
        ("good.txt", ["--config.text.inptu=x"], "Did you mean 'config.text.input'"),
        ("good.txt", ["--config.text.poolin=cls"], "Did you mean 'config.text.pooling'"),
        ("good.txt", ["--mode=train"], "this config is for --mode=embed, and the mode is 'train'"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_way_out(run, tmp_path, capsys, kind, more, message):
    assert run(spoil(tmp_path / kind, kind), *more)[0] == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "Traceback" not in said and "secret" not in said
    assert re.search(message, said), said
    assert not list(tmp_path.glob("out/*"))


def test_a_config_of_experiments_is_refused(capsys):
    assert main.main(["ehr_jax.main", "--mode=embed", "--config=configs/quickstart.py"]) == 2
    assert "--mode=embed wants --config=configs/embed.py" in capsys.readouterr().err


def test_a_file_that_changes_meanwhile_is_refused(lines):
    source = embed_input.examine(str(lines))
    lines.write_text("fever\n")
    with pytest.raises(Exception, match="had 7 text.* when it was checked and has 1 now"):
        list(embed_input.windows(source))


def test_processes_that_share_the_work_write_apart(tmp_path):
    made = {"fingerprint": "f"}
    ours, theirs = np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)
    path = tmp_path / "o.safetensors"
    with embed_output.writing(path, 2, 3, made) as add:
        add(ours[:1], None)
        code = (
            "import pathlib, sys; import numpy as np; from ehr_jax.embedding import writer\n"
            "with writer.writing(pathlib.Path(sys.argv[1]), 2, 3, {'fingerprint': 'f'}) as a:"
            "\n    a(np.ones((2, 3), np.float32), None)"
        )
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        subprocess.run([sys.executable, "-c", code, path], env=environment, check=True)
        assert np.array_equal(vectors(path), theirs)
        add(ours[1:], None)
    assert np.array_equal(vectors(path), ours)


@pytest.mark.slow
def test_a_killed_call_goes_on_from_the_cache(tmp_path, cache_folder, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    words = ["chest", "pain", "fever", "cough", "blood", "heart"]
    texts = [" ".join(rng.choice(words, 60)) for _ in range(400)]
    (tmp_path / "t.txt").write_text("\n".join(texts))
    output = tmp_path / "o.parquet"
    script = (
        "import sys; from ehr_jax import main; from ehr_jax.text import encode; "
        "encode.PART_SECONDS = 0.0; sys.exit(main.main(sys.argv[1:]))"
    )
    arguments = command(tmp_path / "t.txt", output, "--config.text.token_budget=256")
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and not list(cache_folder.rglob("*.safetensors")):
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (left,) = tmp_path.glob(".o.parquet.*.partial")
    assert not output.exists() and stat.S_IMODE(left.stat().st_mode) == 0o700
    assert main.main(arguments) == 0
    assert not list(tmp_path.glob(".*.partial"))
    said = capsys.readouterr().out
    (line,) = [line for line in said.splitlines() if "from the cache" in line]
    assert int(line.split(" distinct, ")[1].split(" ")[0].replace(",", "")) > 0
    found = vectors(output)
    again = encode.encode(texts, encoders.load(ENCODER), tmp_path / "other")
    np.testing.assert_allclose(found, again, atol=1e-6)
