"""Smooth schedules that have the rates of a log."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import optax

from jaxlr.logs.candidates import Candidate, Data, candidate_of, first_that_agrees, fit_base
from jaxlr.logs.comparisons import Attempt, rates_of, with_skips
from jaxlr.logs.readings import Reading
from jaxlr.logs.search import round_numbers, rounder_first, simplest, simplest_near
from jaxlr.logs.shapes import (
    Curve,
    Family,
    at_top,
    fitted,
    phases,
    projected,
    rises_at_first,
    variants,
)
from jaxlr.schedules import cosine_annealing_warm_restarts, exponential_lr, one_cycle_lr, phased_lr


# A number may be rounded by these fractions of it.
_SLACKS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8, 1e-10, 1e-13)
_NEAR = 2e-2  # of the highest rate: a shape whose best fit is farther off is the wrong one


def exponential(data: Data) -> Iterator[Candidate]:
    counts, rates = data.counts.astype(float), data.rates
    if len(rates) < 3 or (rates <= 0).any() or (np.diff(rates) > 0).any() or rates[-1] == rates[0]:
        return
    slope, height = np.polyfit(counts, np.log(rates), 1)

    def candidate(slack: float) -> Candidate:
        gamma = min(simplest(math.exp(slope - slack), math.exp(slope + slack)), 1.0)

        def build(base: float) -> optax.Schedule:
            return exponential_lr(base, gamma)

        return fit_base(data, "exponential", build, math.exp(height), {"gamma": gamma})

    yield first_that_agrees(map(candidate, _SLACKS))


def one_cycle(data: Data) -> Iterator[Candidate]:
    """Yield the one-cycle schedule of torch whose rise and fall are cosines."""
    from scipy.optimize import least_squares

    counts, rates, _ = data.sample()
    top = int(np.argmax(rates))
    if not 0 < top < len(rates) - 1 or len(rates) < 6 or counts[top] < 1:
        return

    def solved(rise: float, end: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the rates at the start, the peak and the end that are nearest, and all rates with them."""
        up = (1 + np.cos(np.pi * np.clip(counts / rise, 0, 1))) / 2
        down = (1 + np.cos(np.pi * np.clip((counts - rise) / (end - rise), 0, 1))) / 2
        before = counts <= rise
        columns = [np.where(before, up, 0), np.where(before, 1 - up, down), np.where(before, 0, 1 - down)]
        basis = np.stack(columns, axis=1)
        solution = np.linalg.lstsq(basis, rates, rcond=None)[0]
        return solution, basis @ solution

    def residuals(free: np.ndarray) -> np.ndarray:
        rise, fall = np.exp(free)
        return (solved(rise, rise + fall)[1] - rates) / rates.max()

    first = [math.log(counts[top]), math.log(max(counts[-1] - counts[top], 1.0))]
    options: Any = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "max_nfev": 100}
    rise, fall = np.exp(least_squares(residuals, first, **options).x).tolist()
    if rise + fall > 2**40 or (total := round(rise + fall) + 1) < 3:
        return
    start, peak, floor = solved(rise, float(total - 1))[0].tolist()
    if not 0 < start < peak or floor < 0:
        return

    def candidate(slack: float) -> Candidate:
        def near(value: float) -> float:
            return simplest_near(value, slack * value)

        part, div = min(near((rise + 1) / total), 0.999), near(peak / start)
        # The last rate is so small that a log of few digits may not tell it: then torch's default.
        final = near(start / floor) if slack < _SLACKS[0] and floor > 0 else 1e4

        def build(base: float) -> optax.Schedule:
            return one_cycle_lr(base, total, pct_start=part, div_factor=div, final_div_factor=final)

        parameters = {"length": total, "pct_start": part, "div_factor": div, "final_div_factor": final}
        return fit_base(data, "one-cycle", build, peak, parameters)

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
            peak, floor = np.linalg.lstsq(basis, rates, rcond=None)[0].tolist()
            eta_min = simplest_near(floor, float(data.tolerances.max()))
            base = simplest_near(peak, 1e-6 * peak)
            schedule = cosine_annealing_warm_restarts(base, length, factor, eta_min)
            parameters = {"peak": base, "length": length, "floor": eta_min}
            candidate = candidate_of(data, "cosine with restarts", schedule, parameters)
            if candidate.agrees:
                yield candidate
                return


