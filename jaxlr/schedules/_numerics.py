"""Host or device, exact powers, and the checks of arguments that every schedule shares.

A schedule given a Python or NumPy count computes in float64 on the host. Given a JAX array or tracer
it computes in JAX's default float, and no count becomes a float before it is small: float32 holds
every integer only up to 2**24, so a rounded count would be off by whole epochs.
"""

import bisect
import dataclasses
import functools
import math
import numbers
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from jaxlr._double_float import DoubleFloat, as_double_float


# A power is a product of table entries, one per digit of its exponent. More bits mean larger tables,
# fewer mean more factors, each of which costs one rounding of the product.
_DIGIT_BITS = 11

# Up to here comparing with every milestone at once is cheaper than a binary search.
_FEW_MILESTONES = 64


Count: TypeAlias = int | np.ndarray | jax.Array
Float: TypeAlias = float | np.ndarray | jax.Array


@dataclasses.dataclass(frozen=True, eq=False)
class Schedule:
    """An `optax.Schedule`: a formula, given a count that has been checked."""

    formula: Callable[[Any], Any]
    # Given where the formula is init_value times a factor of the count: such schedules may be chained.
    init_value: float | jax.Array | None = None
    fractional: bool = False  # whether counts may lie between epochs

    def __call__(self, count: ArrayLike) -> ArrayLike:
        """The learning rate at `count`: a float for a number, an array for an array."""
        count = as_count(count, self.fractional)
        rate = self.formula(count)
        if isinstance(rate, jax.Array):
            return as_float(rate)  # strongly typed, so that a scan may carry it
        # Not np.float64: a log line prints 0.1, not np.float64(0.1).
        return float(rate) if isinstance(count, int | float) else rate


def factor_of(schedule: optax.Schedule) -> float | jax.Array | None:
    """What a schedule multiplies; None if it is no multiple. A function of the user's is a factor."""
    return schedule.init_value if isinstance(schedule, Schedule) else 1.0


def array_module(*values: Any) -> Any:
    """NumPy on the host, jax.numpy as soon as one value lives on a device."""
    return jnp if any(isinstance(value, jax.Array) for value in values) else np


def as_count(count: ArrayLike, fractional: bool = False) -> Any:
    """Check a schedule's argument: a whole number of epochs or steps, 0 the first one.

    Returns an int or an int64 array on the host, an int32 (or int64) array on a device; floats too
    where `fractional`.
    """
    if type(count) is int and count >= 0:
        return count
    dtype = count.dtype if isinstance(count, jax.Array) else np.asarray(count).dtype
    is_float = fractional and jnp.issubdtype(dtype, np.floating)
    if not is_float and not jnp.issubdtype(dtype, np.integer):
        kind = "a number" if fractional else "an integer"
        raise TypeError(f"count must be {kind} or an array of them, got {count!r}")
    if isinstance(count, jax.Array):
        return as_float(count) if is_float else _as_index(count)
    array = np.asarray(count, dtype=np.float64 if is_float else np.int64)
    if not (array >= 0).all():
        raise ValueError(f"count must be 0 (the first epoch or step) or more, got {array.min()}")
    return array if array.ndim else array.item()


def as_device_count(count: Count) -> jax.Array:
    """A count from `as_count`, host or device, as a JAX array."""
    if isinstance(count, jax.Array):
        return count
    dtype = jax.dtypes.canonicalize_dtype(np.int64)
    return jnp.asarray(np.minimum(count, np.iinfo(dtype).max), dtype=dtype)


def as_float(count: Any) -> Float:
    """A count as a float: exact up to 2**24 in float32, right to half a digit beyond."""
    if not isinstance(count, jax.Array):
        return count
    return count.astype(jax.dtypes.canonicalize_dtype(float))


