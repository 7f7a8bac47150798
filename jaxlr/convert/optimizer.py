"""The Optax transformation that a live torch optimizer equals, with its scheduler in place."""

import inspect
from typing import Any

import jax
import numpy as np
import optax

from jaxlr._checks import check_positive_count, check_value
from jaxlr.convert.closed_form import NoClosedFormError, State, closed_form, shifted
from jaxlr.convert.live import from_torch
from jaxlr.convert.updates import UPDATES, in_float32
from jaxlr.schedules.compose import per_epoch
from jaxlr.schedules.cyclic import cyclic_momentum, one_cycle_momentum


_NUMBERS = {
    *("lr", "momentum", "dampening", "weight_decay", "beta1", "beta2", "alpha", "eps"),
    *("lr_decay", "initial_accumulator_value"),
}
_CYCLES: dict[str, Any] = {"OneCycleLR": one_cycle_momentum, "CyclicLR": cyclic_momentum}
_OF_RATES = ("base_lr", "max_lr", "div_factor", "final_div_factor")
_METHODS = ("step", "_init_group")  # what decides a torch optimizer's updates


def optimizer_from_torch(
    optimizer: Any,
    scheduler: Any = None,
    num_steps: int | None = None,
    *,
    labels: Any = None,
    steps_per_epoch: int = 1,
) -> optax.GradientTransformationExtraArgs:
    """The Optax transformation whose updates are those of a torch optimizer, operation by operation.

    It takes SGD, Adam, AdamW, RMSprop and Adagrad with every option that changes an update; what only
    changes speed (`foreach`, `fused`, `capturable`, `differentiable`) means nothing here. The objects are
    read as they stand and left untouched. What the optimizer has gathered (momentum buffers, moments) is
    no part of a transformation, whose state starts afresh; nor are its hooks.

    The scheduler's present epoch is update 0; without one each learning rate stays as it is. OneCycleLR
    and CyclicLR take the momentum along if they cycle it. ReduceLROnPlateau ends the chain, where
    `plateau_step` finds it. Several groups have a plateau each: `plateau_step` moves them all, and
    `plateau_lr` reads one from `opt_state.inner_states[group]`.

    Parameters of 16 bits keep their dtype, and so does their state; the arithmetic is in float32.

    Args:
        optimizer: a live torch optimizer, or one of a subclass that leaves `step` alone.
        scheduler: a live torch scheduler of this optimizer, or None.
        num_steps: steps of the scheduler to tabulate, where `from_torch` has no closed form.
        labels: the group of each parameter, an index into `optimizer.param_groups`, as a pytree like the
            parameters or a prefix of one, or as a function that makes it from the parameters, such as
            `lambda params: jax.tree.map(lambda leaf: int(leaf.ndim == 1), params)`. Required where there
            are several groups.
        steps_per_epoch: updates from one `scheduler.step()` to the next, a whole number >= 1: the batches
            of an epoch if the recipe steps its scheduler once per epoch, 1 if once per batch.

    Returns:
        A transformation; with `labels` an `optax.multi_transform`.

    Raises:
        TypeError: `optimizer` is no torch optimizer, is of another class, or has a `step` of its own; or,
            from `init`, a parameter is complex.
        ValueError: `labels` are missing or name no group, `scheduler` drives another optimizer, needs
            `num_steps`, or cycles a momentum in a way that has no closed form, or a hyperparameter is out
            of its range.

    Example:
        >>> import jax.numpy as jnp
        >>> import torch
        >>> model = torch.nn.Linear(3, 2)
        >>> groups = [{"params": [model.weight], "weight_decay": 0.01}, {"params": [model.bias]}]
        >>> sgd = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
        >>> scheduler = torch.optim.lr_scheduler.StepLR(sgd, step_size=30)
        >>> labels = {"kernel": 0, "bias": 1}
        >>> tx = optimizer_from_torch(sgd, scheduler, labels=labels, steps_per_epoch=1875)
        >>> params = {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}
        >>> updates, opt_state = tx.update(params, tx.init(params), params)
        >>> print(updates["kernel"][0], updates["bias"])
        [-0.101 -0.101] [-0.1 -0.1]

    Reference: `torch.optim`.
    """
    name = _class_name(optimizer)
    if scheduler is not None and getattr(scheduler, "optimizer", None) is not optimizer:
        raise ValueError(
            f"scheduler must be a torch scheduler that drives the optimizer given, got a "
            f"{type(scheduler).__name__} that does not"
        )
    steps_per_epoch = check_positive_count("steps_per_epoch", steps_per_epoch)
    num_groups = len(optimizer.param_groups)
    _check_labels(labels, num_groups)

    def transformation(index: int) -> optax.GradientTransformationExtraArgs:
        settings = _settings(optimizer, index)
        weight = _momentum_cycle(scheduler, index, steps_per_epoch)
        rate, plateau = _learning_rate(scheduler, settings["lr"], index, num_steps, steps_per_epoch)
        decay = [optax.add_decayed_weights(settings["weight_decay"])] if settings["weight_decay"] else []
        is_decoupled = settings.get("decoupled_weight_decay", name == "AdamW")
        links = [
            *([optax.scale(-1.0)] if settings.get("maximize") else []),
            *([] if is_decoupled else decay),
            *UPDATES[name](settings, weight),
            *(decay if is_decoupled else []),
            optax.scale_by_learning_rate(rate),
            *plateau,
        ]
        return in_float32(optax.chain(*links))

    if labels is None:
        return transformation(0)
    return optax.multi_transform({index: transformation(index) for index in range(num_groups)}, labels)


