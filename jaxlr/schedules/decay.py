"""Schedules that decay from `init_value` and never look back."""

import bisect
from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from jaxlr.schedules._numerics import (
    Count,
    as_count,
    check_positive_count,
    check_value,
    check_whole_number,
    floor_divide,
    power,
)


# Up to here comparing with every milestone at once is cheaper than a binary search.
_FEW_MILESTONES = 64
_LARGEST_COUNT = np.iinfo(np.int64).max


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

    def schedule(count: ArrayLike) -> ArrayLike:
        num_decays = floor_divide(as_count(count), step_size)
        return init_value * power(gamma, num_decays, largest=_LARGEST_COUNT // step_size)

    return schedule


def multi_step_lr(
    init_value: ArrayLike, milestones: Iterable[int], gamma: ArrayLike = 0.1
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
    sorted_milestones = _check_milestones(milestones)
    gamma = check_value("gamma", gamma, positive=True)

    def schedule(count: ArrayLike) -> ArrayLike:
        num_decays = _count_reached(sorted_milestones, as_count(count))
        return init_value * power(gamma, num_decays, largest=len(sorted_milestones))

    return schedule


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

    def schedule(count: ArrayLike) -> ArrayLike:
        return init_value * power(gamma, as_count(count))

    return schedule


def _check_milestones(milestones: Iterable[float]) -> list[int]:
    if isinstance(milestones, str) or not isinstance(milestones, Iterable):
        raise TypeError(f"milestones must be a list of whole numbers, got {milestones!r}")
    checked = sorted(check_whole_number("each of milestones", value) for value in milestones)
    if checked and checked[0] < 0:
        raise ValueError(f"milestones must be epochs (or steps) of at least 0, got {checked[0]}")
    return checked


def _count_reached(milestones: list[int], count: Count) -> Count:
    """The number of milestones at or before `count`."""
    if isinstance(count, int):
        return bisect.bisect_right(milestones, count)
    if isinstance(count, np.ndarray):
        reachable = [value for value in milestones if value <= _LARGEST_COUNT]
        return np.searchsorted(np.asarray(reachable, dtype=np.int64), count, side="right")
    reachable = [value for value in milestones if value <= np.iinfo(count.dtype).max]
    method = "compare_all" if len(reachable) <= _FEW_MILESTONES else "scan_unrolled"
    array = jnp.asarray(reachable, dtype=count.dtype)
    return jnp.searchsorted(array, count, side="right", method=method)
