"""Add-on schedulers: classes and functions that many programs import or copy.

The sources are pl_bolts 0.7.0 (`optimizers/lr_scheduler.py`), ildoonet/pytorch-gradual-warmup-lr (2024),
katsura-jp/pytorch-cosine-annealing-with-warmup (2022), The Annotated Transformer (`NoamOpt`),
jadore801120/attention-is-all-you-need-pytorch (`ScheduledOptim`), tugstugi/pytorch-saltnet (`NoamLR`),
MONAI 1.6.1 and pytorch-transformers 1.2 (`Warmup...Schedule`), VainF/DeepLabV3Plus-Pytorch (`PolyLR`),
OpenFold 2025 (`AlphaFoldLRScheduler`), pytorch-ignite 0.5.5 (`PiecewiseLinear` and the two cycles).
"""

import math
from itertools import pairwise
from typing import Any, NoReturn

import optax
from jax.typing import ArrayLike

from jaxlr._checks import check_choice, check_duration, check_positive_count, check_value, shown_value
from jaxlr.frameworks import namesakes, pytorch_warmup
from jaxlr.frameworks._curves import floored, noam, waves
from jaxlr.frameworks.huggingface_schedules import (
    get_constant_schedule_with_warmup,
    get_cosine_with_hard_restarts_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)
from jaxlr.frameworks.recipe import Config, Framework
from jaxlr.schedules import Phase, exponential_lr, per_epoch, phased_lr, sequential_lr, starting_at
from jaxlr.schedules._schedule import Schedule, prints_as_call


_MOST_CYCLES = 100
_LARGEST_COUNT = 2**31


def LinearWarmupCosineAnnealingLR(
    init_value: ArrayLike,
    warmup_epochs: int,
    max_epochs: int,
    warmup_start_lr: float = 0.0,
    eta_min: float = 0.0,
) -> optax.Schedule:
    """Return a line that reaches the base rate one epoch early, then a cosine, which rises again."""
    warmup = check_duration("warmup_epochs", warmup_epochs)
    half = check_positive_count("max_epochs", max_epochs) - warmup
    if half < 1:
        raise ValueError(
            f"max_epochs must be above warmup_epochs, got {max_epochs!r} and {warmup_epochs!r}"
        )
    if warmup == 0:  # the constructor sets the start rate, and the cosine falls from there
        fall = Phase(half, "cosine", start_value=warmup_start_lr, end_value=eta_min)
        rise = Phase(None, "cosine", start_value=eta_min, end_factor=1.0, span=half)
        return phased_lr(init_value, [fall, rise])
    ramp = Phase(warmup, "linear", start_value=warmup_start_lr, end_factor=1.0, span=max(1, warmup - 1))
    cosine = Phase(None, "cosine", start_factor=1.0, end_value=eta_min, span=half)
    return phased_lr(init_value, [ramp, cosine])


def GradualWarmupScheduler(
    init_value: Any, multiplier: float, total_epoch: int, after_scheduler: optax.Schedule | None = None
) -> optax.Schedule:
    """Return a line to `multiplier` times the base rate, then `after_scheduler` from its epoch 0."""
    warmup = check_positive_count("total_epoch", total_epoch)
    peak: Any = check_value("multiplier", multiplier)
    if peak < 1:
        raise ValueError(f"multiplier must be at least 1, got {multiplier!r}")
    start = 0.0 if peak == 1 else 1.0
    ramp = phased_lr(init_value, [Phase(warmup, "linear", start_factor=start, end_factor=peak)])
    return ramp if after_scheduler is None else sequential_lr([ramp, after_scheduler], [warmup + 1])


