"""The shapes of a phase: the shares of its start value and of its end value in the rate."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxlr._double_float import DoubleFloat, Real, as_double_float, select
from jaxlr.schedules._anneal import anneal_unit, blend
from jaxlr.schedules._counts import Count, Float, array_module, as_float, choose, fold, is_zero, remaining
from jaxlr.schedules._powers import corrected_power, exact_double_float, exp2, log2, split_float


# The behaviour of a shape past the end of its span. "never": no count gets there.
PastEnd: TypeAlias = Literal["never", "hold", "bounce"]


@dataclasses.dataclass(frozen=True)
class Position:
    """A position on a shape of `span` counts. At count 0, `offset` are done and `ahead` are left."""

    count: Count
    offset: float
    ahead: float
    span: float
    power: float
    past_end: PastEnd

    @property
    def done(self) -> Float:
        done = -remaining(-self.offset, self.count)
        return choose(done > self.span, self.span, done) if self.past_end == "hold" else done

    @property
    def left(self) -> Float:
        left = remaining(self.ahead, self.count)
        return choose(left < 0, 0.0, left) if self.past_end == "hold" else left

    @property
    def part_done(self) -> Real:
        """The quotient `done / span`, with float64's digits."""
        if not _is_float32(self.count):
            return self.done / self.span
        part = self._exact_done * (1 / self.span)
        return part if self.past_end == "never" else select(part > 1.0, as_double_float(1.0), part)

    @property
    def part_left(self) -> Real:
        """The quotient `left / span`, with float64's digits."""
        if not _is_float32(self.count):
            return self.left / self.span
        left = as_double_float(self.ahead) - exact_double_float(jnp.asarray(self.count))
        part = left * (1 / self.span)
        return part if self.past_end == "never" else select(part < 0.0, as_double_float(0.0), part)

    @property
    def span_of_all(self) -> Real:
        """The quotient `span / (done + span)`, with float64's digits."""
        if not _is_float32(self.count):
            return self.span / (self.done + self.span)
        return as_double_float(float(self.span)) / (self._exact_done + self.span)

    @property
    def _exact_done(self) -> DoubleFloat:
        return exact_double_float(jnp.asarray(self.count)) + self.offset


# The share of the start value, then the share of the end value. They add up to 1. Neither is computed as
# 1 minus the other, so that each keeps its digits where it is small. The cosine and the exponential shape
# have separate functions below.
SHARES: dict[str, tuple[Callable[[Position], Float], Callable[[Position], Float]]] = {
    "linear": (
        lambda at: at.left / at.span,
        lambda at: at.done / at.span,
    ),
    "polynomial": (
        lambda at: _power(at.part_left, at.left / at.span, at.power),
        lambda at: _power_complement(at.left, at.done, at),
    ),
    "power": (
        lambda at: _power_complement(at.done, at.left, at),
        lambda at: _power(at.part_done, at.done / at.span, at.power),
    ),
    "inverse_power": (
        lambda at: _power(at.span_of_all, 1 / (1 + at.done / at.span), at.power),
        lambda at: -_expm1(-at.power * array_module(at.done).log1p(at.done / at.span)),
    ),
    "log": (
        lambda at: array_module(at.done).log1p(at.left / (1 + at.done)) / math.log1p(at.span),
        lambda at: array_module(at.done).log1p(at.done) / math.log1p(at.span),
    ),
    "shifted_exponential": (
        lambda at: _expm1(math.log(2) * (at.left / at.span)),
        lambda at: -2 * _expm1(-math.log(2) * (at.done / at.span)),
    ),
    "tanh": (
        lambda at: 1 / (1 + _exp(-_tanh_angle(at))),
        lambda at: 1 / (1 + _exp(_tanh_angle(at))),
    ),
    "rex": (
        lambda at: at.left / (at.left + 0.1 * at.done),
        lambda at: 0.1 * at.done / (at.left + 0.1 * at.done),
    ),
}


def mix(shape: str, start: Any, end: Any, at: Position) -> Float:
    """Return the rate at a position between `start` and `end`."""
    if not isinstance(start, jax.Array) and not isinstance(end, jax.Array) and start == end:
        return start
    if shape == "cosine":
        return _cosine(start, end, at)
    if shape == "exponential":
        return _geometric(start, end, at)
    shares = SHARES[shape]
    # A value of 0 contributes nothing, so its share is not computed.
    terms = [
        value * share(at) for value, share in zip((start, end), shares, strict=True) if not is_zero(value)
    ]
    return sum(terms[1:], terms[0])


