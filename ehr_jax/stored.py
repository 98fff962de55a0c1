"""Reads JSON files of a run folder back, and checks their content against a form.

A failing disk, an editor or an interrupted copy may leave anything in a file, so every reader
states the form of the content that it needs; other content is refused with the file's name. For
content that can be made again, `whole_object` returns None instead.

A form is one of
  a type, or None;
  [form], a list whose items have the form;
  {key: form, ...}, an object with these keys, any of which may be missing if its form allows None;
    it may have other keys, whose values have the form of the key `...` if there is one;
  (form, form), content of any of these forms.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from ehr_jax import errors

WAY_OUT = (
    "put it back from a copy, or remove this file alone and start the same command again: "
    "checkpoints are kept"
)
# Exceptions of code that takes a value of another form apart.
OTHER_FORM = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
NUMBER = (int, float)
EMPTY: Mapping[Any, Any] = {}  # the form of any object
Form = type | None | list[Any] | Mapping[Any, Any] | tuple[Any, ...]


def read(path: str | os.PathLike, way_out: str = WAY_OUT) -> Any:
    """Returns the JSON in `path`.

    Raises:
      RunFolderError: the file is missing, a folder, or not JSON; its message ends with `way_out`.
      OSError: the disk cannot read it.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        raise errors.RunFolderError(f"{path} is missing; {way_out}") from None
    except IsADirectoryError:
        raise errors.RunFolderError(f"{path} is a folder, not a file; {way_out}") from None
    except (ValueError, RecursionError) as error:
        raise errors.RunFolderError(f"{path} is not JSON ({error}); {way_out}") from error


def read_object(
    path: str | os.PathLike, form: Mapping[Any, Form] = EMPTY, way_out: str = WAY_OUT
) -> dict[str, Any]:
    """Returns the JSON object in `path`, which has the form `form`.

    Raises:
      RunFolderError: as by `read`, or the content has another form; the key is named.
    """
    content = read(path, way_out)
    if fault := misfit(content, form):
        raise errors.RunFolderError(f"{path} {fault}; {way_out}")
    return content


def whole_object(
    path: str | os.PathLike,
    form: Mapping[Any, Form] = EMPTY,
    instead: str = "it is made again",
) -> dict[str, Any] | None:
    """Returns what `read_object` returns; None if the file is missing or damaged.

    Prints a line about a damaged file, which ends with `instead`, what happens now.
    """
    if not os.path.exists(path):
        return None
    try:
        return read_object(path, form, instead)
    except errors.RunFolderError as error:
        print(error, flush=True)
        return None


@contextlib.contextmanager
def in_form(path: str | os.PathLike, way_out: str = WAY_OUT) -> Iterator[None]:
    """Turns exceptions of the block into a RunFolderError that names `path`.

    The block must only take apart what was read from `path`.
    """
    try:
        yield
    except OTHER_FORM as error:
        raise errors.RunFolderError(
            f"{path} is not of the form it is written in ({type(error).__name__}); {way_out}"
        ) from error


def misfit(value: Any, form: Form, key: str = "") -> str:
    """Returns, in words, where a value deviates from `form`; "" if it does not."""
    if isinstance(form, tuple):
        faults = [misfit(value, alternative, key) for alternative in form]
        return "" if "" in faults else faults[0]
    kind = dict if isinstance(form, Mapping) else list if isinstance(form, list) else form
    if not isinstance(value, type(None) if kind is None else kind):
        content = _KINDS.get(type(value), "a number")
        return f"has {content} as '{key}'" if key else f"holds {content}"
    if isinstance(form, list):
        inner = [(f"{key}[{index}]", item, form[0]) for index, item in enumerate(value)]
    elif isinstance(form, Mapping):
        missing = [name for name in form if name is not ... and name not in value]
        missing = [name for name in missing if misfit(None, form[name])]
        if missing:
            return f"has no '{_joined(key, missing[0])}'"
        others = form.get(..., object)
        inner = [(_joined(key, name), value[name], form.get(name, others)) for name in value]
    else:
        inner = []
    faults = (misfit(item, inner_form, inner_key) for inner_key, item, inner_form in inner)
    return next(filter(None, faults), "")


def _joined(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


_KINDS = {
    type(None): "null", bool: "true or false", str: "text", list: "a list", dict: "an object"
}  # fmt: skip