@prints_as_call
def CosineAnnealingWarmupRestarts(
    first_cycle_steps: int,
    cycle_mult: float = 1.0,
    max_lr: float = 0.1,
    min_lr: float = 0.001,
    warmup_steps: int = 0,
    gamma: float = 1.0,
) -> optax.Schedule:
    """Return cycles of a line and a cosine, whose peak falls by `gamma`. Count 0 runs at `min_lr`."""
    first = check_positive_count("first_cycle_steps", first_cycle_steps)
    warmup = check_duration("warmup_steps", warmup_steps)
    if warmup >= first:
        raise ValueError(f"warmup_steps must be below first_cycle_steps, got {warmup} and {first}")
    lengths = _cycle_lengths(first, cycle_mult, warmup)
    if len(lengths) > 1:
        phases: list[Phase] = []
        for cycle, length in enumerate(lengths):
            phases += _cycle(length, warmup, min_lr, max_lr * gamma**cycle, cycle)
        return phased_lr(1.0, phases)
    # The floor and the peak are two schedules, because each cycle multiplies only the peak.
    floor, peak = (
        phased_lr(1.0, [*_cycle(first, warmup, *ends, 0), *_cycle(first, warmup, *ends, 1)], repeat=2)
        for ends in ((min_lr, 0.0), (0.0, max_lr))
    )
    decay = per_epoch(exponential_lr(1.0, gamma), first)
    return Schedule(lambda count: floor(count) + peak(count) * decay(count))


def NoamOpt(model_size: int, factor: float, warmup: int, optimizer: Any = None) -> optax.Schedule:
    """Return the rate of The Annotated Transformer's class, whose first update is step 1."""
    del optimizer
    size = check_positive_count("the size of the model", model_size)
    steps = check_positive_count("the warmup", warmup)
    peak = check_value("the factor", factor) * size**-0.5 * steps**-0.5
    return phased_lr(peak, noam(steps))


def ScheduledOptim(lr_mul: float, d_model: int, n_warmup_steps: int) -> optax.Schedule:
    """Return the same rate as `NoamOpt`."""
    return NoamOpt(d_model, lr_mul, n_warmup_steps)


def NoamLR(init_value: ArrayLike, warmup_steps: int) -> optax.Schedule:
    """Return a line to the base rate, then the inverse square root. Counts 0 and 1 both are step 1."""
    steps = check_positive_count("warmup_steps", warmup_steps)
    first = Phase(1, start_factor=1 / steps)
    return phased_lr(init_value, [first, *noam(steps)])


def WarmupCosineSchedule(
    init_value: ArrayLike,
    warmup_steps: int,
    t_total: int,
    end_lr: float = 0.0,
    cycles: float = 0.5,
    warmup_multiplier: float = 0.0,
) -> optax.Schedule:
    """Return a line, then the waves of a cosine, but after the warmup never less than `end_lr`."""
    total = check_positive_count("t_total", t_total)
    warmup = check_duration("warmup_steps", warmup_steps)
    if warmup > total:  # MONAI shortens the warmup, and pytorch-transformers does not
        raise ValueError(f"warmup_steps must be at most t_total, got {warmup} and {total}")
    start: Any = check_value("warmup_multiplier", warmup_multiplier)
    if start > 1:
        raise ValueError(f"warmup_multiplier must be from 0 to 1, got {warmup_multiplier!r}")
    ramp = Phase(warmup, "linear", start_factor=start, end_factor=1.0)
    schedule = waves(init_value, [ramp], max(1, total - warmup), cycles, end_factor=0.0)
    return floored(schedule, end_lr, warmup)


def WarmupLinearSchedule(init_value: ArrayLike, warmup_steps: int, t_total: int) -> optax.Schedule:
    """Return a line from 0, then a line to 0."""
    return get_linear_schedule_with_warmup(init_value, warmup_steps, t_total)


def WarmupConstantSchedule(init_value: ArrayLike, warmup_steps: int) -> optax.Schedule:
    """Return a line from 0, then a constant."""
    return get_constant_schedule_with_warmup(init_value, warmup_steps)


def WarmupCosineWithHardRestartsSchedule(
    init_value: ArrayLike, warmup_steps: int, t_total: int, cycles: float = 1.0
) -> optax.Schedule:
    """Return a line from 0, then falls of a cosine, each from the base rate."""
    return get_cosine_with_hard_restarts_schedule_with_warmup(init_value, warmup_steps, t_total, cycles)


