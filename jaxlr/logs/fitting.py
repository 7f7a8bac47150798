"""`fit`: find schedules that have the rates of a log."""

from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxlr._checks import shown_value
from jaxlr.logs.candidates import Candidate, Data
from jaxlr.logs.clocks import Clock, clocks, not_whole
from jaxlr.logs.curves import exponential, of_family, one_cycle, restarts
from jaxlr.logs.formats import Log, read_log
from jaxlr.logs.points import Points
from jaxlr.logs.shapes import FAMILIES
from jaxlr.logs.steps import of_levels
from jaxlr.logs.yolo import of_ultralytics


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

    Reference: `torch.optim.lr_scheduler` has the kinds in the names of torch.
    """
    if not isinstance(log, str | PathLike):
        raise TypeError(f"log must be the path of a file, got {shown_value(log)}")
    found = read_log(Path(log), step_column, rate_column)
    column = next(iter(found.columns))
    if found.kind == "ultralytics" and len(found.columns) > 1:
        column = [*found.columns][1]  # the first one may be that of the biases
    points = found.columns[column]
    usual = _usual_clocks(found, points)
    if not usual:
        raise not_whole(column)
    if not points.rates.max() > 0:
        raise ValueError(
            f"the column {column!r} has no rate above 0: give rate_column, the name of another one"
        )
    fits: list[Fit] = []
    for clock in usual:
        candidates = _candidates(found, points, clock)
        agreeing = sorted((each for each in candidates if each.agrees), key=lambda each: len(each.line))
        nearest = sorted(candidates, key=lambda each: each.largest_deviation)[:1]
        if best := agreeing or nearest:
            notes = (*found.notes, *([clock.reason] if clock.reason else []))
            size = len(points.rates)
            if size <= 2:
                notes = (*notes, "Many other schedules agree with so few rates.")
            fits.append(Fit(tuple(best), bool(agreeing), size, found.kind, column, notes, points.rates))
            length = best[0].parameters.get("length")
            if agreeing and length is not None and found.facts.get("max_steps") == length:
                break
    if not fits:
        raise ValueError(
            f"no schedule that is tried is near the rates of the column {column!r}: give rate_column, "
            "the name of another one, or the rates to jaxlr.tabulate"
        )
    # Unusual numbers make a line longer.
    return max(fits, key=lambda each: (each.agrees, -len(each.candidates[0].line)))


def _usual_clocks(log: Log, points: Points) -> list[Clock]:
    """Return the ways to count that are usual in the program of the log, from count 0 on."""
    listed = [clock for clock in clocks(log, points, None, None) if clock.counts.min() >= -1]
    usual = [clock for clock in listed if clock.is_usual]
    if (
        listed and log.kind in ("csv", "json", "tensorboard") and points.steps[0] == 1
    ):  # nothing tells if the first step is number 1
        usual += [clock for clock in listed if not clock.is_usual and clock.counts.min() == 0]
    return [clock._replace(counts=np.maximum(clock.counts, 0)) for clock in usual]


def _candidates(log: Log, points: Points, clock: Clock) -> list[Candidate]:
    """Return the schedules of each kind that agree, or else those that are near."""
    data = Data(log, points, clock)
    if log.kind == "ultralytics" and (found := [*of_ultralytics(data)]):
        return found
    found = [*exponential(data), *of_levels(data)]
    if not any(each.agrees for each in found):
        found += [*one_cycle(data), *restarts(data)]
    if not any(each.agrees for each in found):
        found += [each for family in FAMILIES for each in of_family(family, data)]
    return found
