"""The flags of the commands, except those of `train` and `sweep`.

The help and most mistakes in flags need only this module. So it imports JAX only when values are checked.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import tyro


MOST_COUNTS = 10_000_000
DEFAULT_EPOCHS = 100
# Flags with a help text that already states the default.
_Float: TypeAlias = Annotated[float | None, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="")]
_Int: TypeAlias = Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")]
_Name: TypeAlias = Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")]
_Version: TypeAlias = Annotated[str | None, tyro.conf.arg(metavar="VERSION", help_behavior_hint="")]
_File: TypeAlias = Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")]
_Pairs: TypeAlias = Annotated[
    tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE...", help_behavior_hint="")
]
_Recipe: TypeAlias = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecipeFlags:
    """The flags that complete a recipe."""

    lr: _Float = None
    """Learning rate that the optimizer is created with. Default: the one in RECIPE, or 0.1."""

    names: _Pairs = ()
    """Values for names in RECIPE, such as --names epochs=90 "len(loader)=391"."""

    group: int = 0
    """Number of the parameter group, from 0."""

    epochs: _Int = None
    """Epochs of the run. Default: those in the config. A torch scheduler seldom needs them."""

    steps_per_epoch: _Int = None
    """Batches in an epoch, for a config that does not state them."""

    num_processes: _Int = None
    """Processes (GPUs) of the run, if the rate depends on them."""

    framework: _Name = None
    """Framework of a config, such as timm. Default: recognized."""

    framework_version: _Version = None
    """Version of the framework, such as 4.46. Default: the newest."""

    def check(self) -> None:
        """Raise a ValueError if a value is not accepted. It names the field."""
        from jaxlr._checks import check_duration, check_positive_count, check_value
        from jaxlr.flags.recipe import parse_names

        if self.lr is not None:
            check_value("lr", self.lr)
        check_duration("group", self.group)
        parse_names(self.names)
        for name in ("epochs", "steps_per_epoch", "num_processes"):
            if getattr(self, name) is not None:
                check_positive_count(name, getattr(self, name))


@dataclasses.dataclass(frozen=True, kw_only=True)
class CurveFlags(RecipeFlags):
    """The flags that complete a recipe whose learning rates are listed."""

    epochs: _Int = None
    """Epochs of the run. Default: those in the config, or 100."""

    steps_per_epoch: _Int = None
    """Batches in an epoch, for a recipe that counts them."""

    step_per: Literal["auto", "epoch", "batch"] = "auto"
    """When a torch scheduler steps. auto: per batch for OneCycleLR and CyclicLR, else per epoch."""

    def check(self) -> None:
        """Raise a ValueError if a value is not accepted, or if the curve is too long."""
        super().check()
        if (self.epochs or DEFAULT_EPOCHS) * (self.steps_per_epoch or 1) > MOST_COUNTS:
            raise ValueError(f"epochs times steps_per_epoch must be at most {MOST_COUNTS}")


@dataclasses.dataclass(frozen=True)
class PlotFlags(CurveFlags):
    """Draw the learning rates of torch schedulers and config files, in the terminal or into a file.

    Example: jaxlr plot "StepLR(30)" "CosineAnnealingLR(90)" --lr 0.1 --epochs 90 -o lr.png
    """

    recipes: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="RECIPE...", help_behavior_hint="(required)"),
    ]
    """Torch schedulers in quotes, such as "StepLR(30)"; configs or scripts; flags after --."""

    out: Annotated[_File, tyro.conf.arg(aliases=["-o"])] = None
    """Image to write: .png, .svg or .pdf. Default: draw in the terminal."""

    format: Literal["text", "json"] = "text"
    """Format of the output: the drawing, or one JSON object per curve."""

    def check(self) -> None:
        """Raise a ValueError if a value is not accepted, or if there is no recipe."""
        super().check()
        if not self.recipes:
            raise ValueError('RECIPE must be at least one scheduler or config file, such as "StepLR(30)"')


@dataclasses.dataclass(frozen=True)
class TableFlags(CurveFlags):
    """Print the learning rates of a torch scheduler or a config file, one per epoch, step or update.

    Example: jaxlr table "MultiStepLR([30, 60])" --lr 0.1 --epochs 90 --changes
    """

    recipe: _Recipe
    """Torch scheduler in quotes, such as "StepLR(30)"; config or script; flags after --; - for stdin."""

    format: Literal["text", "csv", "json"] = "text"
    """Format of the output: columns, comma-separated values, or one JSON object per line."""

    changes: bool = False
    """Print only the counts at which the rate changes, and the first one."""


@dataclasses.dataclass(frozen=True)
class PortFlags(RecipeFlags):
    """Print a torch scheduler or a config file as Python lines, ready to paste.

    Example: jaxlr port "SequentialLR(opt, [LinearLR(opt), StepLR(opt, 30)], [5])" --lr 0.1
    """

    recipe: _Recipe
    """Torch scheduler in quotes, such as "StepLR(30)"; config or script; flags after --; - for stdin."""

    format: Literal["text", "json"] = "text"
    """Format of the output: Python lines, or a JSON object with them and what was read."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogFlags:
    """The flags of a command that reads a log."""

    step_column: _Name = None
    """Column of LOG with the steps. Default: found by its name."""

    rate_column: _Name = None
    """Column of LOG with the rates. Default: found by its name."""

    plot: _File = None
    """Image to write: the curve with the logged points."""

    format: Literal["text", "json"] = "text"
    """Output: lines to read, or a JSON object."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoggedRecipeFlags(LogFlags, RecipeFlags):
    """The flags of a log, and of a recipe whose missing numbers may be found in the log."""

    lr: _Float = None
    """Learning rate of the optimizer. Default: from RECIPE or LOG."""

    steps_per_epoch: _Int = None
    """Batches in an epoch. Default: from RECIPE or LOG."""

    epochs: _Int = None
    """Epochs of the run. Default: from RECIPE."""

    framework_version: _Version = None
    """Version of the framework, such as 4.46. Default: from LOG."""


@dataclasses.dataclass(frozen=True)
class VerifyFlags(LoggedRecipeFlags):
    """Compare a recipe with the rates in the log of a run.

    Example: jaxlr verify README.md trainer_state.json
    """

    recipe: _Recipe
    """Torch scheduler in quotes, config file or script, or - for standard input."""

    log: Annotated[
        tyro.conf.Positional[Path],
        tyro.conf.arg(
            metavar="LOG",
            help="Log or folder of a run: trainer_state.json, results.csv, metrics.csv, JSON lines, an "
            "event file of TensorBoard. Exit status: 0 if all rates agree, 1 if not, 2 if something "
            "cannot be read.",
        ),
    ]


@dataclasses.dataclass(frozen=True)
class FitFlags(LogFlags):
    """Find the schedules that have the learning rates of a log.

    Example: jaxlr fit trainer_state.json
    """

    log: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="LOG")]
    """Log or folder of a run. Exit status: 0 if a schedule agrees, 1 if none, 2 if LOG is unreadable."""
