"""Schedules that multiply `init_value` by a factor that depends on the epoch."""

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
)
from jaxlr.schedules._anneal import anneal
from jaxlr.schedules._chain import stopping
from jaxlr.schedules._counts import (
    LARGEST_COUNT,
    Count,
    Float,
    as_float,
    at_most,
    choose,
    count_reached,
    floor_divide,
    is_before,
    is_zero,
    look_up,
    remaining,
)
from jaxlr.schedules._functions import apply_to_each
from jaxlr.schedules._powers import integer_power, power_of_part_left
from jaxlr.schedules._schedule import Schedule, prints_as_call


@prints_as_call
def lambda_lr(init_value: ArrayLike, lr_lambda: Callable[[Any], Any]) -> optax.Schedule:
    r"""The learning rate is `init_value` times a function of the epoch.

    $$\mathrm{lr}(e) = \eta_0 \, f(e)$$

    with $\eta_0$ = `init_value`, $f$ = `lr_lambda` and $e$ = `count`.

    On the host, `lr_lambda` is called with a Python int for each epoch, as in torch. On a device it is
    traced. Use `tabulate` for a function that JAX cannot trace, such as one with `if`, `int()` or
    `math.cos` of the epoch.

    Args:
        init_value: learning rate that the function multiplies, a finite number >= 0; may be traced.
        lr_lambda: function of the epoch (or step) that returns the factor.

    Raises:
        TypeError: `lr_lambda` is not callable. The schedule raises it too, if JAX cannot trace `lr_lambda`.

    Example:
        >>> schedule = lambda_lr(1.0, lambda epoch: 1 / (1 + epoch))
        >>> schedule(3)
        0.25

    Reference: `torch.optim.lr_scheduler.LambdaLR`.
    """
    init_value = check_value("init_value", init_value)
    check_function("lr_lambda", lr_lambda)
    return Schedule(lambda count: init_value * apply_to_each(lr_lambda, count), functions=(lr_lambda,))


@prints_as_call
def multiplicative_lr(
    init_value: ArrayLike, lr_lambda: Callable[[int], float], num_steps: int
) -> optax.Schedule:
    r"""The learning rate is multiplied in each epoch by a function of the epoch.

    $$\mathrm{lr}(e) = \eta_0 \prod_{i=1}^{\min(e, N - 1)} f(i)$$

    with $\eta_0$ = `init_value`, $f$ = `lr_lambda`, $N$ = `num_steps` and $e$ = `count`.

    A running product has no closed form, so the products are computed in float64 when the schedule is
    built. From epoch `num_steps` - 1 on, the last product holds. Torch keeps multiplying.

    Args:
        init_value: learning rate of the first epoch, a finite number >= 0; may be traced.
        lr_lambda: Python function of the epoch (or step), called with 1 to `num_steps` - 1.
        num_steps: number of epochs (or steps) to compute, a whole number >= 1.

    Raises:
        ValueError: an argument is out of range, or a product is not finite.

    Example:
        >>> schedule = multiplicative_lr(1.0, lambda epoch: 0.5, num_steps=4)
        >>> [schedule(epoch) for epoch in range(6)]
        [1.0, 0.5, 0.25, 0.125, 0.125, 0.125]

    Reference: `torch.optim.lr_scheduler.MultiplicativeLR`.
    """
    init_value = check_value("init_value", init_value)
    check_function("lr_lambda", lr_lambda)
    num_steps = check_positive_count("num_steps", num_steps)
    factors = [1.0, *(float(lr_lambda(epoch)) for epoch in range(1, num_steps))]
    products = np.asarray(list(itertools.accumulate(factors, operator.mul)))
    table = check_finite("lr_lambda", products)
    # The factors are kept and not the function, whose values may change later.
    kept = {"lr_lambda": np.asarray(factors).__getitem__}
    return Schedule(lambda count: init_value * look_up(table, count), init_value, arguments=kept)


