"""What the tests of several files here share."""

import pytest

from ehr_jax.knowledge import graph, hetionet_do


@pytest.fixture(scope="session")
def default_graph(data_root) -> graph.Graph:
    """The default graph, of the real files."""
    return graph.build(hetionet_do.read(data_root))
