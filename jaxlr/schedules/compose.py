"""Schedules made of other schedules."""

import optax
from jax.typing import ArrayLike

from jaxlr.schedules._numerics import as_count, check_positive_count, floor_divide


def per_epoch(schedule: optax.Schedule, steps_per_epoch: int) -> optax.Schedule:
    r"""A schedule of epochs for an optimizer that counts steps: torch's `scheduler.step()` per epoch.

    $$\mathrm{lr}(k) = \mathrm{schedule}(\lfloor k / n \rfloor)$$

    with $n$ = `steps_per_epoch` and $k$ = `count`, the optimizer's number of updates so far.

    Args:
        schedule: the schedule of epochs.
        steps_per_epoch: optimizer updates in an epoch, its last, smaller batch included; >= 1.

    Returns:
        A schedule: `count` (steps, integers of any shape) to learning rates of that shape.

    Raises:
        TypeError: `schedule` is not callable, or `steps_per_epoch` is not a number.
        ValueError: `steps_per_epoch` is not a whole number of at least 1.

    Example:
        >>> from jaxlr import per_epoch, step_lr
        >>> schedule = per_epoch(step_lr(1.0, step_size=2, gamma=0.5), steps_per_epoch=100)
        >>> schedule(199), schedule(200)
        (1.0, 0.5)

    Reference: the loop `for epoch in ...: train(); scheduler.step()` of torch's documentation.
    """
    if not callable(schedule):
        raise TypeError(f"schedule must be a function of the epoch, got {schedule!r}")
    steps_per_epoch = check_positive_count("steps_per_epoch", steps_per_epoch)

    def schedule_of_steps(count: ArrayLike) -> ArrayLike:
        return schedule(floor_divide(as_count(count), steps_per_epoch))

    return schedule_of_steps