def PolyLR(
    init_value: ArrayLike, max_iters: int, power: float = 0.9, min_lr: float = 1e-6
) -> optax.Schedule:
    """Return a polynomial to 0, but never less than `min_lr`."""
    steps = check_positive_count("max_iters", max_iters)
    curve = phased_lr(init_value, [Phase(steps, "polynomial", end_factor=0.0, power=power)])
    return floored(curve, check_value("min_lr", min_lr), 0)


def AlphaFoldLRScheduler(
    base_lr: float = 0.0,
    max_lr: float = 0.001,
    warmup_no_steps: int = 1000,
    start_decay_after_n_steps: int = 50_000,
    decay_every_n_steps: int = 50_000,
    decay_factor: float = 0.95,
) -> optax.Schedule:
    """Return a line that ends at `base_lr + max_lr`, then `max_lr`, which falls in steps."""
    warmup = check_positive_count("warmup_no_steps", warmup_no_steps)
    start = check_duration("start_decay_after_n_steps", start_decay_after_n_steps)
    if warmup > start:
        raise ValueError(
            f"warmup_no_steps must be at most start_decay_after_n_steps, got {warmup} and {start}"
        )
    low, high = check_value("base_lr", base_lr), check_value("max_lr", max_lr)
    top: Any = low + high
    ramp = Phase(warmup + 1, "linear", start_value=low, end_value=top, span=warmup)
    hold = phased_lr(1.0, [ramp, Phase(start_value=high)])
    steps = per_epoch(exponential_lr(high * decay_factor, decay_factor), decay_every_n_steps)
    # The first step of the decay is already one step old.
    return sequential_lr([hold, starting_at(steps, 1)], [start + 1])


def PiecewiseLinear(
    param_name: str, milestones_values: Any, *, param_group_index: int | None = None
) -> optax.Schedule:
    """Return lines between pairs of a count and a rate."""
    _check_target(param_name, param_group_index)
    pairs = milestones_values
    are_pairs = isinstance(pairs, list | tuple) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs
    )
    if not are_pairs:
        raise ValueError(f"milestones_values must be a list of pairs, got {shown_value(pairs)}")
    if not 1 <= len(pairs) <= _MOST_CYCLES:
        raise ValueError(f"milestones_values must have from 1 to {_MOST_CYCLES} pairs, got {len(pairs)}")
    counts = [check_duration("a milestone", count) for count, _ in pairs]
    if counts != sorted(counts):
        raise ValueError(f"milestones must increase, got {shown_value(counts)}")
    phases = [Phase(counts[0], start_value=pairs[0][1])]
    for (begin, low), (end, high) in pairwise(zip(counts, (rate for _, rate in pairs), strict=True)):
        phases.append(Phase(end - begin, "linear", start_value=low, end_value=high))
    return phased_lr(1.0, [*phases, Phase(start_value=pairs[-1][1])])


def CosineAnnealingScheduler(
    param_name: str,
    start_value: float,
    end_value: float,
    cycle_size: int,
    cycle_mult: float = 1.0,
    start_value_mult: float = 1.0,
    end_value_mult: float = 1.0,
    warmup_duration: int = 0,
    *,
    param_group_index: int | None = None,
) -> optax.Schedule:
    """Return cosines of `cycle_size` counts, each from the start value."""
    _check_target(param_name, param_group_index)
    length = _cycle_size(cycle_size, cycle_mult, start_value_mult, end_value_mult, warmup_duration)
    fall = Phase(length, "cosine", start_value=start_value, end_value=end_value)
    return phased_lr(1.0, [fall], repeat=1)


