"""`verify`: compare a schedule with the rates that a finished run logged."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optax

from jaxlr._checks import check_duration, check_positive_count, shown_value
from jaxlr.frameworks.recipe import Recipe
from jaxlr.logs.attempts import attempts
from jaxlr.logs.clocks import not_whole
from jaxlr.logs.comparisons import Comparison, best_of, compare, usual_comparison
from jaxlr.logs.formats import Log, read_log
from jaxlr.logs.points import Points
from jaxlr.logs.readings import Source
from jaxlr.logs.search import digits_of


class Disagreement(NamedTuple):
    """A point of a log at which the schedule has another rate.

    Args:
        step: number of the step, or of the epoch, in the log.
        logged: the rate in the log.
        expected: the rate of the schedule.
    """

    step: float
    logged: float
    expected: float


class Verification(NamedTuple):
    """The result of comparing a schedule with a log.

    Args:
        agrees: True if all points agree to the printed digits. `explanations` may be needed for that:
            skipped updates, another numbering of the steps, or numbers that the recipe lacks. False if
            only another recipe agrees.
        num_points: number of rates in the column of the log.
        num_agreeing: number of them that agree with the recipe as it is.
        num_explained: number of them that agree with `explanations`.
        digits: significant digits to which those agree.
        printed_digits: significant digits in the log.
        first_disagreement: the first point that does not agree with the recipe as it is, or None.
        explanations: a sentence for each reason why points disagree.
        found: numbers that the log determines, by name, such as "steps_per_epoch".
        assumptions: the assumptions of the recipe.
        notes: a sentence for each thing that is unusual in the log.
        kind: the program that wrote the log.
        column: name of the column.
        schedule: the schedule that was compared, with the numbers found.
        counts: count of the schedule at each point, int64 of shape (points,).
        steps: number of the step or epoch of each point in the log, shape (points,).
        rates: the logged rates, shape (points,).
        expected: the rates of the schedule, shape (points,).
    """

    agrees: bool
    num_points: int
    num_agreeing: int
    num_explained: int
    digits: int
    printed_digits: int
    first_disagreement: Disagreement | None
    explanations: tuple[str, ...]
    found: Mapping[str, float]
    assumptions: tuple[str, ...]
    notes: tuple[str, ...]
    kind: str
    column: str
    schedule: optax.Schedule
    counts: np.ndarray
    steps: np.ndarray
    rates: np.ndarray
    expected: np.ndarray


def verify(
    recipe: "optax.Schedule | Recipe | Mapping[str, Any] | str | PathLike[str] | list[str]",
    log: str | PathLike[str],
    init_value: float | None = None,
    *,
    framework: str | None = None,
    version: str | None = None,
    steps_per_epoch: int | None = None,
    epochs: float | None = None,
    num_processes: int | None = None,
    group: int = 0,
    names: Mapping[str, Any] | None = None,
    step_column: str | None = None,
    rate_column: str | None = None,
) -> Verification:
    r"""Compare a recipe with the learning rates in the log of a run.

    A point agrees if the rate of the schedule differs by at most half a unit of the last printed digit, or
    by the rounding of a float32. If points disagree, these explanations are tried, in this order:

    1. The log numbers its steps in another way, such as from 0.
    2. Updates were skipped, as mixed precision does when a gradient overflows.
    3. Another version of the framework had another rule.
    4. The recipe lacks a number, or one of its whole numbers differs: the steps of an epoch, the length of
       the warmup or of the run.
    5. The base learning rate differs.

    The log is recognized by its content. It may be `trainer_state.json` of Hugging Face, `results.csv` of
    Ultralytics, `metrics.csv` of Lightning, JSON lines of MMEngine, MMCV or detectron2, `metrics.jsonl` of
    jaxlr, an event file of TensorBoard, or CSV or JSON lines with a step and a rate. A part of a run that
    was resumed replaces the steps that it did again.

    Args:
        recipe: a schedule, a `Recipe`, the text of a torch scheduler, or a config, as `from_config` takes
            it.
        log: the path of a log, or of the folder of a run that holds one.
        init_value: learning rate of the optimizer, a finite number >= 0. None takes it from the recipe, or
            finds it.
        framework: the framework of a config, as in `from_config`.
        version: the version of the framework, such as "4.46". None finds the rules that agree.
        steps_per_epoch: steps in an epoch. None takes it from the recipe, or finds it.
        epochs: epochs of the run, as in `from_config`.
        num_processes: number of processes that trained together, as in `from_config`.
        group: parameter group of the optimizer, from 0.
        names: values of names in the recipe, as in `from_string` and `from_config`.
        step_column: name of the column with the number of the step or epoch. None finds it.
        rate_column: name of the column with the rate. None takes the one that agrees best.

    Returns:
        A `Verification`. Its field `agrees` is the answer.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the recipe or the log cannot be read, or a number is missing that the log does not
            determine.
        OSError: a file cannot be opened.
        ModuleNotFoundError: the log is an event file, and tensorboardX is not installed.

    Example:
        >>> import jaxlr, pathlib, tempfile
        >>> log = pathlib.Path(tempfile.mkdtemp()) / "log.csv"
        >>> _ = log.write_text("step,lr\n0,0.1\n10,0.1\n20,0.05\n30,0.05\n")
        >>> result = jaxlr.verify("StepLR(optimizer, 20, gamma=0.5)", log, 0.1)
        >>> result.agrees, result.num_agreeing, result.num_points
        (True, 4, 4)
        >>> result = jaxlr.verify("StepLR(optimizer, 20)", log, 0.1)
        >>> result.agrees, result.num_agreeing, result.first_disagreement
        (False, 2, Disagreement(step=20.0, logged=0.05, expected=0.010000000000000002))

    Reference: https://huggingface.co/docs/transformers/main_classes/trainer and the pages of the other
    frameworks.
    """
    if steps_per_epoch is not None:
        steps_per_epoch = check_positive_count("steps_per_epoch", steps_per_epoch)
    group = check_duration("group", group)
    if not isinstance(log, str | PathLike):
        raise TypeError(f"log must be the path of a file, got {shown_value(log)}")
    source = Source(
        recipe,
        init_value=init_value,
        framework=framework,
        version=version,
        steps_per_epoch=steps_per_epoch,
        epochs=epochs,
        num_processes=num_processes,
        group=group,
        names=names,
    )
    found = read_log(Path(log), step_column, rate_column)
    results: list[Verification] = []
    for name in _ordered(found, group):
        results.append(_verify_column(source, found, name))
        if results[-1].agrees:
            return results[-1]
    return max(results, key=lambda result: (result.num_explained, result.num_agreeing))


def _ordered(log: Log, group: int) -> list[str]:
    """Return the columns to compare with, without those that repeat another one."""
    names = [*log.columns]
    if log.kind == "ultralytics" and len(names) > 1:
        # The biases, which have a warmup of their own, are the first group, and the last one in YOLOv5.
        names = [names[0], *names[:0:-1]] if group == 2 else [*names[1:], names[0]]
    elif group < len(names):
        names = [names[group], *names[:group], *names[group + 1 :]]
    distinct: list[str] = []
    for name in names:
        rates = log.columns[name].rates
        if not any(np.array_equal(rates, log.columns[other].rates) for other in distinct):
            distinct.append(name)
    return distinct[:4]


def _verify_column(source: Source, log: Log, column: str) -> Verification:
    points = log.columns[column]
    best: Comparison | None = None
    usual: Comparison | None = None
    is_lacking = bool(source.missing())
    for attempt in attempts(source, log, points):
        if usual is None or (is_lacking and attempt.found and not attempt.is_changed):
            # A recipe that lacks a number has no rates of its own: take the best one.
            usual = best_of([usual, usual_comparison(attempt, log, points)])
        best = best_of([best, compare(attempt, log, points)])
        if best is not None and best.agrees.all():
            break
    if best is not None and not best.agrees.all():
        best = _rounded(source, log, points) or best
    if best is None or usual is None:
        if source.arguments["steps_per_epoch"] is not None or not np.isnan(points.steps).any():
            raise not_whole(column)
        raise ValueError(
            "the recipe counts steps and the log numbers epochs, or the reverse: give steps_per_epoch"
        )
    if not best.agrees.all() and best.num_agreeing < usual.num_agreeing + 0.5 * (~usual.agrees).sum():
        best = usual  # it explains little
    return _result(usual, best, log, column)


def _rounded(source: Source, log: Log, points: Points) -> Comparison | None:
    """Compare with a log whose rates are rounded to a few decimals, if that makes all points agree."""
    if points.decimals is None or 0.5 * 10.0**-points.decimals > 0.05 * points.rates.max():
        return None
    rounding = np.full(len(points.rates), 0.5 * 10.0**-points.decimals)
    looser = points._replace(tolerances=np.maximum(points.tolerances, rounding))
    for attempt in attempts(source, log, looser):
        if attempt.is_changed:
            return None
        comparison = compare(attempt, log, looser)
        if comparison is not None and comparison.agrees.all():
            reason = f"The rates of the log are rounded to {points.decimals} decimals."
            return comparison._replace(reasons=(*comparison.reasons, reason))
    return None


def _result(usual: Comparison, best: Comparison, log: Log, column: str) -> Verification:
    points = log.columns[column]
    steps = np.where(np.isnan(points.steps), points.epochs, points.steps)
    first = None
    if not usual.agrees.all():
        at = int(np.argmin(usual.agrees))
        first = Disagreement(float(steps[at]), float(points.rates[at]), float(usual.expected[at]))
    rates, expected = points.rates[best.agrees], best.expected[best.agrees]
    digits = min(digits_of(expected, rates), points.digits)
    if best.agrees.any() and (np.abs(expected - rates) <= points.tolerances[best.agrees]).all():
        digits = points.digits
    return Verification(
        agrees=bool(best.agrees.all()) and not best.attempt.is_changed,
        num_points=len(points.rates),
        num_agreeing=usual.num_agreeing,
        num_explained=best.num_agreeing,
        digits=digits,
        printed_digits=points.digits,
        first_disagreement=first,
        explanations=best.reasons,
        found=dict(best.attempt.found) if best.agrees.all() else {},
        assumptions=best.attempt.reading.assumptions,
        notes=log.notes,
        kind=log.kind,
        column=column,
        schedule=best.attempt.reading.schedule,
        counts=best.counts,
        steps=steps,
        rates=points.rates,
        expected=best.expected,
    )
