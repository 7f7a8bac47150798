"""The flags that describe a torch scheduler, and the curve of its learning rates."""

import ast
import dataclasses
import math
import re
import shlex
import sys
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from jaxlr._checks import check_duration, check_positive_count, check_value, shorten
from jaxlr.cli.errors import RecipeError
from jaxlr.convert import from_string
from jaxlr.convert.errors import MissingNamesError, MissingNumStepsError
from jaxlr.convert.text import steps_per_batch
from jaxlr.plot import Curve
from jaxlr.schedules.compose import sample


_MOST_COUNTS = 10_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecipeFlags:
    """The flags that complete the text of a scheduler."""

    lr: float = 0.1
    """Base learning rate: the rate that the optimizer is created with."""

    names: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE...", help_behavior_hint="")] = ()
    """Values of the names in TEXT, such as --names epochs=90 "len(loader)=391"."""

    group: int = 0
    """Parameter group, from 0. Needed if an argument in TEXT is a list with a value for each group."""

    def __post_init__(self) -> None:
        check_value("lr", self.lr)
        check_duration("group", self.group)
        _parse_names(self.names)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `from_string` and `port` besides the text."""
        return {"init_value": self.lr, "names": _parse_names(self.names), "group": self.group}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CurveFlags(RecipeFlags):
    """The flags that describe a scheduler and the run that uses it."""

    epochs: int = 100
    """Epochs of the run."""

    steps_per_epoch: int = 1
    """Batches in an epoch, for a scheduler that steps per batch."""

    step_per: Literal["auto", "epoch", "batch"] = "auto"
    """When the scheduler steps. auto: per batch for OneCycleLR and CyclicLR, per epoch for others."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive_count("epochs", self.epochs)
        check_positive_count("steps_per_epoch", self.steps_per_epoch)
        if self.epochs * self.steps_per_epoch > _MOST_COUNTS:
            raise ValueError(f"epochs times steps_per_epoch must be at most {_MOST_COUNTS}")

    def curve(self, text: str) -> Curve:
        """Compute the learning rates of the scheduler `text` at each epoch or step of the run."""
        per_batch = steps_per_batch(text) if self.step_per == "auto" else self.step_per == "batch"
        counts_per_epoch = self.steps_per_epoch if per_batch else 1
        num_steps = self.epochs * counts_per_epoch
        label = shorten(text)
        try:
            schedule: Any = from_string(text, **self.arguments(), num_steps=num_steps)
            rates = sample(label, schedule, num_steps)
        except (TypeError, ValueError, ArithmeticError) as error:
            raise RecipeError(message_of(error)) from error
        if not np.isfinite(rates).any():
            raise RecipeError(f"{label} has no finite learning rate")
        return Curve(label, rates, counts_per_epoch)


def read_text(text: str) -> str:
    """Return the text of a scheduler, read from standard input for `-`."""
    return sys.stdin.read() if text == "-" else text


def unit_of(curve: Curve) -> str:
    """Return the unit of a curve's counts, which names them in tables, CSV and JSON."""
    return "epoch" if curve.counts_per_unit == 1 else "step"


def message_of(error: Exception) -> str:
    """Return the message of an error in a recipe, with advice in flags instead of Python's arguments."""
    match error:
        case MissingNamesError():
            pairs = error.listed(lambda name: _shell_quoted(f"{name}=..."), separator=" ")
            return f"{error.reason}: give --names {pairs}"
        case MissingNumStepsError():
            return f"{error.reason}: give --epochs, the number of epochs (or steps) to tabulate"
    return str(error)


def as_json(rate: float) -> float | None:
    """Return a learning rate for JSON, which has no NaN and no infinity: they become null."""
    return rate if math.isfinite(rate) else None


def _shell_quoted(text: str) -> str:
    """Quote an argument for the shell, in double quotes if it contains single ones and these suffice."""
    if "'" in text and not set('"$`\\!') & set(text):
        return f'"{text}"'
    return shlex.quote(text)


def _parse_names(pairs: tuple[str, ...]) -> dict[str, Any]:
    return dict(_parse_pair(pair) for pair in pairs)


def _parse_pair(pair: str) -> tuple[str, Any]:
    """Split NAME=VALUE. Both may contain an = themselves."""
    for equals in re.finditer("=", pair):
        name, text = pair[: equals.start()].strip(), pair[equals.end() :].strip()
        try:
            ast.parse(name, mode="eval")
            return name, ast.literal_eval(text)
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
            continue  # try the next =
    raise ValueError(
        "names must be NAME=VALUE with a number, a string in quotes or a list (and come after TEXT), "
        f"got {shorten(pair)!r}"
    )
