"""Settings said once: a section of the config is a frozen dataclass, and all else comes of it.

A field made by `setting` has a default, a meaning and what its values may be; its annotation is
their type. `section` makes what users change, `read` the checked dataclass, `rows`
the lines of a help page. A dataclass may have `check_together(self)`, for what only several values
tell; it raises ConfigError.
"""

import dataclasses
import functools
import math
import numbers
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from ml_collections import config_dict

from ehr_jax import errors

Section = TypeVar("Section")


class Rule(NamedTuple):
    """What is said of a setting, and what its values may be; of a tuple, what its items may be.

    Attributes:
      meaning: a sentence's worth of words.
      unit: of a number.
      choices: the only values there are.
      least, above, most, below: bounds of a number; least and most are possible.
      fits: says whether a value is possible, where bounds do not tell; `expected` says in words
        what is.
      filled: of a tuple, whether it must have an item.
      distinct: of a tuple, whether an item may stand but once.
    """

    meaning: str
    unit: str = ""
    choices: Collection[Any] = ()
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    fits: Callable[[Any], bool] | None = None
    expected: str = ""
    filled: bool = False
    distinct: bool = False


class Kind(NamedTuple):
    """A setting's type: of a value or of a tuple's items; and whether None is possible."""

    type: type
    is_tuple: bool
    is_optional: bool


class Row(NamedTuple):
    """A setting as a help page shows it."""

    key: str
    default: str
    expected: str
    meaning: str


def setting(default: Any, meaning: str, **rule) -> Any:
    """A field of a section; `rule` is what `Rule` has. A mapping as default is copied."""
    metadata = {"rule": Rule(meaning, **rule)}
    if isinstance(default, Mapping):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def section(cls: type) -> dict[str, Any]:
    """Returns the defaults of a section as a ConfigDict takes them: a None knows its type."""
    made: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        default, kind = getattr(cls(), field.name), kind_of(cls, field.name)
        if default is None:
            made[field.name] = config_dict.placeholder(tuple if kind.is_tuple else kind.type)
        else:
            made[field.name] = config_dict.ConfigDict(default) if kind.type is dict else default
    return made


def read(cls: type[Section], values: Mapping[str, Any], where: str) -> Section:
    """Returns a section of a config as its dataclass; a key that is not there keeps its default.

    Args:
      where: how the section is called in messages: "config.train".

    Raises:
      ConfigError: a value is not possible, by itself or beside the others.
    """
    names = [field.name for field in dataclasses.fields(cls) if field.name in values]
    for name in names:
        check_value(cls, name, values[name], f"{where}.{name}")
    made = cls(**{name: _plain(values[name]) for name in names})
    if hasattr(made, "check_together"):
        made.check_together()
    return made


def check_keys(cls: type, values: Mapping[str, Any], where: str) -> None:
    """Raises ConfigError where `values` lack a setting of the section, or have one more."""
    known = {field.name for field in dataclasses.fields(cls)}
    for name in sorted(set(values) - known):
        raise errors.ConfigError(
            f"{where}.{name} is no setting; {where} has {', '.join(sorted(known))}."
            + errors.did_you_mean(name, known)
        )
    for name in sorted(known - set(values)):
        raise errors.ConfigError(
            f"{where}.{name} is missing; start the config from ehr_jax.config.defaults()"
        )


def check_value(cls: type, name: str, value: Any, key: str) -> None:
    """Raises ConfigError, which tells `key`, unless the setting `name` may have `value`."""
    rule, kind = rule_of(cls, name), kind_of(cls, name)
    if _fits(rule, kind, value):
        return
    each = value if isinstance(value, tuple | list) else [value]
    strange = [one for one in each if isinstance(one, str) and one not in rule.choices]
    near = errors.did_you_mean(strange[0], rule.choices) if strange else ""
    raise errors.ConfigError(
        f"{key} is {value!r}; expected {expected(cls, name)}" + (near and f".{near}")
    )


def rule_of(cls: type, name: str) -> Rule:
    """Returns what is said of a setting."""
    return cls.__dataclass_fields__[name].metadata["rule"]


@functools.cache
def kind_of(cls: type, name: str) -> Kind:
    """Returns the type of a setting."""
    hint = typing.get_type_hints(cls)[name]
    is_optional = isinstance(hint, types.UnionType)
    if is_optional:
        hint = next(part for part in typing.get_args(hint) if part is not types.NoneType)
    is_tuple = typing.get_origin(hint) is tuple
    return Kind(typing.get_args(hint)[0] if is_tuple else hint, is_tuple, is_optional)


def expected(cls: type, name: str) -> str:
    """Says in words which values a setting may have."""
    rule, kind = rule_of(cls, name), kind_of(cls, name)
    if rule.expected:
        words = rule.expected
    elif rule.choices:
        words = f"one of {', '.join(str(choice) or repr('') for choice in rule.choices)}"
    else:
        words = _NAMES[kind.type] + _bounds(rule) + (f" [{rule.unit}]" if rule.unit else "")
    if kind.is_tuple and not rule.expected:
        words = f"a tuple, each {words}"
        words += ", one or more" if rule.filled else ""
        words += ", no two the same" if rule.distinct else ""
    return words + (", or None" if kind.is_optional else "")


def rows(cls: type, where: str) -> Iterator[Row]:
    """Yields the settings of a section, in their order."""
    for field in dataclasses.fields(cls):
        default = getattr(cls(), field.name)
        yield Row(
            f"{where}{field.name}",
            repr(default),
            expected(cls, field.name),
            rule_of(cls, field.name).meaning,
        )


_NAMES = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    dict: "keys and values",
}


def _bounds(rule: Rule) -> str:
    low, high = rule.least, rule.most
    if low is not None and high is not None:
        return f" from {low:,} to {high:,}"
    if low is not None and rule.below is not None:
        return f" from {low:,} to below {rule.below:,}"
    if rule.above is not None and high is not None:
        return f" above {rule.above:,}, to {high:,}"
    if rule.above is not None and rule.below is not None:
        return f" between {rule.above:,} and {rule.below:,}"
    if low is not None:
        return f", {low:,} or more"
    if rule.above is not None:
        return f" above {rule.above:,}"
    return ""


def _fits(rule: Rule, kind: Kind, value: Any) -> bool:
    if value is None:
        return kind.is_optional
    if not kind.is_tuple:
        return _item_fits(rule, kind, value)
    if not isinstance(value, tuple | list) or (rule.filled and not value):
        return False
    if not all(_item_fits(rule, kind, item) for item in value):
        return False
    return not rule.distinct or len(set(value)) == len(value)


def _item_fits(rule: Rule, kind: Kind, value: Any) -> bool:
    if kind.type is dict:
        typed = isinstance(value, Mapping | config_dict.ConfigDict)
    elif kind.type in (bool, str):
        typed = isinstance(value, kind.type)
    else:
        number = numbers.Integral if kind.type is int else numbers.Real
        typed = isinstance(value, number) and not isinstance(value, bool)
        typed = typed and (isinstance(value, numbers.Integral) or math.isfinite(value))
    if not typed:
        return False
    if rule.choices:
        return value in rule.choices
    return (
        (rule.least is None or value >= rule.least)
        and (rule.above is None or value > rule.above)
        and (rule.most is None or value <= rule.most)
        and (rule.below is None or value < rule.below)
        and (rule.fits is None or rule.fits(value))
    )


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
