"""The PyTorch side of gru.py."""

from collections.abc import Callable

import numpy as np
import torch

from benchmarks import set_attention_torch

about = set_attention_torch.about


def prepare(kind: str, arguments, path: str) -> tuple[Callable[[], np.ndarray], dict]:
    """The states of all steps, or the gradients of weights and inputs."""
    place = {"cpu": "cpu", "gpu": "cuda"}[arguments.device]
    data = {name: torch.from_numpy(value).to(place) for name, value in np.load(path).items()}
    x = data["x"].requires_grad_()
    gru = torch.nn.GRU(x.shape[2], data["state"].shape[0], batch_first=True).to(place)
    with torch.no_grad():
        gru.weight_ih_l0.copy_(data["inputs"].T)
        gru.weight_hh_l0.copy_(data["state"].T)
        gru.bias_ih_l0.copy_(data["inputs_bias"])
        gru.bias_hh_l0.copy_(data["state_bias"])
    weights = gru.weight_ih_l0, gru.bias_ih_l0, gru.weight_hh_l0, gru.bias_hh_l0

    def forward() -> np.ndarray:
        with torch.inference_mode():
            return gru(x)[0].cpu().numpy().ravel()

    def forward_and_backward() -> np.ndarray:
        found = torch.autograd.grad((gru(x)[0] * data["onto"]).sum(), (*weights, x))
        turned = [part.T if part.ndim == 2 else part for part in found]
        return np.concatenate([part.cpu().numpy().ravel() for part in turned])

    return {"forward": forward, "forward and backward": forward_and_backward}[kind], {}