@prints_as_call
def step_lr(init_value: ArrayLike, step_size: int, gamma: ArrayLike = 0.1) -> optax.Schedule:
    r"""The learning rate decays by `gamma` every `step_size` epochs.

    $$\mathrm{lr}(e) = \eta_0 \, \gamma^{\lfloor e / s \rfloor}$$

    with $\eta_0$ = `init_value`, $\gamma$ = `gamma`, $s$ = `step_size` and $e$ = `count`. In code:
    `init_value * gamma ** (count // step_size)`.

    Args:
        init_value: learning rate of the first epoch, a finite number >= 0; may be traced.
        step_size: epochs (or steps) between decays, a whole number >= 1.
        gamma: factor of each decay, a finite number >= 0; may be traced.

    Example:
        >>> schedule = step_lr(1.0, step_size=30, gamma=0.5)
        >>> schedule(29), schedule(30)
        (1.0, 0.5)

    Reference: `torch.optim.lr_scheduler.StepLR`.
    """
    init_value = check_value("init_value", init_value)
    step_size = check_positive_count("step_size", step_size)
    gamma = check_value("gamma", gamma)
    most_decays = LARGEST_COUNT // step_size
    return _decaying(init_value, gamma, lambda count: floor_divide(count, step_size), most_decays)


@prints_as_call
def multi_step_lr(
    init_value: ArrayLike, milestones: Sequence[int], gamma: ArrayLike = 0.1
) -> optax.Schedule:
    r"""The learning rate decays by `gamma` at each milestone.

    $$\mathrm{lr}(e) = \eta_0 \, \gamma^{\#\{m \in M : m \le e\}}$$

    with $\eta_0$ = `init_value`, $\gamma$ = `gamma`, $M$ = `milestones` and $e$ = `count`. In code:
    `init_value * gamma ** sum(m <= count for m in milestones)`.

    The milestones may be in any order. A milestone that is listed twice decays twice, and one at 0 decays
    the first epoch.

    Args:
        init_value: learning rate before the first milestone, a finite number >= 0; may be traced.
        milestones: epochs (or steps) at which the rate decays, whole numbers >= 0.
        gamma: factor of each decay, a finite number >= 0; may be traced.

    Example:
        >>> schedule = multi_step_lr(0.1, milestones=[10, 30])
        >>> [round(schedule(epoch), 10) for epoch in (9, 10, 30)]
        [0.1, 0.01, 0.001]

    Reference: `torch.optim.lr_scheduler.MultiStepLR`.
    """
    init_value = check_value("init_value", init_value)
    sorted_milestones = sorted(check_milestones(milestones))
    gamma = check_value("gamma", gamma)
    most_decays = len(sorted_milestones)
    return _decaying(init_value, gamma, lambda count: count_reached(sorted_milestones, count), most_decays)


@prints_as_call
def constant_lr(init_value: ArrayLike, factor: ArrayLike = 1 / 3, total_iters: int = 5) -> optax.Schedule:
    r"""The learning rate is multiplied by `factor` in the first `total_iters` epochs.

    $$\mathrm{lr}(e) = \eta_0 f \text{ if } e < T, \text{ else } \eta_0$$

    with $\eta_0$ = `init_value`, $f$ = `factor`, $T$ = `total_iters` and $e$ = `count`. In code:
    `init_value * (factor if count < total_iters else 1)`.

    With `total_iters` = 0 the factor stays for ever, as in torch.

    Args:
        init_value: learning rate from epoch `total_iters` on, a finite number >= 0; may be traced.
        factor: factor of the first epochs, in (0, 1]; may be traced.
        total_iters: number of epochs (or steps) with the factor, a whole number >= 0.

    Example:
        >>> schedule = constant_lr(1.0, factor=0.5, total_iters=4)
        >>> schedule(3), schedule(4)
        (0.5, 1.0)

    Reference: `torch.optim.lr_scheduler.ConstantLR`.
    """
    init_value = check_value("init_value", init_value)
    factor = check_at_most("factor", check_value("factor", factor, positive=True), 1.0)
    total_iters = check_duration("total_iters", total_iters)
    # torch's step() multiplies by 1 / factor in epoch `total_iters`, which never comes after epoch 0.
    end = total_iters or LARGEST_COUNT

    def formula(count: Count) -> Float:
        return init_value * choose(is_before(count, end), factor, 1.0)

    return Schedule(formula, init_value)


