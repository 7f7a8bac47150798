"""Cosine annealing: once, with restarts, and to the rate of stochastic weight averaging."""

from typing import Any, Literal

import numpy as np
import optax
from jax.typing import ArrayLike

from jaxlr._checks import check_choice, check_duration, check_length, check_positive_count, check_value
from jaxlr.schedules._anneal import anneal, anneal_unit, blend
from jaxlr.schedules._chain import AveragingStep, CosineStep
from jaxlr.schedules._counts import (
    LARGEST_START,
    Count,
    Float,
    as_float,
    at_most,
    count_reached,
    is_zero,
    largest_count,
    look_up,
    modulo,
    remaining,
    take,
)
from jaxlr.schedules._periods import folded
from jaxlr.schedules._schedule import Schedule, prints_as_call


@prints_as_call
def cosine_annealing_lr(
    init_value: ArrayLike,
    T_max: float,
    eta_min: ArrayLike = 0.0,
) -> optax.Schedule:
    r"""The learning rate follows a cosine from `init_value` to `eta_min` and back, forever.

    $$\mathrm{lr}(e) = \eta_{\min} + \tfrac{1}{2}(\eta_0 - \eta_{\min})
        \left(1 + \cos \frac{\pi e}{T_{\max}}\right)$$

    with $\eta_0$ = `init_value`, $\eta_{\min}$ = `eta_min`, $T_{\max}$ = `T_max` and $e$ = `count`. In
    code: `eta_min + (init_value - eta_min) * (1 + cos(pi * count / T_max)) / 2`.

    After `T_max` the rate rises again, as in torch. The period is 2 `T_max`.

    Args:
        init_value: learning rate of the first epoch, a finite number >= 0; may be traced.
        T_max: epochs (or steps) until `eta_min`, above 0; may lie between two epochs, such as 12.5.
        eta_min: learning rate at `T_max`, a finite number >= 0; may be above `init_value`, may be traced.

    Example:
        >>> schedule = cosine_annealing_lr(1.0, T_max=2)
        >>> [round(schedule(epoch), 12) for epoch in range(5)]
        [1.0, 0.5, 0.0, 0.5, 1.0]

    Reference: `torch.optim.lr_scheduler.CosineAnnealingLR`; SGDR, https://arxiv.org/abs/1608.03983.
    """
    init_value = check_value("init_value", init_value)
    length = check_length("T_max", T_max)
    eta_min = check_value("eta_min", eta_min)

    def formula(count: Count) -> Float:
        # cos(pi e / T) = cos(pi d / T), where d bounces between 0 and T.
        return anneal(init_value, eta_min, *folded(count, length), length)

    # Only a cosine that ends at 0 is init_value times a factor.
    base = init_value if is_zero(eta_min) else None
    return Schedule(formula, base, step=CosineStep(init_value, eta_min, length))


@prints_as_call
def cosine_annealing_warm_restarts(
    init_value: ArrayLike,
    T_0: int,
    T_mult: int = 1,
    eta_min: ArrayLike = 0.0,
) -> optax.Schedule:
    r"""The learning rate falls along half a cosine in each cycle, and each cycle is `T_mult` times longer.

    $$\mathrm{lr}(e) = \eta_{\min} + \tfrac{1}{2}(\eta_0 - \eta_{\min})
        \left(1 + \cos \frac{\pi c}{T_i}\right), \quad
      T_i = T_0 T_{\mathrm{mult}}^i, \quad c = e - \sum_{j < i} T_j$$

    with $\eta_0$ = `init_value`, $\eta_{\min}$ = `eta_min`, $T_0$ = `T_0`, $T_{\mathrm{mult}}$ =
    `T_mult`, $e$ = `count`, and $i$ the cycle that contains $e$.

    `count` may be fractional: 3.5 is halfway through epoch 3, as in torch's
    `step(epoch + i / len(loader))`.

    Args:
        init_value: learning rate at each restart, a finite number >= 0; may be traced.
        T_0: epochs (or steps) of the first cycle, a whole number >= 1.
        T_mult: factor from the length of one cycle to the next, a whole number >= 1.
        eta_min: learning rate that each cycle approaches, a finite number >= 0; may be traced.

    Returns:
        A schedule whose `count` may be an integer or a float, or an array of them of any shape.

    Example:
        >>> schedule = cosine_annealing_warm_restarts(1.0, T_0=2, T_mult=2)
        >>> [round(schedule(epoch), 3) for epoch in (0, 1, 2, 3, 4, 5, 6)]
        [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0]
        >>> round(schedule(0.5), 3)  # after half of epoch 0
        0.854

    Reference: `torch.optim.lr_scheduler.CosineAnnealingWarmRestarts`; SGDR,
    https://arxiv.org/abs/1608.03983.
    """
    init_value = check_value("init_value", init_value)
    first = check_positive_count("T_0", T_0)
    growth = check_positive_count("T_mult", T_mult)
    eta_min = check_value("eta_min", eta_min)
    starts, lengths = [0], [first]
    while growth > 1 and starts[-1] + lengths[-1] < LARGEST_START:
        starts.append(starts[-1] + lengths[-1])
        lengths.append(lengths[-1] * growth)

    def formula(count: Count) -> Float:
        if growth == 1:
            done = modulo(count, first)
            return anneal(init_value, eta_min, as_float(done), remaining(first, done), first)
        return blend(init_value, eta_min, *_place_in_cycle(count, starts, lengths), "cos")

    return Schedule(formula, fractional=True)


