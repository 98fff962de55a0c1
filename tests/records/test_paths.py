"""A folder is read for what it is called: no letter of a path is a pattern."""

import ast
import functools
import pathlib

import mutations
import pytest
import tiny_sources

from ehr_jax.records import sources

PACKAGE = pathlib.Path(__file__).resolve().parents[2] / "ehr_jax"
ODD = "a[1]*?"
DECOYS = ("a1", "a1bc")  # what the name of the folder would match as a pattern

# Functions of polars that take a path for a pattern unless told otherwise.
PATTERNS = {"scan_parquet", "scan_csv", "scan_ipc", "read_parquet", "read_csv", "read_ipc"}
PATTERNS |= {"read_parquet_schema", "read_ipc_schema"}  # these cannot be told


@functools.cache
def files_of(name: str) -> mutations.Files:
    return tiny_sources.files(tiny_sources.FORMS[name])


def told(form: tiny_sources.Form, folder: pathlib.Path):
    """Everything that a form's folder holds, as values that compare."""
    records = form.read(folder)
    if form.task is None:
        return records
    lazy = [
        frame.collect().hash_rows().sort().to_list()
        for frame in (records.measurements, records.notes)
    ]
    return sources.fingerprint(records), lazy


@pytest.mark.parametrize("name", tiny_sources.FORMS)
def test_folder_with_brackets_in_its_name_is_that_folder(name, tmp_path, monkeypatch):
    monkeypatch.delenv("EHR_JAX_DATA", raising=False)
    form = tiny_sources.FORMS[name]
    mutations.write(files_of(name), tmp_path / "plain")
    mutations.write(files_of(name), tmp_path / ODD)
    for decoy in DECOYS:
        mutations.write(dict.fromkeys(files_of(name), b"\x00 no table"), tmp_path / decoy)
    assert told(form, tmp_path / ODD) == told(form, tmp_path / "plain")


def test_no_call_of_polars_takes_a_path_for_a_pattern():
    bad = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr in PATTERNS and ast.unparse(node.func.value) == "pl":
                words = {word.arg: ast.unparse(word.value) for word in node.keywords}
                if words.get("glob") != "False":
                    bad.append(f"{path.name}:{node.lineno}")
    assert not bad
