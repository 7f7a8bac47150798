"""Schedules that continue from a torch scheduler in the middle of a run, live or saved."""

import contextlib
import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxlr._checks import check_duration, check_positive_count, check_value, shown_value
from jaxlr._double_float import as_real
from jaxlr._plateaus import Plateau
from jaxlr.convert.classes import MODULES, Effect, class_of, is_plateau
from jaxlr.convert.closed_form import (
    NoClosedFormError,
    State,
    closed_form_from_now,
    plateau_state,
    replaced_method,
    value_of_group,
)
from jaxlr.convert.errors import MissingNumStepsError
from jaxlr.convert.fields import check_fields, check_group, number
from jaxlr.convert.neighbors import check_functions, check_only_scheduler
from jaxlr.convert.twin import NotCopiedError, StepsOptimizerError, twin_of
from jaxlr.plateau import ScheduleOrPlateau, reduce_lr_on_plateau
from jaxlr.schedules.compose import tabulate
from jaxlr.schedules.decay import multiplicative_lr


_NUM_COMPARED = 40  # steps of a live scheduler that are compared with its closed form


def from_torch(scheduler: Any, group: int = 0, num_steps: int | None = None) -> ScheduleOrPlateau:
    r"""Return the schedule of a live torch scheduler, from its current epoch on.

    $$\mathrm{lr}(e) = \text{the learning rate of torch after } e \text{ more steps}$$

    with $e$ = `count`, so that `count` 0 is the scheduler's current epoch.

    A scheduler of one of torch's own classes becomes a closed form, if its current learning rate agrees
    with that form. Any other scheduler is stepped on a copy, `num_steps` times, and its rates are tabulated
    in float64. Examples are a scheduler with a Python function, a subclass, a ChainedScheduler that is not
    a product, and a scheduler with a rate that was edited by hand.

    A OneCycleLR holds its last rate after its last step. There torch gives one wrong rate and then raises
    an error.

    Nothing live is changed: not the scheduler, its optimizer or its parameters, nor the objects that its
    functions read. A function that ignores the epoch and reads something else is refused, because its
    values cannot be known in advance. So is a scheduler that steps the optimizer itself.

    Args:
        scheduler: an object of `torch.optim.lr_scheduler`, of `torch.optim.swa_utils`, or of your own
            class with an `optimizer` and a `step()`.
        group: parameter group of its optimizer.
        num_steps: number of epochs (or steps) to tabulate, if there is no closed form. After them the last
            rate holds.

    Returns:
        A schedule: `count` (epochs or steps from now, integers of any shape) to learning rates of that
        shape. For ReduceLROnPlateau it is the transformation `reduce_lr_on_plateau` with the scheduler's
        counters, for an optimizer at the current learning rate.

    Raises:
        TypeError: `scheduler` is not a scheduler, or cannot be copied.
        ValueError: `num_steps` is missing, or the scheduler cannot be stepped that often. The optimizer has
            no such group, or another scheduler as well. A plateau has settings that `reduce_lr_on_plateau`
            refuses.

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
        raise TypeError(not_a_scheduler(scheduler))
    param_group = value_of_group("param_groups", optimizer.param_groups, group)
    name = type(scheduler).__name__
    if any(base.__module__.startswith("timm.") for base in type(scheduler).__mro__):
        raise TypeError(
            f"{name} is a scheduler of timm: read the flags of its script with "
            "jaxlr.from_config(vars(args), framework='timm'), or its call with jaxlr.from_string"
        )
    check_group("the optimizer", param_group)
    if (plateau := plateau_state(scheduler)) is not None:
        return _plateau(plateau, _current_lr(plateau, param_group), group)
    if is_plateau(scheduler):
        is_torchs = type(scheduler).__module__ in MODULES
        kind = (
            f"this {name} has" if is_torchs else f"{name} is a subclass of torch's ReduceLROnPlateau with"
        )
        raise TypeError(
            f"{kind} methods of its own ({replaced_method(scheduler)}), so it cannot be converted: if they "
            "have no effect on the rate, give its settings to jaxlr.reduce_lr_on_plateau"
        )
    if class_of(scheduler) is not None:
        check_fields(name, vars(scheduler))
    check_only_scheduler(scheduler)
    check_functions(scheduler, group)
    _check_step(scheduler)
    is_tensor = hasattr(param_group["lr"], "dtype")
    if is_tensor and num_steps is not None:  # torch computes it in the precision of the tensor
        return _stepped(scheduler, group, num_steps)
    try:
        state = State.from_live(scheduler)
        state.check_group(group)
        schedule: Any = closed_form_from_now(state, param_group, group)
        _check_next_rates(scheduler, schedule, group)
        return schedule
    except NoClosedFormError as reason:
        if num_steps is None:
            raise MissingNumStepsError(f"{reason}, so it has no closed form") from None
        return _stepped(scheduler, group, num_steps)


def _check_step(scheduler: Any) -> None:
    """Refuse a scheduler whose `step` needs an argument, such as the metric of an epoch."""
    try:
        inspect.signature(scheduler.step).bind()
    except TypeError as error:
        raise ValueError(
            f"{type(scheduler).__name__} cannot be converted, because its step() needs arguments that are "
            f"not known in advance ({error}): use jaxlr.reduce_lr_on_plateau or jaxlr.greedy_lr, or write "
            "its rate as a function of the step, and give that to jaxlr.tabulate"
        ) from None
    except ValueError:  # a function in C has no signature
        return


def not_a_scheduler(scheduler: Any) -> str:
    """Return the message of an error for an object that is no torch scheduler."""
    name = type(scheduler).__name__
    message = f"scheduler must be a torch scheduler, got a {name}"
    is_mapping = isinstance(scheduler, Mapping)
    held = scheduler if is_mapping else getattr(scheduler, "__dict__", {})
    for key, value in held.items():
        if hasattr(getattr(value, "optimizer", None), "param_groups") and hasattr(value, "step"):
            message += f": give the scheduler in it, its {'item' if is_mapping else 'attribute'} {key!r}"
            if name == "AcceleratedScheduler":
                message += ", which it steps once for each process"
            return message
    if any(hasattr(value, "param_groups") for value in held.values()):
        return (
            f"{message}, which wraps an optimizer: write its rate as a function of the step, and give "
            "that to jaxlr.tabulate"
        )
    return message


def from_state_dict(
    class_name: str,
    state_dict: Mapping[str, Any],
    init_value: float | None = None,
    group: int = 0,
    num_steps: int | None = None,
    *,
    optimizer_state_dict: Mapping[str, Any] | None = None,
    lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float] | None] | None = None,
) -> ScheduleOrPlateau:
    r"""Return the schedule of a saved torch scheduler, from its current epoch on.

    $$\mathrm{lr}(e) = \text{the learning rate of torch after } e \text{ more steps}$$

    with $e$ = `count`. Load the file with torch's own `torch.load(path, weights_only=True)`.

    Args:
        class_name: class of the scheduler, such as "StepLR". A state_dict does not contain it.
        state_dict: the result of `scheduler.state_dict()`. The classes in a composite are recognized by
            their keys.
        init_value: learning rate with which the run began. If given, it is compared with the state_dict.
        group: parameter group of the optimizer.
        num_steps: number of epochs (or steps) to tabulate, if JAX cannot trace `lr_lambda`.
            MultiplicativeLR always needs it.
        optimizer_state_dict: the result of `optimizer.state_dict()`. OneCycleLR and SWALR keep their rates
            in it. For all classes it shows if a rate was edited by hand.
        lr_lambda: the group's function for LambdaLR and MultiplicativeLR, which a state_dict does not
            contain. For a SequentialLR it is a list with a function for each LambdaLR in it, and None for
            the other parts. A MultiplicativeLR in it cannot be told from a LambdaLR: convert the live
            object then.

    Returns:
        The schedule or transformation that `from_torch` returns.

    Raises:
        TypeError: `state_dict` is not a mapping, or `lr_lambda` not a function.
        ValueError: `state_dict` does not belong to that class, an argument is missing, or the scheduler has
            no closed form. In the last case load it into torch and use `from_torch` with `num_steps`.

    Example:
        >>> state_dict = {"step_size": 3, "gamma": 0.5, "base_lrs": [1.0]}
        >>> state_dict |= {"last_epoch": 4, "_last_lr": [0.5]}
        >>> schedule = from_state_dict("StepLR", state_dict)
        >>> [schedule(epoch) for epoch in range(4)]
        [0.5, 0.5, 0.25, 0.25]

    Reference: `torch.optim.lr_scheduler.LRScheduler.state_dict`.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"state_dict must be the result of scheduler.state_dict(), got {shown_value(state_dict)}"
        )
    state = State.from_saved(class_name, state_dict, lr_lambda)
    param_group: Mapping[str, Any] = {}
    if "_last_lr" in state.values:  # older versions of torch do not save it
        param_group = {"lr": number("_last_lr", value_of_group("_last_lr", state.get("_last_lr"), group))}
    if optimizer_state_dict is not None:
        if not isinstance(optimizer_state_dict, Mapping) or "param_groups" not in optimizer_state_dict:
            raise TypeError("optimizer_state_dict must be the result of optimizer.state_dict()")
        saved = value_of_group("param_groups", optimizer_state_dict["param_groups"], group)
        check_group("optimizer_state_dict", saved)
        param_group = {**param_group, **saved}
    if state.torch_class.effect is Effect.NEEDS_METRIC:
        return _plateau(state, _current_lr(state, param_group), group)
    base = state.base_lr(group)
    if init_value is not None:
        check_value("init_value", init_value)
    if init_value is not None and not math.isclose(init_value, base, rel_tol=1e-9):
        raise ValueError(f"init_value is {init_value!r}, but the saved run began with {base!r}")
    try:
        if state.torch_class.takes_function and state.torch_class.is_recursive:
            return _product(state, _current_lr(state, param_group), num_steps)
        schedule: Any = closed_form_from_now(state, param_group, group)
    except NoClosedFormError as reason:
        raise ValueError(
            f"{reason}, so it has no closed form: load it into torch and use from_torch(..., num_steps=...)"
        ) from None
    if num_steps is None or lr_lambda is None:
        return schedule
    table: Any = tabulate(lambda epoch: float(np.asarray(schedule(epoch))), num_steps)
    return table


