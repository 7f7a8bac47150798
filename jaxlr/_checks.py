"""Checks of arguments. A message says in one line what is accepted and what was passed."""

import math
import numbers
import reprlib
from collections.abc import Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike


# Twice this number (the period of a cosine) fits in an int64, and so does the sum of two such periods.
LARGEST_ARGUMENT = 2**61

PLATEAU_IS_NO_SCHEDULE = (
    "ReduceLROnPlateau is not a schedule, because it needs a metric: build the optimizer with "
    "jaxlr.with_plateau(lambda lr: optax.sgd(lr), plateau), or chain it, as in "
    "optax.chain(optax.sgd(0.1), plateau)"
)


def check_positive_count(name: str, value: Any) -> int:
    """Return a static number of epochs or steps, at least 1, as an int."""
    count = check_whole_number(name, value)
    if count < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {shown_value(value)}")
    return count


def check_length(name: str, value: Any, *, may_be_zero: bool = False) -> float:
    """Return a static length above 0, an int if it is whole. It may lie between two epochs or steps."""
    number = _scalar(value)
    if isinstance(number, float | np.floating) and number > 0 and not float(number).is_integer():
        if not math.isfinite(number):
            raise ValueError(f"{name} must be finite, got {shown_value(value)}")
        return float(number)
    whole = check_whole_number(name, value)
    if whole < (0 if may_be_zero else 1):
        raise ValueError(f"{name} must be {'at least' if may_be_zero else 'above'} 0, got {whole}")
    return whole


def check_duration(name: str, value: Any) -> int:
    """Return a static number of epochs or steps, at least 0, as an int."""
    count = check_whole_number(name, value)
    if count < 0:
        raise ValueError(f"{name} must be at least 0, got {count}")
    return count


def check_whole_number(name: str, value: Any) -> int:
    """Return a static integer as an int, at most `LARGEST_ARGUMENT`.

    A whole float is accepted too, because people write `1e4` for 10000.
    """
    value = _scalar(value)
    is_integral = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if is_integral or (isinstance(value, float | np.floating) and float(value).is_integer()):
        number = int(value)
        if abs(number) > LARGEST_ARGUMENT:
            raise ValueError(f"{name} must be at most 2**61 in absolute value, got a larger one")
        return number
    kind = ValueError if isinstance(value, numbers.Real) else TypeError
    raise kind(f"{name} must be a whole number known at compile time, got {shown_value(value)}")


def check_value(name: str, value: ArrayLike, *, positive: bool = False) -> float | jax.Array:
    """Return a finite number >= 0 (> 0 if `positive`) as a float.

    A JAX scalar is returned in JAX's default float type. Its value is not checked, as it may be traced.
    """
    if isinstance(value, jax.Array):
        if value.shape != ():
            raise ValueError(
                f"{name} must be a scalar, got an array of shape {value.shape}; "
                "use jax.vmap to build one schedule for each element"
            )
        if not is_real_dtype(value.dtype):
            raise TypeError(f"{name} must be a real number, got a JAX scalar of {value.dtype}")
        return value.astype(jax.dtypes.canonicalize_dtype(float))
    value = _scalar(value)
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number or a JAX scalar, got {shown_value(value)}")
    bound = "above 0" if positive else "of at least 0"
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number < 0 or (positive and number == 0):
        is_float = isinstance(value, float | np.floating)
        got = repr(value) if is_float or math.isfinite(number) else "a number too large for float64"
        raise ValueError(f"{name} must be a finite number {bound}, got {got}")
    return number


def check_static_value(name: str, value: Any, *, positive: bool = False) -> float:
    """Return a number as `check_value` does, and refuse a JAX scalar."""
    if isinstance(value, jax.Array):
        raise TypeError(f"{name} must be a number known at compile time, got {shown_value(value)}")
    return float(check_value(name, value, positive=positive))


def _scalar(value: Any) -> Any:
    """Return a NumPy array of shape () as a number, and any other value unchanged."""
    return value[()] if isinstance(value, np.ndarray) and value.shape == () else value


def plain(value: Any) -> Any:
    """Return an instance of a subclass of float, int or str as its base type, and any other value as it is.

    np.float64 prints as `np.float64(0.1)`, and a member of an IntEnum or a StrEnum as `<Name.MEMBER: 3>`.
    """
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    return str.__str__(value) if isinstance(value, str) else value


def shown_value(value: Any) -> str:
    """Format `value` for a message: its repr, shortened with `shorten`."""
    # reprlib does not write out a long or deeply nested container before it is cut.
    is_container = isinstance(value, str | list | tuple | dict | set)
    try:
        return shorten(reprlib.repr(value) if is_container else repr(value), 200)
    except Exception:  # the object's own fault, or an integer of thousands of digits
        return f"a {type(value).__name__}"


def shorten(text: str, length: int = 60) -> str:
    """Return `text` on one line of at most `length` characters, for a message."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 3] + "..."


def is_real_dtype(dtype: np.dtype) -> bool:
    """Return True for integers and floats, including bfloat16, but not for bool or complex."""
    return jnp.issubdtype(dtype, np.integer) or jnp.issubdtype(dtype, np.floating)


def check_milestones(milestones: Any) -> list[int]:
    """Return `milestones` as a list of ints, all at least 0, in the given order."""
    if not isinstance(milestones, Sequence | range | np.ndarray) or isinstance(
        _scalar(milestones), str | np.generic
    ):
        raise TypeError(f"milestones must be a list of whole numbers, got {shown_value(milestones)}")
    checked = [check_whole_number("each of milestones", value) for value in milestones]
    if any(value < 0 for value in checked):
        raise ValueError(f"milestones must be epochs (or steps) of at least 0, got {min(checked)}")
    return checked


def check_function(name: str, value: Any) -> None:
    """Raise a TypeError unless `value` can be called."""
    if isinstance(value, optax.GradientTransformation):
        raise TypeError(f"{name} must be a function of the epoch (or step): {PLATEAU_IS_NO_SCHEDULE}")
    if not callable(value):
        raise TypeError(f"{name} must be a function of the epoch (or step), got {shown_value(value)}")


def check_finite(name: str, table: np.ndarray) -> np.ndarray:
    """Return the values of a user's function, after checking that they are finite."""
    if not np.isfinite(table).all():
        epoch = int(np.flatnonzero(~np.isfinite(table))[0])
        raise ValueError(f"{name} must give finite numbers, got {table[epoch]} at epoch {epoch}")
    return table


def check_choice(name: str, value: str, choices: Collection[str]) -> str:
    """Return `value` if it is one of `choices`."""
    if not isinstance(value, str) or value not in choices:  # an array is not equal to a text or unequal
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {shown_value(value)}")
    return value


def check_at_most(name: str, value: float | jax.Array, bound: float) -> float | jax.Array:
    """Return `value` if it is at most `bound`. A JAX scalar is not checked."""
    if not isinstance(value, jax.Array) and value > bound:
        raise ValueError(f"{name} must be at most {bound:g}, got {shown_value(value)}")
    return value
