import numpy as np
import pytest

from ehr_jax import errors
from ehr_jax.features import hypergraph_file
from ehr_jax.nn import bipartite


def arrays():
    """Four nodes, one isolated, in three hyperedges; three feature columns; two classes."""
    return {
        "node": np.array([0, 1, 1, 2, 0], np.int32),
        "hyperedge": np.array([0, 0, 1, 1, 2], np.int32),
        "labels": np.array([0, 1, 1, 0], np.int32),
        "features_indptr": np.array([0, 2, 3, 3, 4], np.int32),
        "features_indices": np.array([0, 2, 1, 0], np.int32),
        "features_data": np.array([1, 0.5, 2, 1], np.float32),
        "features_shape": np.array([4, 3], np.int32),
    }


def save(folder, **changes):
    path = folder / "hypergraph.npz"
    np.savez(path, **{k: v for k, v in (arrays() | changes).items() if v is not None})
    return path


def test_a_file_is_read_as_it_was_written(tmp_path):
    data = hypergraph_file.read(save(tmp_path))
    node, hyperedge, num_nodes, num_hyperedges = bipartite.unpack(data.graph)
    np.testing.assert_array_equal(node, arrays()["node"])
    np.testing.assert_array_equal(hyperedge, arrays()["hyperedge"])
    assert (num_nodes, num_hyperedges, data.num_classes) == (4, 3, 2)
    assert data.counts() == {
        "nodes": 4,
        "hyperedges": 3,
        "incidences": 5,
        "isolated_nodes": 1,
        "largest_hyperedge": 2,
        "features": 3,
        "stored_features": 4,
        "classes": 2,
        "nodes_of_class": [2, 2],
    }


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"labels": None}, "no array 'labels'"),
        ({"node": None, "hyperedge": None}, "no array 'node', 'hyperedge'"),
        ({"node": np.array([0, 1, 1, 2, 4])}, r"'node' holds 4 at position 4; expected 0\.\.3"),
        ({"node": np.array([0, -1, 1, 2, 3])}, "'node' holds -1 at position 1"),
        ({"node": np.array([0.0, 1, 1, 2, 3])}, "'node' holds float64 values; expected integers"),
        ({"node": np.array([0, 1, 1, 0, 0])}, None),
        ({"node": np.array([0, 1, 1, 2])}, "'hyperedge' has 5 entries and 'node' has 4"),
        ({"node": np.array([0, 0, 1, 2, 0])}, r"repeats an incidence at position 1 \(node 0"),
        (
            {"hyperedge": np.array([0, 0, 1, 1, 10**9])},
            "'hyperedge' holds 1000000000 at position 4",
        ),
        ({"node": np.zeros(0, int), "hyperedge": np.zeros(0, int)}, "'hyperedge' is empty"),
        ({"labels": np.array([0, 1, 1])}, "'labels' has 3 entries; features_shape says 4 nodes"),
        ({"labels": np.array([1, 2, 2, 1])}, "'labels' starts at 1; classes count from 0"),
        ({"labels": np.array([-1, 1, 1, 0])}, "'labels' starts at -1"),
        ({"labels": np.zeros(4, int)}, "two classes at least"),
        ({"labels": np.zeros((4, 1), int)}, "'labels' has 2 dimensions; expected 1"),
        ({"features_shape": np.array([4])}, r"'features_shape' is \[4\]"),
        ({"features_shape": np.array([4, 2])}, "'features_indices' holds 2 at position 1"),
        ({"features_indptr": np.array([0, 2, 3, 4])}, "expected 5 ascending offsets"),
        ({"features_indptr": np.array([0, 2, 1, 3, 4])}, "expected 5 ascending offsets"),
        ({"features_indices": np.array([2, 2, 1, 0])}, "names a column twice in one row"),
        ({"features_data": np.array([1.0, 2])}, r"'features_data' has shape \(2,\)"),
        ({"features_data": np.array([1, 2, np.nan, 1])}, "not finite"),
        ({"labels": np.array([0, 1, None, 0], object)}, "cannot be read as an npz of plain arrays"),
    ],
)
def test_a_faulty_file_is_refused_with_the_array_named(tmp_path, changes, message):
    path = save(tmp_path, **changes)
    if message is None:  # isolated nodes are no fault
        hypergraph_file.read(path)
        return
    with pytest.raises(errors.RecordsError, match=message) as caught:
        hypergraph_file.read(path)
    assert str(path) in str(caught.value)


def test_a_missing_path_is_a_config_error(tmp_path):
    with pytest.raises(errors.ConfigError, match="config.data.path is empty"):
        hypergraph_file.read("")
    with pytest.raises(errors.ConfigError, match="there is no such file"):
        hypergraph_file.read(tmp_path / "absent.npz")
    with pytest.raises(errors.ConfigError, match="there is no such file"):
        hypergraph_file.read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"node,hyperedge\n0,1\n", b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_npz_is_refused(tmp_path, content):
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(errors.RecordsError, match="cannot be read as an npz"):
        hypergraph_file.read(path)


def test_a_truncated_npz_is_refused(tmp_path):
    path = save(tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(errors.RecordsError, match="cannot be read as an npz"):
        hypergraph_file.read(path)


def test_damage_inside_a_compressed_npz_is_refused(tmp_path):
    path = tmp_path / "damaged.npz"
    np.savez_compressed(path, **arrays() | {"labels": np.arange(4).repeat(500)})
    content = bytearray(path.read_bytes())
    middle = content.find(b"labels.npy") + 60
    content[middle : middle + 20] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(errors.RecordsError, match="cannot be read as an npz"):
        hypergraph_file.read(path)


def test_a_single_array_is_refused(tmp_path):
    path = tmp_path / "one.npy"
    np.save(path, np.arange(3))
    with pytest.raises(errors.RecordsError, match="cannot be read as an npz"):
        hypergraph_file.read(path)
