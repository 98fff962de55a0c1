"""The linear layer of the fusion networks: PyTorch's start, a dtype of operands, and MLPs of it."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class Dense(nn.Module):
    """x W + b in float32, its product's operands in `dtype`.

    W starts uniform within 1 / sqrt(in), as `torch.nn.Linear`'s does, and b at 0.

    Attributes:
      bias: without it, nothing comes of a zero.
    """

    width: int
    dtype: Any = jnp.float32
    bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., in] -> [..., width]."""
        inputs = x.shape[-1]

        def start(key, shape):
            return jax.random.uniform(key, shape, minval=-1, maxval=1) / max(inputs, 1) ** 0.5

        kernel = self.param("kernel", start, (inputs, self.width))
        out = product(x, kernel, self.dtype)
        if not self.bias:
            return out
        return out + self.param("bias", nn.initializers.zeros, (self.width,))


class GeluMLP(nn.Module):
    """Linear-GELU-Linear."""

    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., in] -> [..., width]."""
        hidden = gelu(Dense(self.width, self.dtype, name="inner")(x))
        return Dense(self.width, self.dtype, name="outer")(hidden)


def product(x: jax.Array, kernel: jax.Array, dtype: Any) -> jax.Array:
    """[..., in] @ [in, out] of operands in `dtype`, float32."""
    return jnp.matmul(x.astype(dtype), kernel.astype(dtype), preferred_element_type=jnp.float32)


def gelu(x: jax.Array) -> jax.Array:
    """The exact GELU, as PyTorch's."""
    return nn.gelu(x, approximate=False)
