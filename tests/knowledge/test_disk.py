"""A graph on disk is the graph that was written, or an error that says why it is not."""

import json
import pathlib

import numpy as np
import pytest
from polars import testing

from ehr_jax import errors
from ehr_jax.knowledge import disk, folder, graph
from tests.knowledge import tiny_graphs


def same(one: graph.Graph, other: graph.Graph) -> None:
    for name in ("nodes", "synonyms", "relations"):
        testing.assert_frame_equal(getattr(one, name), getattr(other, name))
    for name in ("offsets", "relation", "tail"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)
    assert (one.source, one.licence, one.dropped) == (other.source, other.licence, other.dropped)


@pytest.fixture
def written(tmp_path) -> pathlib.Path:
    disk.write(tiny_graphs.made_up(), tmp_path / "graph")
    return tmp_path / "graph"


def test_what_is_read_is_what_was_written(written):
    found = disk.read(written)
    same(found, tiny_graphs.made_up())
    assert len(found.fingerprint) == 64
    assert found.fingerprint == disk.open_graph(written).fingerprint
    with pytest.raises(ValueError, match="read-only"):
        found.tail[0] = 1


def test_a_graph_without_edges_and_synonyms_is_kept_too(tmp_path):
    found = tiny_graphs.made_up()
    nodes = found.nodes.head(1)
    empty = graph.assemble("x", "y", nodes, found.synonyms.clear(), found.relations.clear(),
                           *(np.zeros(0, np.int64) for _ in range(3)), {})  # fmt: skip
    disk.write(empty, tmp_path / "graph")
    same(disk.read(tmp_path / "graph"), empty)


def test_other_content_has_another_fingerprint(written, tmp_path):
    disk.write(tiny_graphs.made_up(synonyms=[("D:0", "other", True)]), tmp_path / "other")
    assert disk.read(written).fingerprint != disk.read(tmp_path / "other").fingerprint


def test_writing_again_replaces_and_leaves_nothing_behind(written):
    disk.write(tiny_graphs.made_up(synonyms=[("D:0", "other", True)]), written)
    assert disk.read(written).synonyms["text"].to_list() == ["other"]
    assert [path.name for path in written.parent.iterdir()] == ["graph"]


def test_an_interrupted_write_leaves_the_old_graph(written, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder.safetensors.numpy, "save", fail)
    with pytest.raises(errors.KnowledgeError, match="the disk is full"):
        disk.write(tiny_graphs.made_up(), written)
    same(disk.read(written), tiny_graphs.made_up())
    assert [path.name for path in written.parent.iterdir()] == ["graph"]


@pytest.mark.parametrize("name", ["nodes.arrow", "arrays.safetensors"])
@pytest.mark.parametrize("how", ["cut", "changed", "removed"])
def test_a_damaged_file_is_found(written, name, how):
    path = written / name
    content = path.read_bytes()
    if how == "removed":
        path.unlink()
    else:
        middle = len(content) // 2
        rest = b"" if how == "cut" else bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes(content[:middle] + rest)
    with pytest.raises(errors.KnowledgeError, match=f"{name} is missing or not what was written"):
        disk.read(written)


@pytest.mark.parametrize("text", ["", "[]", '{"files": 3}', "{"])
def test_a_damaged_description_is_found(written, text):
    (written / folder.DESCRIPTION).write_text(text)
    with pytest.raises(errors.KnowledgeError, match="damaged"):
        disk.read(written)


def test_another_kind_or_format_is_refused_by_name(written):
    path = written / folder.DESCRIPTION
    described = json.loads(path.read_text()) | {"format": 99}
    path.write_text(json.dumps(described))
    with pytest.raises(errors.KnowledgeError, match="format 99, expected 'knowledge graph' of"):
        disk.read(written)


def test_an_unknown_name_is_an_error_with_a_hint(tmp_path):
    with pytest.raises(errors.KnowledgeError, match="Did you mean 'primekg'"):
        disk.open_graph("primekgs")
    with pytest.raises(errors.KnowledgeError, match="its files are not there"):
        disk.open_graph("primekg", root=tmp_path, cache=tmp_path / "cache")


def test_a_source_is_built_once_and_again_when_its_files_change(tmp_path, monkeypatch):
    root, cache = tmp_path / "data", tmp_path / "cache"
    tiny_graphs.write_kg(root / "primekg")
    first = disk.open_graph("primekg", root, cache)
    source = disk.SOURCES["primekg"]
    reads = []
    monkeypatch.setitem(
        disk.SOURCES, "primekg", source._replace(read=lambda r: reads.append(r) or source.read(r))
    )
    same(disk.open_graph("primekg", root, cache), first)
    assert not reads
    tiny_graphs.write_kg(root / "primekg", tiny_graphs.kg_rows()[:2])
    assert len(disk.open_graph("primekg", root, cache).tail) < len(first.tail)
    assert len(reads) == 1


def test_a_built_graph_needs_its_raw_files_no_more(tmp_path):
    root, cache = tmp_path / "data", tmp_path / "cache"
    path = tiny_graphs.write_kg(root / "primekg")
    first = disk.open_graph("primekg", root, cache)
    path.unlink()
    same(disk.open_graph("primekg", root, cache), first)


def test_a_damaged_built_graph_is_built_again(tmp_path, capsys):
    root, cache = tmp_path / "data", tmp_path / "cache"
    tiny_graphs.write_open_sources(root)
    first = disk.open_graph(root=root, cache=cache)
    (cache / "hetionet_do" / "nodes.arrow").write_bytes(b"")
    same(disk.open_graph(root=root, cache=cache), first)
    assert "built again" in capsys.readouterr().out
