"""What operators and functions of Python mean, of numbers on the host and of float64 arrays on a device."""

import ast
import functools
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
# Those of `math`, which jax.numpy has by the same names.
_OF_MATH = (
    *("acos", "asin", "atan", "atan2", "cbrt", "ceil", "copysign", "cos", "cosh", "degrees", "exp"),
    *("exp2", "expm1", "fabs", "floor", "fmod", "hypot", "log", "log10", "log1p", "log2"),
    *("radians", "sin", "sinh", "sqrt", "tan", "tanh", "trunc"),
)


def operate(op: ast.AST, *operands: Any) -> Any:
    """The result of an operator or comparison."""
    result = OPERATORS[type(op)](*operands)
    # The sum of two truths is 2 in Python; that of two of JAX's booleans is one of them.
    is_truth = isinstance(result, jax.Array) and result.dtype == bool
    return bounded(result.astype(np.float64) if is_truth else result)


def call(name: str, *values: Any) -> Any:
    """The result of a function, by the name that `function_name` gives it."""
    if name in ("max", "min") and len(values) == 1 and isinstance(values[0], list) and values[0]:
        return call(name, *values[0]) if len(values[0]) > 1 else values[0][0]
    is_traced = any(isinstance(value, jax.Array) for value in values)
    result = (_ON_DEVICE if is_traced else _ON_HOST)[name](*values)
    return bounded(list(result) if isinstance(result, tuple | range) else result)


def function_name(func: ast.expr) -> str | None:
    """The name under which `call` knows the function that an expression names, if it does."""
    match func:
        case ast.Name(id=name) if name in _ON_HOST:
            return name
        case ast.Attribute(value=ast.Name(id=module), attr=name) if module in _MODULES:
            named = {"minimum": "min", "maximum": "max", "pow": "math.pow", "power": "pow"}
            return name if name in _OF_MATH else named.get(name)
    return None


def constant(node: ast.AST) -> float | None:
    """The number that an expression such as math.pi names, if it does."""
    match node:
        case ast.Attribute(value=ast.Name(id=module), attr=name) if module in _MODULES:
            return _CONSTANTS.get(name)
        case ast.Name(id="pi"):
            return math.pi
    return None


def contains(items: list[Any], value: Any) -> Any:
    """Whether a value is one of a list of numbers."""
    if isinstance(value, jax.Array) or any(isinstance(item, jax.Array) for item in items):
        return functools.reduce(
            jnp.logical_or, [jnp.equal(item, value) for item in items], jnp.asarray(False)
        )
    return value in items


def where(test: Any, on_true: Any, on_false: Any) -> jax.Array:
    """Python's conditional expression, of arrays."""
    return jnp.where(jnp.asarray(test) != 0, on_true, on_false)


def bounded(value: Any) -> Any:
    """A result that is a number of a schedule's: no complex one, no integer of many digits."""
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
        except OverflowError:  # no error of Python's, whose integers have no end
            return math.inf if base > 0 or exponent % 2 == 0 else -math.inf
    return base**exponent


def _round(value: Any, digits: Any = None) -> Any:
    if isinstance(value, jax.Array):  # as Python's, but for the ties that binary fractions only seem to be
        return jnp.round(value, digits or 0)
    if digits is not None and not -_LARGEST_EXPONENT <= digits <= _LARGEST_EXPONENT:
        raise ValueError(f"round to at most {_LARGEST_EXPONENT} digits")
    return round(value, digits)


def _log(value: Any, base: Any = None) -> Any:
    return jnp.log(value) if base is None else jnp.log(value) / jnp.log(base)


OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
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
_PLAIN = (abs, bool, float, int, len, list, max, min, range, sorted, sum, tuple)
_ON_HOST: dict[str, Callable[..., Any]] = {
    **{function.__name__: function for function in _PLAIN},
    **{name: getattr(math, name) for name in _OF_MATH},
    **{"pow": _power, "math.pow": math.pow, "round": _round},
}
_ON_DEVICE: dict[str, Callable[..., Any]] = {
    **{name: getattr(jnp, name) for name in _OF_MATH},
    **{"abs": jnp.abs, "float": jnp.asarray, "int": jnp.trunc, "log": _log, "sum": sum},
    **{"pow": _power, "math.pow": _power, "round": _round},
    "bool": lambda value: value != 0,
    "max": lambda *values: functools.reduce(jnp.maximum, values),
    "min": lambda *values: functools.reduce(jnp.minimum, values),
}
