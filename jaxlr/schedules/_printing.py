"""The text of an object: the Python call that makes it."""

import functools
import math
import types
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from jaxlr._checks import plain


_MOST_ITEMS = 12  # of a list that is printed in full


class PrintsAsCall:
    """An object whose `repr` is the call that makes it."""

    def as_call(self) -> tuple[str, Mapping[str, Any]]:
        """Return the name of a public function or class, and its arguments in their order."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return call_text(self)


def call_text(value: Any, prefix: str = "", most_items: float = _MOST_ITEMS) -> str:
    """Return Python text that makes a value: a schedule, or an argument of one.

    Args:
        value: the value.
        prefix: text before the names of our functions, such as "jaxlr.".
        most_items: number of items of a list from which on it is abbreviated with "...".
    """

    def text(value: Any) -> str:
        return call_text(value, prefix, most_items)

    if isinstance(value, PrintsAsCall):
        name, arguments = value.as_call()
        return f"{prefix}{_call(name, arguments, text)}"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {text(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple | np.ndarray):
        return f"[{', '.join(_item_texts(value, text, most_items))}]"
    if isinstance(value, jax.Array):
        return _array_text(value)
    if isinstance(value, functools.partial):
        keywords = [f"{name}={text(item)}" for name, item in value.keywords.items()]
        return f"functools.partial({', '.join([*map(text, [value.func, *value.args]), *keywords])})"
    if callable(value):
        return _function_text(value, text)
    value = plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return repr(value)


def _call(name: str, arguments: Mapping[str, Any], text: Callable[[Any], str]) -> str:
    """Return the text of a call: the first argument without its name, and no argument that is None."""
    first = next(iter(arguments), None)
    written = [
        text(value) if key == first else f"{key}={text(value)}"
        for key, value in arguments.items()
        if value is not None
    ]
    return f"{name}({', '.join(written)})"


def _item_texts(items: Any, text: Callable[[Any], str], most_items: float) -> list[str]:
    if len(items) <= most_items:
        return [text(item) for item in items]
    return [*(text(item) for item in items[: int(most_items) // 2]), "...", text(items[-1])]


def _array_text(array: jax.Array) -> str:
    """Return a JAX scalar as Python text, and any other array as its dtype and shape."""
    if isinstance(array, Tracer):
        return f"<traced {array.dtype}>"
    if array.shape or not array.is_fully_addressable or array.is_deleted():
        return f"<{array.dtype}{list(array.shape)}>"
    return f"jnp.{array.dtype}({array.item()!r})"


def _function_text(function: Any, text: Callable[[Any], str]) -> str:
    """Return the name of a function with its module, or a placeholder for a lambda."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, list | tuple | np.ndarray):
        return f"{text(owner)}.{function.__name__}"
    name, module = getattr(function, "__qualname__", None), getattr(function, "__module__", None)
    if name is None or not (owner is None or isinstance(owner, types.ModuleType)):
        return repr(function)
    if "<" in name:
        return f"<function {name}>"
    return name if module in (None, "__main__", "builtins") else f"{module}.{name}"