def remaining(point: float, count: Count) -> Any:
    """`point - count` as a float, for a static point of any size, fractional too.

    The subtraction is one of integers: a float32 cannot hold 299,999.5, nor the difference of two such.
    """
    if not isinstance(count, jax.Array) or jnp.issubdtype(count.dtype, np.floating):
        return point - count
    limits = np.iinfo(count.dtype)
    whole = min(max(math.floor(point), limits.min), limits.max)
    left = as_float(whole - count)
    return left + float(point - whole) if point != whole else left


def modulo(count: Count, divisor: int) -> Count:
    """`count % divisor` for counts from `as_count` and a static positive divisor."""
    if not isinstance(count, jax.Array) or jnp.issubdtype(count.dtype, np.floating):
        return count % divisor
    if divisor > np.iinfo(count.dtype).max:
        return count
    return jax.lax.rem(count, jnp.full_like(count, divisor))


def fold(count: Count, length: int) -> Count:
    """0, 1, ..., length, length - 1, ..., 1, 0, 1, ...: the distance from the nearest 2 k length."""
    position = modulo(count, 2 * length)
    if isinstance(count, jax.Array) and length > np.iinfo(count.dtype).max:
        return position
    return length - abs(length - position)


def largest_count(count: Any) -> int:
    """The largest whole number that a count of this kind can be; beyond 2**62 no table goes."""
    is_integer = isinstance(count, jax.Array) and jnp.issubdtype(count.dtype, np.integer)
    return int(np.iinfo(count.dtype).max) if is_integer else 2**62


def at_most(count: Count, bound: int) -> Count:
    """The smaller of a count and a static bound."""
    if not isinstance(count, jax.Array):
        return min(count, bound) if isinstance(count, int) else np.minimum(count, bound)
    return jnp.minimum(count, min(bound, np.iinfo(count.dtype).max))


def anneal(
    start: Float, end: Float, done: Float, left: Float, length: float, strategy: str = "cos"
) -> Float:
    """From `start` (nothing done) to `end` (nothing left of `length`), along a cosine or a line."""
    return blend(start, end, done, left, anneal_unit(length, strategy), strategy)


def anneal_unit(length: float, strategy: str) -> float:
    """What turns a distance into its part of `length`: an angle to multiply by, or a divisor."""
    return math.pi / 2 / length if strategy == "cos" else float(length)


def blend(start: Float, end: Float, done: Float, left: Float, unit: Float, strategy: str) -> Float:
    """`anneal`, by a unit that may be one of several.

    Both weights come from a distance that is exact near its end, where the textbook's 1 + cos, or a
    difference of near equals, has lost every digit. Torch's float64 has lost some of its too: there
    the mathematical value is the reference.
    """
    xp = array_module(done, left)
    if strategy == "linear":
        return end * (done / unit) + start * (left / unit)
    return end * xp.sin(unit * done) ** 2 + start * xp.sin(unit * left) ** 2


def power_of_rest(done: Count, whole: int, exponent: float | jax.Array) -> Float:
    """`((whole - done) / whole) ** exponent` for counts with 0 <= done <= whole."""
    rest: Any = remaining(whole, done) / float(whole)
    if not isinstance(done, jax.Array) or rest.dtype == np.float64 or _is_small(exponent):
        return array_module(done, exponent).power(rest, exponent)
    # The rounding error of the rest grows with the exponent, so it is found and taken back.
    exact = (as_double_float(float(whole)) - _exact_double_float(done)) / as_double_float(float(whole))
    error = jnp.where(exact.high > 0, exponent * exact.low / exact.high, 0.0)
    return jnp.power(exact.high, exponent) * (1 + error)


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
    except OverflowError:  # Python's floats raise where everybody else's become infinity or 0
        return math.inf if base > 1 else float(base == 1)


def count_reached(milestones: Sequence[int], count: Any) -> Any:
    """The number of sorted milestones at or before `count`."""
    if isinstance(count, int | float):
        return bisect.bisect_right(milestones, count)
    reachable = [value for value in milestones if value <= largest_count(count)]
    if isinstance(count, np.ndarray):
        return np.searchsorted(np.asarray(reachable, dtype=np.int64), count, side="right")
    method = "compare_all" if len(reachable) <= _FEW_MILESTONES else "scan_unrolled"
    array = jnp.asarray(reachable, dtype=count.dtype)
    return jnp.searchsorted(array, count, side="right", method=method)


