"""Families of schedules that `fit` tries: a warmup, a hold, and a decay along a shape."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxlr.logs.candidates import Sample
from jaxlr.schedules import Phase


_EXACTLY: Any = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "max_nfev": 40}
_STARTS = 3  # lengths from which the search for the length begins


class Family(NamedTuple):
    """A shape of the decay, with the arguments of its `Phase`.

    Args:
        name: name of the kind of schedule.
        weight: weight of the rate before the decay, as a function of the fraction of it that has passed.
        phase: arguments of the phase, without its length and its end.
        has_floor: True if the end is a value of its own; otherwise the rate approaches 0.
    """

    name: str
    weight: Callable[[np.ndarray], np.ndarray]
    phase: dict[str, Any]
    has_floor: bool = True


def _polynomial(power: float) -> Family:
    phase = {"shape": "polynomial", "power": power}
    return Family(f"polynomial of power {power:g}", lambda part: np.clip(1 - part, 0, 1) ** power, phase)


FAMILIES = (
    Family("linear", lambda part: np.clip(1 - part, 0, 1), {"shape": "linear"}),
    Family("cosine", lambda part: (1 + np.cos(np.pi * np.clip(part, 0, 1))) / 2, {"shape": "cosine"}),
    *map(_polynomial, (2.0, 3.0, 0.9, 0.5)),
    Family("1-sqrt", lambda part: 1 - np.sqrt(np.clip(part, 0, 1)), {"shape": "1-sqrt"}),
    Family(
        "inverse square root",
        lambda part: 1 / np.sqrt(1 + np.maximum(part, 0)),
        {"shape": "inverse_sqrt"},
        has_floor=False,
    ),
)


class Curve(NamedTuple):
    """The lengths and the rates of a curve.

    Args:
        warmup: counts of the warmup.
        hold: count at which the decay begins, at least `warmup`.
        end: count at which the decay ends.
        start: rate at count 0.
        peak: rate after the warmup.
        floor: rate at the end.
        error: largest deviation in units of the tolerance.
        deviation: largest deviation as a fraction of the highest rate.
    """

    warmup: float
    hold: float
    end: float
    start: float
    peak: float
    floor: float
    error: float
    deviation: float


class Variant(NamedTuple):
    """The phases that a curve has."""

    has_start: bool  # the warmup begins above 0
    has_floor: bool
    has_hold: bool


def variants(family: Family, rises: bool, holds: bool) -> Iterator[Variant]:
    """Yield the variants of a family, the simplest first."""
    for has_hold in (False, True) if holds else (False,):
        for has_floor in (False, True) if family.has_floor else (False,):
            for has_start in (False, True) if rises else (False,):
                yield Variant(has_start, has_floor, has_hold)


def rises_at_first(rates: np.ndarray) -> bool:
    """Check if the rates begin below the highest one."""
    return bool(rates[0] < rates.max() * (1 - 1e-9))


def at_top(rates: np.ndarray) -> np.ndarray:
    """Return the indices of the highest rates."""
    return np.flatnonzero(rates >= rates.max() * (1 - 1e-7))


def fitted(family: Family, variant: Variant, sample: Sample, ends: tuple[float, ...]) -> Curve | None:
    """Return the curve nearest to the rates, with lengths that may have fractions.

    Args:
        family: the shape of the decay.
        variant: the parts of the curve.
        sample: the points, with rising counts.
        ends: ends of the decay to try first.
    """
    from scipy.optimize import least_squares  # it takes a tenth of a second

    counts, rates, _ = sample
    rises, top = rises_at_first(rates), counts[at_top(rates)]
    warmup = float(top[0]) if rises else 0.0
    hold = float(top[-1]) if variant.has_hold else warmup
    last = float(counts[-1])

    def curve(logarithms: np.ndarray) -> Curve:
        lengths = np.exp(np.clip(logarithms, -20, 30))  # of the decay, the warmup and the hold
        length = lengths[1] if rises else 0.0
        begin = length + (lengths[-1] if variant.has_hold else 0.0)
        return projected(family, variant, sample, length, begin, begin + lengths[0])

    def residuals(logarithms: np.ndarray) -> np.ndarray:
        return (evaluated(family, curve(logarithms), counts) - rates) / np.abs(rates).max()

    best: Curve | None = None
    for end in (*ends, *np.geomspace(max(last - hold, 1.0), 10 * max(last, 2.0), _STARTS) + hold):
        lengths = [max(end - hold, 1.0)]
        if rises:
            lengths.append(max(warmup, 0.5))
        if variant.has_hold:
            lengths.append(max(hold - warmup, 0.5))
        try:
            found = curve(least_squares(residuals, np.log(lengths), **_EXACTLY).x)
        except (ValueError, np.linalg.LinAlgError):
            continue
        if best is None or found.error < best.error:
            best = found
        if best.error <= 1:
            break
    return best


def projected(
    family: Family, variant: Variant, sample: Sample, warmup: float, hold: float, end: float
) -> Curve:
    """Return the curve with these lengths whose rates are nearest."""
    counts, rates, tolerances = sample
    curve = Curve(warmup, hold, end, 0.0, 1.0, 0.0, 0.0, 0.0)
    before, weight = _weights(family, curve, counts)
    columns = [np.where(before > 0, 1 - before, weight)]
    if variant.has_start:
        columns.append(before)
    if variant.has_floor:
        columns.append(np.where(before > 0, 0.0, 1 - weight))
    solution, *_ = np.linalg.lstsq(np.stack(columns, axis=1), rates, rcond=None)
    peak, *others = [max(float(each), 0.0) for each in solution]
    start = others[0] if variant.has_start else 0.0
    floor = others[-1] if variant.has_floor else 0.0
    curve = curve._replace(start=start, peak=peak, floor=floor)
    error = np.abs(evaluated(family, curve, counts) - rates)
    return curve._replace(
        error=float((error / tolerances).max()), deviation=float(error.max() / rates.max())
    )


def evaluated(family: Family, curve: Curve, counts: np.ndarray) -> np.ndarray:
    """Return the rates of a curve at counts."""
    before, weight = _weights(family, curve, counts)
    after = curve.floor + (curve.peak - curve.floor) * weight
    return np.where(before > 0, curve.start * before + curve.peak * (1 - before), after)


def _weights(family: Family, curve: Curve, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight of the start during the warmup, and of the peak after it."""
    before = np.clip(1 - counts / curve.warmup, 0, 1) if curve.warmup > 0 else np.zeros_like(counts)
    weight = family.weight((counts - curve.hold) / max(curve.end - curve.hold, 1e-9))
    return before, np.where(counts < curve.hold, 1.0, weight)


def phases(family: Family, curve: Curve) -> list[Phase]:
    """Return the phases of a curve whose lengths are whole, with factors of its peak."""
    found: list[Phase] = []
    if curve.warmup > 0:
        start = curve.start / curve.peak
        found.append(Phase(int(curve.warmup), "linear", start_factor=start, end_factor=1.0))
    if curve.hold > curve.warmup:
        found.append(Phase(int(curve.hold - curve.warmup)))
    length = int(curve.end - curve.hold)
    if family.has_floor:
        found.append(Phase(length, end_factor=curve.floor / curve.peak, **family.phase))
    else:
        found.append(Phase(None, span=float(length), **family.phase))
    return found
