"""The PyTorch side of mingle_step.py: MINGLE's equations written out, full batch."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from benchmarks import set_attention_torch

about = set_attention_torch.about
LAYERS = 3


def prepare(
    kind: str, arguments, path: str, weights: str, dropout: float = 0.2, steps: int = 1
) -> tuple[Callable[[], np.ndarray], dict]:
    """Training steps that go on from one call to the next; gives the loss before each."""
    place = {"cpu": "cpu", "gpu": "cuda"}[arguments.device]
    arrays = {name: torch.from_numpy(value).to(place) for name, value in np.load(path).items()}
    parameters = {
        name: torch.from_numpy(value).to(place).requires_grad_()
        for name, value in np.load(weights).items()
    }
    optimiser = torch.optim.Adam(parameters.values(), lr=1e-3, weight_decay=1e-3)
    network = Network(kind, arrays, parameters, dropout)

    def run() -> np.ndarray:
        values = []
        for _ in range(steps):
            optimiser.zero_grad()
            logits = network.logits()[: len(arrays["labels"])]
            loss = functional.binary_cross_entropy_with_logits(logits, arrays["labels"])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
            optimiser.step()
            values.append(loss.item())
        return np.array(values)

    return run, {}


class Network:
    """The network over one hypergraph; parameters by the names of ours."""

    def __init__(self, kind: str, arrays: dict, parameters: dict, dropout: float):
        self.arrays, self.parameters, self.dropout = arrays, parameters, dropout
        node, hyperedge = arrays["code"], arrays["visit"]
        self.nodes, self.visits = len(arrays["structure"]), len(arrays["notes"])
        single = torch.bincount(hyperedge, minlength=self.visits)[hyperedge] == 1
        alone = torch.zeros(self.nodes, dtype=torch.bool, device=node.device)
        alone[node[single]] = True
        self.loops = torch.nonzero(~alone)[:, 0]  # a hyperedge for a node that has none of its own
        added = self.visits + torch.arange(len(self.loops), device=node.device)
        node, hyperedge = torch.cat([node, self.loops]), torch.cat([hyperedge, added])
        hyperedges = self.visits + len(self.loops)
        by_node = torch.argsort(node, stable=True)
        pairs = (node, hyperedge, self.nodes, hyperedges)
        back = (hyperedge[by_node], node[by_node], hyperedges, self.nodes)
        if kind == "torch dual CSR":
            self.to_hyperedges = set_attention_torch.csr_pool(*pairs)
            self.to_nodes = set_attention_torch.csr_pool(*back)
        else:
            pool = set_attention_torch.geometric_pool
            self.to_hyperedges = pool(node, hyperedge, hyperedges)
            self.to_nodes = pool(*back[:2], self.nodes)

    def logits(self) -> torch.Tensor:
        """[visit, label], before the sigmoid."""
        arrays, parameters = self.arrays, self.parameters
        features = torch.cat([arrays["structure"], arrays["concept"]], 1)
        state = features + parameters["node_update/difference"]
        state = functional.dropout(state, self.dropout)
        semantics = self.linear(
            "note_layer", torch.cat([arrays["notes"], arrays["concept"][self.loops]])
        )
        there = torch.cat([arrays["has_note"], torch.ones_like(self.loops, dtype=torch.float32)])
        semantics = semantics * there[:, None]  # Eq. 6
        kept = []
        for layer in range(LAYERS + 1):
            edges = self.half_layer(f"to_hyperedges_{layer}", self.to_hyperedges, state)
            edges = self.linear(f"fusions_{layer}", torch.cat([pair_norm(edges), semantics], 1))
            kept.append(edges[: self.visits])  # Eq. 7
            if layer == LAYERS:
                break
            edges = functional.relu(self.batch_norm(f"hyperedge_norms_{layer}", edges))
            state = pair_norm(self.half_layer(f"to_nodes_{layer}", self.to_nodes, edges))
            state = functional.relu(self.batch_norm(f"node_norms_{layer}", state))
        hidden = functional.relu(self.linear("hidden", torch.cat(kept, 1)))
        return self.linear("out", self.layer_norm("hidden_norm", hidden))

    def half_layer(self, name: str, pool: Callable, z: torch.Tensor) -> torch.Tensor:
        """AllSetTransformer's, as HypEHR codes it."""
        parameters = self.parameters
        seed = parameters[f"{name}/seed"]
        key = z @ parameters[f"{name}/key"] + parameters[f"{name}/key_bias"]
        scores = functional.leaky_relu((key.reshape(len(z), *seed.shape) * seed).sum(-1), 0.2)
        values = self.linear(f"{name}/value", z).reshape(len(z), *seed.shape)
        pooled = (pool(scores, values) + seed).flatten(1)
        pooled = self.layer_norm(f"{name}/norm_pooled", pooled)
        mixed = functional.relu(self.linear(f"{name}/feed_forward/Dense_0", pooled))
        mixed = functional.relu(self.linear(f"{name}/feed_forward/Dense_1", mixed))
        return self.layer_norm(f"{name}/norm_out", pooled + mixed)

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self.parameters[f"{name}/bias"], x, self.parameters[f"{name}/kernel"])

    def layer_norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        scale, bias = (self.parameters[f"{name}/{part}"] for part in ("scale", "bias"))
        return functional.layer_norm(x, x.shape[1:], scale, bias, 1e-5)

    def batch_norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        scale, bias = (self.parameters[f"{name}/{part}"] for part in ("scale", "bias"))
        return functional.batch_norm(x, None, None, scale, bias, training=True, eps=1e-5)


def pair_norm(x: torch.Tensor) -> torch.Tensor:
    """Rows about their mean, over the root of their mean squared norm."""
    x = x - x.mean(0)
    return x / (1e-5 + x.square().sum(1).mean()).sqrt()
