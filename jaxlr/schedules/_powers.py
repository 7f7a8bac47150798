"""Powers with an error of a few roundings, even for large exponents."""

import functools
import math
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlr._double_float import DoubleFloat, as_double_float
from jaxlr.schedules._counts import (
    LARGEST_COUNT,
    Count,
    Float,
    array_module,
    as_device_count,
    as_float,
    remaining,
    take,
)


# Bits per digit of an exponent. A power is a product of table entries, one per digit. With more bits the
# tables are larger. With fewer bits there are more factors, and each costs a rounding.
_DIGIT_BITS = 11


def power_of_part_left(done: Count, whole: int, exponent: float | jax.Array) -> Float:
    """Return `((whole - done) / whole) ** exponent` for counts with 0 <= done <= whole."""
    if isinstance(exponent, jax.Array):
        done = as_device_count(done)
    part: Any = remaining(whole, done) / float(whole)
    if not isinstance(done, jax.Array) or part.dtype == np.float64:
        return array_module(done).power(part, exponent)
    low = None
    if isinstance(exponent, jax.Array) or exponent > 3:  # else the rounded part is good enough
        exact_whole = as_double_float(float(whole))
        part, low = (exact_whole - exact_double_float(done)) / exact_whole
    return corrected_power(part, low, exponent)


def corrected_power(base: jax.Array, low: jax.Array | None, exponent: float | jax.Array) -> jax.Array:
    """Return `(base + low) ** exponent` in float32, for bases from 0 to 1.

    `low` is what the rounded base lacks. The power multiplies it by the exponent. The power is corrected
    for the rounding of a static exponent to float32, too.
    """
    positive = jnp.where(base > 0, base, 1.0)
    error: Any = 0.0 if low is None else exponent * (low / positive)
    if not isinstance(exponent, jax.Array):
        unheld = exponent - float(np.float32(exponent))
        error = error + unheld * jnp.log(positive) if unheld else error
    return jnp.power(base, exponent) * (1 + error)


def power_and_complement(base: float | jax.Array, exponent: Count) -> tuple[Float, Float]:
    """Return `base ** exponent` and, if that is below 1, `1 - base ** exponent` to full precision."""
    xp = array_module(base, exponent)
    log = xp.minimum(xp.log1p(base - 1) * as_float(exponent), 0.0)
    return integer_power(base, exponent), -xp.expm1(log)


def integer_power(base: float | jax.Array, exponent: Count, largest: int = LARGEST_COUNT) -> Float:
    """Return `base ** exponent` for `base` >= 0 and whole `exponent` <= `largest`, within a few roundings.

    `jnp.power` rounds `base` to float32, and the resulting error grows with `exponent`.
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
    except OverflowError:  # NumPy and JAX return infinity or 0 where Python's floats raise
        return math.inf if base > 1 else float(base == 1)


def _power_from_tables(base: float, exponent: jax.Array, largest: int) -> jax.Array:
    """Return `base ** exponent` as a product of table entries, one for each digit of the exponent."""
    dtype = jax.dtypes.canonicalize_dtype(float)
    largest = min(largest, np.iinfo(exponent.dtype).max)
    tables = _power_tables(base, largest, np.dtype(dtype))
    saturated = (len(tables[-1]) << _DIGIT_BITS * (len(tables) - 1)) - 1
    rest = jnp.clip(exponent, 0, min(saturated, largest))
    factors = []
    for table in tables:
        digit = rest & (2**_DIGIT_BITS - 1) if len(tables) > 1 else rest
        factors.append(take(table, digit))
        rest = rest >> _DIGIT_BITS
    return functools.reduce(operator.mul, factors)


@functools.lru_cache
def _power_tables(base: float, largest: int, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """Return tables of `base ** (digit * 2**shift)` for each digit of an exponent.

    They end where the power is 0 or infinity, or at the exponent `largest`.
    """
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
    """Return an exponent from which on `base ** exponent` is 0 or infinity in `dtype`; 0 for base 1."""
    if base in (0, 1):
        return int(base == 0)
    exponents = np.finfo(dtype).maxexp - np.finfo(dtype).minexp
    return math.ceil(exponents / abs(math.log2(base)))


@jax.custom_jvp
def _traced_power(base: jax.Array, exponent: jax.Array) -> jax.Array:
    """Return `base ** exponent` as 2 ** (exponent * log2(base)), with the product as a double float."""
    if base.dtype == np.float64:
        return base ** exponent.astype(np.float64)
    significand, scale = split_float(base)
    # If scale is not 0, the power has saturated by 2**20. If it is 0, the base is near 1 and the power may
    # not have saturated.
    exponent = jnp.where(scale == 0, exponent, jnp.minimum(exponent, 2**20)).astype(np.int32)
    product = exact_double_float(exponent) * log2(significand)
    whole = jnp.round(product.high)
    fraction = (product.high - whole) + product.low
    result = exp2(fraction, jnp.clip(whole.astype(np.int32) + exponent * scale, -252, 252))
    at_zero = jnp.where(base == 0, (exponent == 0).astype(base.dtype), jnp.nan)
    return jnp.where(base > 0, result, at_zero)


@_traced_power.defjvp
def _traced_power_jvp(primals, tangents):
    base, exponent = primals
    result = _traced_power(base, exponent)
    is_zero = base == 0
    slope = exponent.astype(base.dtype) * result / jnp.where(is_zero, 1.0, base)
    slope = jnp.where(is_zero, (exponent == 1).astype(base.dtype), slope)
    return result, slope * tangents[0]


def log2(significand: jax.Array) -> DoubleFloat:
    """Return the logarithm to base 2 of numbers in [sqrt(1/2), sqrt(2)).

    It is 2 / log(2) * atanh(s) with s = (x - 1) / (x + 1), |s| <= 0.172, from the series of atanh.
    """
    one = as_double_float(1.0)
    s = (as_double_float(significand) - one) / (one + significand)
    square = s * s
    tail = jnp.zeros_like(square.high)
    for odd in (13, 11, 9, 7, 5):
        tail = (tail + 1 / odd) * square.high
    return (s + s * square * (as_double_float(1 / 3) + tail)) * as_double_float(2 / math.log(2))


def split_float(value: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the significand of a positive float32, from sqrt(1/2) to sqrt(2), and its exponent of 2."""
    significand, exponent = jnp.frexp(value)
    below = significand < math.sqrt(0.5)
    return jnp.where(below, significand * 2, significand), exponent - below.astype(exponent.dtype)


def exact_double_float(integer: jax.Array) -> DoubleFloat:
    """Return an int32 without rounding."""
    low = integer & 0xFFF
    high = as_double_float((integer - low).astype(np.float32))
    return high + low.astype(np.float32)


def exp2(fraction: jax.Array, whole: jax.Array) -> jax.Array:
    """Return 2.0 ** (fraction + whole), for integers -252 <= whole <= 252."""
    half = whole // 2  # the result may fit a float32 even if 2.0**whole does not
    return jnp.exp2(fraction) * _exact_exp2(half) * _exact_exp2(whole - half)


def _exact_exp2(exponent: jax.Array) -> jax.Array:
    """Return 2.0 ** exponent from its bits, for -126 <= exponent <= 127. `jnp.exp2` is off by 2e-6."""
    return jax.lax.bitcast_convert_type((exponent + 127) << 23, np.float32)