def _current_lr(state: State, param_group: Mapping[str, Any]) -> float:
    if "lr" not in param_group:
        raise ValueError(f"the state_dict of {state.name} lacks '_last_lr': give optimizer_state_dict")
    return number("lr", param_group["lr"])


def _product(state: State, lr: float, num_steps: int | None) -> Any:
    """Return the rates of a MultiplicativeLR from the current epoch on."""
    if num_steps is None:
        raise MissingNumStepsError(f"{state.name} is a running product")
    factor, epoch = state.lr_lambda, state.last_epoch
    return multiplicative_lr(lr, lambda later: factor(epoch + later), num_steps)


def _plateau(state: State, lr: float, group: int) -> Any:
    """Return the transformation of a ReduceLROnPlateau, at a learning rate and with the saved counters."""
    torch_class = state.torch_class
    settings = {key: state.get(key) for key in torch_class.settings if key not in torch_class.per_group}
    min_lr = value_of_group("min_lrs", state.get("min_lrs"), group)
    tx: Any = reduce_lr_on_plateau(lr, min_lr=min_lr, **settings)
    best = number("best", state.get("best"))
    counters = {
        key: min(check_duration(key, state.get(key)), 2**31 - 1)
        for key in ("num_bad_epochs", "cooldown_counter")
    }
    if best == (-math.inf if settings["mode"] == "max" else math.inf) and not any(counters.values()):
        return tx

    def init_fn(params: optax.Params) -> Any:
        fresh_state: Any = tx.init(params)
        current = {key: jnp.asarray(np.int32(value)) for key, value in counters.items()}
        return fresh_state._replace(best=jax.tree.map(jnp.array, as_real(best)), **current)

    saved = {**settings, "min_lrs": [min_lr], "best": best, **counters, "_last_lr": [lr]}
    arguments = {"class_name": torch_class.name, "state_dict": saved}
    return Plateau.build(init_fn, tx.init_value, "from_state_dict", arguments)


