"""Torch schedulers in mid-run, live or saved, as schedules that go on from where they stand."""

import copy
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxlr._checks import check_duration, check_positive_count, check_value
from jaxlr._double_float import as_real
from jaxlr.convert.closed_form import NoClosedFormError, State, is_torchs, item, standing
from jaxlr.plateau import reduce_lr_on_plateau
from jaxlr.schedules.compose import tabulate
from jaxlr.schedules.decay import multiplicative_lr


_PLATEAU = ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "eps")


def from_torch(
    scheduler: Any, group: int = 0, num_steps: int | None = None
) -> optax.Schedule | optax.GradientTransformationExtraArgs:
    r"""The schedule on which a live torch scheduler goes on from where it stands.

    $$\mathrm{lr}(e) = \text{the rate of torch after } e \text{ more steps}$$

    with $e$ = `count`, so that `count` 0 is its current epoch. A scheduler of torch's own whose learning
    rate stands where its closed form says becomes that closed form. Any other (a Python lambda, a
    subclass, a rate edited by hand, a chain that is no product) is stepped on a copy, `num_steps` times,
    and tabulated in float64. A OneCycleLR holds its last rate, where torch goes astray for a step and then
    raises. Neither the scheduler nor its optimizer is changed.

    Args:
        scheduler: an object of `torch.optim.lr_scheduler`, of `torch.optim.swa_utils`, or of a class of
            your own with an `optimizer` and a `step()`.
        group: parameter group of its optimizer.
        num_steps: epochs (or steps) to step a copy for, where there is no closed form; the last rate holds.

    Returns:
        A schedule: `count` (epochs or steps from now, integers of any shape) to learning rates of that
        shape; for ReduceLROnPlateau the transformation `reduce_lr_on_plateau` with its counters, for an
        optimizer at the present learning rate.

    Raises:
        TypeError: `scheduler` is no scheduler, or cannot be copied.
        ValueError: `num_steps` is needed or cannot be reached, there is no such group, or a plateau has
            settings that `reduce_lr_on_plateau` refuses.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5)
        >>> for _ in range(4):
        ...     optimizer.step()
        ...     scheduler.step()
        >>> schedule = from_torch(scheduler)
        >>> [schedule(epoch) for epoch in range(4)]
        [0.5, 0.5, 0.25, 0.25]

    Reference: `torch.optim.lr_scheduler`.
    """
    optimizer: Any = getattr(scheduler, "optimizer", None)
    if not hasattr(optimizer, "param_groups") or not callable(getattr(scheduler, "step", None)):
        raise TypeError(f"from_torch takes a scheduler of torch, got {type(scheduler).__name__}")
    param_group = item("param_groups", optimizer.param_groups, group)
    name = type(scheduler).__name__
    if any(base.__name__ == "ReduceLROnPlateau" for base in type(scheduler).__mro__):
        if not is_torchs(scheduler):
            raise TypeError(f"{name} changes torch's ReduceLROnPlateau, so it cannot be converted")
        return _plateau(State(name, vars(scheduler), []), float(param_group["lr"]), group)
    try:
        if not is_torchs(scheduler):
            raise NoClosedFormError(f"{name} is no class of torch's own")
        return standing(State.of_live(scheduler), param_group, group)
    except NoClosedFormError as reason:
        if num_steps is None:
            raise ValueError(
                f"{reason}, so it has no closed form: give num_steps, the epochs (or steps) to tabulate"
            ) from None
        return _stepped(scheduler, group, check_positive_count("num_steps", num_steps))


