"""Families of schedules that `fit` tries: a warmup, a hold, and a decay along a shape."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

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


def _left(part: np.ndarray) -> np.ndarray:
    return np.clip(1 - part, 0, 1)


FAMILIES = (
    Family("linear", _left, {"shape": "linear"}),
    Family("cosine", lambda part: (1 + np.cos(np.pi * np.clip(part, 0, 1))) / 2, {"shape": "cosine"}),
    *(
        Family(
            f"polynomial of power {power:g}",
            lambda part, power=power: _left(part) ** power,
            {"shape": "polynomial", "power": power},
        )
        for power in (2.0, 3.0, 0.9, 0.5)
    ),
    Family("1-sqrt", lambda part: 1 - np.sqrt(np.clip(part, 0, 1)), {"shape": "1-sqrt"}),
    Family(
        "inverse square root",
        lambda part: 1 / np.sqrt(1 + np.maximum(part, 0)),
        {"shape": "inverse_sqrt"},
        False,
    ),
)
ONE_CYCLE = Family("one-cycle", FAMILIES[1].weight, {"shape": "cosine"})


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


def fitted(
    family: Family,
    variant: Variant,
    counts: np.ndarray,
    rates: np.ndarray,
    tolerances: np.ndarray,
    ends: tuple[float, ...],
) -> Curve | None:
    """Return the curve nearest to the rates, with lengths that may have fractions.

    Args:
        family: the shape of the decay.
        variant: the parts of the curve.
        counts: counts of the points, rising, shape (points,).
        rates: rates of the points, shape (points,).
        tolerances: scale of the deviations, shape (points,).
        ends: ends of the decay to try first.
    """
    from scipy.optimize import least_squares  # it takes a tenth of a second

    top = int(np.argmax(rates))
    rises = top > 0 and rates[0] < rates[top] * (1 - 1e-9)
    last = float(counts[-1])
    at_top = np.flatnonzero(rates >= rates[top] * (1 - 1e-7))
    warmup = float(counts[at_top[0]]) if rises else 0.0
    hold = float(counts[at_top[-1]]) if variant.has_hold else warmup
    guesses = [*ends, *np.geomspace(max(last - hold, 1.0), 10 * max(last, 2.0), _STARTS) + hold]
    best: Curve | None = None
    for end in guesses:
        free = [np.log(max(end - hold, 1.0))]
        if rises:
            free.append(np.log(max(warmup, 0.5)))
        if variant.has_hold:
            free.append(np.log(max(hold - warmup, 0.5)))

        def curve(values: np.ndarray) -> Curve:
            values = np.exp(np.clip(values, -20, 30))
            length = values[1] if rises else 0.0
            begin = length + (values[-1] if variant.has_hold else 0.0)
            return projected(family, variant, counts, rates, tolerances, length, begin, begin + values[0])

        def residuals(values: np.ndarray) -> np.ndarray:
            found = curve(values)
            return (evaluated(family, found, counts) - rates) / np.abs(rates).max()

        try:
            solution = least_squares(residuals, free, **_EXACTLY)
        except (ValueError, np.linalg.LinAlgError):
            continue
        found = curve(solution.x)
        if best is None or found.error < best.error:
            best = found
        if best.error <= 1:
            break
    return best


def projected(
    family: Family,
    variant: Variant,
    counts: np.ndarray,
    rates: np.ndarray,
    tolerances: np.ndarray,
    warmup: float,
    hold: float,
    end: float,
) -> Curve:
    """Return the curve with these lengths whose rates are nearest."""
    before = np.clip(1 - counts / warmup, 0, 1) if warmup > 0 else np.zeros_like(counts)
    weight = np.where(counts < hold, 1.0, family.weight((counts - hold) / max(end - hold, 1e-9)))
    columns = [np.where(before > 0, 1 - before, weight)]
    if variant.has_start:
        columns.append(before)
    if variant.has_floor:
        columns.append(np.where(before > 0, 0.0, 1 - weight))
    basis = np.stack(columns, axis=1)
    solution, *_ = np.linalg.lstsq(basis, rates, rcond=None)
    solved = [max(float(each), 0.0) for each in solution]
    start = solved[1] if variant.has_start else 0.0
    floor = solved[-1] if variant.has_floor else 0.0
    curve = Curve(warmup, hold, end, start, solved[0], floor, 0.0, 0.0)
    error = np.abs(evaluated(family, curve, counts) - rates)
    return curve._replace(
        error=float((error / tolerances).max()), deviation=float(error.max() / rates.max())
    )


def evaluated(family: Family, curve: Curve, counts: np.ndarray) -> np.ndarray:
    """Return the rates of a curve at counts."""
    before = np.clip(1 - counts / curve.warmup, 0, 1) if curve.warmup > 0 else np.zeros_like(counts)
    weight = np.where(
        counts < curve.hold, 1.0, family.weight((counts - curve.hold) / max(curve.end - curve.hold, 1e-9))
    )
    after = curve.floor + (curve.peak - curve.floor) * weight
    return np.where(before > 0, curve.start * before + curve.peak * (1 - before), after)


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
