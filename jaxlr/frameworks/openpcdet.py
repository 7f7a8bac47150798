"""OpenPCDet: the `OPTIMIZATION` of its YAML configs.

The rules are those of open-mmlab/OpenPCDet of April 2024 (`tools/train_utils/optimization/`).
"""

import math
from typing import Any

from jaxlr._checks import check_choice, check_value
from jaxlr.frameworks.recipe import Config, Framework, Recipe
from jaxlr.schedules import Phase, phased_lr
from jaxlr.schedules._counts import array_module


_MOST_EPOCHS = 200  # each of them is a phase, which costs time in a compiled step


def read(config: Config) -> Recipe:
    """Read `OPTIMIZER`, `LR` and `NUM_EPOCHS`. A count is a batch."""
    section = config.inner("OPTIMIZATION")
    batches = config.steps_in_epoch()
    total = section.whole_epochs("NUM_EPOCHS") * batches
    names = ("adam_onecycle", "adam_cosineanneal", "adam", "sgd")
    name = check_choice("OPTIMIZER", section.text("OPTIMIZER"), names)
    init_value = section.base_rate("LR")
    if name == "adam_onecycle":
        phases, momentum = _one_cycle(section, total), _momentum(section, total)
    elif name == "adam_cosineanneal":
        phases, momentum = _cosine(section, total, batches), _momentum(section, total)
    else:
        section.refuse("LR_WARMUP", reason="the warmup of OpenPCDet fails where it begins")
        phases = _steps(section, init_value, batches)
        momentum = section.stated("MOMENTUM") if name == "sgd" else None
    config.state(optimizer=name, momentum=momentum)
    section.state_settings(weight_decay="WEIGHT_DECAY", clip="GRAD_NORM_CLIP")
    return config.recipe("openpcdet", phased_lr(init_value, phases), "iteration", total)


FRAMEWORK = Framework(name="openpcdet", read=read, marks=(("OPTIMIZATION.OPTIMIZER",),), aliases=("pcdet",))


def _turn(section: Config, total: int) -> int:
    """Return the batch at which the rate is highest and the momentum lowest."""
    turn = int(section.number("PCT_START") * total)
    if not 0 < turn < total:
        raise ValueError(f"PCT_START must leave a batch before it and one after it, got {turn} of {total}")
    return turn


def _one_cycle(section: Config, total: int) -> list[Phase]:
    divisor: Any = check_value("DIV_FACTOR", section.number("DIV_FACTOR"), positive=True)
    turn, low = _turn(section, total), 1 / divisor
    return [
        Phase(turn, "cosine", start_factor=low, end_factor=1.0),
        Phase(total - turn, "cosine", end_factor=low / 1e4),
    ]


def _momentum(section: Config, total: int) -> Any:
    """Return beta1, which falls while the rate rises, and then rises."""
    turn, values = _turn(section, total), section.numbers("MOMS", [])
    if len(values) != 2:
        raise ValueError(f"MOMS must have two numbers, got {values[:5]}")
    return phased_lr(
        1.0,
        [
            Phase(turn, "cosine", start_value=values[0], end_value=values[1]),
            Phase(total - turn, "cosine", end_value=values[0]),
        ],
    )


def _cosine(section: Config, total: int, batches: int) -> list[Phase]:
    """Return a line from a third of the rate, and a cosine of the epochs to a thousandth of it."""
    warmup, epochs = section.count("WARMUP_ITER"), total // batches
    if epochs > _MOST_EPOCHS:
        raise ValueError(f"adam_cosineanneal is supported up to {_MOST_EPOCHS} epochs, got {epochs}")
    begins = [min(max(warmup, epoch * batches), total) for epoch in range(epochs + 1)]
    factors = [0.001 + 0.999 * (1 + math.cos(math.pi * epoch / epochs)) / 2 for epoch in range(epochs)]
    return [
        Phase(begins[0], "linear", start_factor=0.33333333, end_factor=1.0, span=max(1, warmup)),
        *(Phase(begins[n + 1] - begins[n], start_factor=factor) for n, factor in enumerate(factors)),
    ]


def _steps(section: Config, init_value: Any, batches: int) -> list[Phase]:
    """Return a rate that falls by `LR_DECAY` at each epoch of `DECAY_STEP_LIST`, to `LR_CLIP` at least."""
    steps = sorted(section.counts("DECAY_STEP_LIST"))
    decay, least = section.number("LR_DECAY"), section.number("LR_CLIP")
    if decay > 1:
        raise ValueError(f"LR_DECAY must be at most 1, got {decay:g}")
    maximum = array_module(init_value).maximum
    rates = [maximum(init_value * decay**number, least) for number in range(len(steps) + 1)]
    lengths = [(after - before) * batches for before, after in zip([0, *steps], steps, strict=False)]
    return [
        *(Phase(length, start_value=rate) for length, rate in zip(lengths, rates, strict=False)),
        Phase(start_value=rates[-1]),
    ]
