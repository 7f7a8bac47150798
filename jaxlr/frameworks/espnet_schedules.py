"""The schedulers of ESPnet, which steps them after each update. The first update is step 1.

The rules are those of ESPnet of October 2025 (`espnet2/schedulers/`).
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import optax
from jax.typing import ArrayLike

from jaxlr._checks import check_positive_count, check_value
from jaxlr.frameworks._curves import noam
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import Config
from jaxlr.schedules import Phase, phased_lr, sequential_lr, starting_at, step_lr


_OF_TRISTAGE: dict[str, Any] = {
    **{"max_steps": 25_000, "warmup_ratio": 0.1, "hold_ratio": 0.4, "decay_ratio": 0.5},
    **{"init_lr_scale": 0.01, "final_lr_scale": 0.01},
}
_OF_STEPS: dict[str, Any] = {"steps_per_epoch": 10_000, "step_size": 1, "gamma": 0.1}
_TIMES = 4  # An exponential decay goes on after total_steps. No run is this many times longer.


def warmup_steps(scheduler: Config) -> int:
    """Return the steps of a warmup."""
    warmup = with_defaults(scheduler, {"warmup_steps": 25_000}, "ESPnet").count("warmup_steps")
    return check_positive_count("warmup_steps", warmup)


def _warmup_lr(rate: ArrayLike, scheduler: Config) -> optax.Schedule:
    return phased_lr(rate, noam(warmup_steps(scheduler)))


def _noam_lr(rate: Any, scheduler: Config) -> optax.Schedule:
    size = with_defaults(scheduler, {"model_size": 320}, "ESPnet").number("model_size")
    return _warmup_lr(rate * size**-0.5 * warmup_steps(scheduler) ** -0.5, scheduler)


def _piecewise(rate: ArrayLike, scheduler: Config) -> optax.Schedule:
    """Return lines between rates at the given steps, then the inverse square root of the step."""
    steps, rates = scheduler.numbers("warmup_steps_list"), scheduler.numbers("warmup_lr_list")
    if not steps or not rates or len(steps) != len(rates) or steps[0] != 0:
        raise ValueError("warmup_steps_list must begin with 0, and have a rate each in warmup_lr_list")
    lengths = [check_positive_count("warmup_steps_list", last - first) for first, last in pairwise(steps)]
    if not lengths:
        raise ValueError("warmup_steps_list must have at least two steps")
    # The last step of the lines has the last rate of the list.
    ends = [{"start_value": first, "end_value": last} for first, last in pairwise(rates)]
    lines = [Phase(length, "linear", span=length, **end) for length, end in zip(lengths, ends, strict=True)]
    first = Phase(lengths[0] - 1, "linear", offset=1, span=lengths[0], **ends[0])
    decay = Phase(shape="inverse_sqrt", start_factor=1.0, offset=1, span=steps[-1])
    return phased_lr(rate, [first, *lines[1:], Phase(1, start_value=rates[-1]), decay])


def _warmup_step(rate: ArrayLike, scheduler: Config) -> optax.Schedule:
    """Return a line, then a rate that falls by `gamma` every `step_size` epochs."""
    scheduler = with_defaults(scheduler, _OF_STEPS, "ESPnet")
    warmup, epoch = warmup_steps(scheduler), scheduler.positive_count("steps_per_epoch")
    every = scheduler.positive_count("step_size") * epoch
    falls = step_lr(rate, step_size=every, gamma=scheduler.number("gamma"))
    # The epochs count from the one in which the warmup ends.
    return sequential_lr([_warmup_lr(rate, scheduler), starting_at(falls, warmup % epoch + 1)], [warmup])


def _tri_stage(rate: ArrayLike, scheduler: Config) -> optax.Schedule:
    """Return a line, a constant and an exponential decay."""
    scheduler = with_defaults(scheduler, _OF_TRISTAGE, "ESPnet")
    ratios = [scheduler.number(f"{name}_ratio") for name in ("warmup", "hold", "decay")]
    if not math.isclose(sum(ratios), 1.0):
        raise ValueError(f"warmup_ratio, hold_ratio and decay_ratio must have the sum 1, got {ratios}")
    steps = scheduler.count("max_steps")
    warmup, hold = int(steps * ratios[0]), int(steps * ratios[1])
    decay = steps - warmup - hold
    if warmup == 0 or decay == 0:
        raise ValueError(f"tristagelr needs steps of its warmup and decay, got {warmup} and {decay}")
    if decay != (shorter := int(steps * ratios[2])):
        scheduler.assume(
            f"The decay has {decay} updates, all that are left. Some versions of ESPnet count {shorter}."
        )
    start, end = scheduler.number("init_lr_scale"), scheduler.number("final_lr_scale")
    ramp = Phase(warmup - 1, "linear", start_factor=start, end_factor=1.0, offset=1, span=warmup)
    fall = Phase(decay, "exponential", start_factor=1.0, end_factor=end)
    return phased_lr(rate, [ramp, Phase(hold, start_factor=1.0), fall])


def _exponential(rate: Any, scheduler: Config) -> optax.Schedule:
    """Return a line from 0 or a constant, then an exponential decay. `max_lr` replaces the rate."""
    top: Any = check_value("max_lr", scheduler.base_rate("max_lr"), positive=True)
    warmup, total = scheduler.count("warmup_steps", 0), scheduler.positive_count("total_steps")
    if warmup >= total:
        raise ValueError(f"warmup_steps must be below total_steps, got {warmup} and {total}")
    from_zero = scheduler.flag("warm_from_zero")
    if warmup > 0 and not from_zero and scheduler.init_value is None and rate != top:
        raise ValueError(
            f"max_lr is {top:g}, but the warmup has the lr of optim_conf, {rate:g}: make them equal, or "
            "give init_value"
        )
    phases = [Phase(warmup, start_factor=1.0)]
    if from_zero:  # The first update has the rate 0, and the second one is step 2.
        line: Any = {"start_factor": 0.0, "end_factor": 1.0}
        ramp = Phase(warmup - 1, "linear", **line, offset=2, span=warmup) if warmup > 1 else Phase(0)
        phases = [Phase(1, start_factor=0.0), ramp]
    passed = 1 if from_zero and warmup == 0 else 0
    last = (scheduler.number("min_lr") / top) ** _TIMES
    length = _TIMES * (total - warmup) - passed
    fall = Phase(length, "exponential", start_factor=1.0, end_factor=last, offset=passed)
    return phased_lr(top, [*phases, fall])


RULES: dict[str, Callable[[Any, Config], optax.Schedule]] = {
    "warmuplr": _warmup_lr,
    "noamlr": _noam_lr,
    "piecewiselinearwarmuplr": _piecewise,
    "warmupsteplr": _warmup_step,
    "tristagelr": _tri_stage,
    "exponentialdecaywarmup": _exponential,
    "constantlr": lambda rate, scheduler: phased_lr(rate, [Phase()]),
}
