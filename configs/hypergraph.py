"""Node classification on any hypergraph file."""

import ml_collections

from ehr_jax import errors

# Settings a method has of its own.
METHODS = {
    "allset_transformer": {"depth": 1, "width": 256, "heads": 4},
    "alldeepsets": {"depth": 1, "width": 256},
    "hgnn": {"depth": 2, "width": 256, "input_dropout": 0.0},
}


def get_config(method: str = "allset_transformer") -> ml_collections.ConfigDict:
    """Returns the config of `method`, a key of METHODS."""
    if method not in METHODS:
        raise errors.ConfigError(
            f"configs/hypergraph.py has no method '{method}'; expected one of "
            f"{', '.join(METHODS)}.{errors.did_you_mean(method, METHODS)}"
        )
    config = ml_collections.ConfigDict()

    config.data = data = ml_collections.ConfigDict()
    data.source = "hypergraph_file"  # tells `ehr_jax.main` what to run
    data.path = ""  # the npz file; its arrays: ehr_jax/features/hypergraph_file.py

    config.model = model = ml_collections.ConfigDict()
    model.name = method
    model.depth = 1  # layers: two half-layers each; hgnn: convolutions
    model.width = 256  # of every hidden layer
    model.heads = 1  # attention heads, which divide width; allset_transformer alone
    model.feed_forward_depth = 2  # linear layers in each MLP of a half-layer; not hgnn
    model.dropout = 0.5  # rate between layers
    model.input_dropout = 0.2  # rate on the node features

    config.train = train = ml_collections.ConfigDict()
    train.seed = 0  # of the splits, the parameters and dropout
    train.splits = 20  # random splits, each trained from new parameters
    train.train_fraction = 0.5  # of the nodes
    train.validation_fraction = 0.25  # of the nodes; the rest is the test part
    train.epochs = 500  # full-batch steps a split
    train.learning_rate = 1e-3  # of Adam
    train.weight_decay = 0.0  # L2 inside Adam

    model.update(METHODS[method])
    return config