def LinearCyclicalScheduler(
    param_name: str,
    start_value: float,
    end_value: float,
    cycle_size: int,
    cycle_mult: float = 1.0,
    start_value_mult: float = 1.0,
    end_value_mult: float = 1.0,
    warmup_duration: int = 0,
    *,
    monotonic: bool = False,
    param_group_index: int | None = None,
) -> optax.Schedule:
    """Return cycles of two lines, to the end value and back. With `monotonic`, of the first line."""
    _check_target(param_name, param_group_index)
    length = _cycle_size(cycle_size, cycle_mult, start_value_mult, end_value_mult, warmup_duration)
    there: Any = {"start_value": start_value, "end_value": end_value}
    if monotonic:
        return phased_lr(1.0, [Phase(length, "linear", **there)], repeat=1)
    half, turn = length / 2, math.ceil(length / 2)
    back: Any = {"start_value": end_value, "end_value": start_value, "offset": turn - half}
    rise, fall = (
        Phase(turn, "linear", **there, span=half),
        Phase(length - turn, "linear", **back, span=half),
    )
    return phased_lr(1.0, [rise, fall], repeat=2)


def read(config: Config) -> NoReturn:
    """Refuse a config: these schedulers have none of their own."""
    del config
    raise ValueError("the add-on schedulers have no configs: give their call to jaxlr.from_string")


FRAMEWORK = Framework(
    name="addons",
    read=read,
    calls=(
        LinearWarmupCosineAnnealingLR,
        GradualWarmupScheduler,
        CosineAnnealingWarmupRestarts,
        NoamOpt,
        ScheduledOptim,
        NoamLR,
        WarmupCosineSchedule,
        WarmupLinearSchedule,
        WarmupConstantSchedule,
        WarmupCosineWithHardRestartsSchedule,
        PolyLR,
        AlphaFoldLRScheduler,
        PiecewiseLinear,
        CosineAnnealingScheduler,
        LinearCyclicalScheduler,
        *pytorch_warmup.CALLS,
        *namesakes.CALLS,
    ),
    ignored=("save_history", "verbose", "last_step"),
)


def _check_target(param_name: str, param_group_index: int | None) -> None:
    """Refuse a scheduler of ignite that leaves the rate of parameter group 0 as it is."""
    check_choice("param_name", param_name, ("lr",))
    if param_group_index not in (None, 0):
        raise ValueError(
            f"param_group_index must be 0, got {shown_value(param_group_index)}: leave it out to read the "
            "rates of that parameter group"
        )


def _cycle_size(cycle_size: int, *changes: float) -> int:
    """Return the length of ignite's cycles. Refuse cycles that differ from each other."""
    if changes != (1, 1, 1, 0):
        raise ValueError(
            "cycle_mult, start_value_mult, end_value_mult and warmup_duration are not supported: write the "
            "cycles as a PiecewiseLinear, or with jaxlr.phased_lr"
        )
    return check_positive_count("cycle_size", cycle_size)


def _cycle_lengths(first: int, mult: float, warmup: int) -> list[int]:
    """Return the lengths of the cycles up to the largest int32, or of the first one if all are as long."""
    if not isinstance(mult, int | float) or not math.isfinite(mult) or mult < 1:
        raise ValueError(f"cycle_mult must be a number of at least 1, got {mult!r}")
    lengths = [first]
    while sum(lengths) < _LARGEST_COUNT:
        following = int((lengths[-1] - warmup) * mult) + warmup
        if following == lengths[-1] and len(lengths) == 1:
            break
        if len(lengths) == _MOST_CYCLES or following == lengths[-1]:
            raise ValueError(f"cycle_mult must be 1, or make cycles grow faster, got {mult!r}")
        lengths.append(following)
    return lengths


def _cycle(length: int, warmup: int, low: Any, high: Any, number: int) -> list[Phase]:
    """Return the line and the cosine of a cycle between two rates."""
    falling: Any = {"start_value": high, "end_value": low, "span": length - warmup}
    if number == 0 and warmup == 0:  # the constructor sets the lowest rate for count 0
        return [Phase(1, start_value=low), Phase(length - 1, "cosine", offset=1, **falling)]
    rising = Phase(warmup, "linear", start_value=low, end_value=high)
    return [rising, Phase(length - warmup, "cosine", **falling)]
