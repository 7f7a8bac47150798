"""A live torch optimizer, with its scheduler, as an Optax transformation."""

import collections
import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from jaxlr._checks import check_positive_count, check_value, shown_value
from jaxlr.convert.fields import flag, number, several
from jaxlr.convert.live import from_torch, not_a_scheduler
from jaxlr.convert.optimizers.momentum import live_momentum_cycle
from jaxlr.convert.optimizers.signatures import CONVERTED, MODULES
from jaxlr.convert.optimizers.updates import RULES, Rule, checked, decayed_weights, in_float32
from jaxlr.rates import record_rate
from jaxlr.schedules.compose import per_epoch


_NUMBERS = {
    *("lr", "momentum", "dampening", "weight_decay", "beta1", "beta2", "alpha", "eps", "lr_decay"),
    *("initial_accumulator_value", "momentum_decay", "rho", "d", "lambd", "t0", "max_lr_snapshot"),
}
_FLAGS = {
    *("nesterov", "maximize", "amsgrad", "centered", "decoupled_weight_decay", "bias_correction"),
    *("grad_averaging", "trust_clip", "always_adapt", "caution", "decoupled_decay"),
    "corrected_weight_decay",
}
_WRAPPERS = {"AcceleratedOptimizer", "LightningOptimizer", "_FabricOptimizer"}
# The methods of a torch optimizer that decide its updates.
_METHODS = ("step", "_init_group", "_get_clip_grad_norm")


