"""Counts of epochs and steps, on the host or on a device.

A schedule computes in float64 on the host for a Python or NumPy count. For a JAX array or tracer it
computes in JAX's default float type. A count stays an integer until it is small, because float32 holds
every integer only up to 2**24. Beyond that, a rounded count would be off by whole epochs.
"""

import bisect
import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxlr._checks import LARGEST_ARGUMENT, shown_value
from jaxlr._compat import has_explicit_sharding
from jaxlr._flax import as_array


# The largest count that an int64 array can hold.
LARGEST_COUNT = 2**63 - 1

# Starts of cycles and milestones lie below this. It is the longest period that arguments can make, and two
# of them still fit in an int64.
LARGEST_START = 2 * LARGEST_ARGUMENT

# Up to this number of milestones, comparing with all of them is cheaper than a binary search.
_FEW_MILESTONES = 64

Count: TypeAlias = int | np.ndarray | jax.Array
Float: TypeAlias = float | np.ndarray | jax.Array


def array_module(*values: Any) -> Any:
    """Return `jax.numpy` if one of the values is a JAX array, else `numpy`."""
    return jnp if any(isinstance(value, jax.Array) for value in values) else np


def is_zero(value: Any) -> bool:
    """Return True if a value is known to be 0. That of a JAX scalar is not known."""
    return not isinstance(value, jax.Array) and value == 0


def as_count(count: ArrayLike, fractional: bool = False) -> Any:
    """Check the argument of a schedule: a whole number of epochs or steps, where 0 is the first one.

    Return an int or an int64 array on the host, and an int32 (or int64) array on a device. If
    `fractional`, floats are accepted and returned too. A negative count on the host becomes 0:
    `optax.join_schedules` calls every schedule, also before its turn, and drops that rate. On a device the
    schedule replaces it, inside of its compiled function.
    """
    if type(count) is int and count >= 0:
        return count
    count = as_array(count)  # such as `optimizer.step` of an nnx.Optimizer
    dtype = count.dtype if isinstance(count, jax.Array) else np.asarray(count).dtype
    is_float = fractional and jnp.issubdtype(dtype, np.floating)
    if not is_float and not jnp.issubdtype(dtype, np.integer):
        kind = "a number" if fractional else "an integer"
        raise TypeError(f"count must be {kind} or an array of them, got {shown_value(count)}")
    if isinstance(count, jax.Array):
        return as_float(count) if is_float else _as_index(count)
    array = np.asarray(count)
    if is_float and not np.isfinite(array).all():
        raise ValueError(f"count must be a finite number, got {shown_value(count)}")
    if array.dtype == np.uint64 and array.size and array.max() > LARGEST_COUNT:
        raise ValueError(f"count must be at most 2**63 - 1, got {shown_value(count)}")
    array = np.maximum(array.astype(np.float64 if is_float else np.int64), 0)
    return array if array.ndim else array.item()


def as_device_count(count: Count) -> jax.Array:
    """Return a count from `as_count`, on the host or on a device, as a JAX array."""
    if isinstance(count, jax.Array):
        return count
    dtype = jax.dtypes.canonicalize_dtype(np.int64)
    return jnp.asarray(at_most(count, int(np.iinfo(dtype).max)), dtype=dtype)


def as_float(count: Any) -> Float:
    """Return a count as a float. In float32 it is exact up to 2**24, and rounded beyond."""
    if not isinstance(count, jax.Array):
        return count
    return count.astype(jax.dtypes.canonicalize_dtype(float))


def remaining(point: float, count: Count) -> Any:
    """Return `point - count` as a float, for a static point of any size, which may be fractional.

    The integers are subtracted first. A float32 can hold neither 299,999.5 nor the exact difference of two
    numbers of that size.
    """
    if not isinstance(count, jax.Array) or jnp.issubdtype(count.dtype, np.floating):
        return point - count
    # Subtract the nearest integer first. The fraction that remains is small and keeps its digits.
    whole = min(max(round(point), -1), np.iinfo(count.dtype).max)
    left = as_float(whole - count)
    return left + float(point - whole) if point != whole else left


def modulo(count: Count, divisor: int) -> Count:
    """Return `count % divisor` for a count from `as_count` and a static positive divisor."""
    if not isinstance(count, jax.Array) or jnp.issubdtype(count.dtype, np.floating):
        return count % divisor
    if divisor > np.iinfo(count.dtype).max:
        return count
    return _remainder(count, divisor)


def fold(count: Count, length: int) -> Count:
    """Return the distance from `count` to the nearest even multiple of `length`.

    For counts 0, 1, 2, ... it is 0, 1, ..., length, length - 1, ..., 1, 0, 1, ...
    """
    position = modulo(count, 2 * length)
    if isinstance(count, jax.Array) and length > np.iinfo(count.dtype).max:
        return position
    return length - abs(length - position)


def largest_count(count: Any) -> int:
    """Return the largest whole number that a count of this type can be.

    For host counts and floats it is `LARGEST_START`, which no table of starts exceeds.
    """
    is_integer = isinstance(count, jax.Array) and jnp.issubdtype(count.dtype, np.integer)
    return int(np.iinfo(count.dtype).max) if is_integer else LARGEST_START


