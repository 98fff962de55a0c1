"""Config files by name: of the current folder, of the repository, or as the wheel brings them."""

import importlib.metadata
import importlib.util
import os
import pathlib
import re
import types
from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections

from ehr_jax import errors

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
INSTALLED = "share/ehr_jax"  # of an environment; see setup.cfg


def located(argument: str) -> str:
    """Returns a flag --config=NAME.py[:variant] with the file's whole path; others as they are.

    Raises:
      ConfigError: there is no such file.
    """
    matched = re.match(r"(--?config=)(.+)$", argument)
    if not matched:
        return argument
    path, variant = find(matched.group(2))
    return f"{matched.group(1)}{path}{variant}"


def find(name: str) -> tuple[pathlib.Path, str]:
    """Returns the path of `NAME.py[:variant]`, and ":variant" or "".

    Raises:
      ConfigError: there is no such file.
    """
    if not isinstance(name, str):
        raise errors.ConfigError(f"config is {name!r}; expected configs/NAME.py[:variant] as text")
    path, colon, variant = name.partition(":")
    for base in (pathlib.Path.cwd(), *bases()):
        if (base / path).is_file():
            return base / path, colon + variant
    there = sorted(
        {f"configs/{file.name}" for base in bases() for file in base.glob("configs/*.py")}
    )
    raise errors.ConfigError(
        f"--config: no file '{path}' here or in {' or '.join(map(str, bases()))}."
        f"{errors.did_you_mean(path, there)} There are: {', '.join(there)}"
    )


def load(name: str, changes: Mapping[str, Any] | None = None) -> ml_collections.ConfigDict:
    """Returns the config of a file, with `changes` by key, such as {"train.seeds": (0,)}.

    Raises:
      ConfigError: there is no such file, variant or key.
    """
    path, variant = find(name)
    return changed(module(path).get_config(*([variant[1:]] if variant else [])), changes)


def module(path: pathlib.Path) -> types.ModuleType:
    """Returns a config file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def changed(
    config: ml_collections.ConfigDict, changes: Mapping[str, Any] | None
) -> ml_collections.ConfigDict:
    """Returns a copy of a config with `changes` by key.

    Raises:
      ConfigError: the config has no such key.
    """
    copy = ml_collections.ConfigDict(config.to_dict())
    if not isinstance(changes, Mapping | None):
        raise errors.ConfigError(f"changes is {changes!r}; expected values by key, as a dict")
    for key, value in (changes or {}).items():
        if not isinstance(key, str):
            raise errors.ConfigError(f"changes has the key {key!r}; expected text: 'train.steps'")
        section, _, name = key.rpartition(".")
        place = copy.get(section) if section else copy
        if not isinstance(place, ml_collections.ConfigDict) or name not in place:
            known = [*flat_keys(copy)]
            raise errors.ConfigError(
                f"config.{key}: this config has no such key.{errors.did_you_mean(key, known)}"
            )
        try:
            place[name] = _plain(value)
        except (TypeError, ValueError) as error:
            raise errors.ConfigError(
                f"config.{key} is {value!r}; expected a value such as {place[name]!r}"
            ) from error
    return copy


def _plain(value: Any) -> Any:
    """A value as configs hold it: numbers of numpy as Python's, paths as text, lists as tuples."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list | range):
        return tuple(map(_plain, value))
    if hasattr(value, "tolist"):  # numpy
        return _plain(value.tolist())
    return value


def flat_keys(config: ml_collections.ConfigDict) -> Iterator[str]:
    """Yields every key of a config by its full name."""
    for name, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            yield from (f"{name}.{key}" for key in value)
        else:
            yield name


def bases() -> tuple[pathlib.Path, ...]:
    """Returns the folders that hold `configs`: the repository, or where the wheel was installed."""
    if (REPOSITORY / "configs").is_dir():
        return (REPOSITORY,)
    try:
        files = importlib.metadata.files("ehr_jax") or ()
    except importlib.metadata.PackageNotFoundError:
        files = ()
    return tuple(
        {
            pathlib.Path(str(file.locate())).resolve().parent.parent
            for file in files
            if f"{INSTALLED}/configs/" in file.as_posix()
        }
    )
