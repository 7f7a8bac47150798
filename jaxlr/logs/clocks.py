"""The counts of a schedule at the steps and epochs of a log.

Programs number their steps from 0 or from 1, and log the rate of the update that was made or of the next.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jaxlr.logs.formats import Log
from jaxlr.logs.points import Points


class Clock(NamedTuple):
    """The count of a schedule at each point of a log.

    Args:
        counts: the counts, int64 of shape (points,). A negative one is of a step before the run.
        reason: a sentence if the program does not usually number its steps like this.
        counts_updates: True if an update that was skipped delays the schedule.
        is_usual: True for the way in which the program numbers its steps.
    """

    counts: np.ndarray
    reason: str | None = None
    counts_updates: bool = False
    is_usual: bool = False


# The count of the rate that is logged at step 0.
_OFFSETS = {"huggingface": -1, "mmengine": -1, "mmcv": -1}
_OLDER = "The log holds the rate of the next update, as transformers 4.50 and earlier log it."
_NEWER = "The log holds the rate of the last update, as transformers 4.51 and later log it."


def clocks(log: Log, points: Points, unit: str | None, steps_per_epoch: int | None) -> Iterator[Clock]:
    """Yield the counts that the points of a log may have, the usual ones first.

    Args:
        log: the log.
        points: one of its columns.
        unit: the unit of the schedule's count: "update", "iteration" or "epoch". None tries all.
        steps_per_epoch: number of steps in an epoch, where it is known.
    """
    steps, epochs = _numbers(log, points)
    if log.kind == "mmcv" and steps is not None and epochs is not None and steps_per_epoch is not None:
        steps = _global_iterations(steps, epochs, steps_per_epoch)
    by_step = unit in ("update", "iteration", None)
    if by_step and steps is not None:
        yield from _by_step(log, steps)
    if unit in ("epoch", None) and epochs is not None:
        yield from _by_epoch(epochs)
    if unit in ("epoch", None) and steps is not None and steps_per_epoch is not None:
        for clock in _by_step(log, steps):
            counts = np.maximum(clock.counts, 0) // steps_per_epoch
            yield clock._replace(counts=counts, counts_updates=False)
    if by_step and steps is None and epochs is not None and steps_per_epoch is not None:
        yield from _at_epochs(epochs, steps_per_epoch)
    if by_step and steps is None and epochs is None and steps_per_epoch is not None:
        parts = np.rint(points.epochs * steps_per_epoch)  # of epochs, such as 0.25
        if np.isfinite(parts).all() and np.abs(parts).max() < 2**53:
            yield Clock(parts.astype(np.int64) - 1, is_usual=True)
            yield Clock(parts.astype(np.int64), _shifted("step", 0))


def needs_steps_per_epoch(log: Log, points: Points, unit: str | None) -> bool:
    """Check if the counts depend on the number of steps in an epoch."""
    if log.kind == "mmcv":
        return True
    has_steps = _numbers(log, points)[0] is not None
    return has_steps if unit == "epoch" else (not has_steps and unit is not None)


def not_whole(column: str) -> ValueError:
    """Return the error of a column whose steps and epochs give no counts."""
    return ValueError(
        f"the steps or epochs of the column {column!r} are not whole numbers of at most 2**53: "
        "give step_column, the name of another one"
    )


def _numbers(log: Log, points: Points) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the numbers of the steps and of the epochs, where they are whole."""
    steps, epochs = _whole(points.steps), _whole(points.epochs)
    if log.kind == "ultralytics" and epochs is None:  # its event files number epochs as steps
        return None, steps
    return steps, epochs


def _whole(numbers: np.ndarray) -> np.ndarray | None:
    """Return numbers as integers, or None if one of them is missing or has a fraction."""
    if not len(numbers) or np.isnan(numbers).any() or (numbers != np.floor(numbers)).any():
        return None
    return numbers.astype(np.int64) if np.abs(numbers).max() < 2**53 else None


def _by_step(log: Log, steps: np.ndarray) -> Iterator[Clock]:
    if log.kind == "huggingface":
        older, newer = Clock(steps, _OLDER, True, True), Clock(steps - 1, None, True, True)
        # Earlier versions round the epochs, and their state has no best_global_step.
        yield from (older, newer._replace(reason=_NEWER)) if is_older_trainer(log) else (newer, older)
        usual = (0, -1)
    else:
        usual = (_OFFSETS.get(log.kind, 0),)
        yield Clock(steps + usual[0], None, True, True)
    for offset in (0, -1, 1, -2):
        if offset not in usual:
            yield Clock(steps + offset, _shifted("step", offset), True)


def is_older_trainer(log: Log) -> bool:
    """Check if transformers 4.49 or an earlier version wrote the log, by what is missing in it."""
    if "best_metric" in log.facts and "best_global_step" not in log.facts:
        return True
    pairs = log.facts.get("epochs_and_steps", ())
    decimals = [-int(epoch.as_tuple().exponent) for epoch, _ in pairs]
    # Rounded to two digits: at least one epoch would have more of them.
    return len({*pairs}) >= 5 and max(decimals) == 2


def _by_epoch(epochs: np.ndarray) -> Iterator[Clock]:
    first = int(epochs[0]) if int(epochs[0]) in (0, 1) else 0
    yield Clock(epochs - first, is_usual=True)
    for offset in (1 - first, -1 - first):
        yield Clock(epochs + offset, _shifted("epoch", offset))
    if first == 1:
        yield Clock(epochs, _shifted("epoch", 0))


def _at_epochs(epochs: np.ndarray, steps_per_epoch: int) -> Iterator[Clock]:
    """Yield the counts of the last step of each epoch, of its first step, and of the step after it."""
    first = int(epochs[0]) if int(epochs[0]) in (0, 1) else 0
    begins = (epochs - first) * steps_per_epoch
    yield Clock(begins + steps_per_epoch - 1, is_usual=True)
    yield Clock(begins, "The log holds the rate of the first step of each epoch.")
    yield Clock(begins + steps_per_epoch, "The log holds the rate of the step after each epoch.")


def _global_iterations(iterations: np.ndarray, epochs: np.ndarray, steps_per_epoch: int) -> np.ndarray:
    """Return iterations that are numbered from 1 in each epoch as iterations of the run."""
    if iterations.max() > steps_per_epoch:
        return iterations
    return (epochs - 1) * steps_per_epoch + iterations


def _shifted(unit: str, offset: int) -> str:
    number = "g" if offset == 0 else f"g {'+' if offset > 0 else '-'} {abs(offset)}"
    return f"The rate logged at {unit} g is that of count {number}."
