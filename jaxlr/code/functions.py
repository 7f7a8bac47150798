"""Python's operators and functions, for numbers on the host and for float64 arrays on a device."""

import ast
import bisect
import functools
import itertools
import math
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


_LARGEST_INTEGER = 2**63
_LARGEST_EXPONENT = 64
_MODULES = ("math", "np", "numpy", "torch")
_CONSTANTS = {"pi": math.pi, "e": math.e, "tau": math.tau, "inf": math.inf}
# Functions of `math` that jax.numpy has under the same names.
_ANGLES = ("acos", "asin", "atan", "atan2", "cos", "degrees", "hypot", "radians", "sin", "tan")
_HYPERBOLICS = ("cosh", "sinh", "tanh")
_EXPONENTIALS = ("cbrt", "exp", "exp2", "expm1", "log", "log10", "log1p", "log2", "sqrt")
_ROUNDING = ("ceil", "copysign", "fabs", "floor", "fmod", "trunc")
_OF_MATH = (*_ANGLES, *_HYPERBOLICS, *_EXPONENTIALS, *_ROUNDING)
# Functions that have another name here than in NumPy, torch or `math`.
_RENAMED = {
    **{"minimum": "min", "maximum": "max", "pow": "math.pow", "power": "pow", "prod": "math.prod"},
    **{name: f"np.{name}" for name in ("arange", "array", "clip", "interp", "linspace", "where")},
    **{name: f"np.{name}" for name in ("cumsum", "mean", "searchsorted")},
    **{name: name for name in ("abs", "all", "any", "round", "sum")},
    **{"asarray": "np.array", "float64": "np.number"},
}
_MOST_NUMBERS = 10_000  # in an array that a function makes
# The names of the parameters of functions that recipes call by keyword.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "np.linspace": ("start", "stop", "num"),
    "np.arange": ("start", "stop", "step"),
    "np.clip": ("a", "a_min", "a_max"),
    "np.interp": ("x", "xp", "fp"),
    "np.searchsorted": ("a", "v", "side"),
    "round": ("number", "ndigits"),
}


_ITERABLES = (tuple, range, zip, enumerate, itertools.accumulate)


class Array(list[Any]):
    """A one-dimensional array of numbers. Unlike a list, it is added and multiplied item by item."""


def apply_operator(op: ast.AST, *operands: Any) -> Any:
    """Return the result of an operator or a comparison."""
    result = OPERATORS[type(op)](*operands)
    # True + True is 2 in Python, but True for JAX's booleans. As floats they add up.
    is_truth = isinstance(result, jax.Array) and result.dtype == bool
    return bounded(result.astype(np.float64) if is_truth else result)


def apply_function(name: str, *values: Any) -> Any:
    """Return the result of a function, which is named as by `function_name`."""
    if name in ("max", "min") and len(values) == 1 and isinstance(values[0], list) and values[0]:
        return apply_function(name, *values[0]) if len(values[0]) > 1 else values[0][0]
    is_traced = any(isinstance(value, jax.Array) for value in values)
    if name in _ON_DEVICE and not is_traced:
        items = (item for value in values if isinstance(value, list) for item in value)
        is_traced = any(isinstance(item, jax.Array) for item in items)
    result = (_ON_DEVICE if is_traced else _ON_HOST)[name](*values)
    if isinstance(result, Array):
        return Array(map(bounded, result))
    return bounded(list(result) if isinstance(result, _ITERABLES) else result)


def function_name(func: ast.expr) -> str | None:
    """Return the name by which `apply_function` knows a function such as `math.cos`, or None."""
    match func:
        case ast.Name(id=name) if name in _ON_HOST:
            return name
        case ast.Attribute(value=ast.Name(id=module), attr=name) if module in _MODULES:
            return name if name in _OF_MATH else _RENAMED.get(name)
        case ast.Attribute(value=ast.Name(id="bisect"), attr=name) if name in _BISECT:
            return name
        case ast.Attribute(value=ast.Name(id="itertools"), attr="accumulate"):
            return "accumulate"
    return None


