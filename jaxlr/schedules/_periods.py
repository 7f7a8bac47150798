"""Periods whose length may lie between two counts, such as the 12.5 epochs of a `T_max=12.5`.

On a device the position in such a period is computed with double floats. A rounded position would lose the
digits of a rate near the end of a cosine.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlr._double_float import DoubleFloat, Real, as_real, round_to_float
from jaxlr.schedules._counts import Count, Float, as_float, floor_divide, fold, modulo, remaining, take


_DIGIT_BITS = 11  # of a count, for each of which there is a table


def folded(count: Count, length: float) -> tuple[Float, Float]:
    """Return the distances from a count that bounces between 0 and `length` to these two ends."""
    if isinstance(length, int):
        done = fold(count, length)
        return as_float(done), remaining(length, done)
    position = cycle_and_position(count, 2 * length)[1]
    if not isinstance(count, jax.Array):
        left = abs(length - position)
        return length - left, left
    left = abs(as_real(length) - position)
    return round_to_float(as_real(length) - left), round_to_float(left)


def cycle_and_position(count: Count, period: float) -> tuple[Any, Real]:
    """Return the number of whole periods before a count, and the position of the count in its period.

    On a device the position in a fractional period is a double float. It is the sum of the positions of the
    digits of the count, which are in tables.
    """
    if isinstance(period, int):
        return floor_divide(count, period), modulo(count, period)
    if isinstance(count, int):  # of any size
        return int(count // period), count % period
    if isinstance(count, np.ndarray):
        return np.floor_divide(count, period).astype(np.int64), count % period
    dtype = jax.dtypes.canonicalize_dtype(float)
    cycle, position, rest = jnp.zeros_like(count), as_real(jnp.zeros_like(count, dtype)), count
    for cycles, positions in _tables(period, np.iinfo(count.dtype).bits - 1):
        digit = rest & (2**_DIGIT_BITS - 1)
        rest = rest >> _DIGIT_BITS
        cycle = cycle + take(cycles.astype(count.dtype), digit)
        position = position + _take_real(positions, digit)
        is_beyond = round_to_float(position) >= period  # two positions add up to less than two periods
        cycle = cycle + is_beyond.astype(count.dtype)
        position = position - as_real(period) * is_beyond.astype(dtype)
    return cycle, position


def _take_real(table: np.ndarray, index: jax.Array) -> Real:
    return jax.tree.map(lambda part: take(part, index), as_real(table))


@functools.lru_cache
def _tables(period: float, num_bits: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the whole periods in `digit * 2**shift` counts and the rest, for each digit of a count.

    A float64 holds these numbers exactly, and so its remainder is exact.
    """
    tables: list[tuple[np.ndarray, np.ndarray]] = []
    for shift in range(0, num_bits, _DIGIT_BITS):
        counts = np.arange(2 ** min(_DIGIT_BITS, num_bits - shift)) * 2.0**shift
        position = np.fmod(counts, period)
        tables.append((np.round((counts - position) / period), position))
    return tables


def distances(position: Real, point: float, period: float) -> tuple[Float, Float, Float]:
    """Return the distances from the start of a period to a position, and on to a point and to the end."""
    if isinstance(position, DoubleFloat):
        until_point, until_end = as_real(point) - position, as_real(period) - position
        return round_to_float(position), round_to_float(until_point), round_to_float(until_end)
    return as_float(position), remaining(point, position), remaining(period, position)
