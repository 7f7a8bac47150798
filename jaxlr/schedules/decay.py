"""Schedules that multiply `init_value` by a factor of the epoch."""

import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import optax
from jax.typing import ArrayLike

from jaxlr._checks import (
    check_at_most,
    check_duration,
    check_finite,
    check_function,
    check_milestones,
    check_positive_count,
    check_value,
    check_whole_number,
)
from jaxlr.schedules._anneal import anneal
from jaxlr.schedules._counts import (
    LARGEST_COUNT,
    Count,
    Float,
    Schedule,
    apply_to_each,
    as_float,
    at_most,
    choose,
    count_reached,
    floor_divide,
    is_before,
    look_up,
    remaining,
)
from jaxlr.schedules._powers import decayed, power_of_rest


def lambda_lr(init_value: ArrayLike, lr_lambda: Callable[[Any], Any]) -> optax.Schedule:
    r"""The learning rate is `init_value` times a function of the epoch.

    $$\mathrm{lr}(e) = \eta_0 \, f(e)$$

    with $\eta_0$ = `init_value`, $f$ = `lr_lambda` and $e$ = `count`. On the host $f$ is called with
    a Python int for each epoch, as torch calls it. On a device it is traced: a function that JAX
    cannot trace (with `if`, `int()` or `math.cos` of the epoch) goes through `tabulate` instead.

    Args:
        init_value: learning rate that the function multiplies, a finite number >= 0; may be traced.
        lr_lambda: function of the epoch (or step) that returns its factor.

    Returns:
        A schedule: `count` (epochs or steps, integers of any shape) to learning rates of that shape.

    Raises:
        TypeError: `lr_lambda` is not callable or not traceable, or a `count` is not an integer.
        ValueError: `init_value` is out of its range, or a host `count` is negative.

    Example:
        >>> schedule = lambda_lr(1.0, lambda epoch: 1 / (1 + epoch))
        >>> schedule(3)
        0.25

    Reference: `torch.optim.lr_scheduler.LambdaLR`.
    """
    init_value = check_value("init_value", init_value)
    check_function("lr_lambda", lr_lambda)
    return Schedule(lambda count: init_value * apply_to_each(lr_lambda, count))


def multiplicative_lr(
    init_value: ArrayLike, lr_lambda: Callable[[int], float], num_steps: int
) -> optax.Schedule:
    r"""The learning rate is multiplied each epoch by a function of the epoch.

    $$\mathrm{lr}(e) = \eta_0 \prod_{i=1}^{\min(e, N - 1)} f(i)$$

    with $\eta_0$ = `init_value`, $f$ = `lr_lambda`, $N$ = `num_steps` and $e$ = `count`. A running
    product has no closed form: it is tabulated in float64 when the schedule is built, and where torch
    goes on multiplying, its last value holds from epoch $N - 1$ on.

    Args:
        init_value: learning rate of the first epoch, a finite number >= 0; may be traced, shape ().
        lr_lambda: Python function of the epoch (or step), called with 1 to `num_steps` - 1.
        num_steps: epochs (or steps) to tabulate, a whole number >= 1.

    Returns:
        A schedule: `count` (epochs or steps, integers of any shape) to learning rates of that shape.

    Raises:
        TypeError: `lr_lambda` is not callable, or a `count` is not an integer.
        ValueError: an argument is out of its range, a factor is not finite, or a host `count` is
            negative.

    Example:
        >>> schedule = multiplicative_lr(1.0, lambda epoch: 0.5, num_steps=100)
        >>> schedule(3)
        0.125

    Reference: `torch.optim.lr_scheduler.MultiplicativeLR`.
    """
    init_value = check_value("init_value", init_value)
    check_function("lr_lambda", lr_lambda)
    num_steps = check_positive_count("num_steps", num_steps)
    factors = [1.0, *(float(lr_lambda(epoch)) for epoch in range(1, num_steps))]
    products = np.asarray(list(itertools.accumulate(factors, operator.mul)))
    table = check_finite("lr_lambda", products)
    return Schedule(lambda count: init_value * look_up(table, count), init_value)


