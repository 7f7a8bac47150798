"""A ChainedScheduler that is not a product, computed by stepping its parts in turn as torch does.

Most chains are a product of factors. If a part overwrites or shifts the learning rate, the chain is not.
Each part then has to start from the rate that the part before it left.
"""

import bisect
from collections.abc import Callable, Sequence

import optax

from jaxlr.convert.calls import Call, build
from jaxlr.convert.classes import Effect
from jaxlr.schedules.compose import tabulate


# One step of one part: the epoch and the rate that it finds, to the rate that it leaves.
Step = Callable[[int, float], float]


def stepped_chain(
    init_value: float, schedulers: Sequence[Call], order: Sequence[int], num_steps: int
) -> optax.Schedule:
    """Return the schedule of a ChainedScheduler whose parts are stepped in turn.

    Args:
        init_value: learning rate of the optimizer before the parts are constructed.
        schedulers: the parts, in the order in which they are stepped.
        order: the indices of the parts, in the order in which they are constructed. A constructor changes
            the rate as well, so in epoch 0 this order counts.
        num_steps: epochs (or steps) to tabulate.
    """
    steps = [_step_of(call, index == order[0], init_value) for index, call in enumerate(schedulers)]
    lr = float(init_value)

    def rate(epoch: int) -> float:
        nonlocal lr
        for index in order if epoch == 0 else range(len(steps)):
            lr = steps[index](epoch, lr)
        return lr

    return tabulate(rate, num_steps)


def _step_of(call: Call, is_constructed_first: bool, init_value: float) -> Step:
    torch_class = call.torch_class
    match torch_class.effect:
        case Effect.COMPOSITE:
            return _switching(call, init_value)
        case Effect.ANNEALS:
            return _annealing(call)
        case Effect.OVERWRITES:
            # The constructor of CyclicLR computes the first rate from the group's initial_lr, and that is
            # not its base_lr if another constructor has come before.
            keeps_first = torch_class.name == "CyclicLR" and not is_constructed_first
            return _overwriting(call, first=init_value if keeps_first else None)
        case Effect.MULTIPLIES:
            return _multiplying(call)
    raise ValueError(
        f"{torch_class.name} is not supported together with others in a ChainedScheduler: use SequentialLR"
    )


def _multiplying(call: Call) -> Step:
    """Multiply by the ratio of two successive rates of the schedule. A rate of 0 stays 0."""
    schedule = build(call.with_base(1.0))

    def step(epoch: int, lr: float) -> float:
        before = float(schedule(epoch - 1)) if epoch else 1.0
        return lr * (float(schedule(epoch)) / before) if before else lr

    return step


def _overwriting(call: Call, first: float | None) -> Step:
    """Replace the rate by the schedule's; in epoch 0 by `first`, if that is given."""
    schedule = build(call)
    return lambda epoch, lr: float(schedule(epoch)) if epoch or first is None else first


def _annealing(call: Call) -> Step:
    """Shrink the rate's distance to `eta_min` by the ratio of the cosine's.

    After the bottom the denominator of that ratio is 0. There torch adds the cosine's own rise.
    """
    schedule, length = build(call), int(call.arguments["T_max"])
    eta_min = float(call.arguments.get("eta_min", 0.0))

    def step(epoch: int, lr: float) -> float:
        if epoch == 0:
            return lr
        height = float(schedule(epoch)) - eta_min
        if (epoch - 1 - length) % (2 * length) == 0:
            return lr + height
        return eta_min + (lr - eta_min) * (height / (float(schedule(epoch - 1)) - eta_min))

    return step


def _switching(call: Call, init_value: float) -> Step:
    """Step the active part of a SequentialLR. At its milestone a part overwrites the rate."""
    calls, milestones = call.arguments["schedules"], call.arguments["milestones"]
    steps = [_step_of(part, True, init_value) for part in calls]
    first_rates = [float(build(part)(0)) for part in calls]

    def step(epoch: int, lr: float) -> float:
        if epoch == 0:
            lr = init_value  # torch's constructor resets the optimizer to its initial_lr
        active = bisect.bisect_right(milestones, epoch)
        since = epoch - (milestones[active - 1] if active else 0)
        is_milestone = epoch > 0 and since == 0
        return first_rates[active] if is_milestone else steps[active](since, lr)

    return step