def _cosine(start: Any, end: Any, at: Position) -> Float:
    done, left = at.done, at.left
    if at.past_end == "bounce":  # the span is a whole number, and there is no offset
        folded = fold(at.count, int(at.span))
        done, left = as_float(folded), remaining(int(at.span), folded)
    unit = anneal_unit(at.span, "cos")
    if is_zero(end):
        return start * array_module(left).sin(unit * left) ** 2
    if is_zero(start):
        return end * array_module(done).sin(unit * done) ** 2
    return blend(start, end, done, left, unit, "cos")


def _geometric(start: Any, end: Any, at: Position) -> Float:
    """Return the geometric mean of two values, weighted by the parts of the span that are left and done."""
    if not _is_float32(at.count):
        return start ** (at.left / at.span) * end ** (at.done / at.span)
    part = at.part_done
    if not isinstance(start, jax.Array) and not isinstance(end, jax.Array):
        return _double_exp2(as_double_float(math.log2(start)) + part * math.log2(end / start))
    return _traced_geometric(jnp.float32(start), jnp.float32(end), part)


@jax.custom_jvp
def _traced_geometric(start: jax.Array, end: jax.Array, part: DoubleFloat) -> jax.Array:
    log_start = _double_log2(start)
    rate = _double_exp2(log_start + part * (_double_log2(end) - log_start))
    return jnp.where((start > 0) & (end > 0), rate, jnp.nan)


@_traced_geometric.defjvp
def _traced_geometric_jvp(primals, tangents):
    start, end, part = primals
    rate = _traced_geometric(start, end, part)
    return rate, rate * ((1 - part.high) / start * tangents[0] + part.high / end * tangents[1])


def _double_exp2(exponent: DoubleFloat) -> jax.Array:
    """Return 2 ** exponent as a float32."""
    whole = jnp.clip(jnp.round(exponent.high), -252, 252)
    fraction = (exponent.high - whole) + exponent.low
    return exp2(fraction, whole.astype(np.int32))


def _double_log2(value: jax.Array) -> DoubleFloat:
    """Return the logarithm to base 2 of a positive float32."""
    significand, scale = split_float(value)
    return log2(significand) + scale.astype(np.float32)


def _power(ratio: Real, rounded: Float, exponent: float) -> Float:
    """Return `ratio ** exponent`. `rounded` is the ratio as a float."""
    if not isinstance(ratio, DoubleFloat):
        return array_module(ratio).power(ratio, exponent)
    if exponent <= 1 and exponent == float(np.float32(exponent)):
        return jnp.power(rounded, exponent)  # the power does not amplify the rounding
    return corrected_power(ratio.high, ratio.low, exponent)


def _power_complement(part: Float, rest: Float, at: Position) -> Float:
    """Return `1 - (part / span) ** power`, where `part + rest` is the span."""
    xp = array_module(part)
    with np.errstate(divide="ignore"):
        # Each of the two logarithms loses digits where the other one keeps them.
        log = choose(part <= rest, xp.log(part / at.span), xp.log1p(-rest / at.span))
        return -_expm1(at.power * log)


def _tanh_angle(at: Position) -> Real:
    """Return twice the argument of timm's tanh: 14 at the start of the span, -6 at its end."""
    return at.part_left * 20.0 - 6.0


def _exp(value: Real) -> Float:
    if isinstance(value, DoubleFloat):
        return jnp.exp(value.high) * (1 + value.low)
    return array_module(value).exp(value)


def _expm1(value: Float) -> Float:
    """Return `exp(value) - 1` for values below 0.7. XLA's expm1 is off by three roundings in float32."""
    if not isinstance(value, jax.Array) or value.dtype == np.float64:
        return array_module(value).expm1(value)
    small = jnp.where(jnp.abs(value) <= 0.7, value, 0.0)
    tail = jnp.zeros_like(small)
    for factorial in (math.factorial(n) for n in range(11, 1, -1)):
        tail = tail * small + 1 / factorial
    return jnp.where(small == value, small + small * small * tail, jnp.exp(value) - 1)


def _is_float32(count: Count) -> bool:
    return isinstance(count, jax.Array) and jax.dtypes.canonicalize_dtype(float) != np.float64