def at_most(count: Count, bound: int) -> Count:
    """Return the smaller of a count and a static bound."""
    if not isinstance(count, jax.Array):
        return min(count, bound) if isinstance(count, int) else np.minimum(count, bound)
    bound = min(bound, largest_count(count))
    return jnp.minimum(count, bound if jnp.issubdtype(count.dtype, np.integer) else float(bound))


def floor_divide(count: Count, divisor: int) -> Count:
    """Return `count // divisor` for a count from `as_count` and a static positive divisor."""
    if not isinstance(count, jax.Array):
        return count // divisor
    if divisor > np.iinfo(count.dtype).max:
        return jnp.zeros_like(count)
    return _quotient(count, divisor)


def count_reached(milestones: Sequence[int], count: Any) -> Any:
    """Return how many of the sorted milestones are at or before `count`."""
    if isinstance(count, int | float):
        return bisect.bisect_right(milestones, count)
    reachable = [value for value in milestones if value <= largest_count(count)]
    if isinstance(count, np.ndarray):
        return np.searchsorted(np.asarray(reachable, dtype=np.int64), count, side="right")
    if len(reachable) > _FEW_MILESTONES:
        return _search(np.asarray(reachable, dtype=count.dtype), count)
    array = jnp.asarray(reachable, dtype=count.dtype)
    return jnp.searchsorted(array, count, side="right", method="compare_all")


def is_before(count: Count, epoch: int) -> Any:
    """Return `count < epoch` for a static epoch, which may be too large for the dtype of the count."""
    if isinstance(count, jax.Array) and epoch > np.iinfo(count.dtype).max:
        return jnp.ones(count.shape, dtype=bool)
    return count < epoch


def choose(condition: Any, on_true: Any, on_false: Any) -> Any:
    """Return `where(condition, on_true, on_false)`, without the overhead of NumPy for Python numbers."""
    if isinstance(condition, bool):
        return on_true if condition else on_false
    return array_module(condition, on_true, on_false).where(condition, on_true, on_false)


def rate_of_part(parts: Sequence[Callable[[Any], Any]], begins: Sequence[int], count: Any) -> Any:
    """Return the rate of the last part that has begun, at the count since it began.

    For an array all parts are evaluated, so each must be defined at every count from 0 on.
    """
    if isinstance(count, int):
        active = count_reached(begins[1:], count)
        return parts[active](count - begins[active])
    xp = array_module(count)
    rate = parts[0](xp.maximum(count, 0))
    for part, begin in zip(parts[1:], begins[1:], strict=True):
        since = xp.maximum(count - min(begin, largest_count(count)), 0)
        rate = choose(is_before(count, begin), rate, part(since))
    return rate


def look_up(table: np.ndarray, count: Count) -> Float:
    """Return the entry of a float64 table at `count`. Later counts get the last entry."""
    if isinstance(count, jax.Array):
        table = table.astype(jax.dtypes.canonicalize_dtype(float))
    return take(table, at_most(count, len(table) - 1))


def take(table: np.ndarray, index: Count) -> Any:
    """Return the entries of a table at `index`, which lies in the table. They are sharded like `index`."""
    if not isinstance(index, jax.Array):
        return table[index]
    if not has_explicit_sharding(index):
        return jnp.asarray(table).at[index].get(mode="clip")

    # On a mesh with explicit axes a gather must name the sharding of its result. Inside of vmap the index
    # does not show the sharding of the mapped axis, so the gather is done on the whole batch.
    @jax.custom_batching.custom_vmap
    def gather(index: jax.Array) -> jax.Array:
        return jnp.asarray(table).at[index].get(mode="clip", out_sharding=jax.typeof(index).sharding)

    @gather.def_vmap
    def gather_batch(axis_size: int, is_batched: list[bool], index: jax.Array) -> tuple[jax.Array, bool]:
        del axis_size, is_batched
        return gather(index), True

    return gather(index)


def _search(milestones: np.ndarray, count: jax.Array) -> jax.Array:
    """Return the result of `count_reached` with a binary search, which adds one bit of it after another."""
    reached = jnp.zeros_like(count)
    for bit in reversed(range(len(milestones).bit_length())):
        candidate = reached + (1 << bit)
        milestone = take(milestones, jnp.minimum(candidate, len(milestones)) - 1)
        is_reached = (candidate <= len(milestones)) & (milestone <= count)
        reached = jnp.where(is_reached, candidate, reached)
    return reached


# Outside of compiled code a compiled function is one dispatch, where its operations would be several.
_compiled = functools.partial(jax.jit, static_argnums=1, inline=True)


@_compiled
def _quotient(count: jax.Array, divisor: int) -> jax.Array:
    return jax.lax.div(count, jnp.full_like(count, divisor))


@_compiled
def _remainder(count: jax.Array, divisor: int) -> jax.Array:
    return jax.lax.rem(count, jnp.full_like(count, divisor))


def _as_index(count: jax.Array) -> jax.Array:
    if count.dtype == np.int64:
        return count
    if count.dtype in (np.uint32, np.uint64):
        count = jnp.minimum(count, np.iinfo(np.int32).max)
    return count.astype(np.int32)
