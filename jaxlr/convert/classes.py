"""One row for each scheduler class of torch: all that the other modules know about it."""

import dataclasses
import enum
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from jaxlr import schedules
from jaxlr.plateau import reduce_lr_on_plateau


MODULES = ("torch.optim.lr_scheduler", "torch.optim.swa_utils")
# Parameters that do not change the learning rate. Their values are not even evaluated.
_WITHOUT_EFFECT = ("optimizer", "verbose", "cycle_momentum", "base_momentum", "max_momentum")
# Attributes that several classes save. They identify a class only if no other mark is present.
_SHARED_MARKS = ("factor", "gamma")
# The keys of OneCycleLR before torch 1.8, which had no `_schedule_phases`.
_OLDER_ONE_CYCLE = {"total_steps", "step_size_up", "step_size_down"}


class Effect(enum.Enum):
    """The change that a step of a scheduler makes to the learning rate that it finds in the optimizer."""

    MULTIPLIES = enum.auto()  # by a factor, so that a chain of such schedulers is a product
    ANNEALS = enum.auto()  # shrinks its distance to a floor, and climbs again after the bottom
    CONTINUES = enum.auto()  # moves it towards a target, from wherever it is
    OVERWRITES = enum.auto()  # replaces it by a rate that does not depend on it
    COMPOSITE = enum.auto()  # lets other schedulers change it
    NEEDS_METRIC = enum.auto()  # depends on the metric that `step` is given


@dataclasses.dataclass(frozen=True, eq=False)
class TorchClass:
    """A scheduler class of torch and its equivalent in jaxlr.

    Args:
        name: the class's name.
        function: the function of jaxlr that computes the same rates.
        signature: the constructor's parameters after the optimizer, in torch's order. Recipes still pass
            `verbose`, which torch has removed.
        mark: an attribute that identifies a state_dict, because a state_dict does not name its class.
        effect: the change that a step makes to the rate.
        per_group: parameters that may be a list with one value for each parameter group.
        stored: parameters that are kept in the optimizer, where the last constructed scheduler of the
            class overwrites those of the others.
        is_recursive: torch computes every rate from the one before, without a closed form. As a later
            part of a SequentialLR such a scheduler starts from the rate that the part before it left.
        is_exact: torch computes the rate by multiplications only, so that even a tiny rate is exact.
        steps_per_batch: torch's documentation says to step it once per batch, not once per epoch.
        momentum: the function of jaxlr that computes the momentum, if the class schedules that too.
        library: the library or framework that has the class.
        max_positional: parameters after the optimizer that a call may give by position, where versions of
            the library differ in the order of the others.
        ignored: parameters of this class that do not change the rate.
    """

    name: str
    function: Callable[..., Any]
    signature: str
    mark: str
    effect: Effect
    per_group: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()
    is_recursive: bool = False
    is_exact: bool = False
    steps_per_batch: bool = False
    momentum: Callable[..., Any] | None = None
    library: str = "torch"
    max_positional: int | None = None
    ignored: tuple[str, ...] = ()

    @property
    def parameters(self) -> list[str]:
        """The constructor's parameters after the optimizer."""
        return self.signature.split(", ")

    @property
    def settings(self) -> list[str]:
        """The parameters that change the learning rate. `function` has arguments of the same names.

        Most classes also keep each setting in an attribute of the same name.
        """
        others = (*_WITHOUT_EFFECT, *self.ignored, "last_epoch")
        return [name for name in self.parameters if name not in others]

    @property
    def required(self) -> list[str]:
        """The settings that have no default."""
        if self.effect is Effect.COMPOSITE:
            return self.settings
        parameters = inspect.signature(self.function).parameters
        return [name for name in self.settings if parameters[name].default is inspect.Parameter.empty]

    @property
    def takes_function(self) -> bool:
        """True if the rates come from a function of the user's."""
        return "lr_lambda" in self.parameters

    @property
    def has_own_base(self) -> bool:
        """True if the base learning rate is a setting, so that the optimizer's does not matter."""
        return (
            self.effect is Effect.OVERWRITES
            and "init_value" not in inspect.signature(self.function).parameters
        )