def of_family(family: Family, data: Data) -> list[Candidate]:
    """Return the simplest variant of a family that agrees, or else the nearest one."""
    sample = data.sample()
    rates = sample.rates
    rises, holds = rises_at_first(rates), len(at_top(rates)) > 1
    length = data.log.facts.get("max_steps")
    ends = (float(length),) if isinstance(length, int) and 0 < length < 2**40 else ()
    nearest: Candidate | None = None
    kinds = [each for each in variants(family, rises, holds) if len(rates) >= 3 + sum(each) + rises]
    if len(kinds) > 1:  # if the last variant is far off, which has all phases, so are the others
        fullest = fitted(family, kinds[-1], sample, ends)
        if fullest is None or fullest.deviation > _NEAR:
            return _nearest_of(family, fullest, data)
    for variant in kinds:
        curve = fitted(family, variant, sample, ends)
        if curve is None or not curve.peak > 0 or curve.deviation > _NEAR:
            continue
        for whole in _whole_curves(curve, rises, ends):
            again = projected(family, variant, sample, *whole)
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
        candidate = _roundest_on_line(family, curve, data, candidate, zero)
        note = (
            f"The log tells only the slope of the line: its end may be from {last} to {math.floor(zero)}."
        )
    return candidate._replace(notes=(*candidate.notes, note))


def _roundest_on_line(
    family: Family, curve: Curve, data: Data, candidate: Candidate, zero: float
) -> Candidate:
    """Return the candidate with the fewest digits that ends elsewhere on the line, after the log.

    Args:
        family: the linear decay.
        curve: the curve of `candidate`.
        data: the log.
        candidate: the one to return if no other has fewer digits.
        zero: count at which the line reaches 0.
    """
    last = int(data.counts[-1])
    error = max(1e-7, float(data.tolerances.max() / curve.peak))
    fewest = len(candidate.line)
    for end in range(last, min(math.floor(zero), last + 2000) + 1):
        floor = (zero - end) / (zero - curve.hold)
        rounded = simplest_near(floor, error) * curve.peak
        other = _of_curve(family, curve._replace(end=float(end), floor=rounded), data)
        if other.agrees and (num_digits := len(other.line.replace("0", ""))) < fewest:
            candidate, fewest = other, num_digits
    return candidate


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
    lasts = dict.fromkeys([*map(int, ends), *_near(curve.end)])
    for last, warmup, hold in itertools.product(lasts, warmups, holds):
        if last > warmup + hold:
            yield float(warmup), float(warmup + hold), float(last)


def _near(length: float) -> list[int]:
    nearest = round(length)
    rounder = [each for each in round_numbers(nearest) if abs(each - length) <= max(2, 0.003 * length)][:6]
    return list(dict.fromkeys([nearest, *rounder, max(nearest - 1, 0), nearest + 1]))


def _of_curve(family: Family, curve: Curve, data: Data) -> Candidate:
    """Return a curve with the roundest start and floor that are near its own."""
    error = max(1e-7, float(data.tolerances.max() / curve.peak))
    start = simplest_near(curve.start / curve.peak, error)
    floor = simplest_near(curve.floor / curve.peak, error)
    parts = phases(family, curve._replace(peak=1.0, floor=floor, start=start))
    kind = family.name
    parameters: dict[str, float] = {}
    if curve.hold > curve.warmup:
        kind += " after a hold"
        parameters["hold"] = int(curve.hold - curve.warmup)
    if curve.warmup > 0:
        kind += " after a warmup" if curve.hold <= curve.warmup else " and a warmup"
        parameters["warmup"] = int(curve.warmup)
    parameters |= {"length": int(curve.end), "floor": floor * curve.peak}
    return fit_base(data, kind, lambda base: phased_lr(base, parts), curve.peak, parameters)


def _with_skips(family: Family, curve: Curve, data: Data, end: float) -> Candidate | None:
    """Return the schedule of a run whose length is known, if it agrees once skipped updates are counted."""
    if not data.clock.counts_updates or curve.hold > curve.warmup + 0.5:
        return None
    bases = {simplest_near(curve.peak, slack * curve.peak) for slack in (0.02, 0.005)}
    for warmup in round_numbers(round(curve.warmup)) if curve.warmup else [0]:
        if end <= warmup:
            continue
        whole = curve._replace(warmup=float(warmup), hold=float(warmup), end=end, start=0.0, floor=0.0)
        parts = phases(family, whole)
        for base in bases:
            schedule = phased_lr(base, parts)
            compared = with_skips(Attempt(Reading(schedule, "update"), None), data.points, data.clock)
            if compared.agrees.all():
                usual = _of_curve(family, whole, data)
                parameters = {**usual.parameters, "peak": base}
                return candidate_of(
                    data, usual.kind, schedule, parameters, compared.reasons, compared.counts
                )
    return None
