"""The PyTorch side of set_attention.py: PyG's operators, index operations, and products of CSR."""

import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")


def about(arguments) -> dict:
    """Sets the threads, and says what it runs on."""
    torch.set_num_threads(arguments.threads)
    return {"device": _place(arguments), "threads": torch.get_num_threads()}


def prepare(kind: str, arguments, path: str) -> tuple[Callable[[], np.ndarray], dict]:
    """A forward and backward pass of one case."""
    data, place = np.load(path), _place(arguments)
    node, hyperedge = (torch.from_numpy(data[name]).to(place) for name in ("node", "hyperedge"))
    nodes, hyperedges = int(data["nodes"]), int(data["hyperedges"])
    if kind == "torch dual CSR":
        pool = csr_pool(node, hyperedge, nodes, hyperedges)
    else:
        ways = {"torch index_add": index_pool, "PyG softmax + scatter": geometric_pool}
        pool = ways[kind](node, hyperedge, hyperedges)
    onto = torch.from_numpy(data["onto"]).to(place)
    given = [
        torch.from_numpy(data[name]).to(place).requires_grad_() for name in ("x", "value", "query")
    ]

    def run() -> np.ndarray:
        x, value, query = given
        scores = functional.leaky_relu(x @ query, 0.2)
        pooled = pool(scores, (x @ value).reshape(nodes, query.shape[1], -1))
        gradients = torch.autograd.grad((pooled.reshape(onto.shape) * onto).sum(), given)
        return np.concatenate([gradient.cpu().numpy().ravel() for gradient in gradients])

    return run, {}


# Each returns (scores [source, head], values [source, head, width]) -> [target, head, width].


def index_pool(source: torch.Tensor, target: torch.Tensor, targets: int) -> Callable:
    """Softmax and sum by index operations over incidences."""

    def pool(scores, values):
        wide = target[:, None].expand(-1, scores.shape[1])
        scores = scores.index_select(0, source)
        highest = scores.new_full((targets, scores.shape[1]), -torch.inf)
        highest = highest.scatter_reduce(0, wide, scores.detach(), "amax")
        weights = (scores - highest.index_select(0, target)).exp()
        total = torch.zeros_like(highest).index_add(0, target, weights)
        attention = weights / total.index_select(0, target)
        rows = attention[..., None] * values.index_select(0, source)
        return rows.new_zeros(targets, *rows.shape[1:]).index_add(0, target, rows)

    return pool


def geometric_pool(source: torch.Tensor, target: torch.Tensor, targets: int) -> Callable:
    """PyTorch Geometric's softmax and scatter, as its message passing calls them."""
    from torch_geometric import utils

    def pool(scores, values):
        attention = utils.softmax(scores[source], target, num_nodes=targets)
        rows = attention[..., None] * values[source]
        return utils.scatter(rows, target, 0, targets, reduce="sum")

    return pool


def csr_pool(source: torch.Tensor, target: torch.Tensor, sources: int, targets: int) -> Callable:
    """The algebra of ours: one product of CSR forward and one of its transpose backward."""
    matrix = _csr(target, source, targets, sources)
    transposed = _csr(source, target, sources, targets)

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(_, x):
            return matrix @ x

        @staticmethod
        def backward(_, cotangent):
            return transposed @ cotangent

    def pool(scores, values):
        heads, width = values.shape[1:]
        weights = (scores - scores.detach().amax(0)).exp()
        wide = (weights[..., None] * values).reshape(-1, heads * width)
        summed = Product.apply(torch.cat([wide, weights], 1))
        total = summed[:, heads * width :, None].clamp_min(1e-30)
        return summed[:, : heads * width].reshape(-1, heads, width) / total

    return pool


def _csr(row: torch.Tensor, column: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    order = torch.argsort(row * columns + column)
    offsets = torch.zeros(rows + 1, dtype=torch.int64, device=row.device)
    offsets[1:] = torch.bincount(row, minlength=rows).cumsum(0)
    ones = torch.ones(row.numel(), device=row.device)
    return torch.sparse_csr_tensor(offsets, column[order], ones, size=(rows, columns))


def _place(arguments) -> str:
    return {"cpu": "cpu", "gpu": "cuda"}[arguments.device]