def is_before(count: Count, epoch: int) -> Any:
    """Whether a count is less than a static epoch."""
    if isinstance(count, jax.Array) and epoch > np.iinfo(count.dtype).max:
        return jnp.ones(count.shape, dtype=bool)
    return count < epoch


def choose(condition: Any, on_true: Any, on_false: Any) -> Any:
    """`where`, of arrays on either side and of Python numbers, for which NumPy's is slow."""
    if isinstance(condition, bool):
        return on_true if condition else on_false
    return array_module(condition, on_true, on_false).where(condition, on_true, on_false)


def look_up(table: np.ndarray, count: Count) -> Float:
    """The entry of a float64 table at `count`; the last one holds."""
    index = at_most(count, len(table) - 1)
    if not isinstance(index, jax.Array):
        return table[index]
    values = jnp.asarray(table, dtype=jax.dtypes.canonicalize_dtype(float))
    return values.at[index].get(mode="clip")


def apply_to_each(function: Any, count: Count) -> Float:
    """A user's function of a count: of each one as a Python int on the host, traced on a device."""
    if isinstance(count, int):
        return function(count)
    if isinstance(count, np.ndarray):
        values = [float(function(each)) for each in count.ravel().tolist()]
        return np.asarray(values, dtype=np.float64).reshape(count.shape)
    try:
        return jnp.broadcast_to(as_float(jnp.asarray(function(count))), count.shape)
    except jax.errors.JAXTypeError as error:
        error.add_note(
            "JAX cannot trace this function of the epoch: write it with jax.numpy, "
            "or give its epochs to jaxlr.tabulate(function, num_steps)"
        )
        raise


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
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number < 0 or (positive and number == 0):
        got = (
            repr(value) if abs(number) < math.inf or isinstance(value, float) else "a number beyond float64"
        )
        raise ValueError(f"{name} must be a finite number {bound}, got {got}")
    return number


def is_real_dtype(dtype: np.dtype) -> bool:
    """Whether numbers of `dtype` are integers or floats, bfloat16 included."""
    return jnp.issubdtype(dtype, np.integer) or jnp.issubdtype(dtype, np.floating)


def check_milestones(milestones: Iterable[float]) -> list[int]:
    """Whole numbers of at least 0, in the order given."""
    if isinstance(milestones, str) or not isinstance(milestones, Iterable):
        raise TypeError(f"milestones must be a list of whole numbers, got {milestones!r}")
    checked = [check_whole_number("each of milestones", value) for value in milestones]
    if any(value < 0 for value in checked):
        raise ValueError(f"milestones must be epochs (or steps) of at least 0, got {min(checked)}")
    return checked


def check_function(name: str, value: Any) -> None:
    """Something to call."""
    if not callable(value):
        raise TypeError(f"{name} must be a function of the epoch (or step), got {value!r}")


def check_finite(name: str, table: np.ndarray) -> np.ndarray:
    """Values of a user's function, none of them infinite or NaN."""
    if not np.isfinite(table).all():
        epoch = int(np.flatnonzero(~np.isfinite(table))[0])
        raise ValueError(f"{name} must give finite numbers, got {table[epoch]} at epoch {epoch}")
    return table


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    """One of a few words."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def check_at_most(name: str, value: float | jax.Array, bound: float) -> float | jax.Array:
    """A checked value that is no more than `bound`, unless it is traced."""
    if not isinstance(value, jax.Array) and value > bound:
        raise ValueError(f"{name} must be at most {bound:g}, got {value!r}")
    return value


def _is_small(exponent: float | jax.Array) -> bool:
    return not isinstance(exponent, jax.Array) and exponent <= 3


def _as_index(count: jax.Array) -> jax.Array:
    if count.dtype == np.int64:
        return count
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