def optimizer_from_torch(
    optimizer: Any,
    scheduler: Any = None,
    num_steps: int | None = None,
    *,
    labels: Any = None,
    steps_per_epoch: int = 1,
    transposed: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """Return the Optax transformation that makes the updates of a torch optimizer.

    The order of operations is torch's. SGD, Adam, AdamW, RMSprop, Adagrad, NAdam, RAdam, Adamax,
    Adadelta, Muon, Adafactor, Rprop and ASGD are converted, and Lion and Lamb of timm, with every option
    that changes an update. The Lion of lion-pytorch is converted, too. Options that only change the speed
    are ignored: `foreach`, `fused`, `capturable` and `differentiable`. The objects are not changed. Hooks
    are not converted.

    The transformation starts with a fresh state. If the optimizer has made updates, a warning says that
    its moments are left behind. `resume_from_torch` carries them over.

    Update 0 is the current epoch of the scheduler. Without a scheduler the learning rates are constant.
    OneCycleLR and CyclicLR also schedule the momentum, if they cycle it. ReduceLROnPlateau is the last link
    of the chain, where `plateau_step` finds it. With several groups each one has its own plateau:
    `plateau_step` updates all of them, and `plateau_lr` reads one from `opt_state.inner_states[group]`.

    16-bit parameters keep their dtype, and so does their state. The arithmetic is in float32.

    Args:
        optimizer: a live torch optimizer. It may be of a subclass that does not change `step`, or be
            wrapped by Accelerate or Lightning.
        scheduler: a live torch scheduler of this optimizer; or a schedule of your own, from jaxlr or Optax;
            or a plateau from `reduce_lr_on_plateau`; or a list with a schedule or plateau for each group;
            or None. The learning rates of the optimizer are replaced by those of a schedule or plateau.
        num_steps: number of steps of the scheduler to tabulate, if `from_torch` finds no closed form.
        labels: the group of each parameter, an index into `optimizer.param_groups`. It is a pytree like the
            parameters, a prefix of one, or a function that makes it from the parameters, such as
            `lambda params: jax.tree.map(lambda leaf: int(leaf.ndim == 1), params)`. Required if the
            optimizer has several groups.
        steps_per_epoch: number of updates between two calls of `scheduler.step()`, a whole number >= 1. It
            is the batches of an epoch if the scheduler is stepped once per epoch, and 1 if once per batch.
        transposed: True if the weights of JAX have the axes of Flax, (in, out) in a matrix and
            (height, width, in, out) in a convolution; False if they have those of torch, as in Equinox.
            Muon and Adafactor depend on it. Weights may be stacked along axes that come first.

    Returns:
        A transformation. With `labels` it is an `optax.multi_transform`.

    Raises:
        TypeError: `optimizer` is not an optimizer of a class listed above, or has its own `step`. The
            transformation's `init` raises it for complex parameters.
        ValueError: `labels` are missing or contain an unknown group, or a hyperparameter is out of its
            range. `scheduler` belongs to another optimizer, needs `num_steps`, or cycles the momentum
            without a closed form. There is not one schedule for each group. A schedule of your own replaces
            a OneCycleLR or CyclicLR that also cycles the momentum. The rule computes with the learning rate
            by itself, and `scheduler` is a plateau. The transformation's `init` raises it for a parameter
            that is not a weight of torch, where the rule depends on whole weights.

    Warns:
        UserWarning: the optimizer has made updates, and its moments are left behind.

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
    optimizer = unwrapped(optimizer)
    name = class_name_of(optimizer)
    if _has_made_updates(optimizer.state):
        warnings.warn(
            f"the {name} has made updates, and its moments are left behind: carry them over with "
            "jaxlr.resume_from_torch, or convert the optimizer before its first update",
            stacklevel=2,
        )
    check_groups(optimizer.param_groups)
    groups = [
        group._replace(shapes=[each.shape for each in options["params"]])
        for group, options in zip(
            groups_of(optimizer, scheduler, num_steps), optimizer.param_groups, strict=True
        )
    ]
    return build(name, optimizer, groups, labels, steps_per_epoch, transposed)


class Group(NamedTuple):
    """The schedules of a parameter group, and its parameters in torch.

    Args:
        rate: the schedule or plateau, or None for the learning rate that the group has.
        momentum: 1 - momentum (or 1 - beta1) as a schedule, or None if it is constant.
        decay: the weight decay as a schedule, or None if it is constant.
        shapes: the shapes of the parameters, or None if they are not known.
        num_updates: the updates that were made before.
    """

    rate: Any = None
    momentum: optax.Schedule | None = None
    decay: optax.Schedule | None = None
    shapes: Sequence[Any] | None = None
    num_updates: int = 0


def build(
    name: str,
    optimizer: Any,
    groups: Sequence[Group],
    labels: Any,
    steps_per_epoch: int,
    transposed: bool | None,
    first_step: int = 0,
    decay_mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Return the transformation of an optimizer, as `optimizer_from_torch`.

    Args:
        name: its class in torch.
        optimizer: an object with its `param_groups` and `defaults`.
        groups: the schedules of each parameter group.
        labels: as in `optimizer_from_torch`.
        steps_per_epoch: as in `optimizer_from_torch`.
        transposed: as in `optimizer_from_torch`. It may be None where the rule does not depend on it.
        first_step: as in `resume_from_torch`.
        decay_mask: a mask of Optax for the weight decay.
    """
    if transposed is None and RULES[name].depends_on_axes:
        raise ValueError(
            f"{name} depends on which axis of a matrix is which: give transposed=True if they are "
            "(in, out), as in Flax, or transposed=False if they are (out, in), as in torch and Equinox"
        )
    _check_labels(labels, len(groups))
    steps_per_epoch = check_positive_count("steps_per_epoch", steps_per_epoch)

    def counted(schedule: Any) -> Any:
        return None if schedule is None else per_epoch(schedule, steps_per_epoch, first_step)

    def transformation(index: int) -> optax.GradientTransformationExtraArgs:
        settings, group = _settings(name, optimizer, index), groups[index]
        schedule: Any = group.rate
        is_plateau = isinstance(group.rate, optax.GradientTransformation)
        rate: Any = schedule.init_value if is_plateau else counted(schedule)
        if rate is None:
            rate = settings["lr"]
        settings |= {
            "rate": None if is_plateau else rate,
            "weight": counted(group.momentum),
            "decay_schedule": counted(group.decay),
            "decay_mask": decay_mask,
            "num_updates": group.num_updates,
            "shapes": None if group.shapes is None else collections.Counter(map(tuple, group.shapes)),
            "transposed": transposed,
        }
        recorded = record_rate(optax.chain(*_links(RULES[name], settings, rate)), rate)
        return in_float32(optax.chain(recorded, schedule) if is_plateau else recorded)

    if labels is None:
        tx = transformation(0)
    else:
        indices = range(len(groups))
        tx = optax.multi_transform({index: transformation(index) for index in indices}, labels)
    return _clipped(tx, optimizer.defaults) if name == "Lamb" else tx


def _links(rule: Rule, settings: dict[str, Any], rate: Any) -> list[optax.GradientTransformation]:
    """Return the links of a group's chain: the rule of the optimizer, its weight decay and its rate."""
    decay = [] if rule.weight_decay == "own" else decayed_weights(settings)
    is_decoupled = settings.get("decoupled_weight_decay", rule.weight_decay == "decoupled")
    return [
        *([optax.scale(-1.0)] if settings.get("maximize") else []),
        *([] if is_decoupled else decay),
        *rule.links(settings),
        *(decay if is_decoupled else []),
        # `record_rate` reads the count of updates from this link.
        optax.scale_by_learning_rate((lambda count: 1.0) if rule.has_own_rate else rate),
    ]


def _clipped(
    inner: optax.GradientTransformationExtraArgs, defaults: Any
) -> optax.GradientTransformationExtraArgs:
    """Clip the gradients of all groups together, as timm's LAMB does by itself."""
    max_norm = _Settings(defaults)["max_grad_norm"]
    if max_norm is None:
        return inner
    max_norm = number("max_grad_norm of the optimizer", max_norm)
    clip = optax.clip_by_global_norm(check_value("max_grad_norm", max_norm, positive=True))

    def update_fn(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        clipped, _ = clip.update(updates, optax.EmptyState())
        return inner.update(clipped, state, params, **extra_args)

    return in_float32(optax.GradientTransformationExtraArgs(inner.init, update_fn))


def groups_of(optimizer: Any, scheduler: Any, num_steps: int | None) -> list[Group]:
    """Return the schedules of each parameter group. The arguments are those of `optimizer_from_torch`."""
    groups = optimizer.param_groups
    if scheduler is None:
        return [Group()] * len(groups)
    if (own := own_rates(scheduler, len(groups))) is not None:
        if any("max_momentum" in group for group in groups):
            raise ValueError(
                "a OneCycleLR or CyclicLR cycles the momentum of the optimizer, which a schedule does not: "
                "pass the torch scheduler itself, or delete 'max_momentum' from param_groups to keep the "
                "momentum constant"
            )
        return [Group(rate) for rate in own]
    if hasattr(scheduler, "scheduler"):  # a wrapper, such as that of Accelerate
        raise TypeError(not_a_scheduler(scheduler))
    if unwrapped(getattr(scheduler, "optimizer", None)) is not optimizer:
        raise ValueError(
            "scheduler must be a torch scheduler of this optimizer, a schedule or a plateau, got a "
            f"{type(scheduler).__name__} that belongs to another one or to none"
        )
    momenta = [live_momentum_cycle(scheduler, index) for index in range(len(groups))]
    return [
        Group(from_torch(scheduler, group=index, num_steps=num_steps), momentum)
        for index, momentum in enumerate(momenta)
    ]


def own_rates(scheduler: Any, num_groups: int) -> list[Any] | None:
    """Return the schedule or plateau of each group, or None if `scheduler` is neither."""
    if "schedule" in getattr(scheduler, "_fields", ()):
        raise TypeError(
            "scheduler must be a schedule, got the Recipe of a config: give its recipe.schedule"
        )
    if _is_rate(scheduler):
        return [scheduler] * num_groups
    if not isinstance(scheduler, list | tuple) or isinstance(scheduler, optax.GradientTransformation):
        return None
    if len(scheduler) != num_groups:
        raise ValueError(
            f"scheduler must have a schedule for each of the {num_groups} groups, got {len(scheduler)}"
        )
    for index, rate in enumerate(scheduler):
        if not _is_rate(rate):
            raise TypeError(
                f"scheduler[{index}] must be a schedule or a plateau, got {shown_value(rate)}; pass a "
                "torch scheduler alone, since it schedules every group"
            )
    return list(scheduler)


def _is_rate(value: Any) -> bool:
    """Check if a value is a schedule, or a plateau with its learning rate."""
    if isinstance(value, optax.GradientTransformation):
        return hasattr(value, "init_value")
    return callable(value) and not hasattr(value, "optimizer")


def unwrapped(optimizer: Any) -> Any:
    """Return the torch optimizer in a wrapper of Accelerate or Lightning, or the optimizer itself."""
    while any(base.__name__ in _WRAPPERS for base in type(optimizer).__mro__):
        optimizer = optimizer.optimizer
    return optimizer


def class_name_of(optimizer: Any) -> str:
    """Return the name of the class whose step an optimizer takes, without importing torch."""
    cls = type(optimizer)
    parent = next((base for base in cls.__mro__ if _is_converted(base)), None)
    if parent is None:
        of_module = f" of {cls.__module__}" if cls.__name__ in RULES else ""
        raise TypeError(
            "optimizer must be a live torch optimizer with an equivalent here, got a "
            f"{cls.__name__}{of_module}; {CONVERTED}"
        )
    # Torch wraps the `step` of every class, so a subclass has one of its own even if it defines none.
    for at in _METHODS:
        own = getattr(parent, at, None)
        if _function(getattr(cls, at, None)) is not _function(own):
            raise TypeError(f"{cls.__name__} overrides the step of {parent.__name__}; {CONVERTED}")
        if _function(getattr(optimizer, at, None)) is not _function(own):
            raise TypeError(
                f"the {at} of this {cls.__name__} was replaced, so its updates are not known: if they are "
                "torch's, give the text that constructs it to jaxlr.optimizer_from_string"
            )
    return parent.__name__


def _function(method: Any) -> Any:
    """Return the function in a method, which schedulers and profilers of torch wrap."""
    function = inspect.unwrap(method)
    return getattr(function, "__func__", function)


def _is_converted(cls: type) -> bool:
    """Check if a class is one whose rule is known."""
    if cls.__name__ in MODULES:
        return cls.__module__ in MODULES[cls.__name__]
    return cls.__name__ in RULES and cls.__module__.startswith("torch.optim")


class _Settings(dict[str, Any]):
    """The settings of a parameter group. The error for a missing one names it."""

    def __missing__(self, key: str) -> Any:
        raise ValueError(f"each of the param_groups of the optimizer must have a {key!r}")


def _has_made_updates(state: Any) -> bool:
    """Check if a parameter of a torch optimizer has the state of an update."""
    for fields in state.values():
        step = fields.get("step") if isinstance(fields, Mapping) else None
        if step is None:
            is_updated = any(value is not None for value in dict(fields).values())
        else:
            is_updated = number("step of the optimizer", step) > 0
        if is_updated:
            return True
    return False


def _settings(name: str, optimizer: Any, index: int) -> dict[str, Any]:
    """Return the hyperparameters of a group of an optimizer of the class `name`, with numbers as floats."""
    settings = _Settings(optimizer.param_groups[index])
    if "betas" in settings:
        settings["beta1"], settings["beta2"] = several("betas of the optimizer", settings["betas"], 2)
    if "initial_accumulator_value" in settings:
        # Adagrad ignores the group's own value: its constructor's argument is used for every group.
        settings["initial_accumulator_value"] = optimizer.defaults["initial_accumulator_value"]
    for key in _FLAGS & settings.keys():
        flag(f"{key} of the optimizer", settings[key])
    pairs = {"eps"} if name == "Adafactor" else set[str]()
    for key in (_NUMBERS - pairs) & settings.keys():
        settings[key] = checked(key, settings[key])
    if getattr(optimizer, "decoupled_wd", False):  # of lion-pytorch
        settings["weight_decay"] /= optimizer._init_lr
    return settings


def check_groups(groups: Any) -> int:
    """Return the number of parameter groups, which must be mappings."""
    if not isinstance(groups, list | tuple) or not all(isinstance(group, dict) for group in groups):
        raise TypeError(
            f"param_groups of the optimizer must be a list of mappings, got {shown_value(groups)}"
        )
    for group in groups:
        if "lr" not in group:
            raise ValueError("each of the param_groups of the optimizer must have an 'lr'")
    return len(groups)


def _check_labels(labels: Any, num_groups: int) -> None:
    """Check that labels are groups of the optimizer, and are there if it has several."""
    groups = f"0 to {num_groups - 1}"
    if labels is None and num_groups > 1:
        raise ValueError(
            f"the optimizer has {num_groups} parameter groups: pass labels, a pytree with the group of "
            f"each parameter ({groups}), or a function that makes it from the parameters"
        )
    for label in [] if callable(labels) else jax.tree.leaves(labels):
        if not isinstance(label, int | np.integer) or not 0 <= label < num_groups:
            raise ValueError(f"each of labels must be a group of the optimizer, {groups}, got {label!r}")