def step_lr(init_value: ArrayLike, step_size: int, gamma: ArrayLike = 0.1) -> optax.Schedule:
    r"""The learning rate decays by `gamma` every `step_size` epochs.

    $$\mathrm{lr}(e) = \eta_0 \, \gamma^{\lfloor e / s \rfloor}$$

    with $\eta_0$ = `init_value`, $\gamma$ = `gamma`, $s$ = `step_size` and $e$ = `count`.

    Args:
        init_value: learning rate of the first epoch, a finite number >= 0; may be traced, shape ().
        step_size: epochs (or steps) between decays, a whole number >= 1.
        gamma: factor of each decay, a finite number > 0; may be traced, shape ().

    Returns:
        A schedule: `count` (epochs or steps, integers of any shape) to learning rates of that shape.

    Raises:
        TypeError: an argument is not a number, or a `count` is not an integer.
        ValueError: an argument is out of its range, or a host `count` is negative.

    Example:
        >>> schedule = step_lr(0.1, step_size=30)
        >>> schedule(29), schedule(30)
        (0.1, 0.010000000000000002)

    Reference: `torch.optim.lr_scheduler.StepLR`.
    """
    init_value = check_value("init_value", init_value)
    step_size = check_positive_count("step_size", step_size)
    gamma = check_value("gamma", gamma, positive=True)

    def formula(count: Count) -> Float:
        num_decays = floor_divide(count, step_size)
        return decayed(init_value, gamma, num_decays, largest=LARGEST_COUNT // step_size)

    return Schedule(formula, init_value)


def multi_step_lr(
    init_value: ArrayLike, milestones: Sequence[int], gamma: ArrayLike = 0.1
) -> optax.Schedule:
    r"""The learning rate decays by `gamma` at each milestone.

    $$\mathrm{lr}(e) = \eta_0 \, \gamma^{\#\{m \in M : m \le e\}}$$

    with $\eta_0$ = `init_value`, $\gamma$ = `gamma`, $M$ = `milestones` and $e$ = `count`. A milestone
    that is named twice decays twice, one at 0 decays the first epoch, and their order is free.

    Args:
        init_value: learning rate before any milestone, a finite number >= 0; may be traced, shape ().
        milestones: epochs (or steps) from which on one more decay holds, whole numbers >= 0.
        gamma: factor of each decay, a finite number > 0; may be traced, shape ().

    Returns:
        A schedule: `count` (epochs or steps, integers of any shape) to learning rates of that shape.

    Raises:
        TypeError: an argument is not of the kind above, or a `count` is not an integer.
        ValueError: an argument is out of its range, or a host `count` is negative.

    Example:
        >>> schedule = multi_step_lr(0.1, milestones=[10, 30])
        >>> [round(schedule(epoch), 10) for epoch in (9, 10, 30)]
        [0.1, 0.01, 0.001]

    Reference: `torch.optim.lr_scheduler.MultiStepLR`.
    """
    init_value = check_value("init_value", init_value)
    sorted_milestones = sorted(check_milestones(milestones))
    gamma = check_value("gamma", gamma, positive=True)

    def formula(count: Count) -> Float:
        num_decays = count_reached(sorted_milestones, count)
        return decayed(init_value, gamma, num_decays, largest=len(sorted_milestones))

    return Schedule(formula, init_value)


def constant_lr(init_value: ArrayLike, factor: ArrayLike = 1 / 3, total_iters: int = 5) -> optax.Schedule:
    r"""The learning rate is held down by `factor` for `total_iters` epochs, then is `init_value`.

    $$\mathrm{lr}(e) = \eta_0 f \text{ if } e < T, \text{ else } \eta_0$$

    with $\eta_0$ = `init_value`, $f$ = `factor`, $T$ = `total_iters` and $e$ = `count`.

    Args:
        init_value: learning rate from epoch `total_iters` on, a finite number >= 0; may be traced.
        factor: factor of the first epochs, in (0, 1]; may be traced.
        total_iters: number of epochs (or steps) under `factor`, a whole number >= 1, or 0 where
            `factor` is 1.

    Returns:
        A schedule: `count` (epochs or steps, integers of any shape) to learning rates of that shape.

    Raises:
        TypeError: an argument is not a number, or a `count` is not an integer.
        ValueError: an argument is out of its range, or a host `count` is negative.

    Example:
        >>> schedule = constant_lr(1.0, factor=0.5, total_iters=4)
        >>> schedule(3), schedule(4)
        (0.5, 1.0)

    Reference: `torch.optim.lr_scheduler.ConstantLR`.
    """
    init_value = check_value("init_value", init_value)
    factor = check_at_most("factor", check_value("factor", factor, positive=True), 1.0)
    total_iters = check_whole_number("total_iters", total_iters)
    if total_iters < (0 if _is_one(factor) else 1):
        # For 0 torch's step() holds the factor for ever and its closed form never applies it.
        raise ValueError(f"total_iters must be at least 1 (0 if factor is 1), got {total_iters}")

    def formula(count: Count) -> Float:
        return init_value * choose(is_before(count, total_iters), factor, 1.0)

    return Schedule(formula, init_value)


def linear_lr(
    init_value: ArrayLike,
    start_factor: ArrayLike = 1 / 3,
    end_factor: ArrayLike = 1.0,
    total_iters: int = 5,
) -> optax.Schedule:
    r"""The learning rate moves in a line from one factor of `init_value` to another, and stays there.

    $$\mathrm{lr}(e) = \eta_0 \left(s + (t - s) \frac{\min(e, T)}{T}\right)$$

    with $\eta_0$ = `init_value`, $s$ = `start_factor`, $t$ = `end_factor`, $T$ = `total_iters` and
    $e$ = `count`. With `total_iters` = 0 it stays at `start_factor`, as torch's does.

    Args:
        init_value: learning rate that the factors multiply, a finite number >= 0; may be traced.
        start_factor: factor of the first epoch, in (0, 1]; may be traced.
        end_factor: factor from epoch `total_iters` on, in [0, 1]; may be traced.
        total_iters: epochs (or steps) from one factor to the other, a whole number >= 0.

    Returns:
        A schedule: `count` (epochs or steps, integers of any shape) to learning rates of that shape.

    Raises:
        TypeError: an argument is not a number, or a `count` is not an integer.
        ValueError: an argument is out of its range, or a host `count` is negative.

    Example:
        >>> schedule = linear_lr(1.0, start_factor=0.5, total_iters=4)
        >>> [schedule(epoch) for epoch in range(6)]
        [0.5, 0.625, 0.75, 0.875, 1.0, 1.0]

    Reference: `torch.optim.lr_scheduler.LinearLR`.
    """
    init_value = check_value("init_value", init_value)
    start_factor = check_value("start_factor", start_factor, positive=True)
    check_at_most("start_factor", start_factor, 1.0)
    end_factor = check_at_most("end_factor", check_value("end_factor", end_factor), 1.0)
    total_iters = check_duration("total_iters", total_iters)
    length = max(total_iters, 1)

    def formula(count: Count) -> Float:
        done = at_most(count, total_iters)
        left = remaining(length, done)
        return init_value * anneal(start_factor, end_factor, as_float(done), left, length, "linear")

    return Schedule(formula, init_value)


def exponential_lr(init_value: ArrayLike, gamma: ArrayLike) -> optax.Schedule:
    r"""The learning rate decays by `gamma` every epoch.

    $$\mathrm{lr}(e) = \eta_0 \, \gamma^e$$

    with $\eta_0$ = `init_value`, $\gamma$ = `gamma` and $e$ = `count`.

    Args:
        init_value: learning rate of the first epoch, a finite number >= 0; may be traced, shape ().
        gamma: factor of each epoch (or step), a finite number > 0; may be traced, shape ().

    Returns:
        A schedule: `count` (epochs or steps, integers of any shape) to learning rates of that shape.

    Raises:
        TypeError: an argument is not a number, or a `count` is not an integer.
        ValueError: an argument is out of its range, or a host `count` is negative.

    Example:
        >>> schedule = exponential_lr(1.0, gamma=0.5)
        >>> schedule(3)
        0.125

    Reference: `torch.optim.lr_scheduler.ExponentialLR`.
    """
    init_value = check_value("init_value", init_value)
    gamma = check_value("gamma", gamma, positive=True)

    return Schedule(lambda count: decayed(init_value, gamma, count), init_value)


def polynomial_lr(init_value: ArrayLike, total_iters: int = 5, power: ArrayLike = 1.0) -> optax.Schedule:
    r"""The learning rate decays to 0 along a power of the epochs left, and stays there.

    $$\mathrm{lr}(e) = \eta_0 \left(1 - \frac{\min(e, T)}{T}\right)^p$$

    with $\eta_0$ = `init_value`, $T$ = `total_iters`, $p$ = `power` and $e$ = `count`.

    Args:
        init_value: learning rate of the first epoch, a finite number >= 0; may be traced, shape ().
        total_iters: epochs (or steps) until the rate is 0, a whole number >= 1.
        power: exponent, a finite number >= 0; may be traced, shape ().

    Returns:
        A schedule: `count` (epochs or steps, integers of any shape) to learning rates of that shape.

    Raises:
        TypeError: an argument is not a number, or a `count` is not an integer.
        ValueError: an argument is out of its range, or a host `count` is negative.

    Example:
        >>> schedule = polynomial_lr(1.0, total_iters=4, power=2.0)
        >>> [schedule(epoch) for epoch in range(6)]
        [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]

    Reference: `torch.optim.lr_scheduler.PolynomialLR`.
    """
    init_value = check_value("init_value", init_value)
    total_iters = check_positive_count("total_iters", total_iters)
    exponent = check_value("power", power)

    def formula(count: Count) -> Float:
        return init_value * power_of_rest(at_most(count, total_iters), total_iters, exponent)

    return Schedule(formula, init_value)


def _is_one(value: float | jax.Array) -> bool:
    return not isinstance(value, jax.Array) and value == 1
