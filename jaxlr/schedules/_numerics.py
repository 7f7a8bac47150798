"""Host or device, exact powers, and the checks of arguments that every schedule shares.

A schedule given a Python or NumPy count computes in float64 on the host. Given a JAX array or tracer
it computes in JAX's default float, and no count becomes a float before it is small: float32 holds
every integer only up to 2**24, so a rounded count would be off by whole epochs.
"""

import functools
import math
import numbers
import operator
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxlr._double_float import DoubleFloat, as_double_float


# A power is a product of table entries, one per digit of its exponent. More bits mean larger tables,
# fewer mean more factors, each of which costs one rounding of the product.
_DIGIT_BITS = 11


Count: TypeAlias = int | np.ndarray | jax.Array
Float: TypeAlias = float | np.ndarray | jax.Array


def as_count(count: ArrayLike) -> Count:
    """Check a schedule's argument: a whole number of epochs or steps, 0 the first one.

    Returns an int or an int64 array on the host, an int32 (or int64) array on a device.
    """
    if type(count) is int:
        if count < 0:
            raise ValueError(f"count must be 0 (the first epoch or step) or more, got {count}")
        return count
    if isinstance(count, jax.Array):
        _check_integer_dtype(count.dtype, count)
        return count if count.dtype == np.int64 else _as_int32(count)
    array = np.asarray(count)
    _check_integer_dtype(array.dtype, count)
    if (array < 0).any():
        raise ValueError(f"count must be 0 (the first epoch or step) or more, got {array.min()}")
    return array.astype(np.int64) if array.ndim else int(array)


def as_device_count(count: Count) -> jax.Array:
    """A count from `as_count`, host or device, as a JAX array."""
    if isinstance(count, jax.Array):
        return count
    dtype = jax.dtypes.canonicalize_dtype(np.int64)
    return jnp.asarray(np.minimum(count, np.iinfo(dtype).max), dtype=dtype)


def floor_divide(count: Count, divisor: int) -> Count:
    """`count // divisor` for counts from `as_count` and a static positive divisor."""
    if not isinstance(count, jax.Array):
        return count // divisor
    if divisor > np.iinfo(count.dtype).max:
        return jnp.zeros_like(count)
    return jax.lax.div(count, jnp.full_like(count, divisor))


def power(base: float | jax.Array, exponent: Count, largest: int = 2**63 - 1) -> Float:
    """`base ** exponent` for `base` > 0 and whole `exponent` <= `largest`, to a few roundings.

    `jnp.power` is not as good: it rounds `base` to float32, and that error grows with `exponent`.
    """
    if isinstance(base, jax.Array):
        return _traced_power(base, as_device_count(exponent))
    if isinstance(exponent, jax.Array):
        return _power_from_tables(base, exponent, largest)
    if isinstance(exponent, np.ndarray):
        with np.errstate(over="ignore", under="ignore"):
            return np.power(base, exponent)
    try:
        return base**exponent
    except OverflowError:  # Python's floats raise where everybody else's overflow to infinity
        return math.inf


def check_positive_count(name: str, value: Any) -> int:
    """A static number of epochs or steps, at least 1."""
    count = check_whole_number(name, value)
    if count < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    return count


