"""The flags that complete a recipe, and the curve of its learning rates."""

import dataclasses
import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import numpy as np
import tyro

from jaxlr._checks import check_duration, check_positive_count, check_value
from jaxlr.convert import from_string
from jaxlr.convert.errors import MissingRateError
from jaxlr.convert.text import steps_per_batch
from jaxlr.flags.errors import RecipeError, in_flags
from jaxlr.flags.recipe import Settings, Source, message_of, parse_names, read_recipe
from jaxlr.frameworks import Recipe
from jaxlr.frameworks.config import from_config
from jaxlr.schedules.compose import sample


_MOST_COUNTS = 10_000_000
_DEFAULT_LR = 0.1
_DEFAULT_EPOCHS = 100
_T = TypeVar("_T")


class RecipeCurve(NamedTuple):
    """The learning rates of a recipe at each count of its run."""

    label: str
    rates: np.ndarray  # float64, shape (counts,)
    unit: str  # the thing that a count counts, such as "epoch" or "update"
    counts_per_epoch: float | None  # None if the recipe does not say it


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecipeFlags:
    """The flags that complete a recipe."""

    lr: Annotated[float | None, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="")] = None
    """Learning rate that the optimizer is created with. Default: the one in RECIPE, or 0.1."""

    names: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE...", help_behavior_hint="")] = ()
    """Values for names in RECIPE, such as --names epochs=90 "len(loader)=391"."""

    group: int = 0
    """Number of the parameter group, from 0."""

    epochs: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")] = None
    """Epochs of the run. Default: those in the config. A torch scheduler seldom needs them."""

    steps_per_epoch: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")] = None
    """Batches in an epoch, for a config that does not state them."""

    num_processes: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")] = None
    """Processes (GPUs) of the run, if the rate depends on them."""

    framework: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None
    """Framework of a config, such as timm. Default: recognized."""

    framework_version: Annotated[str | None, tyro.conf.arg(metavar="VERSION", help_behavior_hint="")] = None
    """Version of the framework, such as 4.46. Default: the newest."""

    def __post_init__(self) -> None:
        if self.lr is not None:
            check_value("lr", self.lr)
        check_duration("group", self.group)
        parse_names(self.names)
        for name in ("epochs", "steps_per_epoch", "num_processes"):
            if getattr(self, name) is not None:
                check_positive_count(name, getattr(self, name))

    def read(self, recipe: str) -> Source:
        """Read a recipe: a text, the path of a file, or - for standard input."""
        return read_recipe(recipe, self.framework)

    def convert(self, function: Callable[..., _T], text: str, num_steps: int | None) -> _T:
        """Call `from_string` or another function of a torch text with the flags as its arguments.

        Raises:
            RecipeError: as the function raises, with advice in flags.
        """
        if self.num_processes is not None:
            raise RecipeError("--num-processes is for a config: leave it out for the text of a scheduler")
        options = {
            "names": parse_names(self.names),
            "group": self.group,
            "num_steps": num_steps,
            "version": self.framework_version,
        }
        try:
            try:
                return function(text, self.lr, **options)
            except MissingRateError as error:
                if error.optimizer is not None:
                    raise
                return function(text, _DEFAULT_LR, **options)
        except (TypeError, ValueError, ArithmeticError) as error:
            raise RecipeError(message_of(error)) from error

    def config_arguments(self) -> dict[str, Any]:
        """Return the arguments of `from_config` that are flags, without the rate."""
        return {
            "framework": self.framework,
            "version": self.framework_version,
            "steps_per_epoch": self.steps_per_epoch,
            "epochs": self.epochs,
            "num_processes": self.num_processes,
            "group": self.group,
            "names": parse_names(self.names),
        }

    def from_config(self, settings: Settings) -> Recipe:
        """Call `from_config` with the flags as its arguments.

        Raises:
            RecipeError: as `from_config` raises, with advice in flags.
        """
        try:
            recipe = from_config(settings, self.lr, **self.config_arguments())
        except (TypeError, ValueError, ArithmeticError) as error:
            raise RecipeError(message_of(error)) from error
        return recipe._replace(assumptions=tuple(map(in_flags, recipe.assumptions)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class CurveFlags(RecipeFlags):
    """The flags that complete a recipe whose learning rates are listed."""

    epochs: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")] = None
    """Epochs of the run. Default: those in the config, or 100."""

    steps_per_epoch: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")] = None
    """Batches in an epoch, for a recipe that counts them."""

    step_per: Literal["auto", "epoch", "batch"] = "auto"
    """When a torch scheduler steps. auto: per batch for OneCycleLR and CyclicLR, else per epoch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.epochs or _DEFAULT_EPOCHS) * (self.steps_per_epoch or 1) > _MOST_COUNTS:
            raise ValueError(f"epochs times steps_per_epoch must be at most {_MOST_COUNTS}")

    def curve(self, source: Source) -> RecipeCurve:
        """Compute the learning rates of a recipe at each count of the run."""
        if source.settings is None:
            return self._curve_of_text(source)
        return self._curve_of_config(source.label, self.from_config(source.settings))

    def _curve_of_text(self, source: Source) -> RecipeCurve:
        per_batch = steps_per_batch(source.text) if self.step_per == "auto" else self.step_per == "batch"
        counts_per_epoch = (self.steps_per_epoch or 1) if per_batch else 1
        num_steps = (self.epochs or _DEFAULT_EPOCHS) * counts_per_epoch
        rates = _rates(source.label, self.convert(from_string, source.text, num_steps), num_steps)
        unit = "epoch" if counts_per_epoch == 1 else "step"
        return RecipeCurve(source.label, rates, unit, counts_per_epoch)

    def _curve_of_config(self, label: str, recipe: Recipe) -> RecipeCurve:
        num_counts = self._num_counts(recipe)
        if num_counts > _MOST_COUNTS:
            raise RecipeError(
                f"{label} has {num_counts} {recipe.unit}s, and at most {_MOST_COUNTS} are listed"
            )
        rates = _rates(label, recipe.schedule, num_counts)
        counts_per_epoch = None if self.epochs is None else num_counts / self.epochs
        return RecipeCurve(label, rates, recipe.unit, 1 if recipe.unit == "epoch" else counts_per_epoch)

    def _num_counts(self, recipe: Recipe) -> int:
        """Return the counts of the run, from the config or from the flags."""
        if recipe.num_counts is not None:
            return max(1, recipe.num_counts)
        if recipe.unit == "evaluation":  # no curve: the error says so
            return 1
        counts_per_epoch = 1 if recipe.unit == "epoch" else self.steps_per_epoch
        if self.epochs is None or counts_per_epoch is None:
            flags = "--epochs" if recipe.unit == "epoch" else "--epochs and --steps-per-epoch"
            raise RecipeError(f"the config does not say how many {recipe.unit}s the run has: give {flags}")
        return self.epochs * counts_per_epoch


def _rates(label: str, schedule: Any, num_counts: int) -> np.ndarray:
    try:
        rates = sample(label, schedule, num_counts)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise RecipeError(message_of(error)) from error
    if not np.isfinite(rates).any():
        raise RecipeError(f"{label} has no finite learning rate")
    return rates


def as_json(rate: float) -> float | None:
    """Return a learning rate for JSON, which has no NaN and no infinity: they become null."""
    return rate if math.isfinite(rate) else None