_ROWS = (
    TorchClass(
        name="LambdaLR",
        function=schedules.lambda_lr,
        signature="lr_lambda, last_epoch, verbose",
        mark="lr_lambdas",
        effect=Effect.OVERWRITES,
        per_group=("lr_lambda",),
    ),
    TorchClass(
        name="MultiplicativeLR",
        function=schedules.multiplicative_lr,
        signature="lr_lambda, last_epoch, verbose",
        mark="lr_lambdas",
        effect=Effect.MULTIPLIES,
        per_group=("lr_lambda",),
        is_recursive=True,
    ),
    TorchClass(
        name="StepLR",
        function=schedules.step_lr,
        signature="step_size, gamma, last_epoch, verbose",
        mark="step_size",
        effect=Effect.MULTIPLIES,
        is_exact=True,
    ),
    TorchClass(
        name="MultiStepLR",
        function=schedules.multi_step_lr,
        signature="milestones, gamma, last_epoch, verbose",
        mark="milestones",
        effect=Effect.MULTIPLIES,
        is_exact=True,
    ),
    TorchClass(
        name="ConstantLR",
        function=schedules.constant_lr,
        signature="factor, total_iters, last_epoch, verbose",
        mark="factor",
        effect=Effect.MULTIPLIES,
        is_exact=True,
    ),
    TorchClass(
        name="LinearLR",
        function=schedules.linear_lr,
        signature="start_factor, end_factor, total_iters, last_epoch, verbose",
        mark="start_factor",
        effect=Effect.MULTIPLIES,
    ),
    TorchClass(
        name="ExponentialLR",
        function=schedules.exponential_lr,
        signature="gamma, last_epoch, verbose",
        mark="gamma",
        effect=Effect.MULTIPLIES,
        is_exact=True,
    ),
    TorchClass(
        name="SequentialLR",
        function=schedules.sequential_lr,
        signature="schedulers, milestones, last_epoch, verbose",
        mark="_milestones",
        effect=Effect.COMPOSITE,
    ),
    TorchClass(
        name="CosineAnnealingLR",
        function=schedules.cosine_annealing_lr,
        signature="T_max, eta_min, last_epoch, verbose",
        mark="T_max",
        effect=Effect.ANNEALS,
    ),
    TorchClass(
        name="ChainedScheduler",
        function=schedules.chained_scheduler,
        signature="schedulers, optimizer, verbose",
        mark="_schedulers",
        effect=Effect.COMPOSITE,
    ),
    TorchClass(
        name="ReduceLROnPlateau",
        function=reduce_lr_on_plateau,
        signature="mode, factor, patience, threshold, threshold_mode, cooldown, min_lr, eps, verbose",
        mark="patience",
        effect=Effect.NEEDS_METRIC,
        per_group=("min_lr",),
    ),
    TorchClass(
        name="CyclicLR",
        function=schedules.cyclic_lr,
        signature=(
            "base_lr, max_lr, step_size_up, step_size_down, mode, gamma, scale_fn, scale_mode, "
            "cycle_momentum, base_momentum, max_momentum, last_epoch, verbose"
        ),
        mark="total_size",
        effect=Effect.OVERWRITES,
        per_group=("base_lr", "max_lr"),
        steps_per_batch=True,
        momentum=schedules.cyclic_momentum,
    ),
    TorchClass(
        name="CosineAnnealingWarmRestarts",
        function=schedules.cosine_annealing_warm_restarts,
        signature="T_0, T_mult, eta_min, last_epoch, verbose",
        mark="T_0",
        effect=Effect.OVERWRITES,
    ),
    TorchClass(
        name="OneCycleLR",
        function=schedules.one_cycle_lr,
        signature=(
            "max_lr, total_steps, epochs, steps_per_epoch, pct_start, anneal_strategy, cycle_momentum, "
            "base_momentum, max_momentum, div_factor, final_div_factor, three_phase, last_epoch, verbose"
        ),
        mark="_schedule_phases",
        effect=Effect.OVERWRITES,
        per_group=("max_lr",),
        stored=("max_lr", "div_factor", "final_div_factor"),
        steps_per_batch=True,
        momentum=schedules.one_cycle_momentum,
    ),
    TorchClass(
        name="PolynomialLR",
        function=schedules.polynomial_lr,
        signature="total_iters, power, last_epoch, verbose",
        mark="power",
        effect=Effect.MULTIPLIES,
    ),
    TorchClass(
        name="SWALR",
        function=schedules.swa_lr,
        signature="swa_lr, anneal_epochs, anneal_strategy, last_epoch, verbose",
        mark="anneal_epochs",
        effect=Effect.CONTINUES,
        per_group=("swa_lr",),
        stored=("swa_lr",),
        is_recursive=True,
    ),
)
CLASSES = {row.name: row for row in _ROWS}


def class_of(scheduler: Any) -> TorchClass | None:
    """Return the row of a live scheduler, or None if its class is not one of torch's."""
    cls = type(scheduler)
    return CLASSES.get(cls.__name__) if cls.__module__ in MODULES else None


def is_plateau(scheduler: Any) -> bool:
    """Check if a live scheduler is a ReduceLROnPlateau, or of a subclass of it."""
    return any(base.__name__ == "ReduceLROnPlateau" for base in type(scheduler).__mro__)


def class_of_state(state_dict: Mapping[str, Any]) -> TorchClass | None:
    """Return the row of the class that saved a state_dict, or None if it bears no class's mark.

    LambdaLR and MultiplicativeLR save the same keys. Both are taken for LambdaLR.
    """
    if all(key in state_dict for key in _OLDER_ONE_CYCLE):
        return CLASSES["OneCycleLR"]
    marked = [row for row in _ROWS if row.mark in state_dict]
    return min(marked, key=lambda row: row.mark in _SHARED_MARKS, default=None)