@prints_as_call
def swa_lr(
    init_value: ArrayLike,
    swa_lr: ArrayLike,
    anneal_epochs: int = 10,
    anneal_strategy: Literal["cos", "linear"] = "cos",
) -> optax.Schedule:
    r"""The learning rate moves to the rate of stochastic weight averaging, and stays there.

    $$\mathrm{lr}(e) = \eta_s \alpha(t) + \eta_0 (1 - \alpha(t)), \quad t = \min(1, e / N)$$

    with $\eta_0$ = `init_value`, $\eta_s$ = `swa_lr`, $N$ = `anneal_epochs` and $e$ = `count`. The
    weight $\alpha(t)$ is $(1 - \cos \pi t) / 2$ if `anneal_strategy` is "cos", and $t$ if it is "linear".
    With `anneal_epochs` = 0 the rate is always `swa_lr`, as in torch.

    Args:
        init_value: learning rate of the first epoch, a finite number >= 0; may be traced.
        swa_lr: learning rate from epoch `anneal_epochs` on, a finite number >= 0; may be traced.
        anneal_epochs: epochs (or steps) from one rate to the other, a whole number >= 0.
        anneal_strategy: "cos" or "linear".

    Example:
        >>> schedule = swa_lr(1.0, swa_lr=0.5, anneal_epochs=2)
        >>> [round(schedule(epoch), 12) for epoch in range(4)]
        [1.0, 0.75, 0.5, 0.5]

    Reference: `torch.optim.swa_utils.SWALR`; https://arxiv.org/abs/1803.05407.
    """
    init_value = check_value("init_value", init_value)
    end_value = check_value("swa_lr", swa_lr)
    length = check_duration("anneal_epochs", anneal_epochs)
    check_choice("anneal_strategy", anneal_strategy, ("cos", "linear"))
    start_value = end_value if length == 0 else init_value

    def formula(count: Count) -> Float:
        done = at_most(count, length)
        left = remaining(max(length, 1), done)
        return anneal(start_value, end_value, as_float(done), left, max(length, 1), anneal_strategy)

    return Schedule(formula, step=AveragingStep(end_value, length, anneal_strategy))


def _place_in_cycle(count: Any, starts: list[int], lengths: list[int]) -> tuple[Float, Float, Float]:
    """Return the distances from a count to both ends of its cycle, and the cycle's unit for `blend`."""
    cycle = count_reached(starts[1:], count)
    units = np.asarray([anneal_unit(length, "cos") for length in lengths])
    if isinstance(count, int | float):
        done = count - starts[cycle]
        return done, lengths[cycle] - done, units[cycle]
    # The dtype of the count can hold the start of the last cycle, but perhaps not its length. The part of
    # the length beyond the largest count is added as a float.
    largest = largest_count(count)
    capped_starts = np.asarray([min(start, largest) for start in starts], count.dtype)
    capped_lengths = np.asarray([min(length, largest) for length in lengths], count.dtype)
    beyond = np.asarray([float(max(length - largest, 0)) for length in lengths])
    done = count - take(capped_starts, cycle)
    left = as_float(take(capped_lengths, cycle) - done) + look_up(beyond, cycle)
    return as_float(done), left, look_up(units, cycle)
