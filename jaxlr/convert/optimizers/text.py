"""The text of a torch optimizer, with its scheduler, as an Optax transformation."""

import warnings
from typing import Any, NamedTuple

import optax

from jaxlr._checks import check_positive_count, shown_value
from jaxlr.code.values import Names
from jaxlr.convert.calls import Call
from jaxlr.convert.calls import build as build_call
from jaxlr.convert.constructors import Constructor, equivalent_call
from jaxlr.convert.optimizers.live import Group, build, own_rates
from jaxlr.convert.optimizers.momentum import momentum_weight
from jaxlr.convert.optimizers.program import OptimizerText
from jaxlr.convert.optimizers.signatures import OptimizerCall
from jaxlr.convert.text import is_rate, versioned


class TextPair(NamedTuple):
    """An optimizer and its scheduler, as a text states them."""

    optimizer: OptimizerCall
    calls: tuple[Call, ...] = ()  # of the schedule of each parameter group; none without a scheduler
    cycles: tuple[Any, ...] = ()  # for each of them, the two momenta between which it cycles, or None
    clips: bool = False  # True if the text clips gradients


def optimizer_from_string(
    text: str,
    scheduler: Any = None,
    names: Names | None = None,
    *,
    num_steps: int | None = None,
    version: str | None = None,
    labels: Any = None,
    steps_per_epoch: int = 1,
    transposed: bool | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Return the Optax transformation that the text of a torch optimizer and its scheduler describes.

    It is that of `optimizer_from_torch` for the objects that the text constructs. All its optimizers can be
    written, with torch's defaults. The text is read as by `from_string`, and never executed:

    - The scheduler may stand after the optimizer, on a line of its own or after a semicolon. Without one
      the learning rate is constant.
    - The parameters may be left out. Parameter groups are a list of mappings. The result of a function that
      the text does not define may be groups, so it is refused, but `model.parameters()` is not.
    - The class may be written with `torch.optim`, as imported by the text, or alone. A class of the same
      name from another library is refused.
    - `foreach`, `fused`, `capturable` and `differentiable` only change the speed, and are ignored.

    Args:
        text: the lines of a program, such as `"AdamW(params, lr=3e-4, weight_decay=0.1)"`.
        scheduler: the text of the scheduler, if `text` has none; or a schedule of your own, from jaxlr or
            Optax; or a plateau from `reduce_lr_on_plateau`; or a list with a schedule or plateau for each
            group. A schedule or plateau replaces the learning rates of the optimizer.
        names: values of the names in the text, as in `from_string`.
        num_steps: as in `from_string`.
        version: as in `from_string`.
        labels: the group of each parameter, as in `optimizer_from_torch`.
        steps_per_epoch: number of updates between two calls of `scheduler.step()`, a whole number >= 1. It
            is the batches of an epoch if the scheduler is stepped once per epoch, and 1 if once per batch.
        transposed: True if the matrices of JAX are (in, out), as in Flax; False if they are (out, in), as
            in torch and Equinox. Muon and Adafactor need it, because a text has no shapes to check it with.
            For the same reason, LAMB and cautious options need each parameter to be one of torch's, not a
            stack of them.

    Returns:
        A transformation. With `labels` it is an `optax.multi_transform`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the text cannot be read, has an unknown optimizer or option, or `names` lacks one of its
            names; or `optimizer_from_torch` raises it.

    Warns:
        UserWarning: the text clips gradients, which the transformation does not.

    Example:
        >>> import jax.numpy as jnp
        >>> tx = optimizer_from_string('''
        ...     optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        ...     scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=30)
        ... ''', steps_per_epoch=1875)
        >>> params = jnp.ones(3)
        >>> updates, opt_state = tx.update(params, tx.init(params), params)
        >>> print(updates)
        [-0.1 -0.1 -0.1]

    Reference: `torch.optim`.
    """
    has_text = isinstance(scheduler, str)
    if has_text:
        text, scheduler = f"{text}\n{scheduler}", None
    pair = read_pair(text, names, num_steps, version)
    if has_text and not pair.calls:
        raise ValueError("the text of the scheduler constructs none: write a call such as 'StepLR(30)'")
    if scheduler is not None and pair.calls:
        raise ValueError("the text has a scheduler, and one is given: leave one of them out")
    if pair.clips:
        warnings.warn(
            "the text clips gradients, which its optimizer does not: chain jaxlr.clip_grad_norm before it",
            stacklevel=2,
        )
    return transformation(pair, scheduler, labels, steps_per_epoch, transposed)


def read_pair(
    text: str,
    names: Names | None = None,
    num_steps: int | None = None,
    version: str | None = None,
    init_value: float | None = None,
) -> TextPair:
    """Return the optimizer and the scheduler of a text, which is refused as torch would refuse it.

    Raises:
        ConflictingRateError: `init_value` is not the learning rate that the text sets.
    """
    if num_steps is not None:
        num_steps = check_positive_count("num_steps", num_steps)
    first = OptimizerText(text, names, 0, num_steps)
    optimizer = first.optimizer if init_value is None else first.optimizer.at_rate(init_value)
    optimizer.check()
    calls: list[Call] = []
    cycles: list[Any] = []
    for index, group in enumerate(optimizer.param_groups):
        read = first if index == 0 else OptimizerText(text, names, index, num_steps)
        if read.scheduler is None:
            break
        base = 1.0 if is_rate(read.scheduler) else group["lr"]
        calls.append(versioned(equivalent_call(read.scheduler, base, num_steps), version))
        build_call(calls[-1])  # refuse arguments out of their range
        cycles.append(_momenta(read, read.scheduler))
        read.work.end()
    if any(cycles) and not {"momentum", "betas"} & optimizer.defaults.keys():
        raise ValueError(
            f"{optimizer.name} has no momentum that the {calls[0].torch_class.name} could cycle: give it "
            "cycle_momentum=False, as torch demands"
        )
    return TextPair(optimizer, tuple(calls), tuple(cycles), first.clips)


def transformation(
    pair: TextPair,
    scheduler: Any = None,
    labels: Any = None,
    steps_per_epoch: int = 1,
    transposed: bool | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Return the transformation of an optimizer under its own scheduler, or under another schedule."""
    own: Any = [build_call(call) for call in pair.calls]
    num_groups = len(pair.optimizer.own)
    rates = own or own_rates(scheduler, num_groups)
    if rates is None and scheduler is not None:
        raise TypeError(
            "scheduler must be a text, a schedule, a plateau, or a list with a schedule or plateau for "
            f"each group, got {shown_value(scheduler)}"
        )
    groups = [Group(rate) for rate in rates or [None] * num_groups]
    for index, cycle in enumerate(pair.cycles):
        if cycle:
            groups[index] = groups[index]._replace(momentum=momentum_weight(pair.calls[index], *cycle))
    return build(pair.optimizer.name, pair.optimizer, groups, labels, steps_per_epoch, transposed)


def _momenta(read: OptimizerText, scheduler: Constructor) -> tuple[Any, Any] | None:
    """Return the two momenta between which a scheduler cycles that of the optimizer, or None."""
    cycling = [part for part in scheduler.with_parts if read.reader.momentum_of(part)]
    if cycling and cycling != [scheduler]:
        raise ValueError(
            f"the momentum can only be cycled by a OneCycleLR or CyclicLR alone, but {scheduler.name} "
            f"contains a {cycling[0].name} that does: give it cycle_momentum=False"
        )
    return read.reader.momentum_of(scheduler)
