"""`fit`: find schedules that have the rates of a log."""

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optax

from jaxlr._checks import shown_value
from jaxlr.logs.attempts import attempts
from jaxlr.logs.clocks import Clock, clocks
from jaxlr.logs.comparisons import Attempt, compare, rates_of, tolerances_of, with_skips
from jaxlr.logs.formats import Log, Points, read_log
from jaxlr.logs.readings import Reading, Source
from jaxlr.logs.search import base_rates, round_numbers, simplest
from jaxlr.logs.shapes import FAMILIES, Curve, Family, fitted, phases, projected, variants
from jaxlr.schedules import (
    Phase,
    cosine_annealing_warm_restarts,
    exponential_lr,
    multi_step_lr,
    one_cycle_lr,
    phased_lr,
    step_lr,
)


_MOST_POINTS = 150
_MOST_LEVELS = 30
_ARGUMENTS = ("init_value", "framework", "version", "steps_per_epoch", "epochs", "num_processes", "names")
_SLACKS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8, 1e-10, 1e-13)  # numbers are rounded to these parts
_NEAR = 2e-2  # of the highest rate: a shape that is farther off at its best is not the one


class Candidate(NamedTuple):
    """A schedule that was fitted to the rates of a log.

    Args:
        kind: the kind of schedule in words, such as "linear after a warmup".
        line: the line of Python that builds it.
        schedule: the schedule.
        parameters: its numbers by name, such as `peak`, `warmup`, `length` and `floor`.
        largest_deviation: the largest difference from a logged rate, as a part of the highest rate.
        agrees: True if all rates agree to the printed digits.
        notes: a sentence for each thing that the log leaves open.
        counts: count of the schedule at each point of the log, int64 of shape (points,).
    """

    kind: str
    line: str
    schedule: optax.Schedule
    parameters: dict[str, float]
    largest_deviation: float
    agrees: bool
    notes: tuple[str, ...]
    counts: np.ndarray


class Fit(NamedTuple):
    """The schedules that have the rates of a log.

    Args:
        candidates: the schedules that agree, the simplest first. If none agrees, the nearest one.
        agrees: True if at least one agrees with all rates to the printed digits.
        num_points: number of rates in the column of the log.
        kind: the program that wrote the log.
        column: name of the column.
        notes: a sentence for each thing that is unusual in the log, or in how it numbers its steps.
        rates: the logged rates, shape (points,).
    """

    candidates: tuple[Candidate, ...]
    agrees: bool
    num_points: int
    kind: str
    column: str
    notes: tuple[str, ...]
    rates: np.ndarray


def fit(log: str | PathLike[str], *, step_column: str | None = None, rate_column: str | None = None) -> Fit:
    r"""Find the schedules that have the learning rates of a log.

    These kinds are tried: constant; linear, cosine, polynomial (of power 0.5, 0.9, 2 or 3), 1-sqrt and
    inverse square root, each with an optional linear warmup, hold and floor; steps; exponential; one-cycle.
    The counts of a schedule are those of the steps of the log, or of its epochs if it has no steps.

    Args:
        log: the path of a log, or of the folder of a run that holds one, as in `verify`.
        step_column: name of the column with the number of the step or epoch. None finds it.
        rate_column: name of the column with the rate. None takes the first one.

    Returns:
        A `Fit`. Several candidates in it agree equally well: the log does not tell them apart.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the log cannot be read.
        OSError: the file cannot be opened.
        ModuleNotFoundError: the log is an event file, and tensorboardX is not installed.

    Example:
        >>> import jaxlr, pathlib, tempfile
        >>> log = pathlib.Path(tempfile.mkdtemp()) / "log.csv"
        >>> _ = log.write_text("step,lr\n0,0.1\n10,0.1\n20,0.05\n30,0.05\n40,0.025\n")
        >>> result = jaxlr.fit(log)
        >>> result.agrees, result.candidates[0].line
        (True, 'jaxlr.step_lr(0.1, step_size=20, gamma=0.5)')

    Reference: `phased_lr` has the equations of the kinds.
    """
    if not isinstance(log, str | PathLike):
        raise TypeError(f"log must be the path of a file, got {shown_value(log)}")
    found = read_log(Path(log), step_column, rate_column)
    column = next(iter(found.columns))
    if found.kind == "ultralytics" and len(found.columns) > 1:
        column = [*found.columns][1]  # the first one may be that of the biases
    points = found.columns[column]
    best: Fit | None = None
    for clock in _usual_clocks(found, points):
        candidates = _candidates(found, points, clock)
        if not candidates:
            continue
        agreeing = tuple(
            sorted((each for each in candidates if each.agrees), key=lambda each: len(each.line))
        )
        nearest = min(candidates, key=lambda each: each.largest_deviation)
        notes = (*found.notes, *([clock.reason] if clock.reason else []))
        this = Fit(
            agreeing or (nearest,),
            bool(agreeing),
            len(points.rates),
            found.kind,
            column,
            notes,
            points.rates,
        )
        if best is None or (this.agrees, -_size(this)) > (best.agrees, -_size(best)):
            best = this
        if this.agrees and found.kind == "huggingface":
            break  # its first numbering is the right one, if it agrees
    if best is None:
        raise ValueError(f"the column {column!r} has too few rates to fit a schedule")
    return best