def check_whole_number(name: str, value: Any) -> int:
    """A static integer; a whole float is taken as one, as recipes write `1e4`."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return int(value)
    kind = ValueError if isinstance(value, numbers.Real) else TypeError
    raise kind(f"{name} must be a whole number known at compile time, got {value!r}")


def check_value(name: str, value: ArrayLike, *, positive: bool = False) -> float | jax.Array:
    """A finite scalar, at least 0 (above 0 if `positive`); a JAX scalar is passed through unread."""
    if isinstance(value, jax.Array):
        if value.shape != ():
            raise ValueError(
                f"{name} must be a scalar, got an array of shape {value.shape}; "
                "jax.vmap builds one schedule for each element"
            )
        if not is_real_dtype(value.dtype):
            raise TypeError(f"{name} must be a real number, got a JAX scalar of {value.dtype}")
        return value.astype(jax.dtypes.canonicalize_dtype(float))
    if isinstance(value, np.ndarray) and value.shape == ():
        value = value[()]
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number or a JAX scalar, got {value!r}")
    bound = "above 0" if positive else "of at least 0"
    if not math.isfinite(value) or value < 0 or (positive and value == 0):
        raise ValueError(f"{name} must be a finite number {bound}, got {value!r}")
    return float(value)


def is_real_dtype(dtype: np.dtype) -> bool:
    """Whether numbers of `dtype` are integers or floats, bfloat16 included."""
    return jnp.issubdtype(dtype, np.integer) or jnp.issubdtype(dtype, np.floating)


def _check_integer_dtype(dtype: np.dtype, count: ArrayLike) -> None:
    if not np.issubdtype(dtype, np.integer):
        raise TypeError(f"count must be an integer or an array of integers, got {count!r}")


def _as_int32(count: jax.Array) -> jax.Array:
    if count.dtype in (np.uint32, np.uint64):
        count = jnp.minimum(count, np.iinfo(np.int32).max)
    return count.astype(np.int32)


def _power_from_tables(base: float, exponent: jax.Array, largest: int) -> jax.Array:
    dtype = jax.dtypes.canonicalize_dtype(float)
    largest = min(largest, np.iinfo(exponent.dtype).max)
    tables = _power_tables(base, largest, np.dtype(dtype))
    saturated = (len(tables[-1]) << _DIGIT_BITS * (len(tables) - 1)) - 1
    rest = jnp.clip(exponent, 0, min(saturated, largest))
    factors = []
    for table in tables:
        digit = rest & (2**_DIGIT_BITS - 1) if len(tables) > 1 else rest
        factors.append(jnp.asarray(table).at[digit].get(mode="promise_in_bounds"))
        rest = rest >> _DIGIT_BITS
    return functools.reduce(operator.mul, factors)


@functools.lru_cache
def _power_tables(base: float, largest: int, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """`base ** (digit * 2**shift)` for each digit of an exponent, up to 0, infinity or `largest`."""
    last = min(largest, _saturation(base, dtype))
    tables = []
    with np.errstate(over="ignore", under="ignore"):
        for shift in range(0, max(last.bit_length(), 1), _DIGIT_BITS):
            digits = np.arange(min(last >> shift, 2**_DIGIT_BITS - 1) + 1)
            table = np.power(base, digits * 2.0**shift).astype(dtype)
            table.flags.writeable = False
            tables.append(table)
    return tuple(tables)


def _saturation(base: float, dtype: np.dtype) -> int:
    """An exponent from which on `base ** exponent` is 0 or infinity in `dtype`; 0 for base 1."""
    exponents = np.finfo(dtype).maxexp - np.finfo(dtype).minexp
    return 0 if base == 1 else math.ceil(exponents / abs(math.log2(base)))


@jax.custom_jvp
def _traced_power(base: jax.Array, exponent: jax.Array) -> jax.Array:
    """`base ** exponent` as 2 ** (exponent * log2(base)), the product held in twice the digits."""
    if base.dtype == np.float64:
        return base ** exponent.astype(np.float64)
    significand, scale = jnp.frexp(base)
    below = significand < math.sqrt(0.5)
    significand = jnp.where(below, significand * 2, significand)
    scale = scale - below.astype(scale.dtype)
    # Past 2**20 a power of a number with a scale has saturated; without one it may well not have.
    exponent = jnp.where(scale == 0, exponent, jnp.minimum(exponent, 2**20)).astype(np.int32)
    product = _exact_double_float(exponent) * _log2(significand)
    whole = jnp.round(product.high)
    fraction = (product.high - whole) + product.low
    binary = jnp.clip(whole.astype(np.int32) + exponent * scale, -252, 252)
    half = binary // 2  # 2.0**binary may not fit a float32 where the result does
    result = jnp.exp2(fraction) * _exact_exp2(half) * _exact_exp2(binary - half)
    return jnp.where(base > 0, result, jnp.nan)


@_traced_power.defjvp
def _traced_power_jvp(primals, tangents):
    base, exponent = primals
    result = _traced_power(base, exponent)
    return result, exponent.astype(base.dtype) * result / base * tangents[0]


def _log2(significand: jax.Array) -> DoubleFloat:
    """Log to base 2 of numbers in [sqrt(1/2), sqrt(2)), from the series of atanh(s), s <= 0.172."""
    one = as_double_float(1.0)
    s = (as_double_float(significand) - one) / (one + significand)
    square = s * s
    tail = jnp.zeros_like(square.high)
    for odd in (13, 11, 9, 7, 5):
        tail = (tail + 1 / odd) * square.high
    return (s + s * square * (as_double_float(1 / 3) + tail)) * as_double_float(2 / math.log(2))


def _exact_double_float(integer: jax.Array) -> DoubleFloat:
    low = integer & 0xFFF
    high = as_double_float((integer - low).astype(np.float32))
    return high + low.astype(np.float32)


def _exact_exp2(exponent: jax.Array) -> jax.Array:
    """2.0 ** exponent from its bits, for -126 <= exponent <= 127; jnp.exp2 is off by 2e-6 there."""
    return jax.lax.bitcast_convert_type((exponent + 127) << 23, np.float32)
