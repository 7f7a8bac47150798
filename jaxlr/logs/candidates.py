"""Schedules that are fitted to the points of a log."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import optax

from jaxlr.convert.lines import line_of
from jaxlr.logs.clocks import Clock
from jaxlr.logs.comparisons import rates_of, tolerances_of
from jaxlr.logs.formats import Log
from jaxlr.logs.points import Points
from jaxlr.logs.search import base_rates, simplest, simplest_near


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


class Sample(NamedTuple):
    """A few of the points, from the first to the last, as arrays of shape (points,)."""

    counts: np.ndarray  # float64
    rates: np.ndarray
    tolerances: np.ndarray


class Data(NamedTuple):
    """The points to fit, with a count for each."""

    log: Log
    points: Points
    clock: Clock

    @property
    def counts(self) -> np.ndarray:
        return self.clock.counts

    @property
    def rates(self) -> np.ndarray:
        return self.points.rates

    @property
    def tolerances(self) -> np.ndarray:
        return tolerances_of(self.points)

    def sample(self) -> Sample:
        """Return at most a few hundred points."""
        size = len(self.rates)
        chosen = np.arange(size)
        if size > _MOST_POINTS:
            chosen = np.linspace(0, size - 1, _MOST_POINTS).astype(int)
            chosen = np.unique([*chosen, int(np.argmax(self.rates))])
        return Sample(self.counts[chosen].astype(float), self.rates[chosen], self.tolerances[chosen])


def fit_base(
    data: Data,
    kind: str,
    build: Callable[[float], optax.Schedule],
    near: float,
    parameters: dict[str, Any],
    notes: Sequence[str] = (),
) -> Candidate:
    """Return the schedule with the shortest base rate that agrees, or else with one that is near."""
    factors = rates_of(build(1.0), data.counts)
    bounds = base_rates(factors, np.zeros_like(factors), data.rates, data.tolerances)
    base = simplest_near(near, 1e-7 * near) if bounds is None else simplest(*bounds)
    return candidate_of(data, kind, build(base), {"peak": base, **parameters}, notes)


def candidate_of(
    data: Data,
    kind: str,
    schedule: optax.Schedule,
    parameters: dict[str, Any],
    notes: Sequence[str] = (),
    counts: np.ndarray | None = None,
    line: str | None = None,
) -> Candidate:
    """Return a schedule beside the rates of the log, by default at the counts of `data`."""
    counts = data.counts if counts is None else counts
    error = np.abs(rates_of(schedule, counts) - data.rates)
    deviation = float(error.max() / data.rates.max())
    agrees = bool((error <= data.tolerances).all())
    line = _line_of(schedule) if line is None else line
    return Candidate(kind, line, schedule, parameters, deviation, agrees, tuple(notes), counts)


def first_that_agrees(candidates: Iterator[Candidate]) -> Candidate:
    """Return the first candidate that agrees, or else the nearest one."""
    tried: list[Candidate] = []
    for candidate in candidates:
        tried.append(candidate)
        if candidate.agrees:
            return candidate
    return min(tried, key=lambda each: each.largest_deviation)


def _line_of(schedule: optax.Schedule) -> str:
    """Return the line that makes a schedule, as people write it: without defaults and obvious names."""
    line = line_of(schedule).replace("phases=", "").replace("'", '"')
    line = line.replace(', anneal_strategy="cos"', "").replace(", three_phase=False", "")
    return re.sub(r"(Phase\(\d+, )shape=", r"\1", line)
