"""Fastai: the calls `fit_one_cycle`, `fit_flat_cos` and `fine_tune` of its Learner.

The rules are those of fastai 2.8.12 (`callback/schedule.py`), whose positions are float32. A rate is that
of the last parameter group, which fastai logs.
"""

import math
from fractions import Fraction
from typing import Any, NoReturn

import optax
from jax.typing import ArrayLike

from jaxlr._checks import check_duration, check_positive_count, check_value
from jaxlr.frameworks.recipe import Config, Framework
from jaxlr.schedules import Phase, phased_lr, sequential_lr


def fit_one_cycle(
    n_epoch: int,
    lr_max: ArrayLike,
    div: float = 25.0,
    div_final: float = 1e5,
    pct_start: float = 0.25,
    *,
    start_epoch: int = 0,
    steps_per_epoch: int,
) -> optax.Schedule:
    """Return a cosine that rises from `lr_max / div`, then one that falls to `lr_max / div_final`."""
    length = _num_steps(n_epoch, steps_per_epoch, start_epoch)
    start: Any = 1 / check_value("div", div, positive=True)
    return _two_cosines(lr_max, length, pct_start, start, div_final)


def fit_flat_cos(
    n_epoch: int,
    lr: ArrayLike,
    div_final: float = 1e5,
    pct_start: float = 0.75,
    *,
    start_epoch: int = 0,
    steps_per_epoch: int,
) -> optax.Schedule:
    """Return a constant, then a cosine that falls to `lr / div_final`."""
    return _two_cosines(lr, _num_steps(n_epoch, steps_per_epoch, start_epoch), pct_start, 1.0, div_final)


def fine_tune(
    epochs: int,
    base_lr: ArrayLike = 2e-3,
    freeze_epochs: int = 1,
    lr_mult: float = 100,
    pct_start: float = 0.3,
    div: float = 5.0,
    div_final: float = 1e5,
    *,
    steps_per_epoch: int,
) -> optax.Schedule:
    """Return a cycle of the frozen model, then one of the whole model with half the rate."""
    del lr_mult
    half: Any = check_value("base_lr", base_lr) / 2
    whole = fit_one_cycle(epochs, half, div, div_final, pct_start, steps_per_epoch=steps_per_epoch)
    if check_duration("freeze_epochs", freeze_epochs) == 0:
        return whole
    frozen = fit_one_cycle(
        freeze_epochs, base_lr, div_final=div_final, pct_start=0.99, steps_per_epoch=steps_per_epoch
    )
    return sequential_lr([frozen, whole], [_num_steps(freeze_epochs, steps_per_epoch)])


def read(config: Config) -> NoReturn:
    """Refuse a config: fastai has none."""
    del config
    raise ValueError("fastai has no configs: give a call such as fit_one_cycle(...) to jaxlr.from_string")


FRAMEWORK = Framework(
    name="fastai",
    read=read,
    calls=(fit_one_cycle, fit_flat_cos, fine_tune),
    ignored=("wd", "moms", "cbs", "reset_opt", "optimizer"),
)


def _num_steps(epochs: Any, steps_per_epoch: Any, start_epoch: Any = 0) -> int:
    if check_duration("start_epoch", start_epoch):
        raise ValueError(f"start_epoch must be 0, got {start_epoch!r}: begin at a later count instead")
    return check_positive_count("epochs", epochs) * check_positive_count("steps_per_epoch", steps_per_epoch)


def _two_cosines(rate: Any, length: int, pct_start: float, start: float, div_final: Any) -> optax.Schedule:
    """Return cosines from a factor to 1 and to `1 / div_final`, which may meet between two counts."""
    share: Any = check_value("pct_start", pct_start)
    if not isinstance(share, float) or share > 1:
        raise ValueError(f"pct_start must be a number from 0 to 1, got {pct_start!r}")
    first = Fraction(share).limit_denominator(10**6) * length
    turn = math.ceil(first)
    end = 1 / check_value("div_final", div_final, positive=True)
    rise = Phase(turn, "cosine", start_factor=start, end_factor=1.0, span=float(first or 1))
    rest: Any = {"offset": float(turn - first), "span": float(max(length - first, 1))}
    return phased_lr(rate, [rise, Phase(length - turn, "cosine", start_factor=1.0, end_factor=end, **rest)])
