"""An attempt to read a recipe, compared with the rates of a log."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxlr.logs.clocks import Clock, clocks
from jaxlr.logs.formats import Log
from jaxlr.logs.points import Points
from jaxlr.logs.readings import Reading


_FLOAT32 = 2.0**-23  # schedules and logs in float32 are that exact
_LARGEST_COUNT = 2**40
_MOST_COMPARISONS = 4_000_000
_MOST_SKIPPED_AT_ONCE = 32
_MOST_INTERRUPTIONS = 4


class Attempt(NamedTuple):
    """One way to read a recipe, with the sentences that explain it."""

    reading: Reading
    steps_per_epoch: int | None
    reasons: tuple[str, ...] = ()
    found: Mapping[str, float] = {}
    is_changed: bool = False  # it is another recipe than the given one


class Comparison(NamedTuple):
    """The rates of an attempt beside those of the log."""

    attempt: Attempt
    counts: np.ndarray
    expected: np.ndarray
    agrees: np.ndarray
    reasons: tuple[str, ...]

    @property
    def num_agreeing(self) -> int:
        return int(self.agrees.sum())


def best_of(comparisons: Iterable[Comparison | None]) -> Comparison | None:
    """Return the first comparison with which all points agree, or else the first with the most points."""
    best: Comparison | None = None
    for comparison in comparisons:
        if comparison is None:
            continue
        if best is None or comparison.num_agreeing > best.num_agreeing:
            best = comparison
        if best.agrees.all():
            break
    return best


def usual_comparison(attempt: Attempt, log: Log, points: Points) -> Comparison | None:
    """Compare with the usual numbering of the steps."""
    listed = [*_clocks_of(attempt, log, points)]
    usual = [clock for clock in listed if clock.is_usual] or listed[:1]
    return best_of(_at(attempt, points, clock) for clock in usual)


def compare(attempt: Attempt, log: Log, points: Points) -> Comparison | None:
    """Compare with every numbering of the steps, and then with skipped updates."""
    listed = [*_clocks_of(attempt, log, points)]
    as_logged = (_at(attempt, points, clock) for clock in listed)
    skipping = (with_skips(attempt, points, clock) for clock in listed if _may_skip(attempt, clock, log))
    return best_of(itertools.chain(as_logged, skipping))


def _may_skip(attempt: Attempt, clock: Clock, log: Log) -> bool:
    """Check if a skipped update delays the schedule, as in the Trainer of Hugging Face."""
    is_delayed = log.kind == "huggingface" or attempt.reading.framework is not None
    return is_delayed and clock.counts_updates and clock.is_usual


def _clocks_of(attempt: Attempt, log: Log, points: Points) -> Iterator[Clock]:
    for clock in clocks(log, points, attempt.reading.unit, attempt.steps_per_epoch):
        if np.abs(clock.counts).max() < _LARGEST_COUNT:
            yield clock


def _at(attempt: Attempt, points: Points, clock: Clock) -> Comparison:
    expected = rates_of(attempt.reading.schedule, clock.counts)
    tolerances = tolerances_of(points)
    if not type(attempt.reading.schedule).__module__.startswith("jaxlr"):
        tolerances = tolerances + _FLOAT32 * np.abs(points.rates).max()  # it may compute in float32
    agrees = np.abs(expected - points.rates) <= tolerances
    reasons = filter(None, (*attempt.reasons, clock.reason))
    return Comparison(attempt, clock.counts, expected, agrees, tuple(reasons))


def tolerances_of(points: Points) -> np.ndarray:
    peak = np.abs(points.rates).max(initial=0.0)
    return np.maximum(points.tolerances * (1 + 1e-9), _FLOAT32 * np.abs(points.rates)) + 1e-14 * peak


def rates_of(schedule: Callable[[Any], Any], counts: np.ndarray) -> np.ndarray:
    """Return the rates at counts. A count below 0 is before the run, and has the rate of count 0."""
    counts = np.maximum(counts, 0)
    try:
        rates = np.asarray(schedule(counts), dtype=float)
    except Exception:  # a function that takes one number at a time
        rates = np.array([float(schedule(int(count))) for count in counts.ravel()]).reshape(counts.shape)
    return np.broadcast_to(rates, counts.shape)


def with_skips(attempt: Attempt, points: Points, clock: Clock) -> Comparison:
    """Compare with the counts of a run in which updates were skipped."""
    counts = clock.counts
    most = np.minimum(32 + counts // 50, np.maximum(counts, 0))
    skips = np.arange(min(int(most.max()), _MOST_COMPARISONS // len(counts)) + 1)[:, None]
    expected = rates_of(attempt.reading.schedule, counts[None, :] - skips)
    explains = (np.abs(expected - points.rates) <= tolerances_of(points)) & (skips <= most)
    skipped, agrees = _fewest_skips(explains)
    agrees &= _looks_like_mixed_precision(skipped, counts)
    chosen = expected[skipped, np.arange(len(counts))]
    reasons = filter(None, (*attempt.reasons, _skip_sentence(points.steps, skipped), clock.reason))
    return Comparison(attempt, counts - skipped, chosen, agrees, tuple(reasons))


def _fewest_skips(explains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of updates skipped by each point, and True for each point that it explains.

    Each point takes the lowest number that explains it, and at least that of the point before.

    Args:
        explains: True if a number of skipped updates explains a point, bool of shape (numbers, points).
    """
    num_points = explains.shape[1]
    skipped, agrees = np.zeros(num_points, dtype=np.int64), np.zeros(num_points, dtype=bool)
    current = 0
    for index in range(num_points):
        more = np.flatnonzero(explains[current:, index])
        # One wrong rate must not push all later points: it may skip few updates at once.
        if len(more) and more[0] <= _MOST_SKIPPED_AT_ONCE:
            current += int(more[0])
            agrees[index] = True
        skipped[index] = current
    return skipped, agrees


def _looks_like_mixed_precision(skipped: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return True for each point up to which few updates were skipped, or most of them in a row.

    A longer warmup looks like a run that skips some updates before each point, over and over.
    """
    applied = np.diff(counts - skipped, prepend=counts[0])
    interruptions = np.cumsum((np.diff(skipped, prepend=0) > 0) & (applied > 0))
    return (interruptions <= _MOST_INTERRUPTIONS) | (skipped <= 0.05 * counts)


def _skip_sentence(steps: np.ndarray, skipped: np.ndarray) -> str:
    """Return the sentence with the number of skipped updates and the first steps that show it."""
    rises = np.flatnonzero(np.diff(skipped, prepend=np.int64(0)))
    parts = [f"{skipped[index]} by step {steps[index]:.0f}" for index in rises]
    if len(parts) > 6:
        parts = [*parts[:3], "...", *parts[-2:]]
    first, *rest = parts or ["0"]
    first = first.replace(
        " ", " update was skipped " if first.startswith("1 ") else " updates were skipped ", 1
    )
    listed = ", ".join([first, *rest[:-1]]) + (f" and {rest[-1]}" if rest else "")
    return f"{listed}, as in mixed precision."
