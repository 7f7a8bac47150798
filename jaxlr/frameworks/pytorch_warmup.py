"""pytorch_warmup: factors that dampen the rate of a scheduler of torch in the first updates.

The rules are those of tony-y/pytorch_warmup 0.2.0 (`base.py`, `untuned.py`, `radam.py`). The scheduler is
stepped inside of `with warmup_scheduler.dampening():`, so a rate is the scheduler's own, times the factor.
"""

import math
from typing import Any

import optax
from jax.typing import ArrayLike

from jaxlr._checks import check_function, check_positive_count, check_static_value
from jaxlr.frameworks._curves import approach, dampened, warmup_ahead
from jaxlr.schedules import Phase, phased_lr, tabulate


_LARGEST_BETA2 = 0.9999  # the table of RAdamWarmup has 420,000 rows then


def LinearWarmup(
    init_value: ArrayLike, warmup_period: int, *, lr_scheduler: optax.Schedule | None = None
) -> optax.Schedule:
    """Return a line that reaches the whole rate at count `warmup_period - 1`."""
    steps = check_positive_count("warmup_period", warmup_period)
    return _dampened(init_value, phased_lr(1.0, [warmup_ahead(steps)]), lr_scheduler)


def ExponentialWarmup(
    init_value: ArrayLike, warmup_period: int, *, lr_scheduler: optax.Schedule | None = None
) -> optax.Schedule:
    """Return a factor that approaches 1, with the time constant `warmup_period`."""
    return _dampened(
        init_value, approach(1 / check_positive_count("warmup_period", warmup_period)), lr_scheduler
    )


def UntunedLinearWarmup(
    init_value: ArrayLike, *, beta2: float, lr_scheduler: optax.Schedule | None = None
) -> optax.Schedule:
    """Return a line whose period comes from Adam's `beta2`. It is 1999 for 0.999, due to a rounding."""
    return LinearWarmup(init_value, int(2.0 / (1.0 - _checked(beta2))), lr_scheduler=lr_scheduler)


def UntunedExponentialWarmup(
    init_value: ArrayLike, *, beta2: float, lr_scheduler: optax.Schedule | None = None
) -> optax.Schedule:
    """Return an exponential whose time constant comes from Adam's `beta2`."""
    return ExponentialWarmup(init_value, int(1.0 / (1.0 - _checked(beta2))), lr_scheduler=lr_scheduler)


def RAdamWarmup(
    init_value: ArrayLike, *, beta2: float, lr_scheduler: optax.Schedule | None = None
) -> optax.Schedule:
    """Return the rectification of RAdam, from its first step on."""
    beta2 = _checked(beta2)
    if not 0.6 < beta2 <= _LARGEST_BETA2:
        raise ValueError(f"beta2 must be above 0.6 and at most {_LARGEST_BETA2}, got {beta2!r}")
    limit = 2.0 / (1 - beta2) - 1

    def length(step: int) -> float:
        power = beta2**step
        return limit - 2 * step * power / (1 - power)

    offset = next(step for step in range(1, 1000) if length(step) > 4)

    def factor(step: int) -> float:
        now = length(step + offset)
        return math.sqrt((now - 4) * (now - 2) * limit / ((limit - 4) * (limit - 2) * now))

    steps = math.ceil(-42 / math.log(beta2))  # from there on, float64 shows no difference to 1
    return _dampened(init_value, tabulate(factor, steps), lr_scheduler)


CALLS = (LinearWarmup, ExponentialWarmup, UntunedLinearWarmup, UntunedExponentialWarmup, RAdamWarmup)


def _dampened(init_value: ArrayLike, factor: optax.Schedule, lr_scheduler: Any) -> optax.Schedule:
    """Return the rates of a scheduler times a factor, or a constant rate times it."""
    schedule = phased_lr(init_value, [Phase()]) if lr_scheduler is None else lr_scheduler
    check_function("lr_scheduler", schedule)
    return dampened(schedule, factor)


def _checked(beta2: float) -> float:
    beta2 = check_static_value("beta2", beta2)
    if not 0 < beta2 < 1:
        raise ValueError(f"beta2 must be above 0 and below 1, got {beta2!r}")
    return beta2