@prints_as_call
def linear_lr(
    init_value: ArrayLike,
    start_factor: ArrayLike = 1 / 3,
    end_factor: ArrayLike = 1.0,
    total_iters: int = 5,
) -> optax.Schedule:
    r"""The learning rate moves linearly from one factor of `init_value` to another, then stays there.

    $$\mathrm{lr}(e) = \eta_0 \left(s + (t - s) \frac{\min(e, T)}{T}\right)$$

    with $\eta_0$ = `init_value`, $s$ = `start_factor`, $t$ = `end_factor`, $T$ = `total_iters` and
    $e$ = `count`. In code:
    `init_value * (start_factor + (end_factor - start_factor) * min(count / total_iters, 1))`.

    With `total_iters` = 0 the factor is always `start_factor`, as in torch.

    Args:
        init_value: learning rate that the factors multiply, a finite number >= 0; may be traced.
        start_factor: factor of the first epoch, in (0, 1]; may be traced.
        end_factor: factor from epoch `total_iters` on, in [0, 1]; may be traced.
        total_iters: epochs (or steps) from one factor to the other, a whole number >= 0.

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
        # With d = min(e, T): s + (t - s) d / T = s (T - d) / T + t d / T. The right side keeps the digits
        # of a small end factor.
        return init_value * anneal(start_factor, end_factor, as_float(done), left, length, "linear")

    return Schedule(formula, init_value)


@prints_as_call
def exponential_lr(init_value: ArrayLike, gamma: ArrayLike) -> optax.Schedule:
    r"""The learning rate decays by `gamma` every epoch.

    $$\mathrm{lr}(e) = \eta_0 \, \gamma^e$$

    with $\eta_0$ = `init_value`, $\gamma$ = `gamma` and $e$ = `count`. In code:
    `init_value * gamma ** count`.

    Args:
        init_value: learning rate of the first epoch, a finite number >= 0; may be traced.
        gamma: factor of each epoch (or step), a finite number >= 0; may be traced.

    Example:
        >>> schedule = exponential_lr(1.0, gamma=0.5)
        >>> schedule(3)
        0.125

    Reference: `torch.optim.lr_scheduler.ExponentialLR`.
    """
    init_value = check_value("init_value", init_value)
    gamma = check_value("gamma", gamma)
    return _decaying(init_value, gamma, lambda count: count, LARGEST_COUNT)


@prints_as_call
def polynomial_lr(init_value: ArrayLike, total_iters: int = 5, power: ArrayLike = 1.0) -> optax.Schedule:
    r"""The learning rate decays to 0 as a power of the remaining epochs, then stays there.

    $$\mathrm{lr}(e) = \eta_0 \left(1 - \frac{\min(e, T)}{T}\right)^p$$

    with $\eta_0$ = `init_value`, $T$ = `total_iters`, $p$ = `power` and $e$ = `count`. In code:
    `init_value * (1 - min(count / total_iters, 1)) ** power`.

    With `total_iters` = 0 the rate is always `init_value`, as in torch.

    Args:
        init_value: learning rate of the first epoch, a finite number >= 0; may be traced.
        total_iters: epochs (or steps) until the rate is 0, a whole number >= 0.
        power: exponent, a finite number >= 0; may be traced.

    Example:
        >>> schedule = polynomial_lr(1.0, total_iters=4, power=2.0)
        >>> [schedule(epoch) for epoch in range(6)]
        [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]

    Reference: `torch.optim.lr_scheduler.PolynomialLR`.
    """
    init_value = check_value("init_value", init_value)
    total_iters = check_duration("total_iters", total_iters)
    exponent = check_value("power", power)

    def formula(count: Count) -> Float:
        # 1 - e / T = (T - e) / T: an exact difference of integers instead of a rounded quotient.
        done = at_most(count, total_iters)
        return init_value * power_of_part_left(done, max(total_iters, 1), exponent)

    return Schedule(formula, init_value)


def _decaying(
    init_value: float | jax.Array,
    gamma: float | jax.Array,
    num_decays: Callable[[Any], Any],
    most_decays: int,
) -> optax.Schedule:
    """Return the schedule `init_value * gamma ** num_decays(count)`."""
    base = 1.0 if is_zero(init_value) else gamma  # 0 times a power that overflows would be NaN

    def formula(count: Count) -> Float:
        return init_value * integer_power(base, num_decays(count), most_decays)

    return Schedule(formula, init_value, step=stopping(num_decays) if is_zero(gamma) else None)