def constant(node: ast.AST) -> float | None:
    """Return the number that an expression such as `math.pi` names, or None."""
    match node:
        case ast.Attribute(value=ast.Name(id=module), attr=name) if module in _MODULES:
            return _CONSTANTS.get(name)
        case ast.Name(id="pi"):
            return math.pi
    return None


def contains(items: list[Any], value: Any) -> Any:
    """Check if a value is in a list of numbers."""
    if isinstance(value, jax.Array) or any(isinstance(item, jax.Array) for item in items):
        return functools.reduce(
            jnp.logical_or, [jnp.equal(item, value) for item in items], jnp.asarray(False)
        )
    return value in items


def picked(kind: str, found: list[tuple[Any, Any]], default: Any) -> Any:
    """Return the first, the largest or the smallest of the values whose test holds.

    Args:
        kind: "next", "max" or "min".
        found: tests and values, without those whose test is known to fail.
        default: the value if there is none, or None.
    """
    if not any(isinstance(test, jax.Array) for test, _ in found):
        values = [value for _, value in found]
        if not values and default is None:
            raise ValueError("no value passes the test")
        return apply_function(kind, values) if values and kind != "next" else (values or [default])[0]
    limit = {"next": math.nan, "max": -math.inf, "min": math.inf}[kind]
    result: Any = limit if default is None else default
    for test, value in reversed(found):
        if kind == "next":
            result = where(test, value, result)
        else:
            result = apply_function(kind, result, where(test, value, limit))
    return result


def where(test: Any, on_true: Any, on_false: Any) -> jax.Array:
    """Return `on_true if test else on_false`, for arrays."""
    return jnp.where(jnp.asarray(test) != 0, on_true, on_false)


def bounded(value: Any) -> Any:
    """Refuse a complex result, and turn an integer beyond 64 bits into a float."""
    if isinstance(value, complex):
        raise ValueError("the result is not a real number")
    if isinstance(value, int) and abs(value) >= _LARGEST_INTEGER:
        infinity = math.inf if value > 0 else -math.inf
        return infinity if value.bit_length() > 1023 else float(value)
    return value


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, jax.Array) or isinstance(exponent, jax.Array):
        return jnp.power(jnp.asarray(base, np.float64), jnp.asarray(exponent, np.float64))
    if isinstance(base, int) and abs(exponent) > _LARGEST_EXPONENT:
        try:
            return float(base) ** exponent
        except OverflowError:  # Python's integers do not overflow, so neither may this
            return math.inf if base > 0 or exponent % 2 == 0 else -math.inf
    return base**exponent