def _size(found: Fit) -> int:
    """Return the length of the first line, which is longer for numbers that nobody writes."""
    return len(found.candidates[0].line)


def _usual_clocks(log: Log, points: Points) -> Iterator[Clock]:
    listed = [clock for clock in clocks(log, points, None, None) if clock.counts.min() >= -1]
    usual = [clock for clock in listed if clock.is_usual]
    has_choice = log.kind in ("csv", "json", "tensorboard") and points.steps[0] == 1
    if has_choice:  # nothing tells if the first step is number 1
        usual += [clock for clock in listed if not clock.is_usual and clock.counts.min() == 0]
    for clock in usual:
        yield clock._replace(counts=np.maximum(clock.counts, 0))


class _Data(NamedTuple):
    """The points to fit."""

    counts: np.ndarray
    rates: np.ndarray
    tolerances: np.ndarray
    points: Points
    clock: Clock
    log: Log

    def some(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return at most a few hundred points, from the first to the last."""
        size = len(self.rates)
        if size <= _MOST_POINTS:
            return self.counts.astype(float), self.rates, self.tolerances
        chosen = np.unique(np.linspace(0, size - 1, _MOST_POINTS).astype(int))
        chosen = np.unique([*chosen, int(np.argmax(self.rates))])
        return self.counts[chosen].astype(float), self.rates[chosen], self.tolerances[chosen]


def _candidates(log: Log, points: Points, clock: Clock) -> list[Candidate]:
    """Return the schedules of each kind that agree, or else those that are near."""
    data = _Data(clock.counts, points.rates, tolerances_of(points), points, clock, log)
    if len(data.rates) == 0 or not data.rates.max() > 0:
        return []
    if log.kind == "ultralytics" and (found := [*_ultralytics(data)]):
        return found
    found = [*_exponential(data), *_levels(data)]
    if any(each.agrees for each in found):
        return found
    found += [*_one_cycle(data), *_restarts(data)]
    if any(each.agrees for each in found):
        return found
    for family in FAMILIES:
        found += _of_family(family, data)
    return found


def _candidate(
    data: _Data,
    kind: str,
    name: str,
    build: Callable[[float], tuple[optax.Schedule, str]],
    near: float,
    parameters: dict[str, float],
    notes: Sequence[str] = (),
) -> Candidate:
    """Return a schedule at the base rate with the fewest digits that agrees, or at one that is near."""
    factors = rates_of(build(1.0)[0], data.counts)
    bounds = base_rates(factors, np.zeros_like(factors), data.rates, data.tolerances)
    base = near if bounds is None else simplest(*bounds)
    if bounds is None and near > 0:
        base = simplest(near * (1 - 1e-7), near * (1 + 1e-7))
    schedule, line = build(base)
    error = np.abs(rates_of(schedule, data.counts) - data.rates)
    deviation = float(error.max() / data.rates.max())
    agrees = bool((error <= data.tolerances).all())
    return Candidate(
        kind, line, schedule, {name: base, **parameters}, deviation, agrees, tuple(notes), data.counts
    )


# Constants and steps


class _Level(NamedTuple):
    """Points that follow each other at one rate."""

    first: int  # index of a point
    last: int
    rate: float


def _levels(data: _Data) -> Iterator[Candidate]:
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
        yield _candidate(data, "constant", "peak", _constant, levels[0].rate, {})
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
        yield _candidate(data, "multi-step", "peak", build, levels[0].rate, {"gamma": gamma}, notes)
        return
    if top > 1 and len(levels) > 1 and levels[0].first == levels[0].last:
        yield from _unseen_peak(data, top, levels, notes)
        return
    factors = [level.rate / levels[0].rate for level in levels]
    factors = [simplest(each * (1 - 1e-6), each * (1 + 1e-6)) if each else 0.0 for each in factors]
    kind = "constant" if len(levels) == 1 else "piecewise constant"
    if top == 0:
        yield _candidate(data, kind, "peak", _pieces([], milestones, factors), levels[0].rate, {}, notes)
        return
    for warmup, start in _warmups(data, top, levels[0].rate) if num_long else ():
        ramp = [Phase(warmup, "linear", start_factor=start, end_factor=1.0)]
        if milestones and milestones[0] <= warmup:
            continue
        build = _pieces(ramp, milestones, factors)
        words = f"{kind} after a warmup"
        found = _candidate(data, words, "peak", build, levels[0].rate, {"warmup": warmup}, notes)
        if found.agrees:
            yield found
            return


def _unseen_peak(data: _Data, top: int, levels: Sequence[_Level], notes: list[str]) -> Iterator[Candidate]:
    """Yield a warmup that ends between two points, and then lower rates."""
    counts, rates = data.counts.astype(float), data.rates
    slope, height = np.polyfit(counts[: top + 1], rates[: top + 1], 1)
    end = _roundest(int(counts[top]), int(counts[top + 1]))
    peak = float(height + slope * end)
    start = max(float(height) / peak, 0.0)
    start = 0.0 if start < 1e-7 else simplest(start * (1 - 1e-5), start * (1 + 1e-5))
    factors = [
        simplest(level.rate / peak * (1 - 1e-6), level.rate / peak * (1 + 1e-6)) for level in levels[1:]
    ]
    build = _pieces(
        [Phase(end, "linear", start_factor=start, end_factor=1.0)], _milestones(data, levels)[1:], factors
    )
    yield _candidate(data, "piecewise constant after a warmup", "peak", build, peak, {"warmup": end}, notes)


def _level_list(data: _Data, top: int) -> list[_Level]:
    rates, slack = data.rates[top:], data.tolerances[top:]
    changes = [0, *(np.flatnonzero(np.abs(np.diff(rates)) > slack[1:] + slack[:-1]) + 1), len(rates)]
    return [
        _Level(top + int(begin), top + int(end) - 1, float(rates[begin]))
        for begin, end in itertools.pairwise(changes)
    ]


def _warmup_alone(data: _Data) -> Iterator[Candidate]:
    """Yield the line of a log that ends in the warmup."""
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
    yield _candidate(data, "linear warmup", "peak", build, float(rates[-1]), {"warmup": end}, [note])


def _warmups(data: _Data, top: int, peak: float) -> Iterator[tuple[int, float]]:
    """Yield lengths of a linear warmup up to `peak` and the factors at its start, the roundest first."""
    counts, rates = data.counts.astype(float), data.rates
    low, high = int(counts[top - 1]) + 1, int(counts[top])
    lengths = _rounder_first(low, high)
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


def _ratio(data: _Data, before: _Level, after: _Level) -> tuple[float, float]:
    """Return the range of the ratio of two levels."""
    slack = data.tolerances[after.first], data.tolerances[before.first]
    low = (after.rate - slack[0]) / (before.rate + slack[1])
    high = (after.rate + slack[0]) / max(before.rate - slack[1], 1e-300)
    return max(float(low), 0.0), float(high)


def _milestones(data: _Data, levels: Sequence[_Level]) -> list[int]:
    """Return the roundest count between each level and the one before it."""
    return [
        _roundest(int(data.counts[level.first - 1]) + 1, int(data.counts[level.first]))
        for level in levels[1:]
    ]


def _between(data: _Data, levels: Sequence[_Level]) -> list[str]:
    ranges = [
        (int(data.counts[level.first - 1]) + 1, int(data.counts[level.first])) for level in levels[1:]
    ]
    ranges = [each for each in ranges if each[0] < each[1]]
    if not ranges:
        return []
    text = ", ".join(f"{low} to {high}" for low, high in ranges[:6])
    return [f"The log tells the milestones only to within its points: {text}."]


def _equal_steps(data: _Data, levels: Sequence[_Level], gamma: float) -> Iterator[Candidate]:
    low, high = 1, 2**60
    for number, level in enumerate(levels):
        low = max(low, int(data.counts[level.last]) // (number + 1) + 1)
        if number:
            high = min(high, int(data.counts[level.first]) // number)
    if low > high or (low == 1 and len(levels) == len(data.rates)):  # that is exponential
        return
    step_size = _roundest(low, high)

    def build(base: float) -> tuple[optax.Schedule, str]:
        line = f"jaxlr.step_lr({base!r}, step_size={step_size}, gamma={gamma!r})"
        return step_lr(base, step_size, gamma), line

    notes = [f"step_size may be {low} to {high}."] if low < high else []
    parameters = {"step_size": step_size, "gamma": gamma}
    yield _candidate(data, "step", "peak", build, levels[0].rate, parameters, notes)


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
    return lambda base: (phased_lr(base, pieces), _phased_line(base, pieces))


def _roundest(low: int, high: int) -> int:
    """Return the whole number from `low` to `high` with the most zeros at its end, or else fives."""
    for exponent in range(len(str(high)), -1, -1):
        for unit in (10**exponent, 5 * 10**exponent // 10, 10**exponent // 4):
            if unit >= 1 and (multiple := -(-low // unit) * unit) <= high:
                return multiple
    return low


def _rounder_first(low: int, high: int) -> list[int]:
    """Return the whole numbers from `low` to `high`, or 2,000 of them, those with more zeros first."""
    numbers = range(low, min(high, low + 2000) + 1)
    return sorted(numbers, key=lambda number: len(str(number).rstrip("0")))


# Smooth shapes


def _exponential(data: _Data) -> Iterator[Candidate]:
    counts, rates = data.counts.astype(float), data.rates
    if len(rates) < 3 or (rates <= 0).any() or (np.diff(rates) > 0).any() or rates[-1] == rates[0]:
        return
    slope, height = np.polyfit(counts, np.log(rates), 1)

    def candidate(slack: float) -> Candidate:
        gamma = min(simplest(math.exp(slope - slack), math.exp(slope + slack)), 1.0)

        def build(base: float) -> tuple[optax.Schedule, str]:
            return exponential_lr(base, gamma), f"jaxlr.exponential_lr({base!r}, gamma={gamma!r})"

        return _candidate(data, "exponential", "peak", build, math.exp(height), {"gamma": gamma})

    yield _first_that_agrees(map(candidate, _SLACKS))


def _one_cycle(data: _Data) -> Iterator[Candidate]:
    """Yield the one-cycle schedule of torch whose rise and fall are cosines."""
    from scipy.optimize import least_squares

    counts, rates, _ = data.some()
    top = int(np.argmax(rates))
    if not 0 < top < len(rates) - 1 or len(rates) < 6 or counts[top] < 1:
        return

    def basis(rise: float, end: float) -> np.ndarray:
        up = (1 + np.cos(np.pi * np.clip(counts / rise, 0, 1))) / 2
        down = (1 + np.cos(np.pi * np.clip((counts - rise) / (end - rise), 0, 1))) / 2
        before = counts <= rise
        columns = [np.where(before, up, 0), np.where(before, 1 - up, down), np.where(before, 0, 1 - down)]
        return np.stack(columns, axis=1)

    def residuals(free: np.ndarray) -> np.ndarray:
        rise = math.exp(free[0])
        columns = basis(rise, rise + math.exp(free[1]))
        return (columns @ np.linalg.lstsq(columns, rates, rcond=None)[0] - rates) / rates.max()

    first = [math.log(counts[top]), math.log(max(counts[-1] - counts[top], 1.0))]
    options: Any = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "max_nfev": 100}
    solution = least_squares(residuals, first, **options).x
    rise, total = math.exp(solution[0]), round(math.exp(solution[0]) + math.exp(solution[1])) + 1
    if total > 2**40 or total < 3:
        return
    columns = basis(rise, float(total - 1))
    start, peak, floor = np.linalg.lstsq(columns, rates, rcond=None)[0]
    if not 0 < start < peak or floor < 0:
        return

    def candidate(slack: float) -> Candidate:
        def near(value: float) -> float:
            return simplest(value * (1 - slack), value * (1 + slack))

        part, div = min(near((rise + 1) / total), 0.999), near(peak / start)
        # The last rate is so small that a log of few digits may not tell it: then torch's default.
        final = near(start / floor) if slack < _SLACKS[0] and floor > 0 else 1e4

        def build(base: float) -> tuple[optax.Schedule, str]:
            schedule = one_cycle_lr(
                base, total_steps=total, pct_start=part, div_factor=div, final_div_factor=final
            )
            numbers = f"pct_start={part!r}, div_factor={div!r}, final_div_factor={final!r}"
            return schedule, f"jaxlr.one_cycle_lr({base!r}, total_steps={total}, {numbers})"

        parameters = {"length": total, "pct_start": part, "div_factor": div, "final_div_factor": final}
        return _candidate(data, "one-cycle", "peak", build, float(peak), parameters)

    yield _first_that_agrees(map(candidate, _SLACKS))


def _restarts(data: _Data) -> Iterator[Candidate]:
    """Yield a cosine that restarts after a fixed length, or after lengths that double."""
    counts, rates = data.counts, data.rates
    rises = np.flatnonzero(np.diff(rates) > 0.3 * rates.max()) + 1
    if not len(rises) or rates[0] < rates.max() * (1 - 1e-9):
        return
    for factor in (1, 2):
        lengths = np.cumsum(factor ** np.arange(len(rises)))
        low = max(
            -(-(count + 1) // length) for count, length in zip(counts[rises - 1], lengths, strict=True)
        )
        high = min(count // length for count, length in zip(counts[rises], lengths, strict=True))
        for length in _rounder_first(int(low), int(high)):
            part = rates_of(cosine_annealing_warm_restarts(1.0, length, factor), counts)
            basis = np.stack([part, 1 - part], axis=1)
            peak, floor = np.linalg.lstsq(basis, rates, rcond=None)[0]
            error = float(data.tolerances.max())
            eta_min = 0.0 if floor < error else simplest(floor - error, floor + error)

            base = simplest(peak * (1 - 1e-6), peak * (1 + 1e-6))
            schedule = cosine_annealing_warm_restarts(base, length, factor, eta_min)
            arguments = f"T_0={length}, T_mult={factor}, eta_min={eta_min!r}"
            line = f"jaxlr.cosine_annealing_warm_restarts({base!r}, {arguments})"
            deviation = np.abs(rates_of(schedule, counts) - rates)
            if (deviation <= data.tolerances).all():
                parameters = {"peak": base, "length": length, "floor": eta_min}
                largest = float(deviation.max() / rates.max())
                words = "cosine with restarts"
                yield Candidate(words, line, schedule, parameters, largest, True, (), counts)
                return


def _first_that_agrees(candidates: Iterator[Candidate]) -> Candidate:
    """Return the first candidate that agrees, or else the nearest one."""
    tried: list[Candidate] = []
    for candidate in candidates:
        tried.append(candidate)
        if candidate.agrees:
            return candidate
    return min(tried, key=lambda each: each.largest_deviation)


def _of_family(family: Family, data: _Data) -> list[Candidate]:
    """Return the simplest variant of a family that agrees, or else the nearest one."""
    counts, rates, tolerances = data.some()
    top = int(np.argmax(rates))
    rises = top > 0 and rates[0] < rates[top] * (1 - 1e-9)
    holds = int((rates >= rates[top] * (1 - 1e-7)).sum()) > 1
    length = data.log.facts.get("max_steps")
    ends = (float(length),) if isinstance(length, int) and 0 < length < 2**40 else ()
    nearest: Candidate | None = None
    kinds = [each for each in variants(family, rises, holds) if len(rates) >= 3 + sum(each) + rises]
    for index, variant in enumerate(kinds):
        if index == 0 and len(kinds) > 1:
            fullest = fitted(family, kinds[-1], counts, rates, tolerances, ends)
            if fullest is None or fullest.deviation > _NEAR:
                return _nearest_of(family, fullest, data)
        curve = fitted(family, variant, counts, rates, tolerances, ends)
        if curve is None or not curve.peak > 0 or curve.deviation > _NEAR:
            continue
        for whole in _whole_curves(curve, rises, ends):
            again = projected(family, variant, counts, rates, tolerances, *whole)
            if not again.peak > 0 or (nearest is not None and again.error > 10):
                continue
            candidate = _of_curve(family, again, data)
            if candidate.agrees:
                return [_with_round_end(family, again, data, candidate, ends)]
            if nearest is None or candidate.largest_deviation < nearest.largest_deviation:
                nearest = candidate
        if ends and (skipping := _with_skips(family, curve, data, ends[0])) is not None:
            return [skipping]
    return [] if nearest is None else [nearest]


def _with_round_end(
    family: Family, curve: Curve, data: _Data, candidate: Candidate, ends: Sequence[float]
) -> Candidate:
    """Return a candidate whose end is after the log, and a round one if the log tells only its slope."""
    last = int(data.counts[-1])
    is_line = family.name == "linear"
    if curve.end < last or curve.end in ends or (curve.end == last and not is_line):
        return candidate
    note = f"The log ends at count {last}, so the end of the decay is extrapolated."
    if is_line and curve.floor > 0:
        zero = curve.hold + (curve.end - curve.hold) * curve.peak / (curve.peak - curve.floor)
        error = max(1e-7, float(data.tolerances.max() / curve.peak))
        best = len(candidate.line)
        for end in range(last, min(math.floor(zero), last + 2000) + 1):
            floor = (zero - end) / (zero - curve.hold)
            rounded = 0.0 if floor < error else simplest(floor - error, floor + error)
            other = _of_curve(family, curve._replace(end=float(end), floor=rounded * curve.peak), data)
            if other.agrees and (size := len(other.line.replace("0", ""))) < best:
                candidate, best = other, size
        note = (
            f"The log tells only the slope of the line: its end may be from {last} to {math.floor(zero)}."
        )
    return candidate._replace(notes=(*candidate.notes, note))


def _nearest_of(family: Family, curve: Curve | None, data: _Data) -> list[Candidate]:
    """Return a curve that is not near, with whole lengths."""
    if curve is None or not curve.peak > 0:
        return []
    warmup, hold = round(curve.warmup), round(curve.hold)
    end = max(round(curve.end), hold + 1)
    if end > 2**40:
        return []
    whole = curve._replace(warmup=float(warmup), hold=float(max(hold, warmup)), end=float(end))
    return [_of_curve(family, whole, data)]


def _whole_curves(curve: Curve, rises: bool, ends: Sequence[float]) -> Iterator[tuple[float, float, float]]:
    """Yield whole lengths near those of a curve: the nearest ones, then rounder ones."""
    warmups = _near(curve.warmup) if rises else [0]
    gap = curve.hold - curve.warmup
    holds = [0] if gap <= 0.5 else _near(gap)
    lasts = [int(end) for end in ends] + _near(curve.end)
    seen: set[tuple[float, float, float]] = set()
    for last in lasts:
        for warmup in warmups:
            for hold in holds:
                each = (float(warmup), float(warmup + hold), float(last))
                if each not in seen and last > warmup + hold:
                    seen.add(each)
                    yield each


def _near(length: float) -> list[int]:
    nearest = round(length)
    rounder = [each for each in round_numbers(nearest) if abs(each - length) <= max(2, 0.003 * length)][:6]
    return list(dict.fromkeys([nearest, *rounder, max(nearest - 1, 0), nearest + 1]))


def _of_curve(family: Family, curve: Curve, data: _Data) -> Candidate:
    """Return a curve with the roundest start and floor that are near its own."""
    floor = curve.floor / curve.peak
    start = curve.start / curve.peak
    error = max(1e-7, float(data.tolerances.max() / curve.peak))
    floor = 0.0 if floor < error else simplest(floor - error, floor + error)
    start = 0.0 if start < error else simplest(start - error, start + error)
    curve = curve._replace(floor=floor * curve.peak, start=start * curve.peak)
    parts = phases(family, curve._replace(peak=1.0, floor=floor, start=start))
    words = family.name
    parameters: dict[str, float] = {}
    if curve.hold > curve.warmup:
        words += " after a hold"
        parameters["hold"] = int(curve.hold - curve.warmup)
    if curve.warmup > 0:
        words += " after a warmup" if curve.hold <= curve.warmup else " and a warmup"
        parameters["warmup"] = int(curve.warmup)
    parameters |= {"length": int(curve.end), "floor": curve.floor}

    def build(base: float) -> tuple[optax.Schedule, str]:
        return phased_lr(base, parts), _phased_line(base, parts)

    return _candidate(data, words, "peak", build, curve.peak, parameters)


def _with_skips(family: Family, curve: Curve, data: _Data, end: float) -> Candidate | None:
    """Return the schedule of a run whose length is known, if it agrees once skipped updates are counted."""
    if not data.clock.counts_updates or curve.hold > curve.warmup + 0.5:
        return None
    for warmup in round_numbers(round(curve.warmup)) if curve.warmup else [0]:
        whole = curve._replace(warmup=float(warmup), hold=float(warmup), end=end, start=0.0)
        if end <= warmup:
            continue
        bounds = (curve.peak * 0.98, curve.peak * 1.02)
        for base in {simplest(*bounds), simplest(curve.peak * 0.995, curve.peak * 1.005)}:
            candidate = _of_curve(family, whole._replace(peak=base, floor=0.0), data)
            parts = phases(family, whole._replace(peak=1.0, floor=0.0))
            schedule = phased_lr(base, parts)
            compared = with_skips(Attempt(Reading(schedule, "update"), None), data.points, data.clock)
            if compared.agrees.all():
                error = np.abs(compared.expected - data.rates).max() / data.rates.max()
                return candidate._replace(
                    line=_phased_line(base, parts),
                    schedule=schedule,
                    parameters={**candidate.parameters, "peak": base},
                    largest_deviation=float(error),
                    agrees=True,
                    notes=compared.reasons,
                    counts=compared.counts,
                )
    return None


def _phased_line(base: float, parts: Sequence[Phase]) -> str:
    return f"jaxlr.phased_lr({base!r}, [{', '.join(map(_phase_text, parts))}])"


def _phase_text(phase: Phase) -> str:
    words = [] if phase.length is None else [str(phase.length)]
    if phase.shape != "constant":
        words.append(f'"{phase.shape}"' if words else f'shape="{phase.shape}"')
    for name in ("start_factor", "end_factor", "power", "span"):
        value = getattr(phase, name)
        if value is not None:
            words.append(f"{name}={value!r}")
    return f"jaxlr.Phase({', '.join(words)})"


# Ultralytics, whose warmup follows the batches and whose decay follows the epochs


def _ultralytics(data: _Data) -> Iterator[Candidate]:
    """Yield the config of Ultralytics that has the rates of its log."""
    for settings in _ultralytics_settings(data):
        source = Source(settings, dict.fromkeys(_ARGUMENTS))
        source.arguments.update(group=0, framework="ultralytics")
        for attempt in attempts(source, data.log, data.points):
            compared = compare(attempt, data.log, data.points)
            if compared is None or not compared.agrees.all():
                continue
            found = dict(attempt.found)
            base, steps = found["init_value"], int(found["steps_per_epoch"])
            version = re.search(r"ultralytics ([\d.]*\d)", " ".join(compared.reasons))
            given = f", version={version[1]!r}" if version else ""
            config = {key: value for key, value in settings.items() if key != "optimizer"}
            config = {"lr0": base, **config}
            arguments = f"steps_per_epoch={steps}{given}"
            line = f"jaxlr.from_config({config!r}, {arguments}).schedule"
            error = np.abs(compared.expected - data.rates).max() / data.rates.max()
            kind = "Ultralytics, cosine" if settings["cos_lr"] else "Ultralytics, linear"
            parameters = {"peak": base, "steps_per_epoch": steps, "length": settings["epochs"]}
            notes = (*compared.reasons, "The counts are iterations.")
            yield Candidate(
                kind, line, attempt.reading.schedule, parameters, float(error), True, notes, compared.counts
            )
            return


def _ultralytics_settings(data: _Data) -> Iterator[dict[str, Any]]:
    """Yield settings with the defaults that people seldom change, and the number of epochs."""
    rows = len(data.rates)
    lengths = [rows]
    tail = slice(max(rows // 2, min(5, rows - 2)), rows)
    if rows - tail.start >= 3:
        slope, height = np.polyfit(np.arange(rows)[tail], data.rates[tail], 1)
        if slope < 0:
            lengths.insert(0, round(0.99 * -height / slope))
    for is_cosine in (False, True):
        for epochs in dict.fromkeys(each for each in lengths if each >= rows):
            yield {
                "lrf": 0.01,
                "epochs": epochs,
                "warmup_epochs": 3.0,
                "cos_lr": is_cosine,
                "optimizer": "auto",
                "batch": 16,
            }
