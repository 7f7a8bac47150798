"""A ChainedScheduler that is no product, stepped as torch does: each part changes the rate it finds."""

import bisect
from collections.abc import Callable, Sequence

import optax

from jaxlr.convert.calls import Call, build
from jaxlr.schedules.compose import tabulate


# From an epoch and the rate that the scheduler before left, the rate that this one leaves.
Step = Callable[[int, float], float]

_OVERWRITES = ("LambdaLR", "CosineAnnealingWarmRestarts", "CyclicLR", "OneCycleLR")


def stepped_chain(
    init_value: float, schedulers: Sequence[Call], order: Sequence[int], num_steps: int
) -> optax.Schedule:
    """The rates of `schedulers`, constructed in `order` and then stepped in turn for `num_steps` epochs."""
    parts = [_step_of(call, index == order[0], init_value) for index, call in enumerate(schedulers)]
    lr = float(init_value)

    def rate(epoch: int) -> float:
        nonlocal lr
        for index in range(len(parts)) if epoch else order:
            lr = parts[index](epoch, lr)
        return lr

    return tabulate(rate, num_steps)


def _step_of(call: Call, is_first: bool, init_value: float) -> Step:
    match call.torch_name:
        case "SequentialLR":
            return _switches(call, init_value)
        case "CosineAnnealingLR":
            return _anneals(call)
        case "CyclicLR" if not is_first:  # the constructor keeps to the initial_lr of the one before
            return _overwrites(call, first=init_value)
        case name if name in _OVERWRITES:
            return _overwrites(call)
        case "SWALR":
            raise ValueError(
                "a SWALR among others in a ChainedScheduler is not supported: use SequentialLR"
            )
    return _multiplies(call)


def _multiplies(call: Call) -> Step:
    """By the ratio of two rates of the schedule; 0 stays 0."""
    schedule = build(call.based_on(1.0))

    def step(epoch: int, lr: float) -> float:
        before = float(schedule(epoch - 1)) if epoch else 1.0
        return lr * (float(schedule(epoch)) / before) if before else lr

    return step


def _overwrites(call: Call, first: float | None = None) -> Step:
    schedule = build(call)
    return lambda epoch, lr: float(schedule(epoch)) if epoch or first is None else first


def _anneals(call: Call) -> Step:
    """What the rate is above `eta_min` shrinks; from the bottom it climbs by the cosine's own height."""
    schedule, length = build(call), int(call.arguments["T_max"])
    eta_min = float(call.arguments.get("eta_min", 0.0))

    def step(epoch: int, lr: float) -> float:
        if epoch == 0:
            return lr
        above = float(schedule(epoch)) - eta_min
        if (epoch - 1 - length) % (2 * length) == 0:
            return lr + above
        return eta_min + (lr - eta_min) * (above / (float(schedule(epoch - 1)) - eta_min))

    return step


def _switches(call: Call, init_value: float) -> Step:
    """At a milestone a part's own first rate, whatever the others of the chain have made of it."""
    calls, milestones = call.arguments["schedules"], call.arguments["milestones"]
    parts = [_step_of(part, True, init_value) for part in calls]
    firsts = [float(build(part)(0)) for part in calls]

    def step(epoch: int, lr: float) -> float:
        if epoch == 0:  # the constructor resets the optimizer
            lr = init_value
        active = bisect.bisect_right(milestones, epoch)
        since = epoch - (milestones[active - 1] if active else 0)
        return firsts[active] if epoch and not since else parts[active](since, lr)

    return step
