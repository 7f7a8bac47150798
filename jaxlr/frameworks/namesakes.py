"""Schedulers of other libraries: nnU-Net, MONAI and k-diffusion. Some have names of torch's classes.

The sources are nnU-Net 2.8 (`polylr.py`), MONAI 1.6.1 (`optimizers/lr_scheduler.py`),
and k-diffusion 0.1 (`utils.py`), whose InverseLR is also that of stable-audio-tools 0.0.19.
"""

import math
from typing import Any

import jax
import optax
from jax.typing import ArrayLike

from jaxlr._checks import check_positive_count, check_static_value, check_value
from jaxlr.frameworks._curves import approach, dampened, floored
from jaxlr.schedules import Phase, exponential_lr, phased_lr


_LONG = 2**31  # more counts than a run has


def InverseLR(
    init_value: ArrayLike,
    inv_gamma: float = 1.0,
    power: float = 1.0,
    warmup: float = 0.0,
    min_lr: ArrayLike = 0.0,
    *,
    final_lr: ArrayLike = 0.0,
) -> optax.Schedule:
    """Return an inverse power of the step, after an exponential warmup. stable-audio has `final_lr`."""
    curve = phased_lr(init_value, [Phase(shape="inverse_power", power=power, span=inv_gamma)])
    return _warmed(floored(floored(curve, min_lr, 0), final_lr, 0), warmup)


def ConstantLRWithWarmup(init_value: ArrayLike, warmup: float = 0.0) -> optax.Schedule:
    """Return a constant, after an exponential warmup."""
    return _warmed(phased_lr(init_value, [Phase()]), warmup)


def PolyLRScheduler(
    initial_lr: ArrayLike, max_steps: int, exponent: float = 0.9, current_step: int | None = None
) -> optax.Schedule:
    """Return nnU-Net's polynomial to 0. A count is the `current_step` of its method `step`."""
    if current_step not in (None, -1):
        raise ValueError(f"current_step must be None, which starts afresh, got {current_step!r}")
    rate, steps = check_value("initial_lr", initial_lr), check_positive_count("max_steps", max_steps)
    return phased_lr(rate, [Phase(steps, "polynomial", end_factor=0.0, power=exponent)])


def LinearLR(init_value: Any, end_lr: Any, num_iter: int) -> optax.Schedule:
    """Return MONAI's line to `end_lr` at count `num_iter - 1`, which goes on after it."""
    steps = _intervals(num_iter)
    start, end = check_value("init_value", init_value), check_value("end_lr", end_lr)
    values: Any = (start, end)
    if not any(isinstance(value, jax.Array) for value in values) and end < start:
        raise ValueError(f"end_lr must be at least the learning rate of the optimizer, got {end_lr!r}")
    far = start + (end - start) * (_LONG / steps)
    return phased_lr(start, [Phase(_LONG, "linear", start_factor=1.0, end_value=far)])


def ExponentialRange(init_value: Any, end_lr: Any, num_iter: int) -> optax.Schedule:
    """Return MONAI's exponential to `end_lr` at count `num_iter - 1`, which goes on after it."""
    steps = _intervals(num_iter)
    start = check_value("init_value", init_value, positive=True)
    return exponential_lr(start, (check_value("end_lr", end_lr) / start) ** (1 / steps))


def ExponentialLR(
    init_value: ArrayLike,
    num_steps: float,
    decay: float = 0.5,
    warmup: float = 0.0,
    min_lr: ArrayLike = 0.0,
) -> optax.Schedule:
    """Return k-diffusion's decay by `decay` every `num_steps`, after an exponential warmup."""
    length = check_static_value("num_steps", num_steps, positive=True)
    gamma: Any = check_value("decay", decay)
    return _warmed(floored(exponential_lr(init_value, gamma ** (1 / length)), min_lr, 0), warmup)


CALLS = (InverseLR, ConstantLRWithWarmup)
# By the name of the class of torch or timm: the library, its modules, and the function.
NAMESAKES: Any = {
    "PolyLRScheduler": [("nnunet", ("nnunet", "nnunetv2"), PolyLRScheduler)],
    "LinearLR": [("monai", ("monai",), LinearLR)],
    "ExponentialLR": [
        ("monai", ("monai",), ExponentialRange),
        ("k_diffusion", ("K", "k_diffusion"), ExponentialLR),
    ],
}


def _intervals(num_iter: int) -> int:
    if check_positive_count("num_iter", num_iter) < 2:
        raise ValueError(f"num_iter must be at least 2, got {num_iter!r}")
    return num_iter - 1


def _warmed(schedule: optax.Schedule, warmup: float) -> optax.Schedule:
    """Return a schedule times 1 - `warmup` ** (count + 1)."""
    base = check_static_value("warmup", warmup)
    if base >= 1:
        raise ValueError(f"warmup must be from 0 to below 1, got {warmup!r}")
    if base == 0:
        return schedule
    return dampened(schedule, approach(-math.log(base)))
