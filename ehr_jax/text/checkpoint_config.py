"""Reads the keys of a config.json, checked; every fault names file, key, value and expectation."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ehr_jax.errors import TextError


def read(
    settings: Mapping, key: str, kind: type, path: Path, default: Any = None, zero: bool = False
) -> Any:
    """Returns one key as `kind`: a positive int or float (0 too if `zero`), a bool, or a str.

    A key that is missing or null gets the default; without a default it must be there.

    Raises:
        TextError: it is missing, or has a value that cannot be.
    """
    value = settings.get(key)
    value = default if value is None else value
    if value is None:
        raise TextError(f"{path}: key '{key}' is missing")
    if kind in (bool, str):
        fits, wanted = isinstance(value, kind), kind.__name__
    else:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        fits = fits and (value > 0 or zero and value == 0) and value < 2**40
        fits = fits and (kind is float or value == int(value))
        wanted = f"a positive {kind.__name__}" + (" or 0" if zero else "")
    if not fits:
        raise TextError(f"{path}: key '{key}' is {value!r}, expected {wanted}")
    return kind(value)


def read_choice(settings: Mapping, key: str, known: Collection[str], path: Path, default: str):
    """Returns one key that must have one of the known values.

    Raises:
        TextError: it has another.
    """
    value = read(settings, key, str, path, default)
    if value not in known:
        raise TextError(f"{path}: {key} '{value}' is not one of {sorted(known)}")
    return value


def check_multiple(value: int, key: str, of: int, of_key: str, path: Path) -> None:
    """Raises a `TextError` where `value` is not a multiple of `of`."""
    if value % of:
        raise TextError(f"{path}: {key} {value} is not a multiple of {of_key} {of}")


def read_layer_types(
    settings: Mapping, layers: int, path: Path, default: Collection[bool]
) -> tuple[bool, ...]:
    """Returns for each layer whether its attention is local (key `layer_types`).

    Args:
        settings: content of config.json.
        layers: how many there must be.
        path: named in errors.
        default: what holds where the key is missing, as in files older than it.

    Raises:
        TextError: an unknown type, or not one for each layer.
    """
    types = settings.get("layer_types")
    if types is None:
        return tuple(default)
    known = {"full_attention": False, "sliding_attention": True}
    if not isinstance(types, list) or len(types) != layers:
        raise TextError(f"{path}: layer_types must list one type for each of {layers} layers")
    wrong = sorted({str(kind) for kind in types if kind not in known})
    if wrong:
        raise TextError(f"{path}: layer_types {wrong} are not known, expected {sorted(known)}")
    return tuple(known[kind] for kind in types)


def refuse(settings: Mapping, key: str, accepted: Collection, path: Path) -> None:
    """Raises a `TextError` where a key is there with another value than those we compute."""
    value = settings.get(key)
    if value is not None and value not in accepted:
        raise TextError(
            f"{path}: {key} {value!r} is not known, only {', '.join(map(repr, accepted))}"
        )
