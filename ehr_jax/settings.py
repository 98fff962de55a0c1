"""Settings as data: each section of the config is a frozen dataclass that describes its settings.

A field made by `setting` has a default, a meaning and a rule for its values; its annotation is
their type. From such a dataclass `section` makes the defaults of a ConfigDict, `read` checks a
ConfigDict and returns the dataclass, and `rows` yields the lines of a help page. A dataclass may
have `check_together(self)`, which raises ConfigError where values contradict each other.
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


class Settings:
    """What every section is: a frozen dataclass of settings, each made by `setting`."""

    def check_together(self) -> None:
        """Raises ConfigError where values contradict each other; here none do."""


Section = TypeVar("Section", bound=Settings)


class Rule(NamedTuple):
    """The meaning of a setting and the rule for its values, or for the items of a tuple.

    Attributes:
      meaning: one or a few sentences for help pages.
      unit: the unit of a number.
      choices: the only values allowed; () allows all of the type.
      least, most: inclusive bounds of a number.
      above, below: exclusive bounds of a number.
      fits: returns True for allowed values, where choices and bounds are not enough.
      expected: the allowed values in words, where they cannot be generated from the rest.
      filled: whether a tuple must have at least one item.
      distinct: whether the items of a tuple must differ.
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
    """The type of a setting's value, or of the items of its tuple, and whether None is allowed."""

    type: type
    is_tuple: bool
    is_optional: bool


class Row(NamedTuple):
    """The texts of a setting on a help page."""

    key: str
    default: str
    expected: str
    meaning: str


def setting(default: Any, meaning: str, **rule) -> Any:
    """Returns a field of a section; `rule` has fields of `Rule`. A mapping as default is copied."""
    metadata = {"rule": Rule(meaning, **rule)}
    if isinstance(default, Mapping):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def section(cls: type) -> dict[str, Any]:
    """Returns the defaults of a section for a ConfigDict; None becomes a typed placeholder."""
    defaults: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        default, kind = getattr(cls(), field.name), kind_of(cls, field.name)
        if default is None:
            value = config_dict.placeholder(tuple if kind.is_tuple else kind.type)
        else:
            value = config_dict.ConfigDict(default) if kind.type is dict else default
        defaults[field.name] = value
    return defaults


def read(cls: type[Section], values: Mapping[str, Any], where: str) -> Section:
    """Returns a section of a config as its dataclass; a missing key keeps its default.

    Args:
      where: the name of the section in messages, such as "config.train".

    Raises:
      ConfigError: a value is not allowed, or contradicts the others.
    """
    names = [field.name for field in dataclasses.fields(cls) if field.name in values]
    for name in names:
        check_value(cls, name, values[name], f"{where}.{name}")
    checked = cls(**{name: _plain(values[name]) for name in names})
    checked.check_together()
    return checked


def check_keys(cls: type, values: Mapping[str, Any], where: str) -> None:
    """Raises ConfigError unless the keys of `values` are the settings of the section."""
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
    """Raises ConfigError, naming `key`, unless `value` is allowed for the setting `name`."""
    rule, kind = rule_of(cls, name), kind_of(cls, name)
    if _fits(rule, kind, value):
        return
    items = value if isinstance(value, tuple | list) else [value]
    unknown = [item for item in items if isinstance(item, str) and item not in rule.choices]
    near = errors.did_you_mean(unknown[0], rule.choices) if unknown else ""
    raise errors.ConfigError(
        f"{key} is {value!r}; expected {expected(cls, name)}" + (near and f".{near}")
    )


def rule_of(cls: type, name: str) -> Rule:
    """Returns the rule of a setting."""
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
    """Returns the allowed values of a setting in words."""
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
    """Yields the settings of a section in their order; keys begin with `where`."""
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
    if not _is_of_type(kind.type, value):
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


def _is_of_type(expected_type: type, value: Any) -> bool:
    """Returns True if a value is of the type; a float may be an integer, and must be finite."""
    if expected_type is dict:
        return isinstance(value, Mapping | config_dict.ConfigDict)
    if expected_type in (bool, str):
        return isinstance(value, expected_type)
    number = numbers.Integral if expected_type is int else numbers.Real
    if not isinstance(value, number) or isinstance(value, bool):
        return False
    return isinstance(value, numbers.Integral) or math.isfinite(value)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
