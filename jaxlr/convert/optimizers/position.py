"""The position of a torch run in its epoch: the updates since the last step of its scheduler."""

from collections.abc import Mapping
from typing import Any

import optax

from jaxlr._checks import check_duration
from jaxlr.convert.classes import is_plateau


def steps_of(scheduler: Any) -> int | None:
    """Return the number of steps of a torch scheduler, live or saved, or None if it does not count them."""
    values = scheduler if isinstance(scheduler, Mapping) else getattr(scheduler, "__dict__", {})
    epoch, parts = values.get("last_epoch"), values.get("_schedulers")
    if epoch is None and parts:  # a ChainedScheduler
        return steps_of(parts[0])
    return int(epoch) if isinstance(epoch, int | float) and float(epoch).is_integer() else None


def first_step_of(
    first_step: int | None,
    scheduler: Any,
    num_updates: int | None,
    num_steps: int | None,
    steps_per_epoch: int,
) -> int:
    """Return `first_step`, or 0 if it is missing and the counts of both show that it is 0.

    Args:
        first_step: the updates since the last `scheduler.step()`, or None.
        scheduler: a live scheduler, schedules or None.
        num_updates: the updates of the optimizer, or None if it does not count them.
        num_steps: the steps of the scheduler, or None if it does not count them.
        steps_per_epoch: the updates between two steps of the scheduler.
    """
    if first_step is not None:
        if check_duration("first_step", first_step) > steps_per_epoch:
            raise ValueError(
                f"first_step must be at most steps_per_epoch={steps_per_epoch}, got {first_step}: it "
                "counts updates since the last scheduler.step()"
            )
        return first_step
    if not _has_schedule(scheduler):
        return 0
    ask = f"give first_step, the number of updates since the last scheduler.step(), 0 to {steps_per_epoch}"
    if num_updates is None or num_steps is None:
        if steps_per_epoch == 1:
            return 0
        what = "optimizer does not count its updates" if num_updates is None else "schedule has no count"
        raise ValueError(f"the {what}: {ask}")
    rest = num_updates - num_steps * steps_per_epoch
    if rest == 0:
        return 0
    made = (
        f"the optimizer has made {num_updates} updates and the scheduler {num_steps} steps, with "
        f"steps_per_epoch={steps_per_epoch}"
    )
    if 0 < rest <= steps_per_epoch:
        raise ValueError(f"{made}: {ask}, such as {rest}")
    raise ValueError(f"{made}: give another steps_per_epoch, or {ask}")


def _has_schedule(scheduler: Any) -> bool:
    """Check if any rate changes by itself. That of a plateau does not."""
    rates = scheduler if type(scheduler) in (list, tuple) else [scheduler]
    return any(
        not (rate is None or isinstance(rate, optax.GradientTransformation) or is_plateau(rate))
        for rate in rates
    )
