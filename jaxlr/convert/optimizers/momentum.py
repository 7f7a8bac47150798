"""The momentum that a OneCycleLR or CyclicLR sets, as a schedule."""

import inspect
from collections.abc import Mapping
from typing import Any

import optax

from jaxlr.convert.calls import Call
from jaxlr.convert.closed_form import NoClosedFormError, State, closed_form, shifted, value_of_group
from jaxlr.convert.fields import number
from jaxlr.convert.neighbors import with_parts


_NO_CYCLE = (
    "the momentum can only be cycled by a OneCycleLR or CyclicLR with a closed form, but {}: give it "
    "cycle_momentum=False"
)


def live_momentum_cycle(scheduler: Any, index: int) -> optax.Schedule | None:
    """Return the `momentum_cycle` of a live scheduler, or None if no scheduler sets the momentum."""
    if not any(getattr(part, "cycle_momentum", False) for part in with_parts(scheduler)):
        return None
    try:
        state = State.from_live(scheduler)
    except NoClosedFormError as reason:
        raise ValueError(_NO_CYCLE.format(reason)) from None
    return momentum_cycle(state, scheduler.optimizer.param_groups[index], index)


def momentum_cycle(state: State, group: Mapping[str, Any], index: int) -> optax.Schedule | None:
    """Return `1 - momentum` (or `1 - beta1`) as a schedule, or None if no scheduler sets it.

    One minus a cycle from a to b is a cycle from 1 - a to 1 - b. Computed like this, 1 - beta1 keeps its
    digits in float32.
    """
    cycling = [part for part in state.with_parts if part.values.get("cycle_momentum", False)]
    if not cycling:
        return None
    try:
        if cycling != [state]:
            raise NoClosedFormError(f"{state.name} contains a {cycling[0].name} that does")
        call = closed_form(state, group, index)
    except NoClosedFormError as reason:
        raise ValueError(_NO_CYCLE.format(reason)) from None
    if "base_momentums" in state.values:
        base = value_of_group("base_momentums", state.get("base_momentums"), index)
        top = value_of_group("max_momentums", state.get("max_momentums"), index)
    else:  # OneCycleLR keeps them in the optimizer
        base, top = group["base_momentum"], group["max_momentum"]
    return shifted(momentum_weight(call, base, top), state.last_epoch)


def momentum_weight(call: Call, base: Any, top: Any) -> optax.Schedule:
    """Return `1 - momentum` as a schedule, for the momenta of a OneCycleLR or CyclicLR."""
    base, top = number("base_momentum", base), number("max_momentum", top)
    if not (0 < base < 1 and 0 < top < 1):
        raise ValueError(
            f"the momenta of {call.torch_class.name} must lie between 0 and 1, got {base!r} and {top!r}"
        )
    cycle: Any = call.torch_class.momentum
    parameters = inspect.signature(cycle).parameters
    settings = {key: value for key, value in call.arguments.items() if key in parameters}
    return cycle(**settings, base_momentum=1 - base, max_momentum=1 - top)
