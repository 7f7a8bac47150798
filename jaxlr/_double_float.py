"""Real numbers as sums of two float32: almost float64's digits, on devices that compute in float32.

The method is Dekker's, "A floating-point technique for extending the available precision" (1971). Numbers
outside 1e-30 to 1e30 keep the digits of one float32 only.

Two optimizations of XLA need care. It fuses a product and a sum into one rounding; this changes nothing
here, because the products are exact in float32. It also simplifies (x + c) - c to x for a constant c; an
optimization barrier on each sum prevents that.
"""

# The operators of a DoubleFloat compute, where those of a tuple concatenate, repeat and sort.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


class DoubleFloat(NamedTuple):
    """The unevaluated sum `high + low` of two float32 arrays, where `high` is the rounded sum."""

    high: jax.Array
    low: jax.Array

    def __add__(self, other: Real) -> DoubleFloat:
        other = as_double_float(other)
        high, error = _two_sum(self.high, other.high)
        low, low_error = _two_sum(self.low, other.low)
        high, error = _quick_two_sum(high, error + low)
        return _normal(high, error + low_error)

    def __neg__(self) -> DoubleFloat:
        return DoubleFloat(-self.high, -self.low)

    def __sub__(self, other: Real) -> DoubleFloat:
        return self + -as_double_float(other)

    def __mul__(self, other: Real) -> DoubleFloat:
        other = as_double_float(other)
        high, error = _two_product(self.high, other.high)
        return _normal(high, error + _finite(self.high * other.low + self.low * other.high))

    def __truediv__(self, other: Real) -> DoubleFloat:
        other = as_double_float(other)
        # XLA would replace a division by a constant with a product with its rounded inverse. The `where`
        # hides the constant.
        quotient = self.high / jnp.where(jnp.isnan(self.high), self.high, other.high)
        remainder = self - other * quotient
        return _normal(quotient, _finite(remainder.high / other.high))

    def __abs__(self) -> DoubleFloat:
        return DoubleFloat(jnp.abs(self.high), jnp.where(self.high < 0, -self.low, self.low))

    def __lt__(self, other: Real) -> jax.Array:
        other = as_double_float(other)
        lower = (self.high == other.high) & (self.low < other.low)
        return (self.high < other.high) | lower

    def __gt__(self, other: Real) -> jax.Array:
        return as_double_float(other) < self


# A DoubleFloat or, under `jax_enable_x64`, a float64 array. Both support the same operators, but no type
# expresses that.
Real: TypeAlias = Any


def as_real(value: ArrayLike) -> Real:
    """Return `value` as a float64 array under `jax_enable_x64`, and as a `DoubleFloat` otherwise."""
    if jax.dtypes.canonicalize_dtype(float) == np.float64:
        return jnp.asarray(value, dtype=np.float64)
    return as_double_float(value)


def as_double_float(value: ArrayLike | Real) -> DoubleFloat:
    """Return `value` as a `DoubleFloat`. It keeps 48 of the 53 bits of a float64, and all of a float32."""
    if isinstance(value, DoubleFloat):
        return value
    if isinstance(value, jax.Array):
        high = value.astype(np.float32)
        return DoubleFloat(high, jnp.zeros_like(high))
    exact = np.asarray(value, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        high = exact.astype(np.float32)
        low = np.where(np.isfinite(high), exact - high, 0.0).astype(np.float32)
    return DoubleFloat(jnp.asarray(high), jnp.asarray(low))


def round_to_float(value: Real) -> jax.Array:
    """Return the nearest number of JAX's default float type."""
    return value.high if isinstance(value, DoubleFloat) else value


def select(condition: jax.Array, on_true: Real, on_false: Real) -> Real:
    """Return `jnp.where(condition, on_true, on_false)` for real numbers."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), on_true, on_false)


def _two_sum(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the rounded sum and its exact rounding error."""
    total = jax.lax.optimization_barrier(a + b)
    b_part = total - a
    return total, _finite((a - (total - b_part)) + (b - b_part))


def _quick_two_sum(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the same as `_two_sum`, for |a| >= |b| or a == 0."""
    total = jax.lax.optimization_barrier(a + b)
    return total, _finite(b - (total - a))


def _two_product(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the rounded product and its rounding error, from four exact products of 12-bit halves."""
    a_high, a_low = _split(a)
    b_high, b_low = _split(b)
    middle, middle_error = _two_sum(a_high * b_low, a_low * b_high)
    product, error = _two_sum(a_high * b_high, middle)
    # Outside these bounds a partial product would underflow or overflow, so the plain product is returned.
    size = jnp.abs(a * b)
    exact = (size > 1e-30) & (size < 1e30)
    product = jnp.where(exact, product, a * b)
    return product, jnp.where(exact, error + (middle_error + a_low * b_low), 0.0)


def _split(a: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the upper 12 bits of the significand of `a`, and the rest."""
    bits = jax.lax.bitcast_convert_type(a, np.int32)
    high = jax.lax.bitcast_convert_type(bits & np.int32(-4096), np.float32)
    return high, a - high


def _normal(high: jax.Array, low: jax.Array) -> DoubleFloat:
    return DoubleFloat(*_quick_two_sum(high, low))


def _finite(error: jax.Array) -> jax.Array:
    """Replace an infinite or undefined rounding error with 0, as an infinite sum has no error to carry."""
    return jnp.where(jnp.isfinite(error), error, jnp.zeros_like(error))
