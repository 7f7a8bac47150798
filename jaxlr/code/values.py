"""The values of expressions: numbers, strings, lists, mappings, the caller's objects, and unknown ones."""

import argparse
import ast
import inspect
import math
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

from jaxlr._checks import shown_value
from jaxlr.code.functions import Array
from jaxlr.code.syntax import source_of, unreadable


# The values of the names in a text. Other objects with attributes are taken too.
Names: TypeAlias = Mapping[str, Any] | argparse.Namespace | types.SimpleNamespace

# A hostile text must cost milliseconds: this bounds the operations and the lists that it can ask for.
MOST_WORK = 100_000
_WORK_PER_STEP = 300


class Work:
    """The operations that a text may still ask for until its schedule is built. Later calls are free."""

    left: float = 3 * MOST_WORK

    def allow(self, num_steps: int) -> None:
        """Allow the operations that a table of `num_steps` steps may need."""
        self.left += _WORK_PER_STEP * num_steps

    def end(self) -> None:
        """Stop counting operations."""
        self.left = math.inf


class Unknown:
    """The value of a name that has no value yet, and of every expression that contains it."""


UNKNOWN = Unknown()


class Unevaluated(NamedTuple):
    """An assigned expression without a value, such as the optimizer: an error only where it is used."""

    node: ast.expr
    missing: list[str]
    error: ValueError | None = None


class Settings(dict[str, Any]):
    """The attributes of a class of the text, which its objects copy."""

    is_copied: bool = False  # if a later change of them does not reach all objects and classes
    is_dataclass: bool = False


class ClassName(NamedTuple):
    """A class of torch, or a function of another framework, that is used as a value."""

    name: str


ABSENT = object()  # the value of an attribute that does not exist


def plain(value: Any) -> Any:
    """Convert a value of the user's to a kind that is evaluated. Other objects stay as they are."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Array):
        return Array(map(plain, value))
    if type(value) in (list, tuple, range):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return value if isinstance(value, Values) else Values(value)
    if callable(getattr(value, "item", None)) and getattr(value, "shape", None) == ():
        return value if isinstance(value, jax.Array) else value.item()  # a tensor of torch
    return value


class Values(dict[Any, Any]):
    """A dict of values of the user's, each of which is converted when it is looked up, and not before."""

    def __init__(self, values: Mapping[Any, Any]):
        super().__init__(values)
        self._converted: set[Any] = set()

    def __getitem__(self, key: Any) -> Any:
        if key not in self._converted:
            super().__setitem__(key, plain(super().__getitem__(key)))
            self._converted.add(key)
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[Any]:
        return super().__iter__()  # without it, {**values} would not ask for the items

    def get(self, key: Any, default: Any = None) -> Any:
        """Return a converted value, or the default."""
        return self[key] if key in self else default  # noqa: SIM401

    def values(self) -> Any:
        """Return the converted values."""
        return [self[key] for key in self]

    def items(self) -> Any:
        """Return the keys with the converted values."""
        return [(key, self[key]) for key in self]


def mapping_of(names: Any) -> Mapping[Any, Any]:
    """Return the values of names as a mapping: a mapping as it is, and the attributes of a Namespace."""
    if isinstance(names, Mapping):
        return names
    if not hasattr(names, "__dict__") or callable(names) or isinstance(names, types.ModuleType):
        raise TypeError(
            "names must map names to values, such as {'epochs': 90}, or be a Namespace, got "
            f"{shown_value(names)}"
        )
    return vars(names)


def unpacked(target: ast.expr, value: Any) -> dict[str, Any]:
    """Return the values of the names in a target such as `(start, factor)`."""
    if isinstance(target, ast.Tuple | ast.List):
        values = [UNKNOWN] * len(target.elts) if value is UNKNOWN else value
        if not isinstance(values, list) or len(values) != len(target.elts):
            raise unreadable(target, "it does not have as many names as values")
        pairs = zip(target.elts, values, strict=True)
        return {name: item for each, one in pairs for name, item in unpacked(each, one).items()}
    if not isinstance(target, ast.Name | ast.Attribute):
        raise unreadable(target, "a variable must be a name")
    return {source_of(target): value}


def attribute_of(owner: Any, attribute: Any) -> Any:
    """Return an attribute that is stored in an object, without running any of its code."""
    if not isinstance(attribute, str) or attribute.startswith("_"):
        return ABSENT
    if isinstance(owner, Mapping):
        return owner.get(attribute, ABSENT)
    if owner is None or isinstance(owner, bool | int | float | str | list | jax.Array):
        return ABSENT
    if type(owner).__module__.startswith("jaxlr."):  # a constructor, or a function of the text
        return ABSENT
    if isinstance(owner, tuple) and attribute in getattr(type(owner), "_fields", ()):
        return getattr(owner, attribute)
    value = inspect.getattr_static(owner, attribute, ABSENT)
    return ABSENT if hasattr(type(value), "__get__") else value


def is_key(value: Any) -> bool:
    """Check if a value can be the key of a mapping."""
    return isinstance(value, str | int | float | None)


def is_place(owner: Any, key: Any) -> bool:
    """Check if `owner[key]` can be set, in a list or a mapping."""
    if isinstance(owner, list):
        return isinstance(key, int) and -len(owner) <= key < len(owner)
    return isinstance(owner, dict) and is_key(key)


def are_numbers(*values: Any) -> bool:
    return all(isinstance(value, int | float | jax.Array) or value is UNKNOWN for value in values)


def are_equal(left: Any, right: Any) -> bool:
    if isinstance(left, jax.Array) or isinstance(right, jax.Array):
        return False  # a number is not a text, a list or None
    return bool(left == right)


def names_in(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def values_in(value: Any) -> Iterator[Any]:
    """Yield the values in lists and mappings, or the value itself."""
    if isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from values_in(each)
    else:
        yield value


def collections_in(values: Iterable[Any]) -> set[int]:
    """Return the ids of the lists and mappings among values, and of those in them."""
    found: set[int] = set()
    waiting = [*values]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list | dict) and id(each) not in found:
            found.add(id(each))
            items = each if isinstance(each, list) else dict.values(each)
            waiting += [item for item in items if isinstance(item, list | dict)]
    return found


def check_unshared(target: ast.expr, value: Any, variables: Mapping[str, Any]) -> None:
    """Refuse `target += value` for a list that another variable holds, because that one grows too."""
    others = [each for name, each in variables.items() if name != source_of(target)]
    if isinstance(value, list | dict) and id(value) in collections_in(others):
        raise unreadable(target, "its list has two names, so that += changes both: write the list out")


def size_of(value: Any) -> int:
    """Return the number of values in a list, those of the lists in it included, up to the budget."""
    if not isinstance(value, list):
        return 1
    total = 0
    for item in value:
        total += size_of(item)
        if total > MOST_WORK:
            break
    return total


def depth_of(value: Any) -> int:
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0
