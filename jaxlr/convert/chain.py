"""A ChainedScheduler that is not a product, computed by stepping its parts in turn as torch does.

Most chains are a product of factors. If a part overwrites or shifts the learning rate, the chain is not.
Each part then has to start from the rate that the part before it left.
"""

from collections.abc import Sequence

import optax

from jaxlr.convert.calls import Call, build
from jaxlr.convert.classes import Effect
from jaxlr.schedules._chain import Step, step_of, stepped
from jaxlr.schedules.compose import tabulate


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
    return tabulate(stepped(steps, float(init_value), order), num_steps)


def _step_of(call: Call, is_constructed_first: bool, init_value: float) -> Step:
    parts = call.arguments["schedules"] if call.torch_class.effect is Effect.COMPOSITE else [call]
    for part in parts:
        if part.torch_class.effect is Effect.CONTINUES:
            raise ValueError(
                f"{part.torch_class.name} is not supported together with others in a ChainedScheduler: "
                "use SequentialLR"
            )
    step = step_of(build(call))
    if call.torch_class.name == "CyclicLR" and not is_constructed_first:
        # Its constructor computes the first rate from the group's initial_lr, and that is not its base_lr
        # if another constructor has come before.
        return lambda epoch, lr: step(epoch, lr) if epoch else init_value
    return step