def _check_next_rates(scheduler: Any, schedule: Any, group: int) -> None:
    """Compare a closed form with the next rates of torch: attributes or methods may have been edited.

    Raises:
        NoClosedFormError: they differ.
    """
    last = getattr(scheduler, "total_steps", math.inf) - 1  # torch's OneCycleLR is wrong after it
    num_steps = max(min(_NUM_COMPARED, last - getattr(scheduler, "last_epoch", 0)), 0)
    rates: list[float] = []
    with contextlib.suppress(ValueError):  # torch cannot step it any further either
        for rate in _rates(scheduler, group, int(num_steps) + 1):
            rates.append(rate)
    peak = max(map(abs, rates))
    rel_tol = 1e-5 if hasattr(scheduler.optimizer.param_groups[group]["lr"], "dtype") else 1e-9
    for epoch, rate in enumerate(rates):
        if not math.isclose(rate, float(schedule(epoch)), rel_tol=rel_tol, abs_tol=1e-9 * peak):
            raise NoClosedFormError(
                f"the learning rate of {type(scheduler).__name__} will be {rate!r} after {epoch} more "
                "steps, which its settings do not explain"
            )


def _stepped(scheduler: Any, group: int, num_steps: int) -> Any:
    """Step a twin of a scheduler and tabulate its rates."""
    num_steps = check_positive_count("num_steps", num_steps)
    rates = list(_rates(scheduler, group, num_steps))
    again = list(_rates(scheduler, group, min(num_steps, _NUM_COMPARED)))
    if again != rates[: len(again)]:
        raise ValueError(
            f"{type(scheduler).__name__} gives other learning rates each time that it is stepped: write a "
            "function of the epoch without random numbers"
        )
    return tabulate(lambda epoch: rates[epoch], num_steps)


def _rates(scheduler: Any, group: int, num_steps: int) -> Iterator[float]:
    """Yield the rates of a twin of a scheduler, which is stepped."""
    name = type(scheduler).__name__
    twin = twin_of(scheduler)
    for epoch in range(num_steps):
        try:
            if epoch:
                with warnings.catch_warnings(action="ignore"):  # torch warns: its optimizer is not stepped
                    twin.step()
            rate = float(twin.optimizer.param_groups[group]["lr"])
        except StepsOptimizerError:
            raise ValueError(
                f"{name} cannot be converted, because its step() steps the optimizer as well: "
                "write its rate as a function of the step, and give that to jaxlr.tabulate"
            ) from None
        except NotCopiedError as error:
            raise TypeError(
                f"{name} cannot be copied, so it cannot be stepped unchanged: {error}"
            ) from error
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise ValueError(f"{name} cannot be stepped more than {epoch - 1} times: {reason}") from error
        yield rate