def _shifted(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return an operator on the bits of small integers. A traced epoch is a float64."""

    def apply(left: Any, right: Any) -> Any:
        if isinstance(left, jax.Array) or isinstance(right, jax.Array):
            left, right = (jnp.asarray(each).astype(np.int64) for each in (left, right))
            return function(left, right).astype(np.float64)
        if isinstance(left, float) or isinstance(right, float) or not abs(right) <= _LARGEST_INTEGER:
            raise TypeError("an operator on bits needs integers")
        if function in (operator.lshift, operator.rshift) and right > _LARGEST_EXPONENT:
            raise ValueError("the shift is too long")
        return function(left, right)

    return apply


def _round(value: Any, digits: Any = None) -> Any:
    # Python decides ties by the exact binary value: it rounds 2.675 to 2.67. JAX may not.
    if isinstance(value, jax.Array):
        return jnp.round(value, digits or 0)
    if digits is not None and not -_LARGEST_EXPONENT <= digits <= _LARGEST_EXPONENT:
        raise ValueError(f"round takes at most {_LARGEST_EXPONENT} digits")
    return round(value, digits)


def _log(value: Any, base: Any = None) -> Any:
    return jnp.log(value) if base is None else jnp.log(value) / jnp.log(base)


def _clip(value: Any, low: Any, high: Any) -> Any:
    value = value if low is None else apply_function("max", value, low)
    return value if high is None else apply_function("min", value, high)


def _linspace(start: float, stop: float, num: int = 50) -> Array:
    if not 0 <= num <= _MOST_NUMBERS:
        raise ValueError(f"linspace makes at most {_MOST_NUMBERS} numbers")
    return Array(np.linspace(start, stop, num).tolist())


def _array(value: Any) -> Any:
    return Array(value) if isinstance(value, list) else value


def _arange(*ends: Any) -> Array:
    first, last, step = (0, *ends, 1) if len(ends) == 1 else (*ends, 1)[:3]
    if not (last - first) / step <= _MOST_NUMBERS:
        raise ValueError(f"arange makes at most {_MOST_NUMBERS} numbers")
    return Array(np.arange(*ends).tolist())


def _interp(x: Any, xp: list[Any], fp: list[Any]) -> Any:
    if isinstance(x, list):
        return Array(_interp(each, xp, fp) for each in x)
    if isinstance(x, jax.Array):
        return jnp.interp(x, jnp.asarray(xp, np.float64), jnp.asarray(fp, np.float64))
    return float(np.interp(x, xp, fp))


def _count_below(compare: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Return bisect as a sum of comparisons, which JAX can trace."""

    def count(items: list[Any], value: Any) -> Any:
        if any(later < earlier for earlier, later in itertools.pairwise(items)):
            raise ValueError("bisect needs a sorted list")
        return sum([jnp.asarray(compare(item, value), np.float64) for item in items])

    return count


def _divmod(value: Any, by: Any) -> list[Any]:
    return [value // by, value % by]


_BISECT: dict[str, Callable[..., Any]] = {
    "bisect": bisect.bisect_right,
    "bisect_left": bisect.bisect_left,
    "bisect_right": bisect.bisect_right,
}
OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
    ast.LShift: _shifted(operator.lshift),
    ast.RShift: _shifted(operator.rshift),
    ast.BitAnd: _shifted(operator.and_),
    ast.BitOr: _shifted(operator.or_),
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: lambda value: value == 0 if isinstance(value, jax.Array) else not value,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_PLAIN = (abs, bool, enumerate, float, int, len, list, max, min, range, sorted, str, sum, tuple, zip)
_ON_HOST: dict[str, Callable[..., Any]] = {
    **{function.__name__: function for function in _PLAIN},
    **{name: getattr(math, name) for name in _OF_MATH},
    **{"pow": _power, "math.pow": math.pow, "round": _round, "math.prod": math.prod, "divmod": _divmod},
    **{"any": any, "all": all, "np.clip": _clip, "np.interp": _interp, **_BISECT},
    **{"np.linspace": _linspace, "np.arange": _arange, "np.array": _array},
    **{"np.number": float, "accumulate": itertools.accumulate},
    "np.where": lambda test, on_true, on_false: on_true if test else on_false,
    "np.cumsum": lambda items: Array(itertools.accumulate(items)),
    "np.mean": lambda items: sum(items) / len(items),
    "np.searchsorted": lambda items, value, side="left": _BISECT[f"bisect_{side}"](items, value),
    "reversed": lambda items: list(reversed(items)),
}
_ON_DEVICE: dict[str, Callable[..., Any]] = {
    **{name: getattr(jnp, name) for name in _OF_MATH},
    **{"abs": jnp.abs, "float": jnp.asarray, "int": jnp.trunc, "log": _log, "sum": sum},
    **{"pow": _power, "math.pow": _power, "round": _round, "math.prod": math.prod, "divmod": _divmod},
    **{"np.clip": _clip, "np.interp": _interp, "np.where": where, "np.number": jnp.asarray},
    **{"bisect_left": _count_below(operator.lt), "bisect_right": _count_below(operator.le)},
    "bisect": _count_below(operator.le),
    "bool": lambda value: value != 0,
    "any": lambda items: functools.reduce(jnp.logical_or, [jnp.asarray(item) != 0 for item in items]),
    "all": lambda items: functools.reduce(jnp.logical_and, [jnp.asarray(item) != 0 for item in items]),
    "np.searchsorted": lambda items, value, side="left": _ON_DEVICE[f"bisect_{side}"](items, value),
    "np.array": lambda value: value,
    "max": lambda *values: functools.reduce(jnp.maximum, values),
    "min": lambda *values: functools.reduce(jnp.minimum, values),
}
