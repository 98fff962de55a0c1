"""What other packages add to this one, by entry point or as `package.module:name`.

A package names its own in an entry point of a group of `GROUPS`:

    [options.entry_points]
    ehr_jax.methods =
        my_method = my_package.methods:MY_METHOD

What it names is an object of the class that this project's own are of: `models.registry.Entry`,
`records.sources.Source`, `cohorts.spec.Task`, `cohorts.labels.Label`, `cohorts.rules.Rule` or
`text.encoders.Architecture`. No package is imported before a config, or a task of one, names it.
"""

import functools
import importlib
import importlib.metadata
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ehr_jax import errors

GROUPS = tuple(
    f"ehr_jax.{name}"
    for name in ("methods", "sources", "tasks", "labels", "rules", "architectures")
)
_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class Names(Collection):
    """The names that a setting may have: this project's own and those of other packages.

    Attributes:
      group: of entry points, one of `GROUPS`.
      own: this project's own; a mapping to what each stands for, if `find` is asked.

    A path `package.module:name` is one of them whatever it names, and is not listed.
    """

    def __init__(self, group: str, own: Collection[str]):
        self.group, self.own = group, own

    def __contains__(self, name: object) -> bool:
        return name in self.own or is_path(name) or name in entry_points(self.group)

    def __iter__(self) -> Iterator[str]:
        yield from self.own
        yield from (name for name in entry_points(self.group) if name not in self.own)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def is_path(name: object) -> bool:
    """Returns True for `package.module:name`."""
    return isinstance(name, str) and _PATH.fullmatch(name) is not None


def find(key: str, names: Names, name: str, kind: type) -> Any:
    """Returns what `name` stands for: one of this project's own, of an entry point, or at a path.

    Args:
      key: of the config, for messages, such as "config.model.name".
      kind: the class whose instances a name may stand for.

    Raises:
      ConfigError: there is no such name, two packages have it, it does not import, or it stands for
        something else.
    """
    if is_path(name):
        return _loaded(f"{key}: {name}", name, kind)
    points = entry_points(names.group).get(name, ())
    if name in names.own and not points:
        return names.own[name]
    if not points:
        raise errors.ConfigError(
            f"{key}: '{name}' is none of {', '.join(names)}, nor a path such as "
            f"package.module:name.{errors.did_you_mean(name, names)}"
        )
    packages = [point.dist.name for point in points if point.dist]
    if name in names.own or len(points) > 1:
        owners = ["ehr_jax"] * (name in names.own) + packages
        raise errors.ConfigError(
            f"{key}: '{name}' is what {' and '.join(owners)} have in the group {names.group}; "
            "uninstall one, or name the other by its path, package.module:name"
        )
    return _loaded(f"{key}: '{name}' of {' '.join(packages)}", points[0].value, kind)


@functools.cache
def entry_points(group: str) -> Mapping[str, tuple[importlib.metadata.EntryPoint, ...]]:
    """Returns the entry points of a group by name, more than one where packages share it."""
    points: dict[str, tuple] = {}
    for point in importlib.metadata.entry_points(group=group):
        points[point.name] = (*points.get(point.name, ()), point)
    return points


def _loaded(subject: str, path: str, kind: type) -> Any:
    module, _, name = path.partition(":")
    try:
        loaded = getattr(importlib.import_module(module), name)
    except Exception as error:  # a package of someone else's may raise anything as it is imported
        raise errors.ConfigError(
            f"{subject} cannot be imported ({type(error).__name__}: {error}); install or mend the "
            "package it is in"
        ) from error
    if not isinstance(loaded, kind):
        raise errors.ConfigError(
            f"{subject} is a {type(loaded).__name__}; expected a {kind.__module__}.{kind.__name__}"
        )
    return loaded
