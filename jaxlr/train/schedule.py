"""The settings of the learning rate and the optimizer. Each field is a flag."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import optax
import tyro

from jaxlr._checks import check_value, shorten, shown_value
from jaxlr.convert import from_string
from jaxlr.convert.errors import ConflictingRateError
from jaxlr.convert.optimizers.signatures import OptimizerCall
from jaxlr.convert.optimizers.text import TextPair
from jaxlr.flags.recipe import message_of, parse_names
from jaxlr.train.checks import assign, checked_list
from jaxlr.train.groups import STATED
from jaxlr.train.optimizer import build_optimizer, paired, read_run_optimizer, stated_optimizer
from jaxlr.train.recipe import RecipeReader, RunRecipe, read_run_recipe


_NAMES = tyro.conf.arg(metavar="NAME=VALUE...", help_behavior_hint="")
_DEFAULT_SCHEDULER, _DEFAULT_LR = "ReduceLROnPlateau(patience=5)", 0.1
_DEFAULT_RATES = (0.03, 0.1, 0.3)  # of a sweep


@dataclasses.dataclass(frozen=True)
class TrainSchedule:
    """The learning rate."""

    scheduler: Annotated[str | None, STATED] = None
    """Torch scheduler, in quotes: "StepLR(10)". Default: "ReduceLROnPlateau(patience=5)"."""

    lr: Annotated[float | None, STATED] = None
    """Learning rate that the optimizer is created with. Default: 0.1, or the one in --recipe."""

    optimizer: Annotated[str | None, STATED] = None
    """Torch optimizer, in quotes: "AdamW(lr=3e-4)". Default: that of --recipe, or SGD, with --momentum."""

    names: Annotated[tuple[str, ...], _NAMES] = ()
    """Values of the names in the scheduler or the recipe: --names epochs=90 "len(loader)=391"."""

    recipe: Annotated[str | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Config of a framework, instead of --scheduler. - is standard input. Or give its flags after --."""

    framework: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None
    """Framework of --recipe, such as timm. Default: recognized by the settings."""

    framework_version: Annotated[str | None, tyro.conf.arg(metavar="VERSION", help_behavior_hint="")] = None
    """Version of the framework, such as 4.46. Default: the newest."""

    def __post_init__(self) -> None:
        assign(self, names=_checked_names(self.names))
        if self.recipe is not None and self.scheduler is not None:
            raise ValueError(
                "recipe and scheduler both state a schedule: give one of --recipe and --scheduler"
            )
        # A recipe is read once, and its content kept. A torch text in it becomes the scheduler.
        recipe = None if self.recipe is None else read_run_recipe(self.recipe, self.framework)
        if isinstance(recipe, RunRecipe):
            assign(self, recipe=recipe.as_text())
        elif self.framework is not None:
            raise ValueError("framework needs recipe: give the config as --recipe FILE")
        elif recipe is not None:
            assign(self, scheduler=recipe, recipe=None)
        elif self.scheduler is None:
            assign(self, scheduler=_DEFAULT_SCHEDULER)
        if self.lr is not None:
            assign(self, lr=float(check_value("lr", self.lr, positive=True)))
        if self.recipe is None:
            self._complete_optimizer()
            self._check_text()
        elif self.optimizer is not None:
            self._check_optimizer_of_recipe()

    def _complete_optimizer(self) -> None:
        """Take the optimizer that the scheduler's text constructs, and set the rate."""
        stated, _ = self._stated
        if stated is not None and self.optimizer is None:
            assign(self, optimizer=stated.text)
        elif stated is not None and stated != read_run_optimizer(self.optimizer, self._values, self.lr):
            raise ValueError(
                "optimizer and scheduler both state an optimizer: leave it out of the text of --scheduler"
            )
        if self.optimizer is not None:
            assign(self, lr=_rate_of(_read_optimizer(self.optimizer, self._values, self.lr)))
        elif self.lr is None:
            assign(self, lr=_DEFAULT_LR)

    def _check_text(self) -> None:
        """Check that the scheduler and the optimizer can be built."""
        try:
            schedule = self.build(num_steps=1)
            if not self.cycle(num_steps=1) and self.optimizer is not None:
                build_optimizer(self.text_optimizer, schedule)
        except ValueError as error:
            raise ValueError(message_of(error)) from error

    @property
    def _stated(self) -> tuple[OptimizerCall | None, str | None]:
        """Return the optimizer that the scheduler's text constructs, or the reason to use another."""
        options: Any = {"names": self._values, "version": self.framework_version}
        try:
            return stated_optimizer(str(self.scheduler), init_value=self.lr, num_steps=1, **options), None
        except ConflictingRateError as error:
            raise ValueError(message_of(error)) from error
        except (TypeError, ValueError) as error:
            return None, message_of(error)

    def _check_optimizer_of_recipe(self) -> None:
        given = _read_optimizer(str(self.optimizer), self._values, None).given
        if "lr" in given:
            raise ValueError("optimizer must not set lr, because --recipe does: leave it out")
        if given.get("corrected_weight_decay"):
            raise ValueError(
                "optimizer must not have corrected_weight_decay with --recipe, because it divides by the "
                "lr that the optimizer is created with: leave it out, or give --scheduler and --lr"
            )

    @property
    def _values(self) -> dict[str, Any]:
        """Return the values of --names."""
        return parse_names(self.names)

    @property
    def text_optimizer(self) -> OptimizerCall | None:
        """Return the optimizer of --optimizer, or None for SGD."""
        if self.optimizer is None:
            return None
        return read_run_optimizer(self.optimizer, self._values, None if self.recipe else self.lr)

    def cycle(self, num_steps: int) -> TextPair | None:
        """Return the optimizer with a torch scheduler that cycles its momentum, or None for any other."""
        optimizer = None if self.recipe else self.text_optimizer
        if optimizer is None:
            return None
        options: Any = {"version": self.framework_version, "names": self._values, "num_steps": num_steps}
        return paired(optimizer, str(self.scheduler), **options)

    def build(self, num_steps: int) -> optax.Schedule | optax.GradientTransformationExtraArgs:
        """Return the schedule, or the plateau, of the torch text for a run of `num_steps` counts."""
        assert self.scheduler is not None
        options: Any = {"version": self.framework_version, "num_steps": num_steps}
        return from_string(self.scheduler, self.lr, self._values, **options)

    @property
    def reader(self) -> RecipeReader | None:
        """Return the recipe with the flags that complete it, or None for a torch text."""
        if self.recipe is None:
            return None
        recipe = RunRecipe.from_text(self.recipe)
        return RecipeReader(recipe, self.lr, self._values, self.framework, self.framework_version)

    def optimizer_of_recipe(self, steps_per_count: int) -> optax.GradientTransformationExtraArgs | None:
        """Return the optimizer of a config under its schedule, or None if a torch text states it all."""
        reader = self.reader
        if reader is None or not reader.recipe.builds_optimizer:
            return None
        return reader.optimizer(steps_per_count).transformation

    @property
    def assumptions(self) -> tuple[str, ...]:
        """Return the assumptions that complete the recipe, in sentences."""
        if self.reader:
            return self.reader.recipe.assumptions
        reason = None if self.optimizer else self._stated[1]
        if reason is None:
            return ()
        text = f"The optimizer is SGD, with --momentum: that of --scheduler is not used, because {reason}."
        return (text,)

    @property
    def label(self) -> str:
        """Return the schedule in one line, for messages and figures. A recipe must be complete."""
        if self.reader:
            return f"the recipe of {self.reader.read().framework}"
        return shorten(str(self.scheduler), 200)  # it may be a whole script

    @property
    def optimizer_label(self) -> str:
        """Return the optimizer in words, for lines and figures."""
        if (optimizer := self.text_optimizer) is not None:
            return optimizer.text
        return "SGD" if self.lr is None else f"SGD {self.lr:g}"

    @property
    def is_plateau(self) -> bool:
        """True if the torch text is of a plateau."""
        return self.recipe is None and isinstance(self.build(num_steps=1), optax.GradientTransformation)


