"""Compiles the CPU kernel for this machine: `python -m ehr_jax.nn.native.build`.

Wants a C++20 compiler ($CXX, c++, g++ or clang++); XLA's headers come with jaxlib. Nothing else
needs the kernel: without it sums run on XLA's own.
"""

import os
import shutil
import subprocess
import sys
import tempfile

import jax

from ehr_jax import errors
from ehr_jax.nn import native

COMPILERS = ("c++", "g++", "clang++")


def main() -> int:
    """Builds, loads and names the library; returns the exit status."""
    try:
        path = build()
    except errors.UserError as error:
        print(error, file=sys.stderr)
        return 1
    print(path)
    return 0


def build() -> str:
    """Compiles the library unless it is there, and returns its path.

    Raises:
      UserError: there is no compiler, or it refuses the source.
    """
    target = native.library()
    if target.is_file():
        return str(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        built = os.path.join(folder, target.name)
        command = [_compiler(), *native.FLAGS, "-isystem", jax.ffi.include_dir()]
        done = subprocess.run(
            [*command, str(native.SOURCE), "-o", built], capture_output=True, text=True
        )
        if done.returncode:
            raise errors.UserError(
                f"the compiler {command[0]} refused {native.SOURCE.name}; it needs C++20 (g++ 11 "
                f"or clang 14, for example; set CXX to another). It said:\n{done.stderr[-2000:]}"
            )
        os.replace(built, target)
    return str(target)


def _compiler() -> str:
    named = os.environ.get("CXX")
    for name in (named,) if named else COMPILERS:
        if path := shutil.which(name):
            return path
    raise errors.UserError(
        f"no C++ compiler: {'CXX=' + named if named else ', '.join(COMPILERS)} not found; install "
        "g++ or clang, or go on without the kernel"
    )


if __name__ == "__main__":
    sys.exit(main())
