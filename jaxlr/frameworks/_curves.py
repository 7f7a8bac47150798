"""Phases that several frameworks share: warmups, waves of a cosine, and cycles."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import jax
import optax
from jax.typing import ArrayLike

from jaxlr._checks import check_value, shown_value
from jaxlr.schedules import Phase, phased_lr
from jaxlr.schedules._counts import array_module
from jaxlr.schedules._schedule import Schedule, prints_as_call
from jaxlr.schedules.phases import Shape


_MOST_PHASES = 200  # each phase costs time in a compiled step


def warmup(steps: float, start: float = 0.0) -> Phase:
    """Return a line from a factor to 1 in `steps`, which may end between two counts."""
    if steps <= 0:
        return Phase(0, "linear", start_factor=start, end_factor=1.0)
    return Phase(math.ceil(steps), "linear", start_factor=start, end_factor=1.0, span=steps)


def warmup_ahead(steps: int, span: float | None = None) -> Phase:
    """Return a line that begins one step ahead: count k has (k + 1) / `span`, by default `steps`."""
    span = max(1, steps) if span is None else span
    return Phase(steps, "linear", start_factor=0.0, end_factor=1.0, offset=1, span=span)


def between(begin: float, end: float, counts: tuple[int, int], shape: Shape, **ends: Any) -> Phase:
    """Return the phase of some counts on a curve, which starts at the factor 1 by default.

    Args:
        begin: the point where the curve starts, which may lie between two counts.
        end: the point where it ends.
        counts: the first count on the curve, and the first one after it.
        shape: the shape of the curve.
        ends: its end, and other arguments of a phase.
    """
    first, stop = counts
    more: Any = {"start_factor": 1.0, "offset": first - begin, "span": end - begin, **ends}
    return Phase(stop - first, shape, **more)


def noam(steps: int) -> list[Phase]:
    """Return a line to 1 at step `steps`, then the inverse square root of the step. Count 0 is step 1."""
    return [warmup_ahead(steps - 1, steps), Phase(shape="inverse_sqrt", start_factor=1.0, span=steps)]


def warmed_cosine(warmup: int, total: int, **low: Any) -> list[Phase]:
    """Return a line from 0 to 1, then a cosine up to `total` if it is longer than the warmup.

    Args:
        warmup: counts of the line.
        total: counts of both.
        low: the end of the cosine, as `end_factor` or `end_value` of a phase.
    """
    line = Phase(warmup, "linear", start_factor=0.0, end_factor=1.0)
    return [line, Phase(total - warmup, "cosine", start_factor=1.0, **low)] if total > warmup else [line]


def check_steps(name: str, value: Any, default: float | None = None) -> float:
    """Return a number of steps, which may have a fraction, as in `num_warmup_steps=0.1 * num_steps`."""
    number = check_value(name, default if value is None else value)  # pyright: ignore[reportArgumentType]
    if not isinstance(number, float):
        raise TypeError(f"{name} must be a number known at compile time, got {shown_value(value)}")
    if number > 2**53:
        raise ValueError(f"{name} must be at most 2**53, got {number:g}")
    return number


def waves(
    init_value: ArrayLike,
    before: Sequence[Phase],
    span: float,
    cycles: float,
    first: float = 0.0,
    **low: Any,
) -> optax.Schedule:
    """Return a schedule of the phases `before`, then an endless cosine with `cycles` waves in `span` steps.

    Args:
        init_value: learning rate at the top of the waves.
        before: phases before the cosine.
        span: steps of `cycles` waves, at least 1.
        cycles: number of waves; 0.5 falls once, and rises again after `span` steps.
        first: steps of the cosine that have passed when it begins.
        low: the bottom of the waves, as `end_factor` or `end_value` of a phase.
    """
    half = Fraction(span) / (2 * _fraction("num_cycles", cycles))
    start = Fraction(first)
    # Phases begin at whole steps. At this turn of the cosine, the next top or bottom is at one.
    turn = next(
        (n for n in range(_MOST_PHASES) if (n * half - start).denominator == 1 and n * half >= start), None
    )
    turn = _check_turns(turn)
    lead_in = _half_waves(half, range(turn), start, low)
    if half.denominator == 1:
        ends = _ends(turn, low)
        return phased_lr(init_value, [*before, *lead_in, Phase(None, "cosine", span=float(half), **ends)])
    turns = range(turn, turn + _check_turns(2 * (2 * half).denominator))
    repeated = _half_waves(half, turns, turn * half, low)
    return phased_lr(init_value, [*before, *lead_in, *repeated], repeat=len(repeated))


def falling_waves(length: int, cycles: float, **low: Any) -> list[Phase]:
    """Return the phases of a cosine of `cycles` whole waves, which ends after `length` steps."""
    half = Fraction(length) / (2 * _fraction("num_cycles", cycles))
    turns = _check_turns(math.ceil(length / half))
    return _half_waves(half, range(turns), Fraction(0), low, end=length)


@prints_as_call
def sine_ramp(steps: int, start: ArrayLike) -> optax.Schedule:
    """Return a factor that climbs from `start` to 1 in `steps`, along the first quarter of a sine."""

    def formula(count: Any) -> Any:
        module = array_module(count, start)
        share = module.minimum(count, steps) / steps
        return start + (1 - start) * module.sin(math.pi / 2 * share)

    return Schedule(formula, init_value=1.0)


@prints_as_call
def dampened(schedule: optax.Schedule, factor: optax.Schedule) -> optax.Schedule:
    """Return a schedule times a factor of the count."""
    return Schedule(lambda count: schedule(count) * factor(count), functions=(schedule,))


@prints_as_call
def approach(rate: float) -> optax.Schedule:
    """Return the factor 1 - exp(-(count + 1) * `rate`), which approaches 1."""

    def formula(count: Any) -> Any:
        return -array_module(count).expm1(-(count + 1.0) * rate)

    return Schedule(formula, init_value=1.0)


@prints_as_call
def floored(schedule: optax.Schedule, floor: ArrayLike, begin: int) -> optax.Schedule:
    """Return a schedule that is at least `floor` from the count `begin` on."""
    if not isinstance(floor, jax.Array) and floor == 0:
        return schedule
    least = phased_lr(floor, [Phase(begin, start_factor=0.0), Phase(start_factor=1.0)])

    def formula(count: Any) -> Any:
        rates: list[Any] = [schedule(count), least(count)]
        return array_module(*rates).maximum(*rates)

    return Schedule(formula, functions=(schedule,))


def _half_waves(
    half: Fraction, turns: range, start: Fraction, low: dict[str, Any], end: int | None = None
) -> list[Phase]:
    """Return a phase for each fall and rise from the position `start` on. Turn 0 is a fall."""
    phases: list[Phase] = []
    for turn in turns:
        begins, ends = (max(0, math.ceil(half * n - start)) for n in (turn, turn + 1))
        length = (ends if end is None else min(ends, end)) - begins
        if length > 0:
            offset = float(begins + start - half * turn)
            phases.append(Phase(length, "cosine", offset=offset, span=float(half), **_ends(turn, low)))
    return phases


def _ends(turn: int, low: dict[str, Any]) -> dict[str, Any]:
    """Return the ends of a half wave: the even ones fall to the bottom, the odd ones rise from it."""
    if turn % 2 == 0:
        return {"start_factor": 1.0, **low}
    return {"end_factor": 1.0, **{name.replace("end_", "start_"): value for name, value in low.items()}}


def _fraction(name: str, number: float) -> Fraction:
    exact = Fraction(number).limit_denominator(1000)
    if number <= 0 or float(exact) != number:
        raise ValueError(f"{name} must be a number above 0 with few digits, such as 0.5, got {number!r}")
    return exact


def _check_turns(turns: int | None) -> int:
    if turns is None or turns > _MOST_PHASES:
        raise ValueError(
            "the turns of this cosine do not come back to a whole step: give whole numbers of steps"
        )
    return turns
