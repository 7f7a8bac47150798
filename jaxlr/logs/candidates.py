"""Schedules that are fitted to the points of a log."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import optax

from jaxlr.logs.clocks import Clock
from jaxlr.logs.comparisons import rates_of
from jaxlr.logs.formats import Log, Points
from jaxlr.logs.search import base_rates, simplest
from jaxlr.schedules import Phase


_MOST_POINTS = 150


class Candidate(NamedTuple):
    """A schedule that was fitted to the rates of a log.

    Args:
        kind: the kind of schedule in words, such as "linear after a warmup".
        line: the line of Python that builds it.
        schedule: the schedule.
        parameters: its numbers by name, such as `peak`, `warmup`, `length` and `floor`.
        largest_deviation: the largest difference from a logged rate, as a fraction of the highest rate.
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


class Data(NamedTuple):
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


def build_candidate(
    data: Data,
    kind: str,
    name: str,
    build: Callable[[float], tuple[optax.Schedule, str]],
    near: float,
    parameters: dict[str, float],
    notes: Sequence[str] = (),
) -> Candidate:
    """Return the schedule with the shortest base rate that agrees, or else with one that is near."""
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


def first_that_agrees(candidates: Iterator[Candidate]) -> Candidate:
    """Return the first candidate that agrees, or else the nearest one."""
    tried: list[Candidate] = []
    for candidate in candidates:
        tried.append(candidate)
        if candidate.agrees:
            return candidate
    return min(tried, key=lambda each: each.largest_deviation)


def phased_line(base: float, parts: Sequence[Phase]) -> str:
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
