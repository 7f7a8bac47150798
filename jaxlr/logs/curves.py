"""Smooth schedules that have the rates of a log."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import optax

from jaxlr.logs.candidates import Candidate, Data, build_candidate, first_that_agrees, phased_line
from jaxlr.logs.comparisons import Attempt, rates_of, with_skips
from jaxlr.logs.readings import Reading
from jaxlr.logs.search import round_numbers, rounder_first, simplest
from jaxlr.logs.shapes import Curve, Family, fitted, phases, projected, variants
from jaxlr.schedules import cosine_annealing_warm_restarts, exponential_lr, one_cycle_lr, phased_lr


_SLACKS = (
    1e-2,
    1e-3,
    1e-4,
    1e-5,
    1e-6,
    1e-8,
    1e-10,
    1e-13,
)  # a number may be rounded by these fractions of it
_NEAR = 2e-2  # of the highest rate: a shape whose best fit is farther off is the wrong one


def exponential(data: Data) -> Iterator[Candidate]:
    counts, rates = data.counts.astype(float), data.rates
    if len(rates) < 3 or (rates <= 0).any() or (np.diff(rates) > 0).any() or rates[-1] == rates[0]:
        return
    slope, height = np.polyfit(counts, np.log(rates), 1)

    def candidate(slack: float) -> Candidate:
        gamma = min(simplest(math.exp(slope - slack), math.exp(slope + slack)), 1.0)

        def build(base: float) -> tuple[optax.Schedule, str]:
            return exponential_lr(base, gamma), f"jaxlr.exponential_lr({base!r}, gamma={gamma!r})"

        return build_candidate(data, "exponential", "peak", build, math.exp(height), {"gamma": gamma})

    yield first_that_agrees(map(candidate, _SLACKS))


def one_cycle(data: Data) -> Iterator[Candidate]:
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
        return build_candidate(data, "one-cycle", "peak", build, float(peak), parameters)

    yield first_that_agrees(map(candidate, _SLACKS))


def restarts(data: Data) -> Iterator[Candidate]:
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
        for length in rounder_first(int(low), int(high)):
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


def of_family(family: Family, data: Data) -> list[Candidate]:
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
    family: Family, curve: Curve, data: Data, candidate: Candidate, ends: Sequence[float]
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


def _nearest_of(family: Family, curve: Curve | None, data: Data) -> list[Candidate]:
    """Return the curve with whole lengths, for a shape that does not agree."""
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


def _of_curve(family: Family, curve: Curve, data: Data) -> Candidate:
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
        return phased_lr(base, parts), phased_line(base, parts)

    return build_candidate(data, words, "peak", build, curve.peak, parameters)


def _with_skips(family: Family, curve: Curve, data: Data, end: float) -> Candidate | None:
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
                    line=phased_line(base, parts),
                    schedule=schedule,
                    parameters={**candidate.parameters, "peak": base},
                    largest_deviation=float(error),
                    agrees=True,
                    notes=compared.reasons,
                    counts=compared.counts,
                )
    return None
