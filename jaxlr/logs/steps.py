"""Constants and steps that have the rates of a log."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import optax

from jaxlr.logs.candidates import Candidate, Data, build_candidate, phased_line
from jaxlr.logs.search import rounder_first, roundest, simplest
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
    if top == len(rates) - 1 and top > 0:
        yield from _warmup_alone(data)
        return
    levels = _level_list(data, top)
    num_points = len(rates) - top
    if len(levels) > min(_MOST_LEVELS, num_points):
        return
    if top == 0 and len(levels) == 1:
        yield build_candidate(data, "constant", "peak", _constant, levels[0].rate, {})
        return
    gammas = [_ratio(data, before, after) for before, after in itertools.pairwise(levels)]
    common = (max((low for low, _ in gammas), default=0), min((high for _, high in gammas), default=0))
    has_common = bool(gammas) and common[0] <= common[1] and common[1] < 1
    gamma = simplest(*common) if has_common else 0.0
    if top == 0 and has_common:
        yield from _equal_steps(data, levels, gamma)
    num_long = sum(level.first < level.last for level in levels)
    if num_long * 2 < len(levels):
        return
    milestones = _milestones(data, levels)
    notes = _between(data, levels)
    if top == 0 and has_common:
        build = _multi_step(milestones, gamma)
        yield build_candidate(data, "multi-step", "peak", build, levels[0].rate, {"gamma": gamma}, notes)
        return
    if top > 1 and len(levels) > 1 and levels[0].first == levels[0].last:
        yield from _unseen_peak(data, top, levels, notes)
        return
    factors = [level.rate / levels[0].rate for level in levels]
    factors = [simplest(each * (1 - 1e-6), each * (1 + 1e-6)) if each else 0.0 for each in factors]
    kind = "constant" if len(levels) == 1 else "piecewise constant"
    if top == 0:
        yield build_candidate(
            data, kind, "peak", _pieces([], milestones, factors), levels[0].rate, {}, notes
        )
        return
    for warmup, start in _warmups(data, top, levels[0].rate) if num_long else ():
        ramp = [Phase(warmup, "linear", start_factor=start, end_factor=1.0)]
        if milestones and milestones[0] <= warmup:
            continue
        build = _pieces(ramp, milestones, factors)
        words = f"{kind} after a warmup"
        found = build_candidate(data, words, "peak", build, levels[0].rate, {"warmup": warmup}, notes)
        if found.agrees:
            yield found
            return


def _unseen_peak(data: Data, top: int, levels: Sequence[_Level], notes: list[str]) -> Iterator[Candidate]:
    """Yield a warmup that ends between two points, and then lower rates."""
    counts, rates = data.counts.astype(float), data.rates
    slope, height = np.polyfit(counts[: top + 1], rates[: top + 1], 1)
    end = roundest(int(counts[top]), int(counts[top + 1]))
    peak = float(height + slope * end)
    start = max(float(height) / peak, 0.0)
    start = 0.0 if start < 1e-7 else simplest(start * (1 - 1e-5), start * (1 + 1e-5))
    factors = [
        simplest(level.rate / peak * (1 - 1e-6), level.rate / peak * (1 + 1e-6)) for level in levels[1:]
    ]
    build = _pieces(
        [Phase(end, "linear", start_factor=start, end_factor=1.0)], _milestones(data, levels)[1:], factors
    )
    yield build_candidate(
        data, "piecewise constant after a warmup", "peak", build, peak, {"warmup": end}, notes
    )


def _level_list(data: Data, top: int) -> list[_Level]:
    rates, slack = data.rates[top:], data.tolerances[top:]
    changes = [0, *(np.flatnonzero(np.abs(np.diff(rates)) > slack[1:] + slack[:-1]) + 1), len(rates)]
    return [
        _Level(top + int(begin), top + int(end) - 1, float(rates[begin]))
        for begin, end in itertools.pairwise(changes)
    ]


def _warmup_alone(data: Data) -> Iterator[Candidate]:
    """Yield a line, for a log that ends during the warmup."""
    counts, rates = data.counts.astype(float), data.rates
    if len(rates) < 3:
        return
    slope, start = np.polyfit(counts, rates, 1)
    end = int(counts[-1])
    part = max(float(start), 0.0) / float(rates[-1])
    part = 0.0 if part < 1e-6 else simplest(part * (1 - 1e-6), part * (1 + 1e-6))
    parts = [Phase(end, "linear", start_factor=part, end_factor=1.0)]
    note = f"The log ends in the warmup, which rises by {float(slope):.9g} per step: its end is not known."
    build = _pieces(parts, [], [1.0])
    yield build_candidate(data, "linear warmup", "peak", build, float(rates[-1]), {"warmup": end}, [note])


def _warmups(data: Data, top: int, peak: float) -> Iterator[tuple[int, float]]:
    """Yield lengths of a linear warmup up to `peak` and the factors at its start, the roundest first."""
    counts, rates = data.counts.astype(float), data.rates
    low, high = int(counts[top - 1]) + 1, int(counts[top])
    lengths = rounder_first(low, high)
    error = data.tolerances[:top] / peak
    for length in lengths:
        left = 1 - counts[:top] / length
        # rate / peak = start * left + 1 - left at each point
        ends = (rates[:top] / peak - (1 - left)) / left
        bounds = float((ends - error / left).max()), float((ends + error / left).min())
        if bounds[0] <= bounds[1] and bounds[1] >= 0:
            yield length, 0.0 if bounds[0] <= 0 else simplest(*bounds)


def _constant(base: float) -> tuple[optax.Schedule, str]:
    return phased_lr(base, [Phase()]), f"jaxlr.phased_lr({base!r}, [jaxlr.Phase()])"


def _ratio(data: Data, before: _Level, after: _Level) -> tuple[float, float]:
    """Return the range of the ratio of two levels."""
    slack = data.tolerances[after.first], data.tolerances[before.first]
    low = (after.rate - slack[0]) / (before.rate + slack[1])
    high = (after.rate + slack[0]) / max(before.rate - slack[1], 1e-300)
    return max(float(low), 0.0), float(high)


def _milestones(data: Data, levels: Sequence[_Level]) -> list[int]:
    """Return the roundest count between each level and the one before it."""
    return [
        roundest(int(data.counts[level.first - 1]) + 1, int(data.counts[level.first]))
        for level in levels[1:]
    ]


def _between(data: Data, levels: Sequence[_Level]) -> list[str]:
    ranges = [
        (int(data.counts[level.first - 1]) + 1, int(data.counts[level.first])) for level in levels[1:]
    ]
    ranges = [each for each in ranges if each[0] < each[1]]
    if not ranges:
        return []
    text = ", ".join(f"{low} to {high}" for low, high in ranges[:6])
    return [f"The log tells the milestones only to within its points: {text}."]


def _equal_steps(data: Data, levels: Sequence[_Level], gamma: float) -> Iterator[Candidate]:
    low, high = 1, 2**60
    for number, level in enumerate(levels):
        low = max(low, int(data.counts[level.last]) // (number + 1) + 1)
        if number:
            high = min(high, int(data.counts[level.first]) // number)
    if low > high or (low == 1 and len(levels) == len(data.rates)):  # that is exponential
        return
    step_size = roundest(low, high)

    def build(base: float) -> tuple[optax.Schedule, str]:
        line = f"jaxlr.step_lr({base!r}, step_size={step_size}, gamma={gamma!r})"
        return step_lr(base, step_size, gamma), line

    notes = [f"step_size may be {low} to {high}."] if low < high else []
    parameters = {"step_size": step_size, "gamma": gamma}
    yield build_candidate(data, "step", "peak", build, levels[0].rate, parameters, notes)


def _multi_step(milestones: list[int], gamma: float) -> Callable[[float], tuple[optax.Schedule, str]]:
    def build(base: float) -> tuple[optax.Schedule, str]:
        line = f"jaxlr.multi_step_lr({base!r}, milestones={milestones}, gamma={gamma!r})"
        return multi_step_lr(base, milestones, gamma), line

    return build


def _pieces(
    ramp: list[Phase], milestones: list[int], factors: list[float]
) -> Callable[[float], tuple[optax.Schedule, str]]:
    begins = [sum(phase.length or 0 for phase in ramp), *milestones]
    lengths = [end - begin for begin, end in itertools.pairwise(begins)]
    pieces = [Phase(*each[:1], start_factor=each[1]) for each in zip(lengths, factors, strict=False)]
    pieces = [*ramp, *pieces, Phase(start_factor=factors[-1])]
    return lambda base: (phased_lr(base, pieces), phased_line(base, pieces))
