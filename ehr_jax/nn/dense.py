"""The linear layer of every network, and MLPs of it."""

import flax.linen as nn
import jax

from ehr_jax.nn import operands, sparse_rows


def as_torch(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Draws a kernel uniform within 1 / sqrt(in), as that of `torch.nn.Linear` starts."""
    return jax.random.uniform(key, shape, minval=-1, maxval=1) / max(shape[0], 1) ** 0.5


LECUN = nn.initializers.lecun_normal()  # as a kernel of `flax.linen.Dense` starts


class Dense(nn.Module):
    """x W + b in float32, on dense rows or on `sparse_rows.SparseRows`; b starts at 0.

    Attributes:
      precision: of the operands of the product (`nn.operands`).
      bias: without it, nothing comes of a zero.
      kernel_init: draws W.
    """

    width: int
    precision: str = "float32"
    bias: bool = True
    kernel_init: nn.initializers.Initializer = as_torch

    @nn.compact
    def __call__(self, x: jax.Array | sparse_rows.SparseRows) -> jax.Array:
        """[..., in] -> [..., width]."""
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.width))
        out = times(x, kernel, self.precision)
        if not self.bias:
            return out
        return out + self.param("bias", nn.initializers.zeros, (self.width,))


class GeluMLP(nn.Module):
    """Linear-GELU-Linear."""

    width: int
    precision: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., in] -> [..., width]."""
        hidden = gelu(Dense(self.width, self.precision, name="inner")(x))
        return Dense(self.width, self.precision, name="outer")(hidden)


def times(x: jax.Array | sparse_rows.SparseRows, kernel: jax.Array, precision: str) -> jax.Array:
    """[..., in], dense or sparse, @ [in, out] -> [..., out] float32."""
    if isinstance(x, sparse_rows.SparseRows):
        return x.times(kernel, precision)
    return operands.product(x, kernel, precision)


def gelu(x: jax.Array) -> jax.Array:
    """The exact GELU, as PyTorch's."""
    return nn.gelu(x, approximate=False)
