"""What devices exchange, read from a compiled program."""

import re

BITS = {"pred": 8, "s8": 8, "u8": 8, "bf16": 16, "f16": 16, "s32": 32, "u32": 32, "f32": 32}
BITS |= {"s16": 16, "u16": 16, "s64": 64, "u64": 64, "f64": 64}
_KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|collective-broadcast"
# `%name = f32[8,4]{1,0} all-reduce(...)`, or a tuple of shapes; the -done half of a pair is left.
_INSTRUCTION = re.compile(rf" = (.*?) ({_KINDS})(?:-start)?\(")
_SHAPE = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")


def exchanged_bytes(program: str) -> dict[str, int]:
    """Bytes that a device receives in one run of a program, by the kind of exchange.

    Loops count once, so this is for programs whose loops exchange nothing.

    Args:
      program: `jax.jit(f).lower(...).compile().as_text()`.
    """
    found: dict[str, int] = {}
    for line in program.splitlines():
        match = _INSTRUCTION.search(line)
        if match:
            bits = [BITS[kind] * _size(dimensions) for kind, dimensions in _SHAPE.findall(match[1])]
            found[match[2]] = found.get(match[2], 0) + sum(bits) // 8
    return found


def _size(dimensions: str) -> int:
    size = 1
    for length in filter(None, dimensions.split(",")):
        size *= int(length)
    return size
