"""The package's own CPU kernel, used where it was built: `python -m ehr_jax.nn.native.build`.

The library lies in the user's cache under a name made of the source, the compiler's flags, jaxlib's
version and the processor's features, so that one built for another machine is never loaded.
"""

import ctypes
import functools
import hashlib
import importlib.metadata
import pathlib
import platform
import warnings

import jax
import jax.numpy as jnp

from ehr_jax import storage

SOURCE = pathlib.Path(__file__).with_name("sums.cc")
FLAGS = ("-std=c++20", "-O3", "-march=native", "-ffp-contract=fast", "-fPIC", "-shared", "-pthread")


def library() -> pathlib.Path:
    """Where the library for this machine lies, or would lie."""
    facts = [
        SOURCE.read_text(encoding="utf-8"),
        *FLAGS,
        importlib.metadata.version("jaxlib"),
        _processor(),
    ]
    key = hashlib.sha256("\0".join(facts).encode()).hexdigest()[:16]
    return storage.cache_folder("native") / f"sums-{key}.so"


def built() -> bool:
    """Whether the library is there and can be called."""
    return _target() is not None


def sums(
    offsets: jax.Array, sources: jax.Array, weights: jax.Array | None, x: jax.Array
) -> jax.Array:
    """Sums rows over a CSR list on all threads.

    Args:
      offsets: [target + 1] int32.
      sources: [incidence] int32.
      weights: [incidence] float32; None for 1.
      x: [source, column] float32.

    Returns:
      [target, column] float32.

    Raises:
      ValueError: the library was not built.
    """
    target = _target()
    if target is None:
        raise ValueError(
            f"the native kernel was not built ({library()} is not there, or cannot be loaded); "
            "run python -m ehr_jax.nn.native.build"
        )
    result = jax.ShapeDtypeStruct((offsets.size - 1, x.shape[1]), jnp.float32)
    weights = jnp.zeros(0, jnp.float32) if weights is None else weights.astype(jnp.float32)
    return jax.ffi.ffi_call(target, result)(offsets, sources, weights, x)


def _target() -> str | None:
    """XLA's name of the kernel; None where there is no library."""
    path = library()
    return _register(path) if path.is_file() else None


@functools.cache
def _register(path: pathlib.Path) -> str | None:
    try:
        symbol = ctypes.CDLL(str(path)).EhrJaxSums
    except (OSError, AttributeError) as error:
        warnings.warn(f"{path} cannot be loaded and is left out: {error}", stacklevel=2)
        return None
    name = f"ehr_jax_sums {path}"
    jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(symbol), platform="cpu")
    return name


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = [line for line in file if line.startswith(("flags", "Features", "model name"))]
        return platform.machine() + "".join(lines[:2])
    except OSError:
        return f"{platform.machine()} {platform.processor()} {platform.node()}"
