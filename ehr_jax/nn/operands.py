"""Operands of products in float32 or bfloat16; sums, and all that is kept, are float32.

"bfloat16" rounds what is multiplied, in both passes: rows and kernels forward, and backward the
cotangents too. Parameters, gradients, norms, softmax and losses stay float32.
"""

import functools
import math
import pathlib

import jax
import jax.numpy as jnp
from jax import lax

PRECISIONS = ("float32", "bfloat16")


def cast(x: jax.Array, precision: str) -> jax.Array:
    """`x` as an operand: of bfloat16 numbers, in the dtype that the device multiplies faster."""
    if precision != "bfloat16":
        return x
    if multiplies_bfloat16():
        return x.astype(jnp.bfloat16)
    return x.astype(jnp.float32) if x.dtype == jnp.bfloat16 else rounded(x)


def rounded(x: jax.Array) -> jax.Array:
    """`x` float32 rounded to bfloat16 and still float32."""
    # The compiler would leave out a cast there and back.
    return lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)


def product(x: jax.Array, kernel: jax.Array, precision: str) -> jax.Array:
    """[..., in] @ [in, out] -> [..., out] float32; the gradients of both are float32 too."""
    if precision == "float32":
        return x @ kernel
    rows = _half_product(x.reshape(math.prod(x.shape[:-1]), x.shape[-1]), kernel)
    return rows.reshape(*x.shape[:-1], kernel.shape[-1])


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """a @ b of operands that are cast already, float32."""
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)


@functools.cache
def multiplies_bfloat16() -> bool:
    """Whether the device multiplies bfloat16 faster than float32.

    Accelerators do, CPUs with AMX, and AMD's with AVX-512 BF16; by that instruction alone Intel's
    take twice as long, and others have none. Where not, operands are rounded to bfloat16 and then
    multiplied as float32: products of two are exact in it, so the sums are the same.
    """
    if jax.default_backend() != "cpu":
        return True
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:  # not a Linux
        return False
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), [])
    return "amx_bf16" in flags or ("avx512_bf16" in flags and "AuthenticAMD" in text)


# Differentiated by hand: the rules of JAX would multiply a float32 cotangent by bfloat16 operands
# and round the sums that are gradients.
@jax.custom_vjp
def _half_product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return matmul(cast(x, "bfloat16"), cast(kernel, "bfloat16"))


def _half_product_forward(x, kernel):
    kept = cast(x, "bfloat16"), cast(kernel, "bfloat16")
    return matmul(*kept), kept


def _half_product_backward(kept, cotangent):
    x, kernel = kept
    cotangent = cast(cotangent, "bfloat16")
    return matmul(cotangent, kernel.T), matmul(x.T, cotangent)


_half_product.defvjp(_half_product_forward, _half_product_backward)