def from_state_dict(
    class_name: str,
    state_dict: Mapping[str, Any],
    init_value: float | None = None,
    group: int = 0,
    num_steps: int | None = None,
    *,
    optimizer_state_dict: Mapping[str, Any] | None = None,
    lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float] | None] | None = None,
) -> optax.Schedule | optax.GradientTransformationExtraArgs:
    r"""The schedule on which a saved torch scheduler goes on: `from_torch` of its `state_dict()`.

    $$\mathrm{lr}(e) = \text{the rate of torch after } e \text{ more steps}$$

    with $e$ = `count`. Load the file with torch's own `torch.load(path, weights_only=True)`.

    Args:
        class_name: class of the scheduler, such as "StepLR", which a state_dict does not say.
        state_dict: what `scheduler.state_dict()` returned; those in a composite are known by their keys.
        init_value: learning rate with which the recipe began; where it is given it is compared.
        group: parameter group of the optimizer.
        num_steps: epochs (or steps) to tabulate where `lr_lambda` is a function that JAX cannot trace;
            MultiplicativeLR needs it.
        optimizer_state_dict: what `optimizer.state_dict()` returned; OneCycleLR and SWALR keep their
            rates in it, and it tells of a rate edited by hand.
        lr_lambda: the group's function for LambdaLR and MultiplicativeLR, which a state_dict drops; for
            a SequentialLR a list with one for each LambdaLR in it, and None for its other parts (a
            MultiplicativeLR in it is not told from a LambdaLR: convert the live object).

    Returns:
        As `from_torch`.

    Raises:
        TypeError: `state_dict` is no mapping, or `lr_lambda` no function.
        ValueError: `state_dict` is not of that class, something needed is not given, or the scheduler has
            no closed form: then load it into torch and use `from_torch` with `num_steps`.

    Example:
        >>> state_dict = {"step_size": 3, "gamma": 0.5, "base_lrs": [1.0]}
        >>> state_dict |= {"last_epoch": 4, "_last_lr": [0.5]}
        >>> schedule = from_state_dict("StepLR", state_dict)
        >>> [schedule(epoch) for epoch in range(4)]
        [0.5, 0.5, 0.25, 0.25]

    Reference: `torch.optim.lr_scheduler.LRScheduler.state_dict`.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"state_dict must be what scheduler.state_dict() returned, got {state_dict!r}")
    state = State.of_saved(class_name, state_dict, lr_lambda)
    last_lr = float(item("_last_lr", state.get("_last_lr"), group))
    param_group: Mapping[str, Any] = {"lr": last_lr}
    if optimizer_state_dict is not None:
        if not isinstance(optimizer_state_dict, Mapping) or "param_groups" not in optimizer_state_dict:
            raise TypeError("optimizer_state_dict must be what optimizer.state_dict() returned")
        saved = item("param_groups", optimizer_state_dict["param_groups"], group)
        param_group = {**param_group, **saved}
    if class_name == "ReduceLROnPlateau":
        return _plateau(state, float(param_group["lr"]), group)
    base = state.base_lr(group)
    if init_value is not None:
        check_value("init_value", init_value)
    if init_value is not None and not math.isclose(init_value, base, rel_tol=1e-9):
        raise ValueError(f"init_value is {init_value!r}, but the state_dict began with {base!r}")
    if class_name == "MultiplicativeLR":
        return _product(state, float(param_group["lr"]), num_steps)
    try:
        schedule = standing(state, param_group, group)
    except NoClosedFormError as reason:
        raise ValueError(
            f"{reason}, so it has no closed form: load it into torch and use from_torch(..., num_steps=)"
        ) from None
    if num_steps is None or lr_lambda is None:
        return schedule
    return tabulate(lambda epoch: float(np.asarray(schedule(epoch))), num_steps)


def _product(state: State, lr: float, num_steps: int | None) -> optax.Schedule:
    """MultiplicativeLR's rates from now on."""
    if num_steps is None:
        raise ValueError(
            "MultiplicativeLR is a running product: give num_steps, the epochs (or steps) to tabulate"
        )
    factor, epoch = state.lr_lambda, state.last_epoch
    return multiplicative_lr(lr, lambda later: factor(epoch + later), num_steps)


def _plateau(state: State, lr: float, group: int) -> optax.GradientTransformationExtraArgs:
    """The transformation at a learning rate, with the counters of torch's."""
    settings = {key: state.get(key) for key in _PLATEAU}
    min_lr = item("min_lrs", state.get("min_lrs"), group)
    tx = reduce_lr_on_plateau(lr, min_lr=min_lr, **settings)
    best = float(state.get("best"))
    counters = {
        key: np.int32(min(check_duration(key, state.get(key)), 2**31 - 1))
        for key in ("num_bad_epochs", "cooldown_counter")
    }

    def init_fn(params: optax.Params) -> Any:
        fresh_state: Any = tx.init(params)
        fresh = {key: jnp.asarray(value) for key, value in counters.items()}
        return fresh_state._replace(best=jax.tree.map(jnp.array, as_real(best)), **fresh)

    return optax.GradientTransformationExtraArgs(init_fn, tx.update)


def _stepped(scheduler: Any, group: int, num_steps: int) -> optax.Schedule:
    """The rates of a copy that is stepped; its parameters are the live ones, which steps do not touch."""
    optimizer = scheduler.optimizer
    shared: dict[int, Any] = {id(p): p for each in optimizer.param_groups for p in each["params"]}
    shared[id(getattr(optimizer, "state", None))] = {}
    name = type(scheduler).__name__
    try:
        twin = copy.deepcopy(scheduler, shared)
    except Exception as error:
        raise TypeError(
            f"{name} cannot be copied, which is how it is stepped unchanged: {error}"
        ) from error
    rates: list[float] = []
    with warnings.catch_warnings(action="ignore"):  # of steps without the optimizer's
        for epoch in range(num_steps):
            if epoch:
                try:
                    twin.step()
                except Exception as error:
                    raise ValueError(
                        f"{name} cannot be stepped more than {epoch - 1} times: {error}"
                    ) from error
            rates.append(float(twin.optimizer.param_groups[group]["lr"]))
    return tabulate(lambda epoch: rates[epoch], num_steps)
