"""The recipe of a command, completed with its flags, and the curve of its learning rates."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from jaxlr.cli.flags import DEFAULT_EPOCHS, MOST_COUNTS, CurveFlags, RecipeFlags
from jaxlr.convert import from_string
from jaxlr.convert.errors import MissingRateError
from jaxlr.convert.text import steps_per_batch
from jaxlr.flags.errors import RecipeError, in_flags
from jaxlr.flags.recipe import Settings, Source, message_of, parse_names
from jaxlr.frameworks import Recipe
from jaxlr.frameworks.config import from_config
from jaxlr.schedules.compose import sample


_DEFAULT_LR = 0.1
_T = TypeVar("_T")


class RecipeCurve(NamedTuple):
    """The learning rates of a recipe at each count of its run."""

    label: str
    rates: np.ndarray  # float64, shape (counts,)
    unit: str  # the thing that a count counts, such as "epoch" or "update"
    counts_per_epoch: float | None  # None if the recipe does not say it


def convert(flags: RecipeFlags, function: Callable[..., _T], text: str, num_steps: int | None) -> _T:
    """Call `from_string` or another function of a torch text with the flags as its arguments.

    Raises:
        RecipeError: as the function raises, with advice in flags.
    """
    if flags.num_processes is not None:
        raise RecipeError("--num-processes is for a config: leave it out for the text of a scheduler")
    options = {
        "names": parse_names(flags.names),
        "group": flags.group,
        "num_steps": num_steps,
        "version": flags.framework_version,
    }
    try:
        try:
            return function(text, flags.lr, **options)
        except MissingRateError as error:
            if error.optimizer is not None:
                raise
            return function(text, _DEFAULT_LR, **options)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise RecipeError(message_of(error)) from error


def config_arguments(flags: RecipeFlags) -> dict[str, Any]:
    """Return the arguments of `from_config` that are flags, without the rate."""
    return {
        "framework": flags.framework,
        "version": flags.framework_version,
        "steps_per_epoch": flags.steps_per_epoch,
        "epochs": flags.epochs,
        "num_processes": flags.num_processes,
        "group": flags.group,
        "names": parse_names(flags.names),
    }


def recipe_of(flags: RecipeFlags, settings: Settings) -> Recipe:
    """Call `from_config` with the flags as its arguments.

    Raises:
        RecipeError: as `from_config` raises, with advice in flags.
    """
    try:
        recipe = from_config(settings, flags.lr, **config_arguments(flags))
    except (TypeError, ValueError, ArithmeticError) as error:
        raise RecipeError(message_of(error)) from error
    return recipe._replace(assumptions=tuple(map(in_flags, recipe.assumptions)))


def curve_of(flags: CurveFlags, source: Source) -> RecipeCurve:
    """Compute the learning rates of a recipe at each count of the run."""
    if source.settings is None:
        return _curve_of_text(flags, source)
    return _curve_of_config(flags, source.label, recipe_of(flags, source.settings))


def as_json(rate: float) -> float | None:
    """Return a learning rate for JSON, which has no NaN and no infinity: they become null."""
    return rate if math.isfinite(rate) else None


def _curve_of_text(flags: CurveFlags, source: Source) -> RecipeCurve:
    per_batch = steps_per_batch(source.text) if flags.step_per == "auto" else flags.step_per == "batch"
    counts_per_epoch = (flags.steps_per_epoch or 1) if per_batch else 1
    num_steps = (flags.epochs or DEFAULT_EPOCHS) * counts_per_epoch
    rates = _rates(source.label, convert(flags, from_string, source.text, num_steps), num_steps)
    unit = "epoch" if counts_per_epoch == 1 else "step"
    return RecipeCurve(source.label, rates, unit, counts_per_epoch)


def _curve_of_config(flags: CurveFlags, label: str, recipe: Recipe) -> RecipeCurve:
    num_counts = _num_counts(flags, recipe)
    if num_counts > MOST_COUNTS:
        raise RecipeError(f"{label} has {num_counts} {recipe.unit}s, and at most {MOST_COUNTS} are listed")
    rates = _rates(label, recipe.schedule, num_counts)
    counts_per_epoch = None if flags.epochs is None else num_counts / flags.epochs
    return RecipeCurve(label, rates, recipe.unit, 1 if recipe.unit == "epoch" else counts_per_epoch)


def _num_counts(flags: CurveFlags, recipe: Recipe) -> int:
    """Return the counts of the run, from the config or from the flags."""
    if recipe.num_counts is not None:
        return max(1, recipe.num_counts)
    if recipe.unit == "evaluation":  # no curve: the error says so
        return 1
    counts_per_epoch = 1 if recipe.unit == "epoch" else flags.steps_per_epoch
    if flags.epochs is None or counts_per_epoch is None:
        needed = "--epochs" if recipe.unit == "epoch" else "--epochs and --steps-per-epoch"
        raise RecipeError(f"the config does not say how many {recipe.unit}s the run has: give {needed}")
    return flags.epochs * counts_per_epoch


def _rates(label: str, schedule: Any, num_counts: int) -> np.ndarray:
    try:
        rates = sample(label, schedule, num_counts)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise RecipeError(message_of(error)) from error
    if not np.isfinite(rates).any():
        raise RecipeError(f"{label} has no finite learning rate")
    return rates
