"""JSON files of a run folder as they are read back: what was written, or refused by name.

A disk, an editor or a copy that broke off may leave anything in a file, so a reader says of which
form it needs the content. Where that can be made again, `whole_object` gives None instead.

A form is a type; None; [form], a list of such items; {key: form}, an object with these keys, and
with other ones too, which are of the form of the key `...` where there is one; or a tuple of forms,
of which the content has one. A key may be missing where its form admits None.
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
# What meets a value of another form than it was written with.
OTHER_FORM = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
NUMBER = (int, float)
EMPTY: Mapping[Any, Any] = {}  # the form of any object
Form = type | None | list[Any] | Mapping[Any, Any] | tuple[Any, ...]


def read(path: str | os.PathLike, way_out: str = WAY_OUT) -> Any:
    """Returns the JSON in `path`.

    Raises:
      RunFolderError: the file is missing, a folder, or not JSON; it ends with `way_out`.
      OSError: the disk does not give it.
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
    """Returns the object in `path`, which is of `form`.

    Raises:
      RunFolderError: as `read`, or the content is no such object; the key is named.
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
    """Returns what `read_object` does; None where there is no such file, or a damaged one.

    A damaged one is told in a line that ends with `instead`.
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
    """Turns what a block meets in a value of another form into a RunFolderError that names `path`.

    The block only takes apart what was read from `path`.
    """
    try:
        yield
    except OTHER_FORM as error:
        raise errors.RunFolderError(
            f"{path} is not of the form it is written in ({type(error).__name__}); {way_out}"
        ) from error


def misfit(value: Any, form: Form, key: str = "") -> str:
    """Returns what of a value is not of `form`, with its key; "" where all of it is."""
    if isinstance(form, tuple):
        faults = [misfit(value, one, key) for one in form]
        return "" if "" in faults else faults[0]
    kind = dict if isinstance(form, Mapping) else list if isinstance(form, list) else form
    if not isinstance(value, type(None) if kind is None else kind):
        said = _KINDS.get(type(value), "a number")
        return f"has {said} as '{key}'" if key else f"holds {said}"
    if isinstance(form, list):
        inner = [(f"{key}[{place}]", item, form[0]) for place, item in enumerate(value)]
    elif isinstance(form, Mapping):
        lost = [name for name in form if name is not ... and name not in value]
        lost = [name for name in lost if misfit(None, form[name])]
        if lost:
            return f"has no '{_joined(key, lost[0])}'"
        others = form.get(..., object)
        inner = [(_joined(key, name), value[name], form.get(name, others)) for name in value]
    else:
        inner = []
    return next((fault for at, item, one in inner if (fault := misfit(item, one, at))), "")


def _joined(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


_KINDS = {
    type(None): "null", bool: "true or false", str: "text", list: "a list", dict: "an object"
}  # fmt: skip