@dataclasses.dataclass(frozen=True)
class SweepSchedule:
    """The learning rates: every scheduler with every rate. Config files are only for jaxlr train."""

    scheduler: tuple[str, ...] = (
        "StepLR(10)",
        "MultiStepLR([10, 20])",
        "ExponentialLR(0.9)",
        "ReduceLROnPlateau(patience=5)",
    )
    """Torch schedulers, each in quotes: "StepLR(10)" "MultiStepLR([10, 20])"."""

    lr: Annotated[tuple[float, ...] | None, tyro.conf.arg(metavar="FLOAT...", help_behavior_hint="")] = None
    """Base learning rates: the rates that the optimizer is created with. Default: 0.03 0.1 0.3."""

    optimizer: Annotated[str | None, STATED] = None
    """Torch optimizer of all runs, in quotes: "AdamW(weight_decay=0.1)". Default: SGD, with --momentum."""

    names: Annotated[tuple[str, ...], _NAMES] = ()
    """Values of the names in the schedulers' texts: --names epochs=90 "len(loader)=391"."""

    def __post_init__(self) -> None:
        assign(self, names=_checked_names(self.names))
        lr = self._default_lr() if self.lr is None else self.lr
        assign(self, lr=checked_list("lr", lr), scheduler=checked_list("scheduler", self.scheduler))
        assign(self, lr=tuple(float(check_value("each of lr", lr, positive=True)) for lr in self.rates))
        if self.optimizer is None:
            return
        optimizers = [_read_optimizer(self.optimizer, parse_names(self.names), lr) for lr in self.rates]
        # The runs share one optimizer, and only its rates differ.
        if len(optimizers) > 1 and optimizers[0].given.get("corrected_weight_decay"):
            raise ValueError(
                "lr must be one rate with corrected_weight_decay, which divides by it: sweep each rate "
                "alone, or leave corrected_weight_decay out"
            )

    def _default_lr(self) -> tuple[float, ...]:
        """Return the rate that --optimizer sets, or the default rates of SGD."""
        if self.optimizer is None:
            return _DEFAULT_RATES
        optimizer = _read_optimizer(self.optimizer, parse_names(self.names), None)
        lr = _rate_of(optimizer)
        if "lr" in optimizer.given:
            return (lr,)
        raise ValueError(
            f"lr must be given with this optimizer: the rates to try, such as --lr {lr:g} {lr / 3:.1g}"
        )

    @property
    def rates(self) -> tuple[float, ...]:
        """Return the base learning rates."""
        assert self.lr is not None
        return self.lr


def _read_optimizer(text: str, values: Mapping[str, Any], lr: float | None) -> OptimizerCall:
    """Return the optimizer of a text. An error names the flag."""
    try:
        return read_run_optimizer(text, values, lr)
    except ConflictingRateError as error:
        raise ValueError(
            f"lr must be left out, because --optimizer sets it to {error.written!r} (to resume, give the "
            f"optimizer of the run), got {error.given}"
        ) from error
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"optimizer: {message_of(error)}") from error


def _rate_of(optimizer: OptimizerCall) -> float:
    return float(optimizer.param_groups[0]["lr"])


def _checked_names(pairs: Any) -> tuple[str, ...]:
    """Return the pairs of --names as a tuple, after checking that each has a value."""
    is_list = isinstance(pairs, Sequence) and not isinstance(pairs, str)
    if not is_list or not all(isinstance(pair, str) for pair in pairs):
        raise TypeError(f"names must be a list of texts NAME=VALUE, got {shown_value(pairs)}")
    parse_names(pairs)
    return tuple(pairs)
