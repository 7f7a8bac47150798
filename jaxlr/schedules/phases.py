"""Schedules made of phases. Each phase moves from one rate to the next along a shape."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.typing import ArrayLike

from jaxlr._checks import LARGEST_ARGUMENT, check_value, check_whole_number, shown_value
from jaxlr.schedules._counts import (
    Count,
    Float,
    array_module,
    as_device_count,
    at_most,
    choose,
    count_reached,
    is_before,
    is_zero,
    largest_count,
    modulo,
    rate_of_part,
)
from jaxlr.schedules._phase import WITHOUT_END, Phase, Shape, past_end
from jaxlr.schedules._schedule import Schedule, prints_as_call
from jaxlr.schedules._shapes import Position, mix


__all__ = ["Phase", "Shape", "phased_lr"]


@prints_as_call
def phased_lr(init_value: ArrayLike, phases: Sequence[Phase], *, repeat: int = 0) -> optax.Schedule:
    r"""A sequence of phases, such as a warmup, a hold and a decay.

    $$\mathrm{lr}(k) = \mathrm{value}_i(k - K_i), \quad K_i = \sum_{j < i} L_j, \quad
      K_i \le k < K_{i + 1}$$

    with $\mathrm{value}_i$ the value of `phases[i]` for this `init_value` (see `Phase`), $L_j$ the length
    of `phases[j]` and $k$ = `count`. After the last phase its end value holds. If `repeat` is $r > 0$, the
    last $r$ phases repeat forever instead.

    Args:
        init_value: learning rate that the factors multiply, a finite number >= 0; may be traced.
        phases: the phases in order, at least one. Only the last one may have no length.
        repeat: number of phases at the end of the list that repeat forever; 0 for none.

    Returns:
        A schedule from `count` (epochs or steps, integers of any shape) to learning rates of that shape.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or a phase before the last one has no length.

    Example:
        A warmup, a hold and a cosine to 10 %:

        >>> schedule = phased_lr(0.5, [
        ...     Phase(4, "linear", start_factor=0.0, end_factor=1.0),
        ...     Phase(10),
        ...     Phase(20, "cosine", end_factor=0.1),
        ... ])
        >>> [round(schedule(step), 12) for step in (0, 2, 4, 13, 24, 34, 1000)]
        [0.0, 0.25, 0.5, 0.5, 0.275, 0.05, 0.05]

        A warmup and the inverse square root of the step:

        >>> schedule = phased_lr(0.5, [
        ...     Phase(4, "linear", start_factor=0.0, end_factor=1.0), Phase(shape="inverse_sqrt")
        ... ])
        >>> [schedule(step) for step in (2, 4, 16, 64)]
        [0.25, 0.5, 0.25, 0.125]

        Restarts:

        >>> schedule = phased_lr(1.0, [Phase(10, "cosine", end_factor=0.0)], repeat=1)
        >>> [round(schedule(step), 12) for step in (0, 5, 10, 15, 1000)]
        [1.0, 0.5, 1.0, 0.5, 1.0]

    Reference: `torch.optim.lr_scheduler.SequentialLR` is the nearest equivalent in torch.
    """
    init_value = check_value("init_value", init_value)
    phases = _check_phases(phases)
    repeat = _check_repeat(repeat, phases)
    segments = _segments(init_value, phases)
    begins = [segment.begin for segment in segments]
    ends = [0, *itertools.accumulate(phase.length or 0 for phase in phases)]
    begin_of_loop, end_of_loop = ends[len(phases) - repeat], ends[-1]
    values = [value for segment in segments for value in (segment.start, segment.end)]
    has_traced_value = any(isinstance(value, jax.Array) for value in values)

    def formula(count: Count) -> Float:
        if has_traced_value:
            count = as_device_count(count)
        if repeat:
            count = _wrap(count, begin_of_loop, end_of_loop)
        if not isinstance(count, np.ndarray):
            return rate_of_part([segment.rate for segment in segments], begins, count)
        active = count_reached(begins[1:], count)
        rates = np.empty(count.shape)
        for index in np.unique(active):
            rates[active == index] = segments[index].rate(count[active == index] - begins[index])
        return rates

    has_factors_only = all(phase.start_value is None and phase.end_value is None for phase in phases)
    return Schedule(formula, init_value if has_factors_only else None)


class _Segment(NamedTuple):
    """A phase at its place: the count at which it begins, and its rates at the start and the end."""

    begin: int
    length: int | None
    shape: str
    start: float | jax.Array
    end: float | jax.Array
    first: Position  # on the shape, at `begin`

    def rate(self, since: Count) -> Float:
        """Return the rate `since` steps after the phase began. After its length, its last rate holds."""
        if self.shape == "constant":
            return self.start
        since = since if self.length is None else at_most(since, self.length)
        return mix(self.shape, self.start, self.end, dataclasses.replace(self.first, count=since))

    def last_rate(self) -> Any:
        """Return the rate at the end of the phase, with weights that are computed on the host."""
        if self.shape == "constant":
            return self.start
        at = dataclasses.replace(self.first, count=self.length)
        if self.shape == "exponential":
            return self.start ** (at.left / at.span) * self.end ** (at.done / at.span)
        start_share, end_share = mix(self.shape, 1.0, 0.0, at), mix(self.shape, 0.0, 1.0, at)
        return self.start * float(start_share) + self.end * float(end_share)


def _segments(init_value: float | jax.Array, phases: list[Phase]) -> list[_Segment]:
    """Place the phases one after another. Leave out those of length 0, which only set a rate."""
    segments: list[_Segment] = []
    begin, rate = 0, init_value
    for index, phase in enumerate(phases):
        start = _rate_of(init_value, phase.start_factor, phase.start_value, rate)
        default_end = start if phase.shape == "constant" else 0.0
        end = _rate_of(init_value, phase.end_factor, phase.end_value, default_end)
        if phase.length != 0:
            segment = _segment(index, phase, begin, start, end)
            segments.append(segment)
            if phase.length is not None:
                begin, rate = begin + phase.length, segment.last_rate()
        elif phase.shape in WITHOUT_END:
            rate = _segment(index, phase, max(begin, 1), start, end).last_rate()
        else:
            rate = end
    if not segments or phases[-1].length == 0:
        segments.append(_segment(len(phases), Phase(), begin, rate, rate))
    return segments


def _segment(index: int, phase: Phase, begin: int, start: Any, end: Any) -> _Segment:
    """Return `phases[index]` at its place."""
    shape, power = phase.shape, phase.power or 1.0
    if shape in ("inverse_sqrt", "1-sqrt"):
        shape, power = {"inverse_sqrt": "inverse_power", "1-sqrt": "power"}[shape], 0.5
    elif shape in ("polynomial", "power") and power == 1:
        shape = "linear"
    elif shape == "exponential" and is_zero(start):
        raise ValueError(
            f"phases[{index}] must start above 0 to be exponential, got 0: give it a start_factor"
        )
    if phase.span is not None:
        span = phase.span
        ahead = span - phase.offset
    elif phase.shape not in WITHOUT_END:
        ahead = phase.length or 0
        span = phase.offset + ahead
    elif begin > 0:
        span = ahead = begin
    else:
        raise ValueError(
            f"phases[{index}] needs a span: by default it is the number of steps before the phase, "
            "which is 0 here"
        )
    first = Position(0, phase.offset, ahead, span, power, past_end(phase))
    return _Segment(begin, phase.length, shape, start, end, first)


def _rate_of(init_value: Any, factor: Any, value: Any, default: Any) -> float | jax.Array:
    """Return the rate that a phase states as a factor or as a value, or else the default."""
    if value is not None:
        return value
    return default if factor is None else init_value * factor


def _wrap(count: Count, begin: int, end: int) -> Count:
    """Map a count past `end` to the equivalent count between `begin` and `end`."""
    if isinstance(count, int):
        return count if count < begin else begin + (count - begin) % (end - begin)
    if begin > largest_count(count):
        return count
    since = modulo(array_module(count).maximum(count - begin, 0), end - begin)
    return choose(is_before(count, begin), count, begin + since)


def _check_phases(phases: Sequence[Phase]) -> list[Phase]:
    if not isinstance(phases, Sequence) or isinstance(phases, str):
        raise TypeError(f"phases must be a list of jaxlr.Phase, got {shown_value(phases)}")
    if not phases:
        raise ValueError("phases must hold at least one jaxlr.Phase, got none")
    for index, phase in enumerate(phases):
        if not isinstance(phase, Phase):
            raise TypeError(f"phases[{index}] must be a jaxlr.Phase, got {shown_value(phase)}")
        if phase.length is None and index < len(phases) - 1:
            raise ValueError(f"phases[{index}] needs a length: only the last phase may have none")
    if sum(phase.length or 0 for phase in phases) > LARGEST_ARGUMENT:
        raise ValueError("the lengths of phases must add up to at most 2**61")
    return list(phases)


def _check_repeat(repeat: int, phases: list[Phase]) -> int:
    repeat = check_whole_number("repeat", repeat)
    if not 0 <= repeat <= len(phases):
        raise ValueError(f"repeat must be from 0 to {len(phases)}, the number of phases, got {repeat}")
    if repeat and phases[-1].length is None:
        raise ValueError(f"phases[{len(phases) - 1}] needs a length to be repeated")
    if repeat and not any(phase.length for phase in phases[-repeat:]):
        raise ValueError("the phases that repeat must have a length of at least 1 together, got 0")
    return repeat