def _learning_rate(
    scheduler: Any, lr: float, index: int, num_steps: int | None, steps_per_epoch: int
) -> tuple[float | optax.Schedule, list[Any]]:
    """The learning rate of a group, a number or a schedule of updates, and its plateau if it has one."""
    if scheduler is None:
        return lr, []
    converted = from_torch(scheduler, group=index, num_steps=num_steps)
    if isinstance(converted, optax.GradientTransformation):
        return lr, [converted]
    return per_epoch(converted, steps_per_epoch), []


def _momentum_cycle(scheduler: Any, index: int, steps_per_epoch: int) -> optax.Schedule | None:
    """1 less the momentum (or beta1) that a scheduler sets; None if it sets none.

    A cycle from a to b is 1 less one from 1 - a to 1 - b, which keeps the digits of 1 - beta1 in float32.
    """
    cycling = [part for part in _parts(scheduler) if getattr(part, "cycle_momentum", False)]
    if not cycling:
        return None
    name, group = type(scheduler).__name__, scheduler.optimizer.param_groups[index]
    try:
        if cycling != [scheduler]:
            raise NoClosedFormError(f"{name} has a {type(cycling[0]).__name__} in it that does")
        call = closed_form(State.of_live(scheduler), group, index)
    except NoClosedFormError as reason:
        raise ValueError(
            f"only a OneCycleLR or CyclicLR of closed form may cycle the momentum, but {reason}: give it "
            "cycle_momentum=False"
        ) from None
    settings = {key: value for key, value in call.arguments.items() if key not in _OF_RATES}
    if name == "OneCycleLR":
        base, top = group["base_momentum"], group["max_momentum"]
    else:
        base, top = scheduler.base_momentums[index], scheduler.max_momentums[index]
    if not (0 < base < 1 and 0 < top < 1):
        raise ValueError(f"the momenta of {name} must lie between 0 and 1, got {base!r} and {top!r}")
    cycle = _CYCLES[name](**settings, base_momentum=1 - base, max_momentum=1 - top)
    return per_epoch(shifted(cycle, scheduler.last_epoch), steps_per_epoch)


def _parts(scheduler: Any) -> list[Any]:
    """A scheduler and those it is composed of."""
    return [scheduler, *(part for each in getattr(scheduler, "_schedulers", []) for part in _parts(each))]


def _class_name(optimizer: Any) -> str:
    """The torch class whose step an optimizer takes, found without torch."""
    accepted = f"accepted are torch's {', '.join(UPDATES)}"
    cls = type(optimizer)
    parent = next((base for base in cls.__mro__ if base.__module__.startswith("torch.optim")), None)
    if parent is None or parent.__name__ not in UPDATES:
        raise TypeError(
            f"optimizer must be a live one with an equivalent here, got a {cls.__name__}; {accepted}"
        )
    # Torch wraps the step of each class it meets, so that a subclass has one even if it writes none.
    if any(inspect.unwrap(getattr(cls, at)) is not inspect.unwrap(getattr(parent, at)) for at in _METHODS):
        raise TypeError(f"{cls.__name__} takes steps of its own, unlike {parent.__name__}; {accepted}")
    return parent.__name__


def _settings(optimizer: Any, index: int) -> dict[str, Any]:
    """A group's hyperparameters, the numbers as floats: torch takes tensors for some."""
    settings = dict(optimizer.param_groups[index])
    if "betas" in settings:
        settings["beta1"], settings["beta2"] = settings["betas"]
    if "initial_accumulator_value" in settings:
        # Adagrad fills the sums of every group from its constructor's argument, whatever the group says.
        settings["initial_accumulator_value"] = optimizer.defaults["initial_accumulator_value"]
    for name in _NUMBERS & settings.keys():
        value = settings[name]
        settings[name] = float(check_value(name, value.item() if hasattr(value, "item") else value))
    return settings


def _check_labels(labels: Any, num_groups: int) -> None:
    groups = f"0 to {num_groups - 1}"
    if labels is None and num_groups > 1:
        raise ValueError(
            f"the optimizer has {num_groups} parameter groups: pass labels, a pytree that gives each "
            f"parameter its group, {groups}, or a function from the parameters to one"
        )
    for label in [] if callable(labels) else jax.tree.leaves(labels):
        if not isinstance(label, int | np.integer) or not 0 <= label < num_groups:
            raise ValueError(f"each of labels must be a group of the optimizer, {groups}, got {label!r}")
