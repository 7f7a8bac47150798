"""The optimizer of a run: SGD, or that of a torch text."""

import re
from collections.abc import Mapping
from typing import Any

import optax

from jaxlr._checks import check_value
from jaxlr.convert.optimizers.signatures import OptimizerCall, names_optimizer
from jaxlr.convert.optimizers.text import TextPair, read_pair, transformation
from jaxlr.schedules.compose import per_epoch


_CYCLES = re.compile(r"\b(OneCycleLR|CyclicLR)\b")  # schedulers that may cycle the momentum


def read_run_optimizer(text: Any, names: Mapping[str, Any], lr: float | None = None) -> OptimizerCall:
    """Return the optimizer of a text, for a model that has one parameter group.

    Args:
        text: the text, without a scheduler.
        names: the values of the names in it.
        lr: the learning rate, if the text sets none. Without it, the rate is torch's default.

    Raises:
        TypeError: the text is not a string, or an option has the wrong type.
        ValueError: the text cannot be read, or a run cannot have this optimizer.
    """
    if not isinstance(text, str):
        raise TypeError(f"must be a text such as 'AdamW(lr=3e-4)', got {text!r}")
    pair = read_pair(text, names, init_value=lr)
    if pair.calls:
        raise ValueError("it has a scheduler, too: give that as --scheduler")
    if len(pair.optimizer.own) > 1:
        raise ValueError("it has several parameter groups, and the model has one: give one")
    if pair.optimizer.name == "Muon":
        raise ValueError("Muon is for matrices only, and the model has biases: give another optimizer")
    check_value("lr", pair.optimizer.param_groups[0]["lr"], positive=True)
    transformation(pair, transposed=True)  # refuse options out of their range
    return pair.optimizer


def stated_optimizer(scheduler: str, **options: Any) -> OptimizerCall | None:
    """Return the optimizer that the text of a scheduler constructs, or None if it constructs none.

    Raises:
        TypeError: an option has the wrong type.
        ValueError: the optimizer cannot be read, or a run cannot have it.
    """
    if not names_optimizer(scheduler):
        return None
    optimizer = read_pair(scheduler, **options).optimizer
    return read_run_optimizer(optimizer.text, {}, optimizer.param_groups[0]["lr"])


def paired(optimizer: OptimizerCall, scheduler: str, **options: Any) -> TextPair | None:
    """Return an optimizer and a torch scheduler that cycles its momentum, or None for any other.

    A schedule alone would leave the momentum constant.
    """
    if not _CYCLES.search(scheduler):
        return None
    pair = read_pair(f"{optimizer.text}\n{scheduler}", **options)
    return pair if any(pair.cycles) else None


def build_optimizer(
    optimizer: OptimizerCall | None, rate: Any, momentum: float = 0.0, steps_per_count: int = 1
) -> optax.GradientTransformationExtraArgs:
    """Return an optimizer under a schedule: SGD with `momentum`, or that of a text.

    Args:
        optimizer: the optimizer of a text, or None for SGD.
        rate: the schedule. It may be a number for SGD. For a text it may be a plateau, chained at the end.
        momentum: the momentum of SGD.
        steps_per_count: updates between two counts of the schedule.
    """
    if optimizer is not None:
        pair = TextPair(optimizer)
        return transformation(pair, rate, steps_per_epoch=steps_per_count, transposed=True)
    schedule: Any = rate
    per_step = per_epoch(schedule, steps_per_count) if callable(rate) else rate
    return optax.with_extra_args_support(optax.sgd(per_step, momentum or None))
