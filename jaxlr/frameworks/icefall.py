"""Icefall: the flags of its `train.py`, whose scheduler is Eden.

The rule is that of k2-fsa/icefall of June 2026 (`zipformer/optim.py`, `zipformer/train.py`).
"""

import math
from typing import Any

import optax

from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import Config, Framework, Recipe
from jaxlr.schedules import Phase, phased_lr
from jaxlr.schedules._counts import floor_divide
from jaxlr.schedules._schedule import Schedule, prints_as_call


_DEFAULTS = {"warmup_start": 0.5, "warmup_batches": 500}
_WITHOUT_WARMUP = {"warmup_start": 1.0, "warmup_batches": 0}


def read(config: Config) -> Recipe:
    """Read `--base-lr`, `--lr-batches`, `--lr-epochs` and `--num-epochs`. A count is a batch."""
    config.refuse("lr_hours", "lr_tokens", reason="these scripts count hours or tokens in place of epochs")
    config.refuse("warmup_steps", reason="give it as names={'warmup_batches': ...}, and leave it out")
    rate = config.base_rate(config.first("base_lr", "initial_lr"))
    # The defaults of lr_batches and lr_epochs differ between the scripts, so they must be given.
    lr_batches, lr_epochs = _positive(config, "lr_batches"), _positive(config, "lr_epochs")
    if config.first("base_lr", "initial_lr") == "base_lr":
        config = with_defaults(config, _DEFAULTS, "Eden")
    else:  # such as pruned_transducer_stateless2 to 6
        config = with_defaults(config, _WITHOUT_WARMUP, "the scripts with initial_lr")
    batches, start = config.number("warmup_batches"), config.number("warmup_start")
    if start > 1:
        raise ValueError(f"warmup_start must be from 0 to 1, got {start:g}")
    # The scheduler has counted a batch when its update is made.
    steps = math.ceil(batches) - 1
    ramp = Phase(0)
    if steps > 0:
        ramp = Phase(steps, "linear", start_factor=start, end_factor=1.0, offset=1, span=batches)
    size = config.steps_in_epoch()
    config.assume(
        f"Every epoch has {size} batches. With batches of one duration their number varies a little."
    )
    schedule = eden(phased_lr(rate, [ramp, Phase(start_factor=1.0)]), lr_batches, lr_epochs, size)
    epochs = config.stated_epochs("num_epochs")
    return config.recipe("icefall", schedule, "iteration", epochs and epochs * size)


FRAMEWORK = Framework(
    name="icefall",
    read=read,
    marks=(
        ("lr_batches",),
        ("base_lr", "lr_epochs"),
        ("initial_lr", "lr_epochs"),
        ("base_lr", "world_size", "num_epochs"),
    ),
    aliases=("k2", "zipformer"),
)


@prints_as_call
def eden(
    warmup: optax.Schedule, lr_batches: float, lr_epochs: float, steps_per_epoch: int
) -> optax.Schedule:
    r"""Return a schedule that falls with the batches and the epochs.

    $$\mathrm{lr} = \mathrm{warmup} \, (1 + (b / B)^2)^{-1/4} (1 + (e / E)^2)^{-1/4}$$

    with $b$ the number of the batch, from 1, $e$ that of the epoch, from 0, $B$ = `lr_batches` and
    $E$ = `lr_epochs`.
    """

    def formula(count: Any) -> Any:
        epoch = floor_divide(count, steps_per_epoch)
        return warmup(count) * _decay(count + 1.0, lr_batches) * _decay(epoch, lr_epochs)

    return Schedule(formula, functions=(warmup,))


def _decay(number: Any, scale: float) -> Any:
    return (1 + (number / scale) ** 2) ** -0.25


def _positive(config: Config, name: str) -> float:
    number = config.number(name)
    if number == 0:
        raise ValueError(f"{name} must be above 0, got 0")
    return number
