"""Constants and steps that have the rates of a log."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import optax

from jaxlr.logs.candidates import Candidate, Data, fit_base
from jaxlr.logs.search import rounder_first, roundest, simplest, simplest_near
from jaxlr.schedules import Phase, multi_step_lr, phased_lr, step_lr


_MOST_LEVELS = 30


class _Level(NamedTuple):
    """Points that follow each other at one rate."""

    first: int  # index of a point
    last: int
    rate: float


def of_levels(data: Data) -> Iterator[Candidate]:
    """Yield schedules of few rates that each hold for a while, after an optional linear warmup."""
    rates = data.rates
    top = int(np.argmax(rates >= rates.max() - data.tolerances))
    if 0 < top == len(rates) - 1:
        yield from _warmup_alone(data)
        return
    levels = _levels(data, top)
    if len(levels) > _MOST_LEVELS:
        return
    if top == 0:
        yield from _without_warmup(data, levels)
    elif _mostly_hold(levels):
        yield from _after_warmup(data, top, levels)


def _without_warmup(data: Data, levels: Sequence[_Level]) -> Iterator[Candidate]:
    """Yield a constant, or steps down from the first rate."""
    first_rate = levels[0].rate
    if len(levels) == 1:
        yield fit_base(data, "constant", lambda base: phased_lr(base, [Phase()]), first_rate, {})
        return
    gamma = _common_ratio(data, levels)
    if gamma is not None:
        yield from _equal_steps(data, levels, gamma)
    if not _mostly_hold(levels):
        return
    milestones, notes = _milestones(data, levels)
    if gamma is None:
        build = _pieces([], milestones, _factors(levels, first_rate))
        yield fit_base(data, "piecewise constant", build, first_rate, {}, notes)
        return

    def build_multi_step(base: float) -> optax.Schedule:
        return multi_step_lr(base, milestones, gamma)

    yield fit_base(data, "multi-step", build_multi_step, first_rate, {"gamma": gamma}, notes)


def _mostly_hold(levels: Sequence[_Level]) -> bool:
    """Check if at least half of the levels have more than one point."""
    return sum(level.first < level.last for level in levels) * 2 >= len(levels)


def _levels(data: Data, top: int) -> list[_Level]:
    """Return the rates from a point on, each with its first and last point."""
    rates, slack = data.rates[top:], data.tolerances[top:]
    changes = [0, *(np.flatnonzero(np.abs(np.diff(rates)) > slack[1:] + slack[:-1]) + 1), len(rates)]
    return [
        _Level(top + int(begin), top + int(end) - 1, float(rates[begin]))
        for begin, end in itertools.pairwise(changes)
    ]


def _common_ratio(data: Data, levels: Sequence[_Level]) -> float | None:
    """Return the ratio below 1 of each level to the one before, or None if there is no common one."""
    low, high = 0.0, 1.0
    for before, after in itertools.pairwise(levels):
        slack_before, slack_after = data.tolerances[before.first], data.tolerances[after.first]
        low = max(low, float((after.rate - slack_after) / (before.rate + slack_before)))
        high = min(high, float((after.rate + slack_after) / max(before.rate - slack_before, 1e-300)))
    return simplest(low, high) if low <= high < 1 else None


def _milestones(data: Data, levels: Sequence[_Level]) -> tuple[list[int], list[str]]:
    """Return the counts at which the levels but the first begin, and a note if others are possible."""
    ranges = _ranges(data, levels)
    texts = [f"{low} to {high}" for low, high in ranges if low < high]
    note = f"The log tells the milestones only to within its points: {', '.join(texts[:6])}."
    return [roundest(*each) for each in ranges], [note] if texts else []


def _ranges(data: Data, levels: Sequence[_Level]) -> list[tuple[int, int]]:
    """Return the range of counts in which each level but the first may begin."""
    firsts = [level.first for level in levels[1:]]
    return [(int(data.counts[first - 1]) + 1, int(data.counts[first])) for first in firsts]


def _equal_steps(data: Data, levels: Sequence[_Level], gamma: float) -> Iterator[Candidate]:
    low, high = 1, 2**60
    for number, level in enumerate(levels):
        low = max(low, int(data.counts[level.last]) // (number + 1) + 1)
        if number:
            high = min(high, int(data.counts[level.first]) // number)
    if low > high or (low == 1 and len(levels) == len(data.rates)):  # that is exponential
        return
    step_size = roundest(low, high)
    notes = [f"step_size may be {low} to {high}."] if low < high else []
    parameters = {"step_size": step_size, "gamma": gamma}

    def build(base: float) -> optax.Schedule:
        return step_lr(base, step_size, gamma)

    yield fit_base(data, "step", build, levels[0].rate, parameters, notes)


def _after_warmup(data: Data, top: int, levels: Sequence[_Level]) -> Iterator[Candidate]:
    """Yield rates that hold after a linear warmup."""
    milestones, notes = _milestones(data, levels)
    if top > 1 and len(levels) > 1 and levels[0].first == levels[0].last:
        yield _unseen_peak(data, top, levels, milestones[1:], notes)
        return
    peak = levels[0].rate
    kind = "constant" if len(levels) == 1 else "piecewise constant"
    for warmup, start in _warmups(data, top, peak):
        if milestones and milestones[0] <= warmup:
            continue
        build = _pieces([_ramp(warmup, start)], milestones, _factors(levels, peak))
        found = fit_base(data, f"{kind} after a warmup", build, peak, {"warmup": warmup}, notes)
        if found.agrees:
            yield found
            return


def _warmups(data: Data, top: int, peak: float) -> Iterator[tuple[int, float]]:
    """Yield lengths of a linear warmup up to `peak` and the factors at its start, the roundest first."""
    counts, rates = data.counts.astype(float), data.rates
    error = data.tolerances[:top] / peak
    for length in rounder_first(int(counts[top - 1]) + 1, int(counts[top])):
        left = 1 - counts[:top] / length
        # rate / peak = start * left + 1 - left at each point
        ends = (rates[:top] / peak - (1 - left)) / left
        low, high = float((ends - error / left).max()), float((ends + error / left).min())
        if low <= high and high >= 0:
            yield length, 0.0 if low <= 0 else simplest(low, high)


def _unseen_peak(
    data: Data, top: int, levels: Sequence[_Level], milestones: list[int], notes: list[str]
) -> Candidate:
    """Return a warmup that ends between two points, and then lower rates."""
    counts = data.counts.astype(float)
    slope, height = np.polyfit(counts[: top + 1], data.rates[: top + 1], 1)
    end = roundest(int(counts[top]), int(counts[top + 1]))
    peak = float(height + slope * end)
    start = float(height) / peak
    ramp = _ramp(end, 0.0 if start < 1e-7 else simplest_near(start, 1e-5 * start))
    build = _pieces([ramp], milestones, _factors(levels[1:], peak))
    return fit_base(data, "piecewise constant after a warmup", build, peak, {"warmup": end}, notes)


def _warmup_alone(data: Data) -> Iterator[Candidate]:
    """Yield a line, for a log that ends during the warmup."""
    counts, rates = data.counts.astype(float), data.rates
    if len(rates) < 3:
        return
    slope, height = np.polyfit(counts, rates, 1)
    end, peak = int(counts[-1]), float(rates[-1])
    start = float(height) / peak
    build = _pieces([_ramp(end, 0.0 if start < 1e-6 else simplest_near(start, 1e-6 * start))], [], [1.0])
    note = f"The log ends in the warmup, which rises by {float(slope):.9g} per step: its end is not known."
    yield fit_base(data, "linear warmup", build, peak, {"warmup": end}, [note])


def _ramp(length: int, start: float) -> Phase:
    return Phase(length, "linear", start_factor=start, end_factor=1.0)


def _factors(levels: Sequence[_Level], peak: float) -> list[float]:
    return [simplest_near(level.rate / peak, 1e-6 * level.rate / peak) for level in levels]


def _pieces(
    ramp: list[Phase], milestones: list[int], factors: list[float]
) -> Callable[[float], optax.Schedule]:
    begins = [sum(phase.length or 0 for phase in ramp), *milestones]
    lengths = [end - begin for begin, end in itertools.pairwise(begins)]
    pieces = [
        Phase(length, start_factor=each) for length, each in zip([*lengths, None], factors, strict=True)
    ]
    return lambda base: phased_lr(base, [*ramp, *pieces])
